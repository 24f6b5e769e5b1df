"""Wrappers: functions ``Env -> Env`` that keep the spec, its layouts and the pictures correct.

A wrapper passes the keys on as they come, so the wrapped world draws the same numbers as the bare one. ``params``
stay those of the wrapped environment. A world in which more than the world draws (``Env.begin``) takes the key that the
reset of a wrapper is given for that of an episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng, tree
from ibal.types import Actions, Block, Env, EnvSpec, Frame, ObsLayout, PRNGKey, TimeStep

_TOGETHER = 16  # games that are begun side by side: as many as a processor's widest instructions take
S = TypeVar("S")


class LastActionState(NamedTuple):
    """``last_action`` is the one-hot action that led here, zeros after a reset."""

    env: Any
    last_action: Float[Array, "n a"]


class TimeLimitState(NamedTuple):
    """``t`` counts the steps since the reset."""

    env: Any
    t: Int[Array, ""]


class AutoResetState(NamedTuple):
    """``final`` is the time-step before the latest reset: what a value estimate of a truncated episode must see."""

    env: Any
    final: TimeStep


def with_agent_ids(env: Env) -> Env:
    """Append to every observation the one-hot index of the agent that has it: a block ``id[0]``."""
    n = env.spec.n_agents

    def add(step: TimeStep) -> TimeStep:
        return step._replace(obs=jnp.concatenate([step.obs, jnp.eye(n, dtype=step.obs.dtype)], axis=1))

    def reset(key: PRNGKey, params: Any) -> tuple[Any, TimeStep]:
        state, step = env.reset(key, params)
        return state, add(step)

    def step(key: PRNGKey, state: Any, actions: Actions, params: Any) -> tuple[Any, TimeStep]:
        state, step = env.step(key, state, actions, params)
        return state, add(step)

    return env._replace(
        spec=_with_block(env.spec, "id", tuple(f"agent_{i}" for i in range(n))), reset=reset, step=step, begin=None
    )


def with_last_action(env: Env) -> Env:
    """Append to every observation the agent's own last action, one-hot: a block ``last_action[0]``."""
    spec = env.spec

    def add(state: LastActionState, step: TimeStep) -> tuple[LastActionState, TimeStep]:
        return state, step._replace(obs=jnp.concatenate([step.obs, state.last_action], axis=1))

    def reset(key: PRNGKey, params: Any) -> tuple[LastActionState, TimeStep]:
        state, step = env.reset(key, params)
        return add(LastActionState(state, jnp.zeros((spec.n_agents, spec.n_actions), step.obs.dtype)), step)

    def step(key: PRNGKey, state: LastActionState, actions: Actions, params: Any) -> tuple[LastActionState, TimeStep]:
        inner, step = env.step(key, state.env, actions, params)
        return add(LastActionState(inner, jax.nn.one_hot(actions, spec.n_actions, dtype=step.obs.dtype)), step)

    return env._replace(
        spec=_with_block(spec, "last_action", spec.action_names),
        reset=reset,
        step=step,
        frame=frame_of_inner(env),
        begin=None,
    )


def with_time_limit(env: Env, limit: int) -> Env:
    """Truncate an episode that has not terminated after ``limit`` steps."""
    if limit < 1:
        raise ValueError(f"limit is {limit}; an episode has at least 1 step")

    def reset(key: PRNGKey, params: Any) -> tuple[TimeLimitState, TimeStep]:
        state, step = env.reset(key, params)
        return TimeLimitState(state, jnp.int32(0)), step

    def step(key: PRNGKey, state: TimeLimitState, actions: Actions, params: Any) -> tuple[TimeLimitState, TimeStep]:
        inner, step = env.step(key, state.env, actions, params)
        t = state.t + 1
        return TimeLimitState(inner, t), step._replace(truncated=(step.truncated | (t >= limit)) & ~step.terminated)

    spec = replace(env.spec, horizon=min(limit, env.spec.horizon))
    return env._replace(spec=spec, reset=reset, step=step, frame=frame_of_inner(env), begin=None)


