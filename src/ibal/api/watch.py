"""``ibal.watch``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ibal import rng
from ibal.api.given import GivenAttack, GivenEnv, GivenTeam, attack_list, kept, team_list
from ibal.api.records import Replay
from ibal.api.telling import telling
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Attack, cells
from ibal.experiments.fitting import policy_of
from ibal.options import ConfigError, check_count, check_seed
from ibal.report.names import short
from ibal.types import Env, HostPolicy, Policy
from ibal.viz.plain import pictured
from ibal.viz.player import MOST
from ibal.viz.record import record
from ibal.viz.trajectory import Trajectory


def watch(
    team: GivenTeam | Sequence[GivenTeam] = "random", attack: GivenAttack | Sequence[GivenAttack] = "natural", *,
    env: GivenEnv | None = None, perturbation: str = "none", seed: int = 0, episode: int = 0,
    max_steps: int | None = None, attackers: str | Path | None = None, title: str = "", out: str | Path | None = None,
    quiet: bool = False,
) -> Replay:  # fmt: skip
    """Play one episode and show it: the last value of a notebook's cell is a player in it.

    Args:
        team, attack, env, perturbation, attackers: as in ``ibal.evaluate``; several teams or attacks (4 episodes at
            most) give the same world side by side.
        seed, episode: number ``episode`` (from 0) of the evaluation of ``seed``: the one that ``ibal.evaluate`` counts.
        max_steps: stop after so many steps.
        title: of the page; empty: the environment's name.
        out: a file to write as well, ``.html`` or ``.gif``.
        quiet: say nothing on standard error.

    Returns:
        ``Replay`` with ``.trajectories``, ``.html`` and ``.save(path)``.

    Raises:
        ConfigError: what cannot be played.

    A world without a picture of its own (``frame`` and ``EnvSpec.scene``) is drawn as its agents in a ring.

    Example:
        >>> ibal.watch(run.teams[0], attacker, episode=3)
    """
    check_seed("seed", seed)
    check_count("episode", episode)
    with telling(quiet) as note:
        bank = Bank(None if attackers is None else Path(attackers), build=kept)
        asked = attack_list(attack, bank)
        teams = team_list(team, env, note)
        if len(teams) * len(asked.names) > MOST:
            raise ConfigError(f"{len(teams)} teams under {len(asked.names)} attacks are too many; at most {MOST} "
                              "episodes stand side by side")  # fmt: skip
        worlds = {one.env.spec.name for one in teams}
        if len(worlds) > 1:
            raise ConfigError(f"episodes side by side need one environment; these play {' and '.join(sorted(worlds))}")
        todo = cells(teams, asked.make, asked.names, [perturbation])
        names = short(f"{one.policy} seed {one.seed}" if one.seed is not None else one.policy for one in teams)
        labels = [f"{who} under {what}" if what != "natural" else who
                  for who, what in product(names.values(), asked.names)]  # fmt: skip
        games = [Game(cell.world, cell.params, policy_of(cell.team), cell.attack, label)
                 for cell, label in zip(todo, labels, strict=True)]  # fmt: skip
        replay = Replay(recorded(games, seed, episode, max_steps, note), pictured(teams[0].env).spec, title)
    if out is not None:
        replay.save(out)
    return replay


class Game(NamedTuple):
    """Who plays where, against whom, and what that is called."""

    world: Env
    params: Any
    policy: Policy | HostPolicy
    attack: Attack
    label: str


def recorded(
    games: Sequence[Game], seed: int, episode: int, max_steps: int | None, note: Callable[[str], None]
) -> list[Trajectory]:
    """Play one episode of every game, the one that an evaluation of ``seed`` counts as number ``episode``.
    A world without a picture is drawn as its agents in a ring.
    """
    key = rng.episode(rng.root(seed), episode)
    out: list[Trajectory] = []
    for game in games:
        note(f"playing {game.world.spec.name} with {game.label} (seed {seed}, episode {episode}) …")
        attacker = game.attack.attackers[episode % len(game.attack.attackers)]  # as an evaluation shares them out
        trajectory = record(
            pictured(game.world), game.policy, key, game.params, adversary=game.attack.adversary, attacker=attacker,
            max_steps=max_steps, label=game.label,
        )  # fmt: skip
        out.append(trajectory)
    return out
