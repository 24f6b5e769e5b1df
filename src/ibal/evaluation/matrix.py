"""Policies x attacks x perturbations on the same episodes: one row per episode, and a cell that is done stays done.

    rows = run(cells(teams, attacks, ("none", "hp-15")), Plan(episodes=1024), Path("evaluations/x"))

A cell is one policy of one seed under one attack and one perturbation. What it brought is kept in ``parts/`` under a
hash of everything that decides it (weights, environment, attack and attackers, perturbation, episodes, engine): an
evaluation that was killed goes on where it stopped and gives the same rows, and one that is made larger plays only
what is new. Names of policies are no part of the hash; they are put into the rows at the end. The name of a part ends
with a checksum of its content: one that is damaged is played again. Cells that run code of the user's own are played
anew every time: what that code does may change with any file it reads or imports, which no hash can know.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl

import ibal
from ibal import reading
from ibal.adversaries.base import Adversary, refusal
from ibal.evaluation import sources
from ibal.evaluation.episodes import EpisodeResults, episode_keys, play
from ibal.evaluation.hosted import Broken
from ibal.evaluation.versions import require_one
from ibal.files import appear_bytes
from ibal.game.perturb import perturb, together
from ibal.nets.agents import Agent
from ibal.options import check_count, check_seed
from ibal.types import Env, HostPolicy, Policy

# Whatever decides what an episode brings: these and all that they import. Training, reports and commands do not.
_ENGINE = (
    "ibal.evaluation.matrix", "ibal.evaluation.bank", "ibal.evaluation.scripted", "ibal.envs", "ibal.nets.pymarl",
    "ibal.nets.actor",
)  # fmt: skip
_PART = {
    "episode": pl.Int32, "attacker": pl.Int32, "win": pl.Float64, "return": pl.Float64, "length": pl.Int32,
    "attacked": pl.Float64,
}  # fmt: skip


UNFINISHED = "unfinished.parquet"


class Team(NamedTuple):
    """A policy to be evaluated. The seeds of one training share the name ``policy``; ``digest`` identifies the weights,
    ``world`` the environment with its options. Policies of one environment must share the object ``env``, and those of
    one size the object ``player``: what is not the same object is compiled anew. ``own``: environment or policy is code
    of the user's, which the digests do not describe."""

    policy: str
    method: str
    seed: int | None
    env: Env
    world: str
    player: Policy | HostPolicy | Agent
    params: Any
    digest: str
    about: Mapping[str, Any]
    own: bool = False


class Attack(NamedTuple):
    """An attack on one environment. ``attackers`` are the states it was fitted to: episode ``i`` meets number ``i``
    modulo their count. ``digest`` identifies configuration and states; ``about`` goes into the card. ``own``: it is
    code of the user's. ``world``: the perturbations that come with it ("hp-15" of "hp-15+lost-30")."""

    name: str
    adversary: Adversary
    attackers: Sequence[Any]
    digest: str
    about: Mapping[str, Any]
    own: bool = False
    world: str = "none"


class Cell(NamedTuple):
    """One policy under one attack and one perturbation; ``world`` and ``params`` are the perturbed environment."""

    team: Team
    attack: Attack
    perturbation: str
    world: Env
    params: Any


@dataclass(frozen=True)
class Plan:
    """How much is played: ``episodes`` per cell, those of ``seed``, the same in all cells."""

    episodes: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("Plan.episodes", self.episodes, 1)
        check_seed("Plan.seed", self.seed)


def cells(teams: Sequence[Team], attacks: Callable[[str, Team], Attack], names: Sequence[str],
          perturbations: Sequence[str]) -> list[Cell]:  # fmt: skip
    """Return all cells, in the order in which they are played and tabulated.

    ``attacks(name, team)`` makes an attack for the team's environment; it must return the same object for the same
    environment. Raises ValueError for teams in different versions of a world, a policy that comes twice, a perturbation
    that an environment cannot follow, or a victim that does not show what an attack must know of it.
    """
    require_one((team.env.spec.name, team.env.spec.version, team.policy) for team in teams)
    seen: set[tuple[str, int | None]] = set()
    worlds: list[tuple[Env, str, tuple[Env, Any]]] = []  # an Env cannot be hashed: it holds arrays

    def perturbed(env: Env, name: str) -> tuple[Env, Any]:
        for of, under, made in worlds:
            if of is env and under == name:
                return made
        worlds.append((env, name, perturb(env, name)))
        return worlds[-1][2]

    for team in teams:
        if (team.policy, team.seed) in seen:
            raise ValueError(f'"{team.policy}" (seed {team.seed}) is given twice; rows would be counted twice')
        seen.add((team.policy, team.seed))
        for name in perturbations:
            perturbed(team.env, name)
    made = [
        (team, perturbation, attacks(name, team)) for team in teams for perturbation in perturbations for name in names
    ]
    found = [
        Cell(team, attack, perturbation, *perturbed(team.env, together(perturbation, attack.world)))
        for team, perturbation, attack in made
    ]
    for cell in found:
        _check_victim(cell)
    return found


