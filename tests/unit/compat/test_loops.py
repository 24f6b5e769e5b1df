"""Loops in the shape of other libraries' own: they run in our worlds, attacked or not, and learn what is to be learned.

The shapes are those of EPyMARL's ``gymma`` and its episode runner, PyMARL's episode runner, and TorchRL's collector.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import ibal
from ibal.compat.smac import StarCraft2Env

ATTACK = "random-act[p=0.2]"


class Tables:
    """Independent Q-learning of every agent by what it sees and what it did last: enough for a game of two steps."""

    def __init__(self, n: int, a: int, seed: int = 0) -> None:
        self.q: dict[tuple[int, bytes], np.ndarray] = {}
        self.n, self.a, self.draw = n, a, np.random.default_rng(seed)

    def of(self, i: int, seen: Any) -> np.ndarray:
        return self.q.setdefault((i, np.asarray(seen, np.float32).tobytes()), np.zeros(self.a))

    def act(self, seen: Any, masks: Any, epsilon: float) -> list[int]:
        out = []
        for i in range(self.n):
            legal = np.flatnonzero(masks[i])
            values = np.where(np.asarray(masks[i], bool), self.of(i, seen[i]), -np.inf)
            out.append(int(self.draw.choice(legal) if self.draw.random() < epsilon else values.argmax()))
        return out

    def learn(self, seen: Any, actions: list[int], reward: float, later: Any, over: bool) -> None:
        for i, action in enumerate(actions):
            goal = reward + (0.0 if over else 0.99 * self.of(i, later[i]).max())
            self.of(i, seen[i])[action] += 0.2 * (goal - self.of(i, seen[i])[action])


@pytest.mark.parametrize("attack", [None, ATTACK], ids=["natural", "attacked"])
def test_epymarls_loop_learns_the_game_of_two_steps(attack: str | None) -> None:
    """A gymma environment under a limit of its own, all actions taken for legal; rewards of several would be summed."""
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium comes with the dev group: python3 dev.py setup")
    given = {} if attack is None else {"attack": attack}
    env = gymnasium.make("ibal.compat.gymnasium:toy/two-step", max_episode_steps=9, **given)
    n, a = env.unwrapped.n_agents, max(space.n for space in env.action_space)
    team, masks = Tables(n, a), np.ones((n, a))
    env.unwrapped.seed(1)

    def episode(epsilon: float) -> float:
        obs, _ = env.reset()
        total, over = 0.0, False
        while not over:
            actions = team.act(obs, masks, epsilon)
            later, reward, terminated, truncated, info = env.step(actions)
            assert np.isscalar(reward)
            assert all(isinstance(value, float) for value in info.values())
            over = terminated or truncated
            team.learn(obs, actions, float(reward), later, over)
            obs, total = later, total + float(reward)
        return total

    for _ in range(150):
        episode(0.5)
    if attack is None:
        assert episode(0.0) >= 7  # 7 is safe, 8 is the best; at random it is about 4.8
    else:
        assert len(team.q) > 0


def test_pymarls_runner_plays_a_battle_with_masks_and_a_state() -> None:
    """What its episode runner asks of an environment, step by step; random legal actions stand for the controller."""
    env = StarCraft2Env(map_name="3m", seed=3)
    about, draw = env.get_env_info(), np.random.default_rng(0)
    env.reset()
    terminated, t, batch, info = False, 0, [], {}
    while not terminated:
        before = {"state": env.get_state(), "avail_actions": env.get_avail_actions(), "obs": env.get_obs()}
        assert np.shape(before["state"]) == (about["state_shape"],)
        assert np.shape(before["obs"]) == (about["n_agents"], about["obs_shape"])
        assert np.shape(before["avail_actions"]) == (about["n_agents"], about["n_actions"])
        actions = [int(draw.choice(np.flatnonzero(row))) for row in before["avail_actions"]]
        reward, terminated, info = env.step(actions)
        batch.append((before, actions, reward, terminated != info.get("episode_limit", False)))
        t += 1
    assert len(batch) == t <= about["episode_limit"]
    assert "battle_won" in info


@pytest.mark.parametrize("attack", [None, ATTACK], ids=["natural", "attacked"])
def test_torchrls_collector_runs_in_our_worlds(attack: str | None) -> None:
    pytest.importorskip("torch", reason="torch is optional: pip install torch torchrl")
    pytest.importorskip("torchrl", reason="torchrl is optional: pip install torch torchrl")
    from ibal.compat.pettingzoo import parallel_env

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensordict.nn import TensorDictModule
        from torchrl.collectors import Collector
        from torchrl.envs import PettingZooWrapper
        from torchrl.envs.utils import MarlGroupMapType

        world = parallel_env("toy/leak", attack)
        env = PettingZooWrapper(world, use_mask=True, group_map=MarlGroupMapType.ALL_IN_ONE_GROUP, seed=5)
        (group,) = env.group_map
        spec, horizon = ibal.make("toy/leak").spec, ibal.make("toy/leak").spec.horizon

        def first_legal(mask: Any) -> Any:
            return mask.float().argmax(-1)

        team = TensorDictModule(first_legal, in_keys=[(group, "action_mask")], out_keys=[(group, "action")])
        frames = 2 * horizon
        collector = Collector(env, team, frames_per_batch=frames, total_frames=2 * frames)
        batches = [batch.clone() for batch in collector]
        collector.shutdown()
    assert len(batches) == 2
    seen = batches[0][group, "observation"]
    assert tuple(seen.shape) == (frames, spec.n_agents, spec.obs_size)
    ends = batches[0]["next", "done"].reshape(-1).nonzero().reshape(-1).tolist()
    assert ends[0] + 1 <= horizon
