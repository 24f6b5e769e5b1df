"""Everything that must survive a crash."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Int


class Counters(NamedTuple):
    """Counters of one seed. ``extra`` are the environment steps that were played for the adversary alone, which the
    others do not count; None: it needs none."""

    iteration: Int[Array, ""]
    env_steps: Int[Array, ""]
    episodes: Int[Array, ""]
    extra: Int[Array, ""] | None = None


class TrainState(NamedTuple):
    """State of one seed; with several seeds every array has them as its leading axis."""

    key: jax.Array
    learner: Any
    attacker: Any
    progress: Counters