def _check_victim(cell: Cell) -> None:
    """Raise ValueError where an attack must know more of a victim than there is."""
    player = cell.team.player
    policy = player.bind(cell.team.params) if isinstance(player, Agent) else player
    if missing := refusal(cell.attack.adversary.threat, policy):
        raise ValueError(
            f'"{cell.attack.name}" needs the {missing}, and "{cell.team.policy}" has none: it cannot '
            "be attacked this way"
        )


def run(
    todo: Sequence[Cell], plan: Plan, out: Path | None = None, note: Callable[[str], None] = lambda message: None,
    partial: bool = False,
) -> pl.DataFrame:  # fmt: skip
    """Play the cells that are not in ``out/parts`` yet and return all rows; None: nothing is kept. With ``partial``
    Ctrl-C ends it, and the rows are those of the cells that were played to their end, if there is one.

    Columns: policy, method, seed, env, version (of its rules), attack, perturbation, episode, key_seed (episode ``i``
    of this seed has one world in all cells), attacker (which of the fitted ones, 0 if there is none), win (null where
    nothing can be won), return, length, attacked (share of the living agents' turns in which the attack changed what
    was seen or done), replaced (share of their actions that it replaced), and the environment's metrics.
    """
    if not todo:
        raise ValueError("run: there is no cell to play; name at least one policy, one attack and one perturbation")
    keys = episode_keys(plan.seed, plan.episodes)
    kept = None if out is None else out / "parts"
    if kept is not None and (own := sum(cell.team.own or cell.attack.own for cell in todo)):
        note(f"{own} of {len(todo)} cells run code of your own, which may change unseen: they are always played anew")
    frames: list[pl.DataFrame] = []
    for i, cell in enumerate(todo):
        try:
            frame = _kept_or_played(cell, plan, keys, kept, note, f"[{i + 1}/{len(todo)}]")
        except KeyboardInterrupt:
            if not (partial and frames):
                raise
            note(f"interrupted: these are {i} of {len(todo)} cells")
            break
        except Broken as error:
            _save_unfinished(cell, plan, error, out, note)
            error.before = pl.concat(frames, how="diagonal_relaxed") if frames else None
            raise
        frames.append(_labelled(cell, plan, frame))
    return pl.concat(frames, how="diagonal_relaxed")


def _kept_or_played(
    cell: Cell, plan: Plan, keys: jax.Array, kept: Path | None, note: Callable[[str], None], count: str
) -> pl.DataFrame:
    """Return the rows of one cell: those in the folder ``kept``, else those that come of playing it."""
    digest = "" if cell.team.own or cell.attack.own else digest_of(cell, plan)
    frame = _found(kept, digest, plan, note) if kept is not None and digest else None
    if frame is None:
        team = cell.team
        who = team.policy if team.seed is None else f"{team.policy} (seed {team.seed})"
        note(f"{count} {who}: {cell.attack.name}, {cell.perturbation} …")
        frame = _played(cell, keys)
        if kept is not None and digest:
            _keep(kept, digest, frame)
    return frame


def _save_unfinished(cell: Cell, plan: Plan, error: Broken, out: Path | None, note: Callable[[str], None]) -> None:
    """Keep the episodes of a cell that were whole when it broke: in ``error.rows``, and in the folder."""
    if error.rows is None:
        return
    error.rows = _labelled(cell, plan, error.rows)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        appear_bytes(out / UNFINISHED, as_parquet(error.rows))
        note(f"the {error.rows.height} episodes before that are in {out / UNFINISHED}")


