"""Foraging beside the package lbforaging: the same steps, and new games drawn as often as they should be.

    pip install --target peer lbforaging
    PYTHONPATH=peer python benchmarks/foraging.py                # a million steps over 201 layouts, 20,000 games
    PYTHONPATH=peer python benchmarks/foraging.py --steps 20_000 --layouts 12
    python benchmarks/foraging.py --parts spawn walker                   # need no package

"steps" plays the package (``tests/parity/make_lbf_vectors.py``: three games, layouts that the package draws) and ours
from the same moments with the same actions, and compares places, levels, food, every player's reward, ends, and both
kinds of observation after each step. The first difference ends it with exit status 1; Ctrl-C ends it with what was
played. "spawn" compares how often levels are drawn with their chances, worked out over all levels that players have.
"walker" plays a scripted team in every reading of the paper's scenarios: it walks to the nearest food that it sees and
loads until that is gone, and otherwise keeps its direction. What learns less than it has not learned.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import add_options, emit, log, table, versions

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ibal.envs.lbf import rules as foraging
from ibal.envs.lbf.env import make
from ibal.envs.lbf.perturb import default_params
from ibal.envs.lbf.spawn import spawn
from ibal.envs.lbf.walker import walker
from ibal.evaluation.episodes import episode_keys, play
from parity.lbf_steps import GAMES, comparer

PARTS = ("steps", "spawn", "walker")
CHUNK = 1000  # steps that are compared at once
# Of levels: MASIA, lb-foraging 1, lb-foraging 2. Limits: that of MASIA's file, and that of the others.
READINGS = {"masia": {}, "v2": {"max_player_level": 2}, "v3": {"max_player_level": 2, "food_margin": 0}}
LIMITS = (25, 50)
SHARE = (0.2, 0.3, 0.5)  # of the steps: one of the package's first game takes four times as long as one of its last


def steps(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Play the package's layouts; returns what happened in each game. Raises AssertionError at the first difference."""
    try:
        from parity import make_lbf_vectors as peer
    except ImportError as error:
        raise SystemExit(
            f'"steps" plays lbforaging ({error}). Run: pip install lbforaging, or choose --parts spawn'
        ) from None
    layouts, begin = math.ceil(args.layouts / len(GAMES)), time.monotonic()
    sizes = [math.ceil(args.steps * share / layouts) for share in SHARE]
    compare = [comparer(game, min(CHUNK, size)) for game, size in zip(GAMES, sizes, strict=True)]
    rows = [{"game": g, "layouts": 0, "steps": 0, "ends": 0, "collected": 0, "shared": 0} for g in range(len(GAMES))]
    try:
        for layout in range(layouts):
            for row, check, size in zip(rows, compare, sizes, strict=True):
                held = peer.record(peer.GAMES[row["game"]], 1, size, args.seed * 100_000 + layout)
                for first in range(0, size, CHUNK):
                    check({name: values[first : first + CHUNK] for name, values in held.items()})
                _count(row, held)
            log(f"{sum(row['steps'] for row in rows)} steps equal, {time.monotonic() - begin:.0f} s")
    except KeyboardInterrupt:
        log("interrupted: what follows is what was played")
    return rows


def _count(row: dict[str, Any], held: Mapping[str, np.ndarray]) -> None:
    """Add what happened on a layout: ends of games, pieces collected, steps with two players on one cell."""
    cell = held["place_after"].astype(int) @ np.array([1000, 1])
    row["layouts"] += 1
    row["steps"] += len(cell)
    row["ends"] += int(held["done"].sum())
    row["collected"] += int((held["food_level"] != held["food_after"]).sum())
    row["shared"] += int((np.diff(np.sort(cell), axis=1) == 0).any(axis=1).sum())


