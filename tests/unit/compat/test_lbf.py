"""Foraging as a Gymnasium environment; where the package is missing, by a stand-in for the little that is used."""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


def stand_in() -> ModuleType:
    module: Any = ModuleType("gymnasium")
    module.Env, module.registry = object, {}
    module.spaces = SimpleNamespace(
        Box=lambda low, high, shape, dtype: SimpleNamespace(low=low, high=high, shape=shape, dtype=dtype),
        Tuple=tuple,
        Discrete=lambda n: SimpleNamespace(n=n),
    )

    def register(name: str, entry_point: str, kwargs: dict[str, Any], disable_env_checker: bool) -> None:
        assert re.fullmatch(r"[\w.-]+?(-v\d+)?", name)
        plain = re.sub(r"-v\d+$", "", name)  # with and without a version at once is refused
        assert plain == name or plain not in module.registry
        assert plain != name or not any(re.fullmatch(re.escape(name) + r"-v\d+", other) for other in module.registry)
        module.registry[name] = entry_point, kwargs

    def make(name: str, **options: Any) -> Any:
        where, _, name = name.rpartition(":")
        assert where
        importlib.import_module(where)
        target, kwargs = module.registry[name]
        package, _, attribute = target.partition(":")
        return getattr(importlib.import_module(package), attribute)(**kwargs, **options)

    module.register, module.make = register, make
    return module


@pytest.fixture(scope="module")
def gymnasium() -> Any:
    try:
        return importlib.import_module("gymnasium")
    except ImportError:
        sys.modules["gymnasium"] = stand_in()
        return sys.modules["gymnasium"]


@pytest.fixture(scope="module")
def env(gymnasium: Any) -> Any:
    return gymnasium.make("ibal.compat.lbf:Foraging-2s-8x8-2p-2f-coop-v3")


def test_the_ids_of_lbforaging_and_of_the_paper_are_registered(gymnasium: Any, env: Any) -> None:
    for name in ("Foraging-8x8-2p-3f-v3", "Foraging-2s-10x10-3p-3f-v3", "Foraging-15x15-4p-5f-coop-v3"):
        assert name in gymnasium.registry
    for players in (5, 10, 15):
        assert f"Foraging-20x20-{players}p-6f-s3" in gymnasium.registry
        assert f"Foraging-3s-20x20-{players}p-6f-v3" in gymnasium.registry


def test_spaces(gymnasium: Any, env: Any) -> None:
    assert [space.n for space in env.action_space] == [6, 6]
    assert [space.shape for space in env.observation_space] == [(12,), (12,)]  # 3 for each of 2 foods and 2 players
    grid = gymnasium.make("ibal.compat.lbf:Foraging-20x20-5p-6f-s3")
    assert [space.shape for space in grid.observation_space] == [(3, 7, 7)] * 5
    assert getattr(grid, "unwrapped", grid).n_agents == 5


def test_an_episode_as_gymma_plays_it(env: Any) -> None:
    """Two players of cooperative food: every piece pays both, and the limit of 50 ends the game."""
    obs, info = env.reset(seed=3)
    first = np.array(obs)
    assert info == {}
    assert first.shape == (2, 12)
    draw, steps, paid, over = np.random.default_rng(0), 0, np.zeros(2), False
    while not over:
        obs, rewards, over, truncated, info = env.step([int(a) for a in draw.integers(0, 6, 2)])
        assert len(rewards) == len(obs) == 2
        paid, steps = paid + rewards, steps + 1
        assert not truncated
    assert steps == 50 or paid.sum() == pytest.approx(1)
    again = np.array(env.reset(seed=3)[0])
    np.testing.assert_array_equal(again, first)
    assert (np.array(env.reset()[0]) != first).any()  # the next game of the series


def test_wrong_actions_are_answered_with_one_sentence(env: Any) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="step\\(\\) got 3 actions, but Foraging-2s-8x8-2p-2f-coop-v3 has 2 agents"):
        env.step([0, 0, 0])
    with pytest.raises(ValueError, match="got action 6; actions are 0 to 5"):
        env.step([0, 6])
