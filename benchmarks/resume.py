"""Kill a training at random moments, resume it every time, and compare the end with that of an undisturbed one.

    python benchmarks/resume.py                     # ten times kill -9 on a short 3m training
    python benchmarks/resume.py --kills 3 --seed 7 --json
    python benchmarks/resume.py --kills 5 --learner mappo

Prints where each kill fell. Exit status 1 if metrics or policies differ in one bit.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

TIMES = ("wall_s", "seconds")  # what a clock says is nobody's to repeat


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--learner", default="qmix", help="how the team learns, as in ibal train")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    args = parser.parse_args(argv)
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole, torn = Path(scratch, "whole"), Path(scratch, "torn")
        subprocess.run(command(whole, args), check=True, capture_output=True)
        moments: list[dict[str, float]] = []
        for _ in range(args.kills):
            # Counted from where the last kill has left it: a moment of the clock would mostly fall into the start.
            further = draw.uniform(0, args.steps / args.kills)
            moments.append(kill(torn, args, further, draw.uniform(0, 0.4)))
            common.log(
                f"kill {len(moments)} at step {moments[-1]['step']:.0f}, {moments[-1]['new']:.0f} since the last"
            )
        subprocess.run(command(torn, args), check=True, capture_output=True)
        equal = check(whole, torn)
    common.log(f"{args.kills} kills: metrics and policy are {'equal, bit for bit' if equal else 'DIFFERENT'}")
    if args.json:
        print(json.dumps({"kills": moments, "equal": equal}))
    return 0 if equal else 1


def kill(out: Path, args: argparse.Namespace, further: float, later: float) -> dict[str, float]:
    """Go on with the training, and kill it ``later`` seconds after it has trained for ``further`` steps more."""
    before = reached(out)
    process = subprocess.Popen(command(out, args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while reached(out) <= before + further and process.poll() is None:
        time.sleep(0.02)
    time.sleep(later)
    if process.poll() is not None:
        said = process.communicate()[1].decode()[-2000:]
        raise SystemExit(
            f"the training failed: {said}" if process.returncode else "it ended too soon; try more --steps"
        )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return {"further": round(further), "later_s": round(later, 3), "step": reached(out), "new": reached(out) - before}


def command(out: Path, args: argparse.Namespace) -> list[str]:
    """Start a training, or go on with it; it saves itself after every chunk."""
    flags = ["--steps", str(args.steps), "--learner", args.learner, "--train.envs", "8", "--train.chunk", "4",
             "--train.replay", "256", "--train.checkpoint-every", "0", "--train.eval-every", "2000",
             "--train.eval-episodes", "8", "--train.learn-from", "8"]  # fmt: skip
    flags += (
        ["--learner.epochs", "2"]
        if args.learner in ("mappo", "ippo", "pqn-vdn", "pqn-qmix")
        else ["--learner.batch", "8"]
    )
    return [sys.executable, "-m", "ibal", "train", "--env", "3m", "--out", str(out), "--resume", "--quiet", *flags]


def reached(out: Path) -> float:
    """Return the step of the last line that was written."""
    path = out / "metrics.jsonl"
    lines = [line for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return json.loads(lines[-1])["env_steps"] if lines else 0


def check(whole: Path, torn: Path) -> bool:
    """Compare metrics (times apart) and policy files."""

    def metrics(out: Path) -> list[dict[str, object]]:
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]

    name = "policy/seed-0.safetensors"
    return metrics(whole) == metrics(torn) and (whole / name).read_bytes() == (torn / name).read_bytes()


if __name__ == "__main__":
    sys.exit(main())
