"""The control of SMACv2: a world whose agents see what time it is and who they are, and nothing else.

    PYTHONPATH=benchmarks ibal train --env open_loop:make --env-option world=smacv2/zerg_5_vs_5 --learner mappo \
        --preset laptop --steps 1_000_000 --out runs/open-loop

A team that wins as much as one that sees has learned a fixed sequence of actions by heart, and the world asks for no
more. Rewards, legal actions and the state that a critic sees are those of the world. Source: Ellis et al. 2023
("SMACv2", section 4), whose open-loop teams win 3 to 11 % of the scenarios of 5 and 10.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import ibal
from ibal.types import Block, Env, ObsLayout, TimeStep


class Clocked(NamedTuple):
    """The state of the world, and the steps since its reset."""

    env: Any
    t: jax.Array


def make(world: str = "smacv2/zerg_5_vs_5") -> Env:
    """Make a world whose observations are the share of the longest episode that is over, and the agent's number."""
    env = ibal.make(world)
    n, horizon = env.spec.n_agents, env.spec.horizon
    blocks = (Block("time", 0, 0, ("over",)), Block("id", 0, 1, tuple(f"agent_{i}" for i in range(n))))

    def blind(step: TimeStep, t: jax.Array) -> TimeStep:
        time = jnp.full((n, 1), t / horizon, jnp.float32)
        return step._replace(obs=jnp.concatenate([time, jnp.eye(n, dtype=jnp.float32)], axis=1))

    def reset(key: jax.Array, params: Any) -> tuple[Clocked, TimeStep]:
        state, step = env.reset(key, params)
        return Clocked(state, jnp.int32(0)), blind(step, jnp.int32(0))

    def step(key: jax.Array, state: Clocked, actions: jax.Array, params: Any) -> tuple[Clocked, TimeStep]:
        inner, seen = env.step(key, state.env, actions, params)
        return Clocked(inner, state.t + 1), blind(seen, state.t + 1)

    spec = replace(env.spec, name=f"open-loop/{world}", obs_size=1 + n, obs_layout=ObsLayout(blocks, "anonymous"))
    return Env(spec, env.params, reset, step)
