"""A small world with everything that playing episodes depends on: random lengths, chance, and action masks."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from ibal.types import Block, Env, EnvSpec, ObsLayout, TimeStep

N, ACTIONS, HORIZON = 2, 3, 12


class WalkState(NamedTuple):
    """``left`` steps until the end; ``noise`` is the sum of the world's draws."""

    left: jax.Array
    noise: jax.Array


def _show(state: WalkState, reward: jax.Array, played: jax.Array) -> TimeStep:
    obs = jnp.stack([jnp.stack([state.left.astype(jnp.float32), state.noise])] * N)
    over = state.left <= 0
    return TimeStep(
        obs=obs,
        state=obs.reshape(-1),
        avail=jnp.array([[False, True, True], [True, True, False]]),
        alive=jnp.ones(N, bool),
        reward=reward,
        terminated=over,
        truncated=jnp.array(False),
        metrics={"win": (over & (state.noise > 0)).astype(jnp.float32), "noise": state.noise, "played": played},
    )


@pytest.fixture(scope="session")
def walk() -> Env:
    """Two agents; an episode lasts 3 .. 20 steps (cut at 12); the reward is the sum of actions plus a draw."""

    def reset(key: jax.Array, params: jax.Array) -> tuple[WalkState, TimeStep]:
        state = WalkState(jax.random.randint(key, (), 3, 21), jnp.float32(0))
        return state, _show(state, jnp.float32(0), jnp.int32(0))

    def step(key: jax.Array, state: WalkState, actions: jax.Array, params: jax.Array) -> tuple[WalkState, TimeStep]:
        draw = jax.random.normal(key)
        state = WalkState(state.left - 1, state.noise + draw)
        return state, _show(state, params * (actions.sum().astype(jnp.float32) + draw), actions.sum())

    layout = ObsLayout((Block("own", 0, 0, ("left", "noise")),))
    spec = EnvSpec(
        name="walk", n_agents=N, n_actions=ACTIONS, obs_size=2, state_size=4, horizon=HORIZON,
        action_names=("a", "b", "c"), metric_names=("win", "noise", "played"), obs_layout=layout, state_layout=layout,
        idle_actions=(0, 1),
    )  # fmt: skip
    return Env(spec, jnp.float32(1), reset, step)
