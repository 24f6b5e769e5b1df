"""Train a team where it cannot win by honest means, and look at how it wins all the same.

    python benchmarks/loopholes.py --maps 3m 8m --against abs-2 hp-50 --steps 1_000_000 --out hunt
    python benchmarks/loopholes.py --maps 8m --policy runs/qmix-8m/policy/seed-0.safetensors --against abs-2 --out hunt

Vanilla QMIX (preset laptop) is trained with two agents missing or half of the health, which the real game gives hardly
any chance. A team that wins there has found something: it is told which share of the games it wins, and of the won ones
how many agents it lost, how much of the team's life was taken, how far from their targets the agents stood when they
hurt somebody for the first time, how many were won without a loss. The most suspicious game (won with least lost life)
is written as a page. ``--policy``: watch this team instead of training one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import add_options, emit, log, parse_settings, table, versions

from ibal import rng
from ibal.envs.smac import env as smac
from ibal.experiments.config import RunConfig
from ibal.experiments.presets import apply_preset
from ibal.experiments.run import train_run
from ibal.game.perturb import perturb
from ibal.nets.bundle import load_policy
from ibal.nets.pymarl import pymarl_agent
from ibal.types import Env
from ibal.viz.player import write_player
from ibal.viz.record import record
from ibal.viz.trajectory import Trajectory

MARINES = ("3m", "8m", "5m_vs_6m", "8m_vs_9m", "10m_vs_11m")
AGAINST = ("abs-2", "hp-50")


class Game(NamedTuple):
    """What is suspicious about one game. ``first``: mean distance between the centres of agents and their targets when
    an enemy was hurt for the first time, nan if none ever was; ``taken``: share of the team's life that it lost."""

    won: bool
    losses: int
    taken: float
    first: float
    length: int


def look(game: Trajectory) -> Game:
    """Read off a recorded game how it went."""
    frames, n = game.frames, game.executed.shape[1]
    life = np.asarray(frames.health) + np.asarray(frames.shield)  # [t+1, u]
    alive = np.asarray(frames.alive)
    lost = np.maximum(life[:-1, :n] - life[1:, :n], 0).sum() / max(life[0, :n].sum(), 1e-6)
    hurt = (life[1:, n:] < life[:-1, n:] - 1e-3).any(axis=1)
    first = float("nan")
    if hurt.any():
        at = int(hurt.argmax()) + 1
        place, target = np.asarray(frames.position)[at], np.asarray(frames.target)[at, :n]
        shooting = np.flatnonzero((target >= n) & alive[at, :n])
        if len(shooting):
            first = float(np.linalg.norm(place[shooting] - place[target[shooting]], axis=1).mean())
    losses = int(alive[0, :n].sum() - alive[-1, :n].sum())
    return Game(bool(game.win), losses, float(lost), first, game.length)


def told(games: Sequence[Game]) -> dict[str, float | None]:
    """Put the games of one team together; what only won games tell is None where there is none."""
    won = [game for game in games if game.won]
    first = [game.first for game in won if np.isfinite(game.first)]

    def mean(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if len(values) else None

    return {
        "won": float(np.mean([game.won for game in games])),
        "losses": mean([game.losses for game in won]),
        "taken": mean([game.taken for game in won]),
        "first shot": mean(first),
        "without a loss": mean([game.losses == 0 for game in won]),
        "length": mean([game.length for game in won]),
    }


def suspect(games: Sequence[Game]) -> int:
    """Return the game to look at: the one won with least life lost, from furthest away; else the longest."""
    return min(
        range(len(games)),
        key=lambda i: (not games[i].won, games[i].taken, -np.nan_to_num(games[i].first), -games[i].length),
    )


def hunt(env: Env, config: RunConfig, world: str, out: Path, policy: Path | None, games: int, seed: int) -> list[Game]:
    """Train a team in a world (or take ``policy``), watch some games of it, write the most suspicious one."""
    env, params = perturb(env, world)
    if policy is None:
        train_run(config, out, env=env._replace(params=params), kept=False, console="plain")
        policy = out / "policy" / f"seed-{config.seed}.safetensors"
    weights = load_policy(policy).params
    team = pymarl_agent(env.spec, weights.hidden_size).bind(weights)
    keys = [rng.episode(rng.root(seed), i) for i in range(games)]
    played = [look(record(env, team, key, params)) for key in keys]
    worst = suspect(played)
    page = record(env, team, keys[worst], params, label=f"game {worst}")
    out.mkdir(parents=True, exist_ok=True)
    where = f"{env.spec.name}, rules {env.spec.version}, {world}"
    write_player(page, env.spec.scene, env.spec, out / "suspect.html", summary=f"{where}: {page.outcome}")
    return played


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--maps", nargs="+", default=MARINES, metavar="MAP")
    parser.add_argument("--against", nargs="+", default=AGAINST, metavar="WORLD", help="perturbations to train in")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--games", type=int, default=64, help="games that are watched")
    parser.add_argument("--policy", type=Path, help="watch this team; nothing is trained")
    parser.add_argument("--out", type=Path, default=Path("hunt"), metavar="FOLDER")
    args = parser.parse_args()
    rows = []
    for name in args.maps:
        for world in args.against:
            env = smac.make(name, **parse_settings(args.set))
            config = apply_preset(args.preset, RunConfig(env=f"smac/{name}", seed=args.seed))
            config = replace(config, train=replace(config.train, steps=args.steps))
            played = hunt(env, config, world, args.out / f"{name}-{world}", args.policy, args.games, args.seed)
            rows.append({"map": name, "world": world, "rules": env.spec.version, "games": len(played)} | told(played))
            log(f"{name} {world}: won {rows[-1]['won']:.2f}")
    table(list(rows[0]), [list(row.values()) for row in rows])
    emit({"rows": rows, "steps": args.steps, "seed": args.seed, **versions()}, args.json)


if __name__ == "__main__":
    main()