def chances(rules: foraging.Rules) -> tuple[list[float], float]:
    """Work out the chance of every level of food, from 1 on, and the expected sum of all food's levels."""
    levels = range(rules.min_player_level, rules.max_player_level + 1)
    low = [0.0] * (3 * rules.max_player_level + 1)  # chance that the three weakest carry so much together
    # How many players are of each level says all: a multinomial over few levels.
    for counts in itertools.product(range(rules.players + 1), repeat=len(levels)):
        if sum(counts) == rules.players:
            ways, free = 1, rules.players
            for count in counts:
                ways, free = ways * _choose(free, count), free - count
            weakest = [level for level, count in zip(levels, counts, strict=True) for _ in range(count)][:3]
            low[sum(weakest)] += ways / len(levels) ** rules.players
    highest = [max(total - rules.food_margin, rules.min_food_level) for total in range(len(low))]
    share = [sum(p / top for p, top in zip(low, highest, strict=True) if p and top >= level)
             for level in range(1, max(highest) + 1)]  # fmt: skip
    return share, rules.foods * sum((i + 1) * p for i, p in enumerate(share))


def _choose(n: int, k: int) -> int:
    return int(np.prod([(n - i) / (i + 1) for i in range(k)]).round())


def drawn(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Draw games of the paper's scenarios, in both readings, and compare shares with chances."""
    rows = []
    for name in foraging.NAMES[:6]:
        rules = foraging.rules(name)
        draw = jax.jit(jax.vmap(lambda key, rules=rules: spawn(key, rules, default_params(rules))))
        games = jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(args.seed), args.games)))
        expected, total = chances(rules)
        # Pieces of one game share how heavy they may be: count games, not pieces.
        shares = [(games.food_level == level).mean(axis=1) for level in range(1, len(expected) + 1)]
        found = [float(share.mean()) for share in shares]
        spread = [float(share.std() / np.sqrt(args.games)) for share in shares]
        off = [abs(a - b) / max(s, 1e-9) for a, b, s in zip(found, expected, spread, strict=True) if b > 1e-3]
        assert games.left.all()
        rows.append({
            "env": name, "games": args.games, "found": found, "expected": expected, "largest_z": max(off),
            "total": float(games.total.mean()), "expected_total": total,
        })  # fmt: skip
    return rows


def walked(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Play the scripted team in every reading of the paper's scenarios."""
    keys, rows = episode_keys(args.seed, args.games), []
    for reading, options in READINGS.items():
        for limit in LIMITS[::-1]:
            for name in foraging.PAPER:
                env = make(name, observation="grid", limit=limit, **options)
                played = play(env, walker(env.spec), keys)
                share, whole = (np.asarray(played.metrics[metric]) for metric in ("win", "all"))
                error = float(share.std() / np.sqrt(args.games))
                rows.append({"reading": reading, "limit": limit, "env": name, "games": args.games,
                             "share": float(share.mean()), "error": error, "all": float(whole.mean())})  # fmt: skip
                log(f"walker, {reading}, {limit} steps, {name}: {share.mean():.3f}")
    return rows


def show(result: dict[str, Any]) -> None:
    """Write the tables."""
    if rows := result.get("steps"):
        head = ("game", "layouts", "steps", "ends", "collected", "shared")
        table(head, [[row[key] for key in head] for row in rows])
        played, layouts = (sum(row[key] for row in rows) for key in ("steps", "layouts"))
        log(f"{played} steps over {layouts} layouts: all equal\n")
    if rows := result.get("spawn"):
        table(("levels of food", "found", "chance", "largest z", "total", "expected"),
              [(r["env"], _listed(r["found"]), _listed(r["expected"]), r["largest_z"], r["total"], r["expected_total"])
               for r in rows])  # fmt: skip
    if rows := result.get("walker"):
        head = ("reading", "limit", "env", "games", "share", "error", "all")
        table(head, [[row[key] for key in head] for row in rows])


def _listed(shares: Sequence[float]) -> str:
    return " ".join(f"{share:.3f}".removeprefix("0") for share in shares)


def main() -> int:
    """Compare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of all games together")
    parser.add_argument("--layouts", type=int, default=201, help="layouts of all games together")
    parser.add_argument("--games", type=int, default=20_000, help="spawn, walker: games of each scenario")
    args = parser.parse_args()
    result: dict[str, Any] = {**versions()}
    if "spawn" in args.parts:
        result["spawn"] = drawn(args)
    if "walker" in args.parts:
        result["walker"] = walked(args)
    if "steps" in args.parts:
        result["steps"] = steps(args)
    show(result)
    emit(result, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
