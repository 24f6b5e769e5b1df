"""Race the trainings of two versions of this library on one machine, chunk by chunk in turns.

git worktree add --detach ../old 076644d
python benchmarks/train_race.py --against ../old --maps 3m,2s3z,8m,MMM
python benchmarks/train_race.py --against ../old --maps 8m --seeds 2         # a seed for each of two cores

Both train QMIX against nobody with preset ``laptop`` at ``--updates`` gradient steps per episode, each in a process of
its own that does nothing while it is the other's turn. What is said is the ratio of the steps per second, round by
round, and that of the processor time per step, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]


def main(argv: list[str]) -> int:
    """Race, or be one of the two."""
    args = _parser().parse_args(argv)
    if args.play:
        return _play(args)
    found: dict[str, Any] = {}
    for name in args.maps.split(","):
        racers = {"old": _start(Path(args.against), name, args), "new": _start(HERE, name, args)}
        rounds: dict[str, list[dict[str, float]]] = {which: [] for which in racers}
        for _ in range(args.rounds):
            for which, racer in racers.items():
                rounds[which].append(_turn(racer))
        for racer in racers.values():
            assert racer.stdin is not None
            racer.stdin.close()
            racer.wait()
        found[name] = _told(name, rounds)
    if args.json:
        print(json.dumps(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--against", help="the checkout of the other version")
    out.add_argument("--maps", default="3m,2s3z,8m,MMM")
    out.add_argument("--seeds", type=int, default=1, help="seeds at once; one takes all the cores where it can")
    out.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    out.add_argument("--updates", type=float, default=0.5, help="gradient steps per episode")
    out.add_argument("--warm-up", type=int, default=10, help="chunks before the race")
    out.add_argument("--rounds", type=int, default=6)
    out.add_argument("--chunk", type=int, default=4, help="iterations of 32 episodes in a round")
    out.add_argument("--json", action="store_true")
    out.add_argument("--play", help=argparse.SUPPRESS)
    return out


def _start(checkout: Path, name: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--play", name]
    for option in ("seeds", "cores", "updates", "warm_up", "chunk"):
        command += ["--" + option.replace("_", "-"), str(getattr(args, option))]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
    racer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    )  # fmt: skip
    assert racer.stdout is not None
    print(f"{name} {checkout.name}: {racer.stdout.readline().strip()}", file=sys.stderr, flush=True)
    return racer


def _turn(racer: subprocess.Popen[str]) -> dict[str, float]:
    assert racer.stdin is not None
    assert racer.stdout is not None
    racer.stdin.write("go\n")
    racer.stdin.flush()
    return json.loads(racer.stdout.readline())


def _told(name: str, rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    rate = {which: [r["steps"] / r["seconds"] for r in of] for which, of in rounds.items()}
    cost = {which: [r["cpu"] / r["steps"] for r in of] for which, of in rounds.items()}
    faster = [new / old for old, new in zip(rate["old"], rate["new"], strict=True)]
    cheaper = [old / new for old, new in zip(cost["old"], cost["new"], strict=True)]
    middle = {which: statistics.median(of) for which, of in rate.items()}
    print(
        f"{name}: old {middle['old']:.0f}, new {middle['new']:.0f} steps/s; faster {statistics.median(faster):.2f} "
        f"({min(faster):.2f} to {max(faster):.2f}); processor time per step {statistics.median(cheaper):.2f} of the "
        f"new's ({min(cheaper):.2f} to {max(cheaper):.2f})",
        flush=True,
    )
    return {"rate": rate, "cpu_per_step": cost, "faster": faster, "cheaper": cheaper}


def _play(args: argparse.Namespace) -> int:
    """Train a chunk for every line that comes in."""
    import jax

    alone = args.seeds < args.cores
    from dataclasses import fields, replace

    from ibal import make, rng
    from ibal.adversaries.base import natural
    from ibal.experiments.presets import PRESETS

    room = "ibal.training" if find_spec("ibal.training") else "ibal.train"  # as it was called once
    build, settings = import_module(f"{room}.runner").build, import_module(f"{room}.config").TrainConfig

    preset = PRESETS["laptop"]
    train = replace(preset.train, chunk=args.chunk, replay=1024, updates_per_episode=args.updates)
    divided = alone and "parts" in {field.name for field in fields(settings)}
    if divided:
        train = replace(train, parts=args.cores // args.seeds)
    jax.config.update("jax_num_cpu_devices", args.cores if divided or not alone else args.seeds)
    trainer = build(make(args.play), preset.learner, train, args.seeds, natural())
    began = time.perf_counter()
    state, _ = trainer.chunk(trainer.init(jax.numpy.stack([rng.root(seed) for seed in range(args.seeds)])))
    jax.block_until_ready(state.progress)
    first = time.perf_counter() - began
    for _ in range(args.warm_up - 1):
        state, _ = trainer.chunk(state)
    jax.block_until_ready(state.progress)
    print(
        f"first call {first:.1f} s", flush=True
    )  # now only: the other compiles next, and shall have the machine alone
    for _ in sys.stdin:
        before, began, cpu = int(state.progress.env_steps.sum()), time.perf_counter(), time.process_time()
        state, _ = jax.block_until_ready(trainer.chunk(state))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        steps = int(state.progress.env_steps.sum()) - before
        print(json.dumps({"steps": steps, "seconds": seconds, "cpu": cpu}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
