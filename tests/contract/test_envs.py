"""Every environment of the table keeps the contract."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ibal.envs import TABLE, make
from ibal.envs.check import check_env, check_spec
from ibal.registry import Own, UnknownName
from ibal.types import Env

# Compiling a map takes seconds: these differ in what they use (melee and splash, healing and the dead, cliffs). What is
# true of masks, vectors and ends on every kind of map is also in tests/properties.
SMAC_PLAYED = {"smac/3m": None, "smac/MMM": None, "smac/2s3z": 40, "smac/2s_vs_1sc": 40}


@pytest.mark.parametrize("name", list(TABLE))
def test_the_spec_of_every_environment_is_consistent(name: str) -> None:
    env = make(name)
    check_spec(env.spec)
    assert env.spec.name == name


@pytest.mark.parametrize("name", [name for name in TABLE if name.startswith("toy/")])
def test_toy_environments_keep_the_contract(name: str) -> None:
    report = check_env(make(name), jax.random.key(1))
    assert report.episode_length == make(name).spec.horizon


@pytest.mark.slow
def test_foraging_keeps_the_contract() -> None:
    report = check_env(make("lbf/Foraging-2s-8x8-2p-2f-coop-v3"), jax.random.key(1), episodes=1)
    assert report.episode_length == 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "smac/3m" else pytest.param(name, marks=pytest.mark.thorough) for name in SMAC_PLAYED]
)
def test_smac_maps_keep_the_contract(name: str) -> None:
    check_env(make(name), jax.random.key(1), SMAC_PLAYED[name])


def test_the_table_has_the_maps_of_smac() -> None:
    assert sum(name.startswith("smac/") for name in TABLE) == 23
    spec = make("3m").spec
    assert (spec.n_agents, spec.n_actions, spec.obs_size, spec.state_size) == (3, 9, 30, 48)
    assert TABLE.resolve("3m") == "smac/3m"
    assert TABLE.resolve("two-step") == "toy/two-step"
    assert TABLE.resolve(Own("my_pkg.mod:make")) == "my_pkg.mod:make"


def test_an_unknown_name_is_answered_with_one_sentence() -> None:
    with pytest.raises(UnknownName) as error:
        make("3mm")
    assert str(error.value) == (
        'unknown environment "3mm". Closest: "smac/3m". List them: ibal env list. Your own: --env my_pkg.mod:make'
    )


def test_a_function_that_makes_no_environment_is_refused() -> None:
    with pytest.raises(UnknownName, match='"builtins:dict" returned a dict; an environment function returns'):
        make("builtins:dict")
    env = make("ibal.envs.toy:climbing")
    assert isinstance(env, Env)
    np.testing.assert_equal(env.spec.name, "toy/climbing")
