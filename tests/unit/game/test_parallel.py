"""PettingZoo's parallel environments: seeds, masks, who has left, and what cannot be played."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import ibal
from ibal import rng
from ibal.adversaries.base import natural
from ibal.evaluation.scripted import random_policy
from ibal.game.host import play

pytest.importorskip("pettingzoo", reason="pettingzoo comes with the dev group: python3 dev.py setup")


class Leaving:
    """Two agents of different spaces; "b" leaves after two steps, "a" is cut off after four."""

    possible_agents = ["a", "b"]  # noqa: RUF012
    max_cycles, render_mode = 4, None

    def __init__(self, render_mode: Any = None) -> None:
        self.heard: list[dict[str, int]] = []

    def observation_space(self, name: str) -> Any:
        return SimpleNamespace(shape=(2,) if name == "a" else (3,))

    def action_space(self, name: str) -> Any:
        return type("Discrete", (), {"n": 2 if name == "a" else 4})()

    def reset(self, seed: int) -> Any:
        self.agents, self.clock, self.draw = ["a", "b"], 0, np.random.default_rng(seed)
        return self._seen(), {name: {} for name in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        self.heard.append(actions)
        self.clock += 1
        there, out = self.agents, {"b": self.clock == 2}
        seen, over = self._seen(), {name: out.get(name, False) for name in there}
        cut = dict.fromkeys(there, self.clock == 4)
        self.agents = [name for name in there if not (over[name] or cut[name])]
        return (
            seen,
            dict.fromkeys(there, 1.0),
            over,
            cut,
            {name: {"action_mask": [0, 1]} if name == "a" else {} for name in there},
        )

    def _seen(self) -> dict[str, Any]:
        return {name: self.draw.random(2 if name == "a" else 3) for name in self.agents}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> ibal.Env:
    module: Any = ModuleType("leaving_v0")
    module.parallel_env = Leaving
    monkeypatch.setitem(sys.modules, "leaving_v0", module)
    return ibal.make("pettingzoo:leaving_v0")


def test_who_has_left_is_out_and_what_it_does_is_not_passed_on(env: ibal.Env) -> None:
    spec = env.spec
    assert (spec.n_agents, spec.n_actions, spec.obs_size, spec.state_size, spec.horizon) == (2, 4, 3, 6, 4)
    assert env.host is not None
    world = env.host()
    team = random_policy(spec)
    played = play(world, team, natural(), key=rng.episode(rng.root(0), 1))
    steps = played.steps
    np.testing.assert_array_equal(steps.alive, [[1, 1], [1, 1], [1, 0], [1, 0], [1, 1]])  # the last: nobody is left
    np.testing.assert_array_equal(steps.avail[0, 0], [1, 1, 0, 0])
    np.testing.assert_array_equal(steps.avail[1, 0], [0, 1, 0, 0])  # by its mask
    np.testing.assert_array_equal(steps.reward[1:], [1, 1, 0.5, 0.5])
    assert (steps.obs[:, 0, 2] == 0).all()
    assert not steps.terminated.any()
    assert steps.truncated[-1]
    assert [set(actions) for actions in world._env.heard] == [{"a", "b"}, {"a", "b"}, {"a"}, {"a"}]
    again = play(env.host(), team, natural(), key=rng.episode(rng.root(0), 1))
    np.testing.assert_array_equal(again.steps.obs, steps.obs)


def test_it_cannot_be_trained_in_and_says_so(env: ibal.Env) -> None:
    with pytest.raises(ibal.ConfigError, match=r"is played in Python, step by step: .* but not trained"):
        env.reset(jax.random.key(0), env.params)


def test_what_is_not_there_is_said_in_one_sentence() -> None:
    with pytest.raises(ibal.ConfigError, match='there is no module "mpe3"; pip install mpe3'):
        ibal.make("pettingzoo:mpe3.simple_spread_v3")
    with pytest.raises(ibal.ConfigError, match="the module has no parallel_env"):
        ibal.make("pettingzoo:json")


def test_simple_spread_has_names_and_its_own_picture() -> None:
    pytest.importorskip("mpe2", reason="mpe2 comes with the dev group: python3 dev.py setup")
    env = ibal.make("pettingzoo:mpe2.simple_spread_v3", max_cycles=3)
    assert env.spec.obs_layout.kinds == ("own", "landmark", "ally")
    replay = ibal.watch("random", "random", env=lambda: env, quiet=True)
    assert replay.trajectories[0].length == 3
    assert [shot.ndim for shot in replay.trajectories[0].pictures] == [3] * 4
    assert replay.html.count("data:image/png;base64,") == 4
