import inspect
import time
from dataclasses import replace

import numpy as np
import pytest

from ibal.compat.heuristic import Heuristic
from ibal.compat.smac import StarCraft2Env
from ibal.envs.smac.scenarios import SCENARIOS, scenario

# The constructor of smac.env.StarCraft2Env, in its order.
ARGUMENTS = {
    "map_name": "8m", "step_mul": 8, "move_amount": 2, "difficulty": "7", "game_version": None, "seed": None,
    "continuing_episode": False, "obs_all_health": True, "obs_own_health": True, "obs_last_action": False,
    "obs_pathing_grid": False, "obs_terrain_height": False, "obs_instead_of_state": False,
    "obs_timestep_number": False, "state_last_action": True, "state_timestep_number": False, "reward_sparse": False,
    "reward_only_positive": True, "reward_death_value": 10, "reward_win": 200, "reward_defeat": 0,
    "reward_negative_scale": 0.5, "reward_scale": True, "reward_scale_rate": 20, "replay_dir": "",
    "replay_prefix": "", "window_size_x": 1920, "window_size_y": 1200, "heuristic_ai": False,
    "heuristic_rest": False, "debug": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def env() -> StarCraft2Env:
    return StarCraft2Env("3m", seed=7)


def play(env: StarCraft2Env, seed: int = 0, steps: int = 1000) -> list[tuple[float, bool, dict]]:
    """Random legal actions until the end of the episode."""
    draw, out = np.random.default_rng(seed), []
    env.reset()
    while len(out) < steps and not (out and out[-1][1]):
        out.append(env.step([int(draw.choice(np.flatnonzero(mask))) for mask in env.get_avail_actions()]))
    return out


def test_arguments_and_defaults_are_smacs():
    parameters = inspect.signature(StarCraft2Env).parameters
    assert {name: p.default for name, p in parameters.items()} == ARGUMENTS
    assert list(parameters) == list(ARGUMENTS)


def test_types_of_what_is_returned(env: StarCraft2Env):
    obs, state = env.reset()
    assert isinstance(obs, list)
    assert [(o.shape, o.dtype) for o in obs] == [((30,), np.float32)] * 3
    assert (state.shape, state.dtype) == ((48,), np.float32)
    masks = env.get_avail_actions()
    assert masks == [env.get_avail_agent_actions(i) for i in range(3)]
    assert {type(x) for mask in masks for x in mask} == {int}
    reward, terminated, info = env.step([1, 1, 1])
    assert type(reward) is float
    assert type(terminated) is bool
    assert info == {"battle_won": False, "dead_allies": 0, "dead_enemies": 0}
    assert (env.get_obs_agent(1) == env.get_obs()[1]).all()


def test_actions_may_be_numpy(env: StarCraft2Env):
    env.reset()
    env.step(np.array([1, 2, 3]))
    assert np.flatnonzero(env.get_state()[21:]).tolist() == [1, 9 + 2, 18 + 3]


def test_results_are_the_callers_own(env: StarCraft2Env):
    obs, state = env.reset()
    kept = obs[0].copy()
    obs[0][:] = 7
    state[:] = 7
    assert (env.get_obs()[0] == kept).all()
    assert (env.get_state() != 7).all()


def test_env_info(env: StarCraft2Env):
    assert env.get_env_info() == {
        "state_shape": 48,
        "obs_shape": 30,
        "n_actions": 9,
        "n_agents": 3,
        "episode_limit": 60,
        "agent_features": ["health", "energy/cooldown", "rel_x", "rel_y"],
        "enemy_features": ["health", "rel_x", "rel_y"],
    }
    assert (env.get_obs_size(), env.get_state_size(), env.get_total_actions()) == (30, 48, 9)


def test_feature_sizes_of_2s3z():
    env = StarCraft2Env("2s3z", obs_pathing_grid=True, obs_timestep_number=True)
    assert env.get_obs_move_feats_size() == 12
    assert env.get_obs_enemy_feats_size() == (5, 8)
    assert env.get_obs_ally_feats_size() == (4, 8)
    assert env.get_obs_own_feats_size() == 5
    assert env.get_obs_size() == 12 + 40 + 32 + 5
    assert env.get_env_info()["agent_features"][4:] == ["shield", "type_0", "type_1"]
    assert (env.get_ally_num_attributes(), env.get_enemy_num_attributes()) == (7, 6)


def test_state_dict_has_the_parts_of_the_state(env: StarCraft2Env):
    env.reset()
    env.step([4, 1, 2])
    parts, state = env.get_state_dict(), env.get_state()
    assert {name: part.shape for name, part in parts.items()} == {
        "allies": (3, 4),
        "enemies": (3, 3),
        "last_action": (3, 9),
    }
    assert (np.concatenate([part.ravel() for part in parts.values()]) == state).all()


def test_same_seed_same_episodes(env: StarCraft2Env):
    twin, other = StarCraft2Env("3m", seed=11), StarCraft2Env("3m", seed=12)
    first = StarCraft2Env("3m", seed=11)
    episodes = [play(first), play(first)]
    assert [play(twin), play(twin)] == episodes
    assert episodes[0] != episodes[1]
    assert [play(other), play(other)] != episodes


def test_without_a_seed_one_is_drawn_and_told():
    first, second = StarCraft2Env("3m"), StarCraft2Env("3m")
    assert first.seed() != second.seed()
    assert play(StarCraft2Env("3m", seed=first.seed())) == play(first)


def test_illegal_action_names_agent_action_and_choices(env: StarCraft2Env):
    env.reset()
    with pytest.raises(ValueError, match=r'agent 1 cannot perform action 7 \("attack\[1\]"\); available: 1 \(stop\)'):
        env.step([1, 7, 1])
    with pytest.raises(ValueError, match=r'agent 0 cannot perform action 0 \("no-op"\)'):
        env.step([0, 1, 1])
    with pytest.raises(ValueError, match="agent 2 cannot perform action 9; available"):
        env.step([1, 1, 9])
    with pytest.raises(ValueError, match="agent 2 cannot perform action -1; available"):
        env.step([1, 1, -1])
    env.step([1, 1, 1])  # nothing was played by the attempts


def test_wrong_number_of_actions(env: StarCraft2Env):
    env.reset()
    with pytest.raises(ValueError, match="got 2 actions, but 3m has 3 agents"):
        env.step([1, 1])


def test_order_of_calls(env: StarCraft2Env):
    fresh = StarCraft2Env("3m")
    for call in (fresh.get_obs, fresh.get_state, fresh.get_avail_actions, lambda: fresh.step([1, 1, 1])):
        with pytest.raises(ValueError, match="call reset"):
            call()
    play(fresh)
    with pytest.raises(ValueError, match="the episode is over"):
        fresh.step([1, 1, 1])
    fresh.close()
    fresh.close()
    with pytest.raises(ValueError, match="closed"):
        fresh.reset()
    with pytest.raises(ValueError, match=r'unknown SMAC map "3mm"\. Closest: "3m"'):
        StarCraft2Env("3mm")


def test_stats_and_restart():
    env = StarCraft2Env("3m", seed=1)
    assert env.get_stats() == {
        "battles_won": 0, "battles_game": 0, "battles_draw": 0, "win_rate": 0.0, "timeouts": 0, "restarts": 0,
    }  # fmt: skip
    infos = [play(env, seed)[-1][2] for seed in range(3)]
    stats = env.get_stats()
    assert stats["battles_game"] == 3
    assert stats["battles_won"] == sum(info["battle_won"] for info in infos)
    env.full_restart()
    assert env.get_stats()["restarts"] == 1
    env.reset()


@pytest.mark.parametrize("continuing", [False, True])
def test_time_out(continuing: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SCENARIOS, "short", replace(SCENARIOS["3m"], name="short", limit=2))
    env = StarCraft2Env("short", seed=0, continuing_episode=continuing)
    env.reset()
    assert env.step([1, 1, 1])[1] is False
    _, terminated, info = env.step([1, 1, 1])
    assert terminated is True
    assert info.get("episode_limit", False) is continuing
    assert ("episode_limit" in info) is continuing  # learners read the absence as a true end
    assert not info["battle_won"]
    assert env.get_stats()["timeouts"] == env.get_stats()["battles_draw"] == 1


def test_units_by_id(env: StarCraft2Env):
    env.reset()
    unit = env.get_unit_by_id(0)
    assert (unit.unit_type, unit.health, unit.health_max, unit.shield_max) == ("marine", 45, 45, 0)
    assert unit.pos == pytest.approx((9, 15.3115), abs=1e-4)
    assert sorted(env.agents) == sorted(env.enemies) == [0, 1, 2]
    assert env.unit_max_cooldown(unit) == 15
    assert (env.unit_sight_range(0), env.unit_shoot_range(0)) == (9, 6)
    state = env.get_state()
    for j, enemy in env.enemies.items():
        assert (enemy.pos.x - 16) / 28 == pytest.approx(state[12 + 3 * j + 1], abs=1e-6)


def test_enemy_units_are_numbered_like_the_observations():
    env = StarCraft2Env("2s3z", seed=3)
    for _ in range(3):
        env.reset()
        rows = env.get_state()[35:65].reshape(5, 6)
        for j, enemy in env.enemies.items():
            assert enemy.unit_type == ("zealot", "stalker")[int(rows[j, 5])]
            assert (enemy.pos.x - 16) / 28 == pytest.approx(rows[j, 1], abs=1e-6)


def test_visibility_matrix(env: StarCraft2Env):
    env.reset()
    seen = env.get_visibility_matrix()
    assert seen.shape == (3, 6)
    assert seen[:, :3].tolist() == (~np.eye(3, dtype=bool)).tolist()
    assert not seen[:, 3:].any()


def test_heuristic_team_ignores_masks_and_reports_its_actions():
    env = StarCraft2Env("3m", seed=0, heuristic_ai=True)
    env.reset()
    actions = [1, 1, 1]
    env.step(actions)
    assert all(action >= 6 for action in actions)  # attacks, although nobody is in reach
    assert env.get_unit_by_id(0).pos.x > 9.5
    env = StarCraft2Env("3m", seed=0, heuristic_ai=True, heuristic_rest=True)
    env.reset()
    env.step(actions)
    assert actions == [4, 4, 4]  # walks East until the attack is available


def test_heuristic_medivac_has_no_command_while_everyone_is_well():
    # MMM: agents 0, 1 marauders, 2 .. 8 marines, 9 medivac. Columns: x, y, health.
    game = scenario("MMM")
    units = np.zeros((20, 6), np.float32)
    units[:, 2] = [t.health for t in (*game.ally_types, *game.enemy_types)]
    units[:10, 0], units[10:, 0] = 9, 23
    units[10 + 4, 0], units[10 + 7, 0] = 20, 21
    nobody_near = np.zeros((10, 16))
    team = Heuristic(game)
    assert team.act(units, nobody_near) == [6 + 4] * 9 + [0]
    units[10 + 7, 0] = 10  # nearer, but targets are kept
    units[3, 2], units[5, 2], units[3, 1] = 44, 30, 2  # two wounded; agent 5 is nearer
    assert team.act(units, nobody_near) == [6 + 4] * 9 + [6 + 5]
    units[10 + 4, 2], units[5, 2], units[0, 2] = 0, 45, 0
    assert team.act(units, nobody_near) == [0] + [6 + 7] * 8 + [6 + 3]
    assert Heuristic(game, rest=True).act(units, nobody_near) == [0, 4, 4, 3] + [4] * 5 + [2]  # South, North


def test_pictures_point_to_the_right_place(env: StarCraft2Env):
    for call in (env.render, env.save_replay):
        with pytest.raises(NotImplementedError, match=r"ibal\.viz"):
            call()


def test_a_step_is_cheap(env: StarCraft2Env):
    env.reset()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        env.step([0 if mask[0] else 1 for mask in env.get_avail_actions()])
        assert len(env.get_obs()) == len(env.get_state()) // 16
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3
