"""Agents out of order or missing, for environments whose parameters say who: those of SMAC and of foraging do.

``disabled`` and ``absent`` [n] name agents; ``n_disabled`` and ``n_absent`` say how many more are drawn in every
episode. All are arrays: sweeping them recompiles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key

from ibal import rng

Params = TypeVar("Params")  # a NamedTuple with these four fields, among others


def disable(params: Params, agents: int | Sequence[int]) -> Params:
    """Let agents be idle for the whole episode, visible and in the way (Dis-l).

    ``agents`` is how many, drawn anew in every episode, or a sequence naming them.
    """
    named, drawn = _who(params, agents)
    return cast("Any", params)._replace(disabled=named, n_disabled=drawn)


def remove(params: Params, agents: int | Sequence[int]) -> Params:
    """Let agents be missing from the start; ``agents`` as in ``disable``."""
    named, drawn = _who(params, agents)
    return cast("Any", params)._replace(absent=named, n_absent=drawn)


def _who(params: Any, agents: int | Sequence[int]) -> tuple[Bool[Array, "n"], Array]:
    n = params.disabled.shape[0]
    named = np.zeros(n, bool)
    if isinstance(agents, int):
        if not 0 <= agents <= n:
            raise ValueError(f"the team has {n} agents, not {agents}")
        return jnp.asarray(named), jnp.int32(agents)
    wrong = [i for i in agents if not 0 <= i < n]
    if wrong:
        raise ValueError(f"there is no agent {wrong[0]}; agents are 0 .. {n - 1}")
    named[list(agents)] = True
    return jnp.asarray(named), jnp.int32(0)


def draw(key: Key[Array, ""], params: Any) -> tuple[Bool[Array, "n"], Bool[Array, "n"]]:
    """Return (disabled, absent) of one episode: the agents named, plus the wanted numbers among the others."""
    free = ~(params.disabled | params.absent)
    ticket = jnp.where(free, rng.uniform(key, free.shape), 2.0)
    place = (ticket[None, :] < ticket[:, None]).sum(axis=1, dtype=jnp.int32)  # 0 = first drawn
    gone = free & (place < params.n_absent)
    off = free & (place >= params.n_absent) & (place < params.n_absent + params.n_disabled)
    absent = params.absent | gone
    return (params.disabled | off) & ~absent, absent
