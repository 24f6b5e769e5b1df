import copy
import inspect
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.compat import _compiled
from ibal.compat._compiled import View
from ibal.compat.heuristic import Heuristic
from ibal.compat.smac import StarCraft2Env
from ibal.envs.smac.env import make
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import scenario
from ibal.game.keys import world_key
from ibal.types import TimeStep

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


def test_actions_may_be_a_column_as_epymarl_hands_them_over(env: StarCraft2Env):
    env.reset()
    env.step(np.array([[1], [2], [3]]))
    assert np.flatnonzero(env.get_state()[21:]).tolist() == [1, 9 + 2, 18 + 3]
    with pytest.raises(ValueError, match=r"an array of shape \(1, 3\), but 3m has 3 agents"):
        env.step(np.array([[1, 2, 3]]))
    with pytest.raises(ValueError, match="agent 2 cannot perform action 1099511627776; available"):
        env.step([1, 1, 2**40])


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


def test_episodes_are_those_of_an_evaluation_with_the_same_seed(monkeypatch: pytest.MonkeyPatch):
    """A world that shows nothing but its keys: a real one would take seconds to compile."""
    real = make("3m")
    shapes = jax.eval_shape(real.reset, rng.root(0), real.params)
    state, shown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def show(key: jax.Array) -> TimeStep:
        bits = (jax.random.key_data(key) % 2**20).astype(jnp.float32)  # float32 holds so many exactly
        return shown._replace(obs=shown.obs.at[:, :2].set(bits[None]), avail=jnp.ones_like(shown.avail))

    fake = real._replace(
        reset=lambda key, params: (state, show(key)),
        step=lambda key, state, actions, params: (state._replace(step=state.step + 1), show(key)),
    )
    monkeypatch.setattr(_compiled, "make", lambda *args, **options: fake)
    monkeypatch.setattr(StarCraft2Env, "_game", _compiled.compiled.__wrapped__("3m", Interface(), Rules()))
    env = StarCraft2Env("3m", seed=7)
    for episode in rng.episodes(rng.root(7), 2):  # as ``ibal evaluate --seed 7`` has them
        env.reset()
        for clock in range(3):
            wanted = jax.random.key_data(world_key(episode, clock)) % 2**20
            assert env.get_obs()[2][:2].tolist() == wanted.tolist()
            env.step([1, 1, 1])


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 10**40])
def test_seeds_that_another_seed_stands_for_are_refused(env: StarCraft2Env, seed: int):
    for take in (lambda: StarCraft2Env("3m", seed=seed), lambda: env.seed(seed)):
        with pytest.raises(ValueError, match="seed must be at") as caught:
            take()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [1.5, "7", np.nan, [1]])
def test_seeds_that_are_no_whole_numbers_are_refused(env: StarCraft2Env, seed: object):
    with pytest.raises(ValueError, match="seed must be a whole number, or None to have one drawn, not"):
        env._seed = seed
    assert env.seed() == 7


def test_a_seed_set_later_starts_its_games_afresh():
    """PettingZoo's wrapper sets ``_seed`` and restarts; EPyMARL's calls ``seed``. Numbers of NumPy's are welcome."""
    env, fresh = StarCraft2Env("3m", seed=5), StarCraft2Env("3m", seed=np.uint32(11))
    games = [play(fresh), play(fresh)]
    play(env)
    env._seed = 11
    env.full_restart()
    assert env.seed() == 11
    assert [play(env), play(env)] == games
    assert env.seed(11) == 11
    assert play(env) == games[0]
    env.reset()
    env.seed(3)
    env.step([1, 1, 1])  # the game that is being played goes on
    assert StarCraft2Env("3m", seed=2**32 - 1).seed() == 2**32 - 1


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


class TimeUp:
    """Stands for a compiled game in which the limit is reached by the first step."""

    def __init__(self, continuing: bool) -> None:
        self.continuing = continuing

    def reset(self, key: object, episode: np.uint32) -> tuple[object, list[float]]:
        return None, [0.0] * 7

    def step(self, key: object, episode: np.uint32, state: object, actions: np.ndarray) -> tuple[object, list[float]]:
        return None, [0.0, not self.continuing, self.continuing, 0.0, 1.0, 2.0, 1.0]

    def unpack(self, flat: list[float]) -> View:
        avail = np.ones((3, 9), np.float32)
        return View(np.zeros((3, 30)), np.zeros(48), avail, np.ones((6, 6)), np.array(flat, np.float32))


