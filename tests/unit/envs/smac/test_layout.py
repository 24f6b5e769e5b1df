from dataclasses import replace

import pytest

from ibal.envs.smac.layout import METRICS, env_spec, obs_layout, state_layout
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import scenario

PLAIN = Interface()


def test_names_on_3m():
    names = obs_layout(scenario("3m"), PLAIN).names
    assert names[:4] == ("move[0].can_north", "move[0].can_south", "move[0].can_east", "move[0].can_west")
    assert names[4:9] == tuple(f"enemy[0].{f}" for f in ("attackable", "distance", "dx", "dy", "health"))
    assert names[24:29] == tuple(f"ally[1].{f}" for f in ("visible", "distance", "dx", "dy", "health"))
    assert names[29:] == ("own[0].health",)


def test_enemy_bits_are_flipped_on_2s3z():
    names = obs_layout(scenario("2s3z"), PLAIN).names
    assert names[4 + 5 : 4 + 8] == ("enemy[0].shield", "enemy[0].is_zealot", "enemy[0].is_stalker")
    assert names[76:] == ("own[0].health", "own[0].shield", "own[0].is_stalker", "own[0].is_zealot")
    straight = obs_layout(scenario("2s3z"), PLAIN, Rules(flip_enemy_bits=False)).names
    assert straight[10:12] == ("enemy[0].is_stalker", "enemy[0].is_zealot")


def test_state_names_say_energy_for_a_medivac():
    names = state_layout(scenario("MMM"), PLAIN).names
    assert names[:7] == tuple(
        f"ally[0].{f}" for f in ("health", "cooldown", "x", "y", "is_marauder", "is_marine", "is_medivac")
    )
    assert names[9 * 7 + 1] == "ally[9].energy"
    assert names[70:73] == ("enemy[0].health", "enemy[0].x", "enemy[0].y")
    assert names[73:76] == ("enemy[0].is_marauder", "enemy[0].is_marine", "enemy[0].is_medivac")
    assert names[130] == "last_action[0].no-op"
    assert names[-1] == "last_action[9].attack[9]"


@pytest.mark.parametrize(
    ("options", "grows_by"),
    [
        ({"obs_pathing_grid": True}, 8),
        ({"obs_terrain_height": True}, 9),
        ({"obs_timestep_number": True}, 1),
        ({"obs_last_action": True}, 4 * 11),  # one-hot of 11 actions in each of the 4 ally rows
        ({"obs_all_health": False}, -(5 + 4) * 2),  # health and shield of 5 enemies and 4 allies; the own ones stay
        ({"obs_all_health": False, "obs_own_health": False}, -(5 + 4 + 1) * 2),
        ({"obs_own_health": False}, 0),  # implied by obs_all_health
    ],
)
def test_obs_options_on_2s3z(options, grows_by):
    assert obs_layout(scenario("2s3z"), replace(PLAIN, **options)).size == 80 + grows_by


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"state_last_action": False}, 65),
        ({"state_timestep_number": True}, 121),
        ({"obs_instead_of_state": True}, 5 * 80),
        ({"obs_instead_of_state": True, "state_timestep_number": True}, 5 * 80),
    ],
)
def test_state_options_on_2s3z(options, size):
    assert state_layout(scenario("2s3z"), replace(PLAIN, **options)).size == size


def test_optional_features_stand_where_smac_puts_them():
    interface = Interface(
        obs_pathing_grid=True, obs_terrain_height=True, obs_timestep_number=True, obs_last_action=True
    )
    layout = obs_layout(scenario("3m"), interface)
    assert layout.names[4] == "pathing[0].north"
    assert layout.names[12] == "height[0].north"
    assert layout.names[20] == "height[0].here"
    assert layout.names[21] == "enemy[0].attackable"
    assert layout.names[21 + 15 + 5] == "ally[0].last_no-op"
    assert layout.names[-1] == "time[0].elapsed"


def test_owner_of_ally_rows_skips_the_agent_itself():
    owner = obs_layout(scenario("3m"), PLAIN).agents(3)
    assert owner[0, 19] == 1
    assert owner[1, 19] == 0
    assert owner[2, 24] == 1
    assert owner[2, 29] == 2
    assert (owner[:, :19] == -1).all()
    assert state_layout(scenario("3m"), PLAIN).agents(3)[0, :12].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_spec_of_3m():
    spec = env_spec(scenario("3m"), PLAIN)
    assert (spec.name, spec.horizon, spec.noop_action, spec.idle_actions) == ("smac/3m", 60, 0, (0, 1))
    assert spec.action_names[:6] == ("no-op", "stop", "north", "south", "east", "west")
    assert spec.action_names[6:] == ("attack[0]", "attack[1]", "attack[2]")
    assert spec.metric_names == METRICS
    assert hash(spec) == hash(env_spec(scenario("3m"), PLAIN))
