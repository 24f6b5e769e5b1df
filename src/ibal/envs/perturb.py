"""Perturbations that no adversary chose: the world is harder, nobody reacts to what the team does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ibal import rng
from ibal.envs.base import frame_of_inner
from ibal.types import Actions, Env, PRNGKey, TimeStep


class DisabledParams(NamedTuple):
    """Who is out: the agents ``named``, and as many of the others as ``drawn`` says, drawn anew in every episode.

    Both are arrays: sweeping them recompiles nothing.
    """

    env: Any
    named: Bool[Array, "n"]
    drawn: Int[Array, ""]


class DisabledState(NamedTuple):
    """``idle`` [n, a]: the actions a disabled agent has now; a row of False means that the agent acts freely."""

    env: Any
    agents: Bool[Array, "n"]
    idle: Bool[Array, "n a"]


def disable(env: Env, agents: int | Sequence[int]) -> Env:
    """Leave disabled agents nothing but idle actions for the whole episode, whatever they choose (Dis-l).

    ``agents`` is how many, drawn anew in every episode, or a sequence naming them. They stay in the world: they are
    seen, hit and killed as before, and once dead their availability is the environment's own again. SMAC has this
    built in (``ibal.envs.smac.perturb``); this is for any environment.

    Source: IBAL section 5, "Dis-l disables l randomly selected ally units".
    """
    spec = env.spec
    n = spec.n_agents
    if not spec.idle_actions:
        raise ValueError(
            f'the agents of "{spec.name}" cannot be disabled: EnvSpec.idle_actions is empty, so no action does nothing'
        )
    named, drawn = ((), agents) if isinstance(agents, int) else (tuple(agents), 0)
    if not 0 <= drawn <= n:
        raise ValueError(f'"{spec.name}" has {n} agents; {drawn} cannot be disabled')
    if wrong := [i for i in named if not 0 <= i < n]:
        raise ValueError(f'"{spec.name}" has no agent {wrong[0]}; agents are 0 .. {n - 1}')
    is_idle = jnp.array([a in spec.idle_actions for a in range(spec.n_actions)])

    def restrict(inner: Any, disabled: Bool[Array, "n"], step: TimeStep) -> tuple[DisabledState, TimeStep]:
        idle = step.avail & is_idle[None, :] & disabled[:, None]
        bound = idle.any(axis=1, keepdims=True)
        return DisabledState(inner, disabled, idle), step._replace(avail=jnp.where(bound, idle, step.avail))

    def reset(key: PRNGKey, params: DisabledParams) -> tuple[DisabledState, TimeStep]:
        inner, step = env.reset(key, params.env)
        return restrict(inner, draw_disabled(rng.stream(key, "disabled"), params), step)

    def step(key: PRNGKey, state: DisabledState, actions: Actions, params: DisabledParams) -> tuple[Any, TimeStep]:
        overruled = state.idle.any(axis=1) & ~jnp.take_along_axis(state.idle, actions[:, None], axis=1)[:, 0]
        first_idle = jnp.argmax(state.idle, axis=1).astype(actions.dtype)
        inner, step = env.step(key, state.env, jnp.where(overruled, first_idle, actions), params.env)
        return restrict(inner, state.agents, step)

    params = DisabledParams(env.params, jnp.array([i in named for i in range(n)]), jnp.int32(drawn))
    return Env(spec, params, reset, step, frame_of_inner(env))


def draw_disabled(key: PRNGKey, params: DisabledParams) -> Bool[Array, "n"]:
    """Return the named agents and ``params.drawn`` of the others, every subset of that size equally likely."""
    ticket = jnp.where(params.named, 2.0, jax.random.uniform(key, params.named.shape))  # the named ones come last
    rank = jnp.argsort(jnp.argsort(ticket))
    return params.named | (rank < params.drawn)