@pytest.mark.parametrize("continuing", [False, True])
def test_time_out(continuing: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(StarCraft2Env, "_game", TimeUp(continuing))
    env = StarCraft2Env("3m", seed=0, continuing_episode=continuing)
    env.reset()
    _, terminated, info = env.step([1, 1, 1])
    assert terminated is True
    assert info.get("episode_limit", False) is continuing
    assert ("episode_limit" in info) is continuing  # learners read the absence as a true end
    assert (info["battle_won"], info["dead_allies"], info["dead_enemies"]) == (False, 1, 2)
    assert env.get_stats()["timeouts"] == env.get_stats()["battles_draw"] == env.get_stats()["battles_game"] == 1


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


def test_attributes_that_wrappers_read_are_there(env: StarCraft2Env):
    """SMAC's own PettingZoo wrapper, and what others read of its constructor's attributes."""
    env.reset()
    assert not env.last_action.any()
    env.step([1, 2, 3])
    assert env.last_action.tolist() == np.eye(9)[[1, 2, 3]].tolist()
    assert env.agents[0].unit_type == env.marine_id != env.marauder_id
    assert (env.n_actions_no_attack, env.n_actions_move, env.n_obs_pathing, env.n_obs_height) == (6, 4, 8, 9)
    assert (env.map_type, env._agent_race, env._bot_race) == ("marines", "T", "T")
    assert (env.map_x, env.map_y, env.max_distance_x, env.max_distance_y) == (32, 32, 28, 28)
    assert (env.reward_win, env.state_last_action, env.obs_own_health, env.continuing_episode) == (
        200,
        True,
        True,
        False,
    )
    assert env.window_size == (1920, 1200)
    assert env.pathing_grid.shape == (32, 32)
    assert env.pathing_grid[2:30, 8:24].all()
    assert env.pathing_grid.sum() == 28 * 16
    env._episode_count = 1  # what the wrapper does before every reset
    assert env.death_tracker_ally.tolist() == env.death_tracker_enemy.tolist() == [0, 0, 0]
    dead = play(env)[-1][2]
    assert (env.death_tracker_ally.sum(), env.death_tracker_enemy.sum()) == (dead["dead_allies"], dead["dead_enemies"])
    assert env._episode_count == 2


# Column "map_type" of the reference's table 1.11.
MAP_TYPES = {
    "MMM2": "MMM", "3s5z": "stalkers_and_zealots", "3s_vs_5z": "stalkers", "1c3s5z": "colossi_stalkers_zealots",
    "corridor": "zealots", "6h_vs_8z": "hydralisks", "so_many_baneling": "zealots", "bane_vs_bane": "bane",
    "2c_vs_64zg": "colossus", "2m_vs_1z": "marines",
}  # fmt: skip


def test_map_types_are_smacs():
    assert {name: StarCraft2Env(name).map_type for name in MAP_TYPES} == MAP_TYPES


def test_what_belongs_to_starcraft_is_named_as_missing(env: StarCraft2Env):
    with pytest.raises(
        AttributeError, match=r'StarCraft2Env has no "_controller" \(no StarCraft II .* docs/compat\.md'
    ):
        env._controller.step(2)
    with pytest.raises(AttributeError, match=r'no "get_avail_action"; did you mean "get_avail_actions"\?'):
        env.get_avail_action()
    assert not hasattr(env, "previous_ally_units")
    assert getattr(env, "renderer", 7) == 7
    copied = copy.copy(env)  # asks for names before there is anything to ask
    assert copied.get_stats() == env.get_stats()
    assert pickle.loads(pickle.dumps(StarCraft2Env("3m", seed=4))).seed() == 4  # as spawn hands it to a worker


def test_visibility_matrix(env: StarCraft2Env):
    env.reset()
    seen = env.get_visibility_matrix()
    assert seen.shape == (3, 6)
    assert seen[:, :3].tolist() == (~np.eye(3, dtype=bool)).tolist()
    assert not seen[:, 3:].any()


def test_heuristic_team_ignores_masks_and_reports_its_actions():
    env = StarCraft2Env("3m", seed=0, heuristic_ai=True)
    env.reset()
    with pytest.raises(ValueError, match="pass a list"):
        env.step((1, 1, 1))
    actions = np.ones((3, 1), int)
    env.step(actions)
    assert actions.min() >= 6  # attacks, although nobody is in reach
    assert actions.shape == (3, 1)
    assert (env.last_action.argmax(1) == actions[:, 0]).all()
    assert env.get_unit_by_id(0).pos.x > 9.5
    env = StarCraft2Env("3m", seed=0, heuristic_ai=True, heuristic_rest=True)
    env.reset()
    actions = [1, 1, 1]
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


def test_rendering_does_not_end_the_run(env: StarCraft2Env):
    """EPyMARL's option ``render`` calls it after every step of a test."""
    with pytest.warns(UserWarning, match=r"no window to render in; save_replay\(\) writes a page"):
        env.render()
    env.render()  # said once
    with pytest.raises(NotImplementedError, match=r"save_replay\(\) writes a page"):
        env.render("rgb_array")


def test_a_step_compiles_nothing(env: StarCraft2Env):
    """What made steps slow was never the game, but small programs compiled on the way out."""
    compiled: list[str] = []

    def heard(event: str, seconds: float, **about: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    env.reset()
    env.step([0 if mask[0] else 1 for mask in env.get_avail_actions()])
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        jax.jit(lambda x: x + 1)(jnp.zeros(3)).block_until_ready()
        assert compiled  # it hears
        compiled.clear()
        for _ in range(5):
            env.step([0 if mask[0] else 1 for mask in env.get_avail_actions()])
            assert len(env.get_obs()) == len(env.get_state()) // 16
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
