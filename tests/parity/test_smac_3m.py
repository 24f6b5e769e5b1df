"""Numbers of the real game on 3m (reference, section 8.1 and appendix B)."""

import numpy as np
import pytest

from ibal.compat.smac import StarCraft2Env

STOP, NORTH, EAST, ATTACK = 1, 2, 4, 6


@pytest.fixture(scope="module")
def env() -> StarCraft2Env:
    return StarCraft2Env("3m", seed=0)


def test_first_observation_of_agent_0(env: StarCraft2Env):
    obs, state = env.reset()
    expected = np.zeros(30)
    expected[0:4] = 1
    expected[19:24] = 1, 0.0764974, 0, 0.0764974, 1
    expected[24:29] = 1, 0.10818365, 0.0764974, 0.0764974, 1
    expected[29] = 1
    np.testing.assert_allclose(obs[0], expected, atol=1e-6)
    assert env.get_avail_agent_actions(0) == [0, 1, 1, 1, 1, 1, 0, 0, 0]
    np.testing.assert_allclose(state[:4], [1, 0, -0.25, -0.02459], atol=1e-5)
    np.testing.assert_allclose(state[4:12], [1, 0, -0.25, 0, 1, 0, 0.6884765625 / 28 - 0.25, 0], atol=1e-6)
    assert (state[21:] == 0).all()


def test_enemies_have_marched_at_most_two_loops(env: StarCraft2Env):
    _, state = env.reset()
    enemies = state[12:21].reshape(3, 3)
    at_spawn = np.sort([0.25, 0.25, (23.6885 - 16) / 28])
    marched = at_spawn - np.sort(enemies[:, 1])
    assert (enemies[:, 0] == 1).all()
    assert (marched >= -1e-5).all()
    assert (marched <= 2 * 0.140625 / 28 + 1e-5).all()


def test_a_move_is_1_125(env: StarCraft2Env):
    _, before = env.reset()
    env.step([EAST] * 3)
    after = env.get_state()
    np.testing.assert_allclose(after[[2, 6, 10]] - before[[2, 6, 10]], 0.04017857, atol=1e-6)
    env.step([NORTH] * 3)
    np.testing.assert_allclose(env.get_state()[[3, 7, 11]] - after[[3, 7, 11]], 0.04017857, atol=1e-6)


def test_advancing_agents_deal_the_first_damage_in_the_fifth_step(env: StarCraft2Env):
    for _ in range(3):
        env.reset()
        rewards = []
        for _ in range(5):
            masks = env.get_avail_actions()
            rewards.append(env.step([mask.index(1, ATTACK) if any(mask[ATTACK:]) else EAST for mask in masks])[0])
        assert rewards[:4] == [0, 0, 0, 0]
        assert rewards[4] > 0


def test_stopping_team_loses_without_reward(env: StarCraft2Env):
    env.reset()
    total, terminated, info = 0.0, False, {}
    while not terminated:
        reward, terminated, info = env.step([0 if mask[0] else STOP for mask in env.get_avail_actions()])
        total += reward
    assert total == 0
    assert info == {"battle_won": False, "dead_allies": 3, "dead_enemies": 0}


def test_rewards_come_in_hits_of_a_marine_and_a_win_returns_20():
    env = StarCraft2Env("3m", seed=0, heuristic_ai=True)
    won = 0
    for _ in range(8):
        env.reset()
        terminated, info, rewards = False, {}, []
        while not terminated:
            reward, terminated, info = env.step([STOP] * 3)
            rewards.append(reward * 365 / 20)
        if info["battle_won"]:
            won += 1
            assert sum(rewards) == pytest.approx(365, abs=1e-3)
            last = rewards.pop() - 210  # kill and win
            assert last == pytest.approx(3 + 6 * round((last - 3) / 6), abs=1e-3)
        for reward in rewards:
            # Hits of 6; the eighth hit on a marine takes its last 3 and pays 10 for the kill.
            assert min(abs(reward - 13 * kills - 6 * round((reward - 13 * kills) / 6)) for kills in range(4)) < 1e-3
    assert won > 0


def test_cooldowns_are_jittered_multiples_of_a_loop(env: StarCraft2Env):
    env.reset()
    seen = []
    for _ in range(12):
        masks = env.get_avail_actions()
        if masks[0][0] or env.step([m.index(1, ATTACK) if any(m[ATTACK:]) else [EAST, 0][m[0]] for m in masks])[1]:
            break
        seen += [c * 15 for c in env.get_state()[[1, 5, 9]] if c > 0]
    assert seen
    assert max(seen) <= 0.8608 * 16 + 2
    assert any(abs(c - round(c)) > 0.01 for c in seen)
