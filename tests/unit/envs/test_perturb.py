"""Disabled agents: idle whatever they choose, still in the world."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.envs.check import check_env
from ibal.envs.perturb import DisabledParams, disable, draw_disabled
from ibal.envs.toy import climbing
from ibal.types import Env

KEY = jax.random.key(3)
GONE, STAY, LEFT, RIGHT = range(4)


def test_a_disabled_agent_can_only_be_idle_and_its_choice_is_overruled(ledge: Env) -> None:
    env = disable(ledge, [1])
    state, first = env.reset(KEY, env.params)
    np.testing.assert_array_equal(first.avail, [[False, True, True, True], [False, True, False, False]])
    assert bool(first.alive[1])
    _, second = env.step(KEY, state, jnp.array([RIGHT, RIGHT], jnp.int32), env.params)
    moved = second.state - first.state
    np.testing.assert_array_equal(moved, [1.0, 0.0])


def test_once_dead_a_disabled_agent_has_the_no_op(ledge: Env) -> None:
    def step(key, state, actions, params):
        """Agent 1 is pushed off the ledge whatever it does."""
        return ledge.step(key, state._replace(place=state.place.at[1].set(4)), actions.at[1].set(RIGHT), params)

    env = disable(ledge._replace(step=step), [1])
    state, _ = env.reset(KEY, env.params)
    state, after = env.step(KEY, state, jnp.array([STAY, STAY], jnp.int32), env.params)
    assert not bool(after.alive[1])
    np.testing.assert_array_equal(after.avail[1], [True, False, False, False])
    env.step(KEY, state, jnp.array([STAY, GONE], jnp.int32), env.params)


def test_the_world_draws_what_it_drew_without_the_perturbation(ledge: Env) -> None:
    env = disable(ledge, 1)
    for seed in range(4):
        _, bare = ledge.reset(jax.random.key(seed), ledge.params)
        _, step = env.reset(jax.random.key(seed), env.params)
        np.testing.assert_array_equal(step.obs, bare.obs)


def test_every_subset_is_drawn_equally_often_and_named_agents_are_not_drawn() -> None:
    params = DisabledParams((), jnp.array([False, True, False, False]), jnp.int32(1))
    drawn = jax.vmap(lambda key: draw_disabled(key, params))(rng.episodes(KEY, 3000))
    np.testing.assert_array_equal(drawn.sum(axis=1), 2)
    assert bool(drawn[:, 1].all())
    shares = np.asarray(drawn, float).mean(axis=0)[[0, 2, 3]]
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * np.sqrt(2 / 9 / 3000))  # four standard errors


def test_the_number_of_disabled_agents_is_swept_without_recompiling(ledge: Env) -> None:
    env = disable(ledge, 0)
    compiled = 0

    @jax.jit
    def disabled(params):
        nonlocal compiled
        compiled += 1
        return env.reset(KEY, params)[0].agents.sum()

    counts = [int(disabled(env.params._replace(drawn=jnp.int32(n)))) for n in (0, 1, 2)]
    assert counts == [0, 1, 2]
    assert compiled == 1


def test_a_perturbed_world_keeps_the_contract(ledge: Env) -> None:
    check_env(disable(ledge, 1), KEY)


def test_what_cannot_be_disabled_is_refused(ledge: Env) -> None:
    with pytest.raises(ValueError, match=r"toy/climbing. cannot be disabled: EnvSpec\.idle_actions is empty"):
        disable(climbing(), 1)
    with pytest.raises(ValueError, match="has 2 agents; 3 cannot be disabled"):
        disable(ledge, 3)
    with pytest.raises(ValueError, match=r"has no agent 2; agents are 0 \.\. 1"):
        disable(ledge, [0, 2])
