"""Which settings of a training reach a win rate soonest, in seconds of training, over several maps together?

    python benchmarks/preset_search.py --out found.json                               # every candidate, one seed
    python benchmarks/preset_search.py --out found.json --candidates laptop lr-1e-3 --seeds 0 1 2
    python benchmarks/preset_search.py --out found.json --add "batch-8=learner.batch=8" --candidates batch-8

A candidate is the preset ``laptop`` with some options changed. It trains vanilla QMIX on every map as ``time_to.py``
does, on one core, until two evaluations in a row win ``--level`` of their games, at most ``--steps``. Counted are the
processor seconds of the training alone, up to the first of the two: no compiling, no evaluations; other programs
disturb them less than seconds. A map that is not learned counts as its whole training. ``--out`` keeps a row per
candidate, map and seed; what is in it is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from common import log, parse_settings, table
from time_to import Race, race

from ibal import make
from ibal.experiments.config import RunConfig, apply_overrides
from ibal.experiments.presets import apply_preset
from ibal.files import replace_text
from ibal.training import runner

CANDIDATES = {
    "laptop": "",
    "updates-1/8": "train.updates_per_episode=0.125",
    "updates-1/2": "train.updates_per_episode=0.5",
    "lr-1e-3": "learner.lr=1e-3",
    "lambda-0.8": "learner.td_lambda=0.8",
    "batch-16": "learner.batch=16 train.updates_per_episode=0.5",
    "envs-16": "train.envs=16",
    "epsilon-100k": "train.epsilon_steps=100000",
}
MAPS = ("8m", "2s3z", "3s_vs_3z")

Row = dict[str, Any]


def trained(options: str, name: str, seed: int, steps: int, level: float) -> Row:
    """Train until the level is reached, and say what that took."""
    base = apply_preset("laptop", RunConfig(env=f"smac/{name}"))
    base = replace(base, train=replace(base.train, steps=steps, replay=min(base.train.replay, 2048)))
    config = apply_overrides(base, parse_settings(options.split()))
    row = race(make(name), config, seed, Race(level, 20_000))
    jax.clear_caches()
    return row


def told(rows: Sequence[Row]) -> None:
    """Print a row for every candidate, the soonest first: processor seconds (and steps) of each map, mean over seeds;
    their sum."""
    names = list(dict.fromkeys(row["map"] for row in rows))
    lines: list[list[object]] = []
    for candidate in dict.fromkeys(row["candidate"] for row in rows):
        cells: list[object] = [candidate]
        total = 0.0
        for name in names:
            mine = [row for row in rows if (row["candidate"], row["map"]) == (candidate, name)]
            if not mine:
                cells.append("")
                total = float("nan")
                continue
            mean = sum(row["processor"] for row in mine) / len(mine)
            missed = sum(not row["reached"] for row in mine)
            steps = sum(row["steps"] for row in mine) / len(mine)
            note = f", {missed} of {len(mine)} not" if missed else ""
            cells.append(f"{mean:.0f} s ({steps / 1000:.0f}k{note})")
            total += mean
        lines.append([*cells, total])
    lines.sort(key=lambda line: (line[-1] != line[-1], line[-1]))
    table(["candidate", *names, "seconds"], lines)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("preset-search.json"), help="JSON file that keeps the rows")
    parser.add_argument("--candidates", nargs="+", metavar="NAME", help="default: all of them")
    parser.add_argument("--add", action="append", default=[], metavar="NAME=OPTIONS", help="one more candidate")
    parser.add_argument("--maps", nargs="+", default=MAPS, metavar="MAP")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,), metavar="SEED")
    parser.add_argument("--steps", type=int, default=1_000_000, help="at most, of every training")
    parser.add_argument("--level", type=float, default=0.9, help="win rate to reach")
    args = parser.parse_args()
    known = CANDIDATES | dict(text.split("=", 1) for text in args.add)
    chosen = args.candidates or list(known)
    if missing := [name for name in chosen if name not in known]:
        parser.error(f"unknown candidate {missing[0]}; there are {', '.join(known)}")
    runner.use_compilation_cache()
    rows: list[Row] = json.loads(args.out.read_text()) if args.out.exists() else []
    for seed in args.seeds:
        for name in args.maps:
            for candidate in chosen:
                about = {"candidate": candidate, "map": name, "seed": seed, "level": args.level, "budget": args.steps}
                if any(about.items() <= row.items() for row in rows):
                    continue
                row = trained(known[candidate], name, seed, args.steps, args.level) | about
                log(
                    *(
                        f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in row.items()
                    )
                )
                rows.append(row)
                args.out.parent.mkdir(parents=True, exist_ok=True)
                replace_text(args.out, "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    told([row for row in rows if row["candidate"] in chosen and row["map"] in args.maps])


if __name__ == "__main__":
    main()
