"""How soon does each learner win a share of its games: in environment steps, seconds, and processor seconds?

    python benchmarks/time_to.py --map 8m --learners qmix pqn-vdn --seeds 0 1 2
    python benchmarks/time_to.py --map 3m --learners pqn-vdn --set train.envs=64 --set learner.epochs=2
    python benchmarks/time_to.py --show docs/results/mappo/time_to.jsonl        # the table of what was kept

Every learner trains vanilla from a preset, one after another in this process, until two evaluations in a row win
``--level`` of their games, at most ``--steps`` (learning rates that fall, fall to zero there). Counted is what the
training took up to the first of the two: no compiling, no evaluations. Processor seconds (user and system, of all
cores) are disturbed less by other programs than seconds are. ``train.parts`` is 2 where a learner can use two cores.
``--keep FILE`` adds a line to a file after every team, which ``--show FILE`` prints as a table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from common import emit, first_of_two, log, parse_settings, table, versions

from ibal import make, rng, tree
from ibal.adversaries.base import natural
from ibal.evaluation.episodes import play
from ibal.experiments.config import RunConfig, apply_overrides
from ibal.experiments.presets import apply_preset
from ibal.learners.config import LEARNERS, PpoConfig, named
from ibal.training import runner
from ibal.training.learner import agent_for, weights_of
from ibal.types import Env


class Spent(NamedTuple):
    """What a training took so far."""

    steps: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    updates: int = 0


class Race(NamedTuple):
    """When a training has won: two tests in a row, ``every`` so many environment steps, of so many greedy ``games``,
    with a win rate of at least ``level``."""

    level: float = 0.95
    every: int = 10_000
    games: int = 256


def configured(learner: str, args: argparse.Namespace) -> RunConfig:
    """Return the training of a learner: a preset, with what is ``--set``."""
    base = apply_preset(args.preset, RunConfig(env=f"smac/{args.map}", learner=named(learner, RunConfig().learner)))
    parts = 1 if isinstance(base.learner, PpoConfig) else args.cores
    base = replace(base, train=replace(base.train, steps=args.steps, parts=parts, replay=min(base.train.replay, 2048)))
    return apply_overrides(base, args.settings)


def race(env: Env, config: RunConfig, seed: int, until: Race) -> dict[str, Any]:
    """Train one team until it wins, or for all the steps of its configuration, and say what that took."""
    team, keys = agent_for(env.spec, config.learner), rng.episodes(rng.stream(rng.root(0), "eval"), until.games)
    trainer = runner.build(env, config.learner, config.train, 1, natural())
    state = trainer.init(jnp.stack([rng.root(seed)]))
    spent, compiling = Spent(), 0.0
    tests: list[tuple[Spent, float]] = []
    at: Spent | None = None
    while at is None and spent.steps < config.train.steps:
        new, state = _chunk(trainer, state)
        if spent.steps == 0:  # the first one holds the compiling: it counts as the second one does, by steps
            first = new.steps
            compiling, (new, state) = new.seconds, _chunk(trainer, state)
            share = first / max(new.steps, 1)
            spent = Spent(first, share * new.seconds, share * new.processor, new.updates)
        spent = _sum(spent, new)
        if spent.steps - (tests[-1][0].steps if tests else 0) < until.every:
            continue
        weights = jax.device_put(tree.at(weights_of(state.learner), 0), jax.local_devices()[0])
        won = float(play(env, team, keys, weights).win.mean())
        log(f"{env.spec.name}, seed {seed}: {won:.3f} after {spent.steps:,} steps, {spent.processor:.1f} processor s")
        tests.append((spent, won))
        at = first_of_two((then, share >= until.level) for then, share in tests)
    curve = [(then.steps, won) for then, won in tests]
    half = next((steps for steps, won in curve if won >= 0.5), None)
    row = {"map": env.spec.name, "seed": seed, "reached": at is not None, "half": half}
    return row | (at or spent)._asdict() | {
        "first_call": compiling, "rate": spent.steps / spent.seconds, "curve": curve
    }  # fmt: skip


def _sum(a: Spent, b: Spent) -> Spent:
    return Spent(a.steps + b.steps, a.seconds + b.seconds, a.processor + b.processor, a.updates + b.updates)


def _chunk(trainer: Any, state: Any) -> tuple[Spent, Any]:
    """Train for a chunk; the steps are those of it alone."""
    before = int(state.progress.env_steps[0])
    began, processor = time.perf_counter(), time.process_time()
    state, metrics = jax.block_until_ready(trainer.chunk(state))
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    updates = int(metrics["learning"]["updates"].sum())
    return Spent(int(state.progress.env_steps[0]) - before, seconds, processor, updates), state


def as_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the kept rows as Markdown, with at most twelve points of every curve."""
    head = "| map | learner | settings | seed | first at .5 | first at .95, twice in a row | processor s | the curve |"
    lines = [head, "|" + "---|" * head.count(" | ") + "---|"]
    for row in sorted(rows, key=lambda row: (row["map"], row["learner"], str(row["settings"]), row["seed"])):
        settings = ", ".join(f"{name} {value}" for name, value in row["settings"].items()) or "of the preset"
        curve, half = row["curve"], row["half"]
        some = [curve[i * (len(curve) - 1) // 11] for i in range(12)] if len(curve) > 12 else curve
        shown = ", ".join(f"{won:.2f} at {steps / 1000:.0f}k" for steps, won in some)
        reached = f"**{row['steps']:,}**" if row["reached"] else f"not in {row['steps']:,}"
        cells = [row["map"], row["learner"], settings, row["seed"], f"{half:,}" if half else "never", reached,
                 f"{row['processor']:.1f}", shown]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Race the learners that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--map", default="8m")
    add("--learners", nargs="+", default=["qmix", "pqn-vdn"], choices=LEARNERS)
    add("--seeds", nargs="+", type=int, default=[0])
    add("--preset", default="laptop")
    add("--steps", type=int, default=500_000, help="most environment steps")
    add("--level", type=float, default=0.95)
    add("--every", type=int, default=10_000, help="environment steps between evaluations")
    add("--games", type=int, default=256, help="greedy games of an evaluation")
    add("--cores", type=int, default=2)
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the training, as learner.lr=1e-3")
    add("--version", default="", help="of the engine's rules; the newest")
    add("--keep", type=Path, metavar="FILE", help="add every team's row to this file")
    add("--show", type=Path, metavar="FILE", help="race nobody, print the rows of this file")
    add("--json", action="store_true")
    args = parser.parse_args()
    if args.show:
        print(as_table(map(json.loads, args.show.read_text(encoding="utf-8").splitlines())))
        return
    args.settings, args.rules = parse_settings(args.set), {"version": args.version} if args.version else {}
    jax.config.update("jax_num_cpu_devices", args.cores)
    runner.use_compilation_cache()
    env, until = make(args.map, **args.rules), Race(args.level, args.every, args.games)
    made = {"rules": env.spec.version, "settings": args.settings, "preset": args.preset, "games": args.games}
    rows = []
    for learner, seed in [(learner, seed) for learner in args.learners for seed in args.seeds]:
        rows.append({"learner": learner} | race(env, configured(learner, args), seed, until))
        if args.keep:
            with args.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1] | made) + "\n")
    head = ("learner", "seed", "half", "reached", "steps", "seconds", "processor", "updates", "rate", "first_call")
    table(head, [[row[name] for name in head] for row in rows])
    emit(made | {"rows": rows, **versions()}, args.json)


if __name__ == "__main__":
    main()
