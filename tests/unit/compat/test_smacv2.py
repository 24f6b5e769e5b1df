"""SMACv2's environment and its wrapper, used as PyMARL and EPyMARL use them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from ibal.compat.smacv2 import StarCraft2Env, StarCraftCapabilityEnvWrapper

RACES = {
    "terran": (["marine", "marauder", "medivac"], [0.45, 0.45, 0.1], ["medivac"]),
    "zerg": (["zergling", "baneling", "hydralisk"], [0.45, 0.1, 0.45], ["baneling"]),
    "protoss": (["stalker", "zealot", "colossus"], [0.45, 0.45, 0.1], []),
}
PUBLISHED = {
    "obs_own_pos": True, "conic_fov": False, "use_unit_ranges": True, "min_attack_range": 2, "num_fov_actions": 12,
    "prob_obs_enemy": 1.0, "action_mask": True, "obs_starcraft": True, "state_last_action": True,
}  # fmt: skip


def config(race: str, n: int, m: int) -> dict[str, Any]:
    """The ``capability_config`` of the published files."""
    types, weights, exceptions = RACES[race]
    return {
        "n_units": n,
        "n_enemies": m,
        "team_gen": {
            "dist_type": "weighted_teams", "unit_types": types, "exception_unit_types": exceptions,
            "weights": weights, "observe": True,
        },
        "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32},
    }  # fmt: skip


@pytest.fixture(scope="module")
def env() -> StarCraftCapabilityEnvWrapper:
    return StarCraftCapabilityEnvWrapper(
        map_name="10gen_zerg", capability_config=config("zerg", 2, 3), seed=5, **PUBLISHED
    )


@pytest.mark.parametrize(("race", "sizes"), [("terran", (82, 120)), ("zerg", (82, 120)), ("protoss", (92, 130))])
def test_sizes_are_those_of_the_published_configurations(race: str, sizes: tuple[int, int]) -> None:
    env = StarCraftCapabilityEnvWrapper(map_name=f"10gen_{race}", capability_config=config(race, 5, 5), **PUBLISHED)
    info = env.get_env_info()
    assert (info["obs_shape"], info["state_shape"]) == sizes
    assert (info["n_actions"], info["n_agents"], info["episode_limit"], env.map_type) == (11, 5, 200, f"{race}_gen")
    assert len(env.get_obs_feature_names()) == sizes[0]
    assert env.use_unit_ranges is True


def test_the_constructors_own_defaults_see_no_position() -> None:
    env = StarCraft2Env("10gen_terran", capability_config=config("terran", 5, 5))
    assert env.get_obs_size() == 80
    assert list(inspect.signature(StarCraft2Env).parameters)[:3] == ["map_name", "step_mul", "move_amount"]


def test_sizes_need_no_jax() -> None:
    code = (
        "import sys; from ibal.compat.smacv2 import StarCraft2Env as E;"
        f"print(E('10gen_zerg', capability_config={config('zerg', 5, 6)!r}).get_env_info()['n_actions'],"
        "'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["12", "False"]


def test_a_loop_of_pymarl(env: StarCraftCapabilityEnvWrapper) -> None:
    draw, teams, returns = np.random.default_rng(0), set(), 0.0
    for _ in range(3):
        obs, state = env.reset()
        assert [o.shape for o in obs] == [(env.get_obs_size(),)] * 2
        assert state.shape == (env.get_state_size(),)
        teams.add(tuple(unit.unit_type for unit in env.agents.values()))
        over, steps, info = False, 0, {}
        while not over:
            actions = [int(draw.choice(np.flatnonzero(mask))) for mask in env.get_avail_actions()]
            reward, over, info = env.step(actions)
            returns, steps = returns + reward, steps + 1
            assert len(env.get_obs()) == 2
        assert set(info) == {"battle_won", "dead_allies", "dead_enemies"}
        assert steps <= 200
    assert returns >= 0
    assert env.get_stats()["battles_game"] == 3
    assert len(teams) > 1


def test_an_episode_with_teams_and_places_that_are_given(env: StarCraftCapabilityEnvWrapper) -> None:
    env.env.reset({
        "team_gen": {"ally_team": ["zergling", "hydralisk"], "enemy_team": ["hydralisk"] * 3},
        "start_positions": {
            "ally_start_positions": np.array([(10.0, 12.0), (10.0, 20.0)]),
            "enemy_start_positions": np.array([(13.0, 20.0), (22.0, 12.0), (29.0, 29.0)]),
        },
    })  # fmt: skip
    assert [unit.unit_type for unit in env.agents.values()] == ["hydralisk", "zergling"]  # numbered by type
    assert tuple(env.get_unit_by_id(1).pos) == (10.0, 12.0)
    assert sorted(tuple(unit.pos) for unit in env.enemies.values()) == [(13.0, 20.0), (22.0, 12.0), (29.0, 29.0)]
    assert (env.unit_sight_range(0), env.unit_shoot_range(0), env.unit_shoot_range(1)) == (9, 5, 2)
    assert env.get_visibility_matrix()[:, :2].tolist() == [[False, True], [False, False]]
    assert sum(env.get_avail_agent_actions(0)[6:]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"team_gen": {"dist_type": "fixed"}}, '"team_gen" must have dist_type "weighted_teams"'),
        ({"attack": {}}, '"attack" is not there; it may have n_enemies, n_units, start_positions, team_gen'),
        ({"n_units": 0}, "has 0 agents and 3 enemies; give at least 1"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StarCraft2Env("10gen_zerg", capability_config=config("zerg", 2, 3) | change)


def test_a_map_of_smac_is_pointed_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"Maps of SMAC: ibal\.compat\.smac"):
        StarCraft2Env("3m", capability_config=config("zerg", 2, 3))
