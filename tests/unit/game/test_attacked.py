"""An environment under attack plays the episodes of an evaluation under the attack, whoever plays in it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal import rng
from ibal.adversaries.random import RandomConfig
from ibal.envs.base import with_agent_ids, with_last_action
from ibal.game.keys import opened, world_key
from ibal.viz.plain import pictured
from seeing import seeing

ATTACK = RandomConfig(sigma=0.5, p=0.5)


@pytest.fixture(scope="module")
def world() -> ibal.Env:
    return ibal.attacked("toy/leak", ATTACK)


def returns(env: Any, attack: Any) -> list[float]:
    table = ibal.evaluate(seeing, attack, env=env, episodes=32, seed=5, quiet=True)
    return table.rows["return"].to_list()


def test_its_episodes_are_those_of_an_evaluation_under_the_attack(world: ibal.Env) -> None:
    attacked = returns("toy/leak", ATTACK)
    assert returns(world, "natural") == attacked
    assert returns("toy/leak", "natural") != attacked
    assert returns(pictured(world), "natural") == attacked


def test_it_keeps_the_contract_of_an_environment(world: ibal.Env) -> None:
    assert ibal.check_env(world, episodes=1).name == "toy/leak under Random"


def test_the_state_and_the_reward_are_those_of_the_world_and_the_observation_is_not(world: ibal.Env) -> None:
    bare, key = ibal.make("toy/leak"), rng.episode(rng.root(1), 3)
    _, clean = jax.jit(lambda: opened(bare, key, bare.params))()
    state, shown = jax.jit(lambda: opened(world, key, world.params))()
    np.testing.assert_array_equal(shown.state, clean.state)
    assert ((shown.obs != clean.obs).any(axis=1)).sum() == 1  # the noise is on one agent
    actions = jnp.zeros(bare.spec.n_agents, jnp.int32)
    after = jax.jit(world.step)(world_key(key, 1), state, actions, world.params)[0]
    np.testing.assert_array_equal(after.game.last_action, actions)  # agents are told what they meant


def test_a_wrapper_of_it_begins_with_what_the_wrapper_shows(world: ibal.Env) -> None:
    wrapped = with_last_action(with_agent_ids(world))
    _, step = jax.jit(lambda key: opened(wrapped, key, wrapped.params))(rng.root(0))
    assert step.obs.shape == (wrapped.spec.n_agents, wrapped.spec.obs_size)


def test_an_attack_that_must_ask_the_team_is_refused_by_name() -> None:
    with pytest.raises(ibal.ConfigError, match='"fgsm" knows the gradient of the team it attacks'):
        ibal.attacked("toy/leak", "fgsm")
    with pytest.raises(ibal.ConfigError, match='"interaction" has to be fitted before it attacks'):
        ibal.attacked("toy/leak", "interaction")
    with pytest.raises(ibal.ConfigError, match="under one attack, and these are 2"):
        ibal.attacked("toy/leak", ["random", "natural"])
