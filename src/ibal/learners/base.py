"""What a learner is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ibal.types import Episodes, Policy


class Learner(NamedTuple):
    """Three functions over an explicit state.

    ``init(key) -> state``; ``policy(state, epsilon[]) -> Policy`` plays with what has been learned and a share
    ``epsilon`` of random actions; ``update(key, state, episodes, chosen[b], left[]) -> (state, metrics)`` does one
    gradient step on the episodes with these indices; ``key`` is another one at every step of every run, ``left`` the
    share of the training that is still to come, for learning rates that follow it. ``metrics`` are scalars under fixed
    names.
    """

    init: Callable[[jax.Array], Any]
    policy: Callable[[Any, jax.Array], Policy]
    update: Callable[[jax.Array, Any, Episodes, jax.Array, jax.Array], tuple[Any, dict[str, jax.Array]]]