def renewing(begin: Callable[[PRNGKey, Any], S]) -> Callable[[Array, PRNGKey, Any, S], S]:
    """Return ``renew(over, key, params, kept)``: ``begin(key, params)`` where a game is over, else ``kept``.

    Under ``vmap`` a processor begins only the games that are over, ``_TOGETHER`` at a time, and not one for every game
    in every step; what comes out is the same. An accelerator, which waits for launches and not for work, begins all.
    """

    @jax.custom_batching.custom_vmap
    def renew(over: Array, key: PRNGKey, params: Any, kept: S) -> S:
        return jax.lax.cond(over, lambda: begin(key, params), lambda: kept)

    @renew.def_vmap
    def _many(size: int, batched: Any, over: Array, key: Array, params: Any, kept: S) -> tuple[S, Any]:
        def each(leaf: Array, is_batched: bool) -> Array:
            return leaf if is_batched else jnp.broadcast_to(leaf[None], (size, *leaf.shape))

        over, key, kept = (
            jax.tree.map(each, given, of)
            for given, of in zip((over, key, kept), (*batched[:2], batched[3]), strict=True)
        )
        axes = (0, jax.tree.map(lambda is_batched: 0 if is_batched else None, batched[2]))
        out = jax.tree.map(lambda _: True, kept)
        if jax.default_backend() != "cpu":
            return jax.vmap(lambda over, new, old: tree.where(over, new, old))(
                over, jax.vmap(begin, axes)(key, params), kept
            ), out
        group = min(size, _TOGETHER)
        ended = jnp.nonzero(over, size=size + -size % group, fill_value=size)[0]

        def some(loop: tuple[Array, S]) -> tuple[Array, S]:
            start, kept = loop
            which = jax.lax.dynamic_slice_in_dim(ended, start, group)
            chosen = jnp.minimum(which, size - 1)
            mine = jax.tree.map(lambda leaf, is_batched: leaf[chosen] if is_batched else leaf, params, batched[2])
            fresh = jax.vmap(begin, axes)(key[chosen], mine)
            return start + group, jax.tree.map(lambda old, new: old.at[which].set(new, mode="drop"), kept, fresh)

        count = over.sum()
        return jax.lax.while_loop(lambda loop: loop[0] < count, some, (jnp.int32(0), kept))[1], out

    return renew


def with_auto_reset(env: Env) -> Env:
    """Start a new episode in the same step that ends one: for rollouts that never stop, not for evaluation.

    The time-step then holds ``reward``, ``terminated``, ``truncated`` and ``metrics`` of the episode that ended, and
    ``obs``, ``state``, ``avail`` and ``alive`` of the new one; the last moment of the old one is in ``state.final``.
    This breaks the contract of ``Env.step`` on purpose: ``check_env`` refuses it.
    """

    renew = renewing(env.reset)

    def reset(key: PRNGKey, params: Any) -> tuple[AutoResetState, TimeStep]:
        state, step = env.reset(key, params)
        return AutoResetState(state, step), step

    def step(key: PRNGKey, state: AutoResetState, actions: Actions, params: Any) -> tuple[AutoResetState, TimeStep]:
        inner, final = env.step(key, state.env, actions, params)
        ended = final.terminated | final.truncated
        inner, step = renew(ended, rng.stream(key, "auto-reset"), params, (inner, final))
        step = step._replace(
            reward=final.reward, terminated=final.terminated, truncated=final.truncated, metrics=final.metrics
        )
        return AutoResetState(inner, tree.where(ended, final, state.final)), step

    return env._replace(reset=reset, step=step, frame=frame_of_inner(env), begin=None)


def frame_of_inner(env: Env) -> Callable[[Any, Any], Frame] | None:
    """Return the frame function for a wrapper whose state holds the wrapped one as ``state.env``."""
    frame = env.frame
    if frame is None:
        return None
    return lambda state, params: frame(state.env, params)


def _with_block(spec: EnvSpec, kind: str, features: tuple[str, ...]) -> EnvSpec:
    layout = spec.obs_layout
    if kind in layout.kinds:
        raise ValueError(f'the observation of "{spec.name}" already has a block "{kind}"')
    blocks = (*layout.blocks, Block(kind, 0, layout.size, features))
    return replace(spec, obs_size=spec.obs_size + len(features), obs_layout=ObsLayout(blocks, layout.allies))
