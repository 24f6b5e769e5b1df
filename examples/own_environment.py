"""Write an environment, hold it to the contract, train in it: python examples/own_environment.py [--tiny]

An environment is two pure functions for one game and a page of names and sizes; the library batches and compiles them.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import ibal

AGENTS, PLACES, STEPS = 3, 5, 10


class Line(NamedTuple):
    """Where everybody stands on a line of ``PLACES`` places, and how many steps are over."""

    place: jax.Array
    time: jax.Array


def meet() -> ibal.Env:
    """Three agents on a line shall meet: one point for every step on which all stand on one place."""
    names = ("here", "mean", "time")
    layout = ibal.ObsLayout((ibal.Block("own", 0, 0, names),))
    spec = ibal.EnvSpec(
        name="meet", n_agents=AGENTS, n_actions=3, obs_size=3, state_size=AGENTS + 1, horizon=STEPS,
        action_names=("stay", "left", "right"), metric_names=("win",), obs_layout=layout,
        state_layout=ibal.ObsLayout((ibal.Block("own", 0, 0, tuple(f"value {i}" for i in range(AGENTS + 1))),)),
        idle_actions=(0,),
    )  # fmt: skip

    def show(state: Line, reward: jax.Array) -> ibal.TimeStep:
        place, time = state.place / (PLACES - 1), state.time / STEPS
        obs = jnp.stack([place, jnp.full(AGENTS, place.mean()), jnp.full(AGENTS, time)], axis=1)
        return ibal.TimeStep(
            obs=obs, state=jnp.append(place, time), alive=jnp.ones(AGENTS, bool), reward=reward,
            avail=jnp.stack([jnp.ones(AGENTS, bool), state.place > 0, state.place < PLACES - 1], axis=1),
            terminated=state.time >= STEPS, truncated=jnp.array(False), metrics={"win": reward},
        )  # fmt: skip

    def reset(key: jax.Array, params: Any) -> tuple[Line, ibal.TimeStep]:
        state = Line(jax.random.randint(key, (AGENTS,), 0, PLACES), jnp.int32(0))
        return state, show(state, jnp.float32(0))

    def step(key: jax.Array, state: Line, actions: jax.Array, params: Any) -> tuple[Line, ibal.TimeStep]:
        state = Line(state.place + jnp.array([0, -1, 1])[actions], state.time + 1)
        return state, show(state, (state.place == state.place[0]).all().astype(jnp.float32))

    return ibal.Env(spec, (), reset, step)


def main(tiny: bool = False) -> ibal.Evaluation:
    """Check it, train in it, attack the team."""
    ibal.check_env(meet())
    run = ibal.train(meet, preset="smoke", steps=400) if tiny else ibal.train(meet, preset="laptop", steps=100_000)
    table = ibal.evaluate([*run.teams, "random"], ["natural", "random-act"], episodes=16 if tiny else 1024, env=meet)
    print(table)
    return table


if __name__ == "__main__":
    main("--tiny" in sys.argv)
