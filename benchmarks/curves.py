"""Turn run folders into a table of final win rates, a picture of learning curves and one small JSONL of evaluations.

    python benchmarks/curves.py runs/* --out docs/results/qmix

Writes OUT.png and OUT.jsonl and prints the table in Markdown. Win rates are those of greedy play; the last
evaluation of a run plays 512 episodes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from ibal.evaluate.stats import wilson


def main(argv: list[str] | None = None) -> int:
    """Read the runs and write the three things."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders; those of one environment are one curve")
    parser.add_argument("--out", type=Path, required=True, help="path without ending")
    args = parser.parse_args(argv)
    groups: dict[str, list[tuple[int, list[dict[str, Any]]]]] = defaultdict(list)
    for run in sorted(args.runs):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        env = next(line for line in (run / "config.toml").read_text().splitlines() if line.startswith("env = "))
        name = env.split('"')[1]
        for seed in sorted({row["seed"] for row in rows}):
            groups[name].append((seed, [r for r in rows if r["kind"] == "eval" and r["seed"] == seed]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.with_suffix(".jsonl").open("w") as file:
        for name, seeds in groups.items():
            for _, rows in seeds:
                file.writelines(json.dumps({"env": name, **row}) + "\n" for row in rows)
    draw(groups, args.out.with_suffix(".png"))
    print(markdown(groups))
    return 0


def markdown(groups: dict[str, list[tuple[int, list[dict[str, Any]]]]]) -> str:
    """One line per environment and seed; the 95 % Wilson interval is over episodes."""
    lines = ["| map | seed | steps | win rate [95 %] | return | length | first >= 0.9 | minutes |", "|" + "---|" * 8]
    for name, seeds in groups.items():
        for seed, rows in sorted(seeds):
            last = rows[-1]
            low, high = wilson(round(last["win"] * last["episodes"]), last["episodes"])
            first = next((row["env_steps"] for row in rows if row["win"] >= 0.9), None)
            lines.append(
                f"| {name.removeprefix('smac/')} | {seed} | {last['env_steps']:,} | {last['win']:.3f} [{low:.3f}, "
                f"{high:.3f}] | {last['return']:.2f} | {last['length']:.1f} | {f'{first:,}' if first else '-'} | "
                f"{last['wall_s'] / 60:.1f} |"
            )
    return "\n".join(lines)


def draw(groups: dict[str, list[tuple[int, list[dict[str, Any]]]]], path: Path) -> None:
    """One panel per environment, one line per seed."""
    figure, axes = plt.subplots(1, len(groups), figsize=(3.2 * len(groups), 2.8), sharey=True, squeeze=False)
    for axis, (name, seeds) in zip(axes[0], groups.items(), strict=True):
        for seed, rows in sorted(seeds):
            steps, wins = [0, *(r["env_steps"] / 1e6 for r in rows)], [0, *(r["win"] for r in rows)]
            axis.plot(steps, wins, linewidth=1.2, label=f"seed {seed}")
        axis.axhline(0.9, color="0.7", linewidth=0.8, linestyle="--")
        axis.set(title=name.removeprefix("smac/"), xlabel="million environment steps", ylim=(-0.02, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("greedy win rate")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
