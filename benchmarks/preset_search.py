"""Which settings of a training reach a win rate soonest, in seconds of training, over several maps together?

    python benchmarks/preset_search.py --out found.json                               # every candidate, one seed
    python benchmarks/preset_search.py --out found.json --candidates laptop lr-1e-3 --seeds 0 1 2
    python benchmarks/preset_search.py --out found.json --add "batch-16=--learner.batch 16" --candidates batch-16

A candidate is the preset ``laptop`` with some options changed. It trains vanilla QMIX on every map until two
evaluations in a row win ``--level`` of their games, at most ``--steps``. Counted are the seconds of the training
alone, up to the first of the two: no compiling, no evaluations. A map that is not learned counts as its whole training.
``--out`` keeps a row per candidate, map and seed; what is in it is not trained again. Nothing else should run
meanwhile: candidates are trained one after another, so a busy hour falls on some and not on others; the rows keep
processor seconds per thousand steps as well, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import first_of_two, log, table

CANDIDATES = {
    "laptop": "",
    "updates-1/8": "--train.updates_per_episode 0.125",
    "updates-1/2": "--train.updates_per_episode 0.5",
    "lr-1e-3": "--learner.lr 1e-3",
    "lambda-0.8": "--learner.td_lambda 0.8",
    "batch-16": "--learner.batch 16 --train.updates_per_episode 0.5",
    "envs-16": "--train.envs 16",
    "epsilon-100k": "--train.epsilon_steps 100_000",
}
MAPS = ("8m", "2s3z", "3s_vs_3z")
LOOK = 1.0  # seconds between two looks at what a training has written

Row = dict[str, Any]


def reached(lines: Sequence[Mapping[str, Any]], level: float) -> int | None:
    """Return the environment steps at the first of two evaluations in a row that win ``level`` or more; None: never."""
    return first_of_two((line["env_steps"], line["win"] >= level) for line in lines if line["kind"] == "eval")


def seconds_to(lines: Sequence[Mapping[str, Any]], steps: int) -> float:
    """Return the seconds of training up to ``steps``. The first chunk holds the compiling: it counts as long as the
    second one of as many steps."""
    chunks = [line for line in lines if line["kind"] == "chunk" and line["env_steps"] <= steps]
    if len(chunks) < 2:
        return sum(line["seconds"] for line in chunks)
    length = chunks[1]["env_steps"] - chunks[0]["env_steps"]
    return chunks[1]["seconds"] * chunks[0]["env_steps"] / length + sum(line["seconds"] for line in chunks[1:])


def trained(options: str, name: str, seed: int, steps: int, level: float) -> Row:
    """Train until the level is reached, and say what that took."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "run")
        command = [sys.executable, "-m", "ibal", "train", "--env", f"smac/{name}", "--preset", "laptop"]
        command += ["--steps", str(steps), "--seed", str(seed), "--train.eval_every", "20_000", "--out", str(out)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen([*command, "--quiet", *shlex.split(options)], stderr=subprocess.PIPE, text=True)
        while child.poll() is None:
            time.sleep(LOOK)
            if reached(read(out), level) is not None:
                child.send_signal(signal.SIGINT)  # it saves and ends
                break
        said = child.communicate()[1]
        lines = read(out)
        if not any(line["kind"] == "chunk" for line in lines):
            raise SystemExit(f"{' '.join(command)} {options} trained nothing: {said.strip()[-400:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    last = max(line["env_steps"] for line in lines)
    at = reached(lines, level)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"reached": at, "seconds": seconds_to(lines, last if at is None else at), "steps": last,
            "processor": 1000 * spent / last}  # fmt: skip


def read(out: Path) -> list[Row]:
    """Return the finished lines of a training's metrics."""
    path = out / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def told(rows: Sequence[Row]) -> None:
    """Print a row for every candidate, the soonest first: seconds (steps) of each map, mean over seeds; their sum."""
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
            mean = sum(row["seconds"] for row in mine) / len(mine)
            missed = sum(row["reached"] is None for row in mine)
            steps = sum(row["reached"] or row["steps"] for row in mine) / len(mine)
            note = f", {missed} of {len(mine)} not" if missed else ""
            cells.append(f"{mean:.0f} s ({steps / 1000:.0f}k{note})")
            total += mean
        lines.append([*cells, total])
    lines.sort(key=lambda line: (line[-1] != line[-1], line[-1]))
    table(["candidate", *names, "seconds"], lines)


def main() -> None:
    """Do what the command line asks for."""
    from ibal.files import replace_text

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
    rows: list[Row] = json.loads(args.out.read_text()) if args.out.exists() else []
    for seed in args.seeds:
        for name in args.maps:
            for candidate in chosen:
                about = {"candidate": candidate, "map": name, "seed": seed, "level": args.level, "budget": args.steps}
                if any(about.items() <= row.items() for row in rows):
                    continue
                row = about | trained(known[candidate], name, seed, args.steps, args.level)
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
