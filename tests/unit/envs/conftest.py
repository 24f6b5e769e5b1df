"""A world small enough to follow by hand, with everything the contract speaks about."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from ibal import rng
from ibal.types import Block, Env, EnvSpec, Frame, ObsLayout, Scene, TimeStep

GONE, STAY, LEFT, RIGHT = range(4)
EDGE, HORIZON = 4, 6

LEDGE = EnvSpec(
    name="ledge",
    n_agents=2,
    n_actions=4,
    obs_size=2,
    state_size=2,
    horizon=HORIZON,
    action_names=("gone", "stay", "left", "right"),
    metric_names=("fallen",),
    obs_layout=ObsLayout((Block("ally", 0, 0, ("place",)), Block("own", 0, 1, ("place",)))),
    state_layout=ObsLayout((Block("ally", 0, 0, ("place",)), Block("ally", 1, 1, ("place",))), "all"),
    noop_action=GONE,
    idle_actions=(STAY,),
    scene=Scene("Ledge", EDGE + 1.0, 1.0, ("walker",), (0, 0), ((1,) * (EDGE + 1),), 9.0),
)


class LedgeState(NamedTuple):
    """``place`` counts from 0 (the wall) to EDGE; an agent at EDGE + 1 has fallen."""

    t: jax.Array
    place: jax.Array


def show(state: LedgeState, reward: jax.Array) -> TimeStep:
    alive = state.place <= EDGE
    place = state.place.astype(jnp.float32)
    avail = jnp.stack([~alive, alive, alive & (state.place > 0), alive], axis=1)
    over = state.t >= HORIZON
    fallen = (~alive).sum().astype(jnp.float32)
    return TimeStep(
        obs=jnp.stack([place[::-1], place], axis=1),
        state=place,
        avail=avail,
        alive=alive,
        reward=reward,
        terminated=~alive.any(),
        truncated=over & alive.any(),
        metrics={"fallen": fallen},
    )


def reset(key: jax.Array, params: jax.Array) -> tuple[LedgeState, TimeStep]:
    start = jax.random.randint(rng.stream(key, "start"), (), 1, 3)  # agent 0 starts at 1 or 2, agent 1 at 3
    state = LedgeState(jnp.int32(0), jnp.stack([start, jnp.int32(3)]))
    return state, show(state, jnp.float32(0.0))


def step(key: jax.Array, state: LedgeState, actions: jax.Array, params: jax.Array) -> tuple[LedgeState, TimeStep]:
    alive = state.place <= EDGE
    move = (actions == RIGHT).astype(jnp.int32) - (actions == LEFT).astype(jnp.int32)
    place = jnp.where(alive, jnp.maximum(state.place + move, 0), state.place)
    fell = (alive & (place > EDGE)).sum().astype(jnp.float32)
    state = LedgeState(state.t + 1, place)
    return state, show(state, -params * fell)


def frame(state: LedgeState, params: jax.Array) -> Frame:
    one, place = jnp.ones(2), state.place.astype(jnp.float32)
    alive = state.place <= EDGE
    return Frame(
        position=jnp.stack([place, 0.5 * one], axis=1),
        radius=0.4 * one,
        kind=jnp.zeros(2, jnp.int32),
        health=alive.astype(jnp.float32),
        max_health=one,
        shield=0 * one,
        max_shield=0 * one,
        energy=0 * one,
        alive=alive,
        target=jnp.full(2, -1, jnp.int32),
    )


@pytest.fixture
def ledge() -> Env:
    """Two agents on a ledge of 5 places; one step right of the last one they fall, which costs ``params`` (1)."""
    return Env(LEDGE, jnp.float32(1.0), reset, step, frame)
