"""A picture of a world that has none: its agents in a ring, so that choices, groups and rewards can be watched."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal.types import Actions, Env, Frame, PRNGKey, Scene, TimeStep

ROOM = 3.0  # between neighbours, in radii of an agent times two
EDGE = 2.0  # around the ring


class PlainState(NamedTuple):
    """A state of the world, and who is alive in it."""

    env: Any
    alive: Bool[Array, "n"]


def pictured(env: Env) -> Env:
    """Return ``env`` with a picture: its own, or else all agents in a ring, agent 0 at the top, the others clockwise.

    A game in it is the same game, step by step.
    """
    if env.frame is not None and env.spec.scene is not None:
        return env
    n = env.spec.n_agents
    size = _places(n)[0]
    cells = math.ceil(size)
    scene = Scene(env.spec.name.split("/")[-1], size, size, ("agent",), (0,) * n, ((1,) * cells,) * cells, 0.0)

    def kept(state: Any, step: TimeStep) -> tuple[PlainState, TimeStep]:
        return PlainState(state, step.alive), step

    def reset(key: PRNGKey, params: Any) -> tuple[PlainState, TimeStep]:
        return kept(*env.reset(key, params))

    def begin(key: PRNGKey, params: Any) -> tuple[PlainState, TimeStep]:
        assert env.begin is not None
        return kept(*env.begin(key, params))

    def step(key: PRNGKey, state: PlainState, actions: Actions, params: Any) -> tuple[PlainState, TimeStep]:
        return kept(*env.step(key, state.env, actions, params))

    def frame(state: PlainState, params: Any) -> Frame:
        return ring(state.alive)

    return env._replace(
        spec=replace(env.spec, scene=scene), reset=reset, step=step, frame=frame,
        begin=None if env.begin is None else begin,
    )  # fmt: skip


def ring(alive: Any) -> Frame:
    """Return the picture of agents of whom nothing is known but who is alive."""
    n = alive.shape[0]
    alive = jnp.asarray(alive)
    zero, one = jnp.zeros(n, jnp.float32), jnp.ones(n, jnp.float32)
    return Frame(
        position=jnp.asarray(_places(n)[1], jnp.float32), radius=one, kind=jnp.zeros(n, jnp.int32),
        health=alive.astype(jnp.float32), max_health=one, shield=zero, max_shield=zero, energy=zero,
        alive=alive, target=jnp.full(n, -1, jnp.int32),
    )  # fmt: skip


def _places(n: int) -> tuple[float, list[tuple[float, float]]]:
    """Return the size of a picture of ``n`` agents, and where they are in it."""
    radius = ROOM / 2 / math.sin(math.pi / n) if n > 1 else 0.0
    size = 2 * (radius + EDGE)
    angles = [2 * math.pi * i / n for i in range(n)]
    return size, [(size / 2 + radius * math.sin(angle), size / 2 + radius * math.cos(angle)) for angle in angles]
