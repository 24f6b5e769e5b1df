"""What all adapters of compiled worlds need: an end that stays the end, and vectors without names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import tree
from ibal.types import Actions, Block, Env, EnvSpec, ObsLayout, PRNGKey, TimeStep


class FrozenState(NamedTuple):
    """``env`` is the other library's state, ``step`` the moment that was shown, ``clock`` the steps since the reset."""

    env: Any
    step: TimeStep
    clock: Int[Array, ""]


def frozen(
    spec: EnvSpec,
    reset: Callable[[PRNGKey], tuple[Any, TimeStep]],
    step: Callable[[PRNGKey, Any, Actions, Int[Array, ""]], tuple[Any, TimeStep]],
    frame: Callable[[Any], Any] | None = None,
) -> Env:
    """Return an environment that shows its last moment for ever, however often it is stepped after its end.

    ``step(key, state, actions, clock) -> (state, TimeStep)`` is told how many steps there have been, this one included.
    Other libraries say nothing of what comes after an end. An episode that lasts ``spec.horizon`` steps is truncated.
    """

    def begin(key: PRNGKey, params: Any) -> tuple[FrozenState, TimeStep]:
        state, first = reset(key)
        return FrozenState(state, first, jnp.int32(0)), first

    def advance(key: PRNGKey, state: FrozenState, actions: Actions, params: Any) -> tuple[FrozenState, TimeStep]:
        was = state.step
        over = was.terminated | was.truncated
        clock = state.clock + 1
        inner, now = step(key, state.env, actions, clock)
        now = now._replace(truncated=(now.truncated | (clock >= spec.horizon)) & ~now.terminated)
        last = was._replace(reward=jnp.zeros_like(was.reward))
        inner, now = tree.where(over, (state.env, last), (inner, now))
        return FrozenState(inner, now, jnp.where(over, state.clock, clock)), now

    return Env(spec, (), begin, advance, None if frame is None else lambda state, params: frame(state.env))


def row(values: Any, size: int) -> Float[Array, "size"]:
    """Return an observation of whatever shape as ``size`` numbers, filled up with zeros."""
    flat = jnp.ravel(jnp.asarray(values)).astype(jnp.float32)
    return jnp.pad(flat, (0, size - flat.size))


def unnamed(size: int, kind: str = "own") -> ObsLayout:
    """Name a vector of which nobody says what it holds: one block, so no attack takes a part of it for an agent."""
    return ObsLayout((Block(kind, 0, 0, tuple(f"entry_{i}" for i in range(size))),), "anonymous")


def blocks(*parts: tuple[str, int, tuple[str, ...]]) -> tuple[Block, ...]:
    """Return blocks (kind, slot, features) one after the other."""
    out: list[Block] = []
    for kind, slot, features in parts:
        out.append(Block(kind, slot, out[-1].stop if out else 0, features))
    return tuple(out)


def largest(shapes: Any) -> int:
    """Return the size of the largest of some arrays."""
    return max(int(leaf.size) for leaf in jax.tree.leaves(shapes))
