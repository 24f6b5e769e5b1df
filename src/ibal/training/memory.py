"""How much memory a training will take: said before anything is compiled, and refused when it does not fit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from ibal import rng, tree
from ibal.evaluation.room import MIB, MemoryRefused, available, size
from ibal.learners import lanes, replayed
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig
from ibal.learners.packing import row_group
from ibal.learners.pqn import group_of
from ibal.training.config import TrainConfig
from ibal.training.loop import Trainer
from ibal.training.state import TrainState
from ibal.types import EnvSpec

# What compiling takes on top and does not give back, and what programs take that are found in the cache of an earlier
# start: measured on a CPU with jax 0.10.2 (docs/results/speed.md).
COMPILER = 1050 * MIB
KEPT = 330 * MIB


def predict(
    state: TrainState, spec: EnvSpec, learner: LearnerConfig, train: TrainConfig, seeds: int
) -> dict[str, int]:  # fmt: skip
    """Return the bytes that each part of a training will take at its peak.

    ``state`` may be abstract (``jax.eval_shape``) and has the axis of seeds. On a CPU everything counts, the process as
    it stands included; on an accelerator only what lies there does.
    """
    n, h = spec.n_agents, learner.hidden
    if isinstance(learner, PpoConfig | PqnConfig):
        one = (spec.horizon + 1) * (2 * (2 * n * spec.obs_size + spec.state_size) + n * (spec.n_actions + 2) + 5)
        parts = {"rollout": 2 * seeds * train.envs * one, "learner": 4 * seeds * _fresh(spec, learner, train)}
    else:
        held = tree.nbytes(state.learner.replay)
        of = lanes.plan(n, learner.batch // train.shares, spec.horizon + 1)
        wide = n * (3 * spec.obs_size + 8 * spec.n_actions + 40 * h) + 5 * spec.state_size + 600
        slots = of.lanes * (of.room * (7 * n * h + 2 * of.waves) + of.span * wide)
        parts = {
            "replay": held,
            "rollout": 2 * (held // replayed.capacity(state.learner) * train.envs),
            "learner": 4 * seeds * train.shares * slots,
        }
    parts |= {
        "networks": 3 * tree.nbytes((replayed.learned(state.learner), state.attacker)),
    }
    return parts if jax.default_backend() != "cpu" else {"process": _resident(), "compiler": COMPILER, **parts}


def _fresh(spec: EnvSpec, learner: PpoConfig | PqnConfig, train: TrainConfig) -> int:
    """Return how many numbers a learner of fresh episodes works on at a time: what it keeps of all rows, and the
    groups of rows that are on the way."""
    n, h, row = spec.n_agents, learner.hidden, spec.horizon + 1
    if isinstance(learner, PqnConfig):
        group = group_of(n, train.envs // train.shares, learner.minibatches)
        wide = n * (4 * spec.obs_size + 8 * spec.n_actions + 45 * h) + 5 * spec.state_size + 600
        return row * (6 * train.envs + train.shares * group * wide)
    whole = train.envs * row * n * (10 + 4 * h // (learner.chunk or spec.horizon))
    slots = row_group(n, train.envs // learner.minibatches) * row
    return whole + slots * n * (4 * spec.obs_size + 3 * spec.n_actions + 2 * spec.state_size + 60 * h)


def forecast(
    make: Trainer, spec: EnvSpec, learner: LearnerConfig, train: TrainConfig, seeds: int
) -> tuple[TrainState, dict[str, int], str]:
    """Return the abstract state of a fresh training, what ``predict`` says of it, and ``check``'s line. Raises
    MemoryRefused; nothing is allocated."""
    key = jax.eval_shape(lambda: rng.root(0))
    empty = jax.eval_shape(make.init, jax.ShapeDtypeStruct((seeds,), key.dtype))
    parts = predict(empty, spec, learner, train, seeds)
    return empty, parts, check(parts, train, replayed.capacity(empty.learner))


def from_cache(parts: dict[str, int]) -> int:
    """Return the bytes at the peak of a training whose programs need not be compiled."""
    return sum(parts.values()) - (COMPILER - KEPT) * ("compiler" in parts)


def check(parts: dict[str, int], train: TrainConfig, capacity: int) -> str:
    """Return one line that says what is taken. Raises MemoryRefused with a smaller replay when there is not as much."""
    total, free = sum(parts.values()), available()
    listed = ", ".join(f"{name} {size(count)}" for name, count in parts.items())
    line = f"memory at the peak: {size(total)} ({listed})"
    if "compiler" in parts:
        line += f", {size(from_cache(parts))} where its programs are kept from an earlier start"
    room = None if free is None else free + parts.get("process", 0)
    if room is None or total <= room:
        return line
    fits = 0
    if capacity:
        fits = int((room - (total - parts["replay"])) / parts["replay"] * capacity * 0.95)
    way = f"Try --train.replay {fits}" if capacity and fits >= train.learn_from else "Try fewer --seeds or --train.envs"
    raise MemoryRefused(f"{line}; only {size(room)} are there. {way}")


def peak() -> int | None:
    """Return the most memory this process has held so far (bytes of main memory); None where nobody counts it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 300 * MIB
    return pages * os.sysconf("SC_PAGE_SIZE")