def _keep(parts: Path, digest: str, frame: pl.DataFrame) -> None:
    parts.mkdir(parents=True, exist_ok=True)
    content = as_parquet(frame)
    appear_bytes(parts / f"{digest}-{_checksum(content)}.parquet", content)


def _found(parts: Path, digest: str, plan: Plan, note: Callable[[str], None]) -> pl.DataFrame | None:
    """Return what a cell brought when it was played before; what is damaged is deleted, and None."""
    for file in sorted(parts.glob(f"{digest}-*.parquet")):
        try:
            held = reading.content(file)
            if file.stem != f"{digest}-{_checksum(held)}":
                raise reading.Unreadable(f"{file} has another checksum than its name says")
            frame = reading.frame(held, str(file), _PART, others=True)
            if frame["episode"].to_list() != list(range(plan.episodes)):
                raise reading.Unreadable(f"{file} holds other episodes than those asked for")
            return frame
        except (reading.Unreadable, OSError) as error:
            note(f"{error}: it is played again")
            with suppress(OSError):
                file.unlink()
    return None


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def digest_of(cell: Cell, plan: Plan) -> str:
    """Return 20 hexadecimal digits that two cells share if and only if the same episodes come out."""
    decides = {
        "policy": cell.team.digest,
        "world": cell.team.world,
        "attack": cell.attack.digest,
        "perturbation": cell.perturbation,
        "episodes": plan.episodes,
        "seed": plan.seed,
        "engine": engine_version(),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]


@cache
def engine_version() -> str:
    """Return the version of the library and, behind "+", a hash of what decides what an episode brings: all sources
    that are reached from there, and the version of jax, whose random numbers are its own."""
    return f"{ibal.__version__}+{sources.digest(_ENGINE, jax.__version__)}"


def as_parquet(frame: pl.DataFrame) -> bytes:
    """Return the content of a Parquet file: written by Python, a full disk is an OSError."""
    held = io.BytesIO()
    frame.write_parquet(held)
    return held.getvalue()


def _played(cell: Cell, keys: jax.Array) -> pl.DataFrame:
    """The rows of one cell without the names of what was played."""
    team, attack = cell.team, cell.attack
    many = len(attack.attackers)
    parts: list[pl.DataFrame] = []
    for i, attacker in enumerate(attack.attackers[: len(keys)]):
        number = np.arange(i, len(keys), many, dtype=np.int32)
        try:
            results = play(
                cell.world, team.player, keys[i::many], team.params, env_params=cell.params,
                adversary=attack.adversary, attacker=attacker,
            )  # fmt: skip
        except Broken as error:
            if (held := error.results) is not None:
                parts.append(_frame(held, cell.world.spec.has_win, number[: len(held.length)], i))
            error.rows = pl.concat(parts).sort("episode") if parts else None
            raise
        parts.append(_frame(results, cell.world.spec.has_win, number, i))
    return pl.concat(parts).sort("episode")


def _frame(results: EpisodeResults, has_win: bool, episode: np.ndarray, attacker: int) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "episode": episode,
        "attacker": np.full(len(episode), attacker, np.int32),
        "win": np.asarray(results.win, np.float64) if has_win else pl.Series([None] * len(episode), dtype=pl.Float64),
        "return": np.asarray(results.returns, np.float64),
        "length": np.asarray(results.length, np.int32),
        "attacked": np.asarray(results.attacked, np.float64),
        "replaced": np.asarray(results.replaced, np.float64),
    }
    metrics = {name: np.asarray(values) for name, values in results.metrics.items() if name not in columns}
    return pl.DataFrame(columns | {name: metrics[name] for name in sorted(metrics)})


def _labelled(cell: Cell, plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    team = cell.team
    names = {
        "policy": team.policy, "method": team.method, "seed": team.seed, "env": team.env.spec.name,
        "version": team.env.spec.version, "attack": cell.attack.name, "perturbation": cell.perturbation,
    }  # fmt: skip
    labels = [pl.lit(v, pl.Int64 if k == "seed" else pl.String).alias(k) for k, v in names.items()]
    return frame.select(
        *labels, "episode", pl.lit(plan.seed, pl.Int64).alias("key_seed"), pl.exclude("episode")
    )  # fmt: skip
