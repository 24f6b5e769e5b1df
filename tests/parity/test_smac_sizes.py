"""Sizes, slices, limits and rewards of all 23 maps of SMAC's registry (reference, table 1.11 and appendix A)."""

import pytest

from ibal.envs.smac.layout import env_spec, max_reward
from ibal.envs.smac.rules import Interface
from ibal.envs.smac.scenarios import SCENARIOS, scenario
from ibal.types import ObsLayout

# map: agents, enemies, limit, actions, obs, state, state without last actions, max_reward, then row widths:
# enemy obs, ally obs, own, ally state, enemy state
TABLE = {
    "3m": (3, 3, 60, 9, 30, 48, 21, 365, 5, 5, 1, 4, 3),
    "8m": (8, 8, 120, 14, 80, 168, 56, 640, 5, 5, 1, 4, 3),
    "25m": (25, 25, 150, 31, 250, 950, 175, 1575, 5, 5, 1, 4, 3),
    "5m_vs_6m": (5, 6, 70, 12, 55, 98, 38, 530, 5, 5, 1, 4, 3),
    "8m_vs_9m": (8, 9, 120, 15, 85, 179, 59, 695, 5, 5, 1, 4, 3),
    "10m_vs_11m": (10, 11, 150, 17, 105, 243, 73, 805, 5, 5, 1, 4, 3),
    "27m_vs_30m": (27, 30, 180, 36, 285, 1170, 198, 1850, 5, 5, 1, 4, 3),
    "MMM": (10, 10, 150, 16, 160, 290, 130, 1015, 8, 8, 4, 7, 6),
    "MMM2": (10, 12, 180, 18, 176, 322, 142, 1205, 8, 8, 4, 7, 6),
    "2s3z": (5, 5, 120, 11, 80, 120, 65, 1020, 8, 8, 4, 7, 6),
    "3s5z": (8, 8, 150, 14, 128, 216, 104, 1510, 8, 8, 4, 7, 6),
    "3s5z_vs_3s6z": (8, 9, 170, 15, 136, 230, 110, 1670, 8, 8, 4, 7, 6),
    "3s_vs_3z": (3, 3, 150, 9, 36, 54, 27, 680, 6, 6, 2, 5, 4),
    "3s_vs_4z": (3, 4, 200, 10, 42, 61, 31, 840, 6, 6, 2, 5, 4),
    "3s_vs_5z": (3, 5, 250, 11, 48, 68, 35, 1000, 6, 6, 2, 5, 4),
    "1c3s5z": (9, 9, 180, 15, 162, 270, 135, 1870, 9, 9, 5, 8, 7),
    "2m_vs_1z": (2, 1, 150, 7, 16, 26, 12, 360, 6, 5, 1, 4, 4),
    "corridor": (6, 24, 400, 30, 156, 282, 102, 1280, 5, 6, 2, 5, 3),
    "6h_vs_8z": (6, 8, 150, 14, 78, 140, 56, 1480, 6, 5, 1, 4, 4),
    "2s_vs_1sc": (2, 1, 300, 7, 17, 27, 13, 510, 5, 6, 2, 5, 3),
    "so_many_baneling": (7, 32, 100, 38, 202, 397, 131, 1480, 5, 6, 2, 5, 3),
    "bane_vs_bane": (24, 24, 200, 30, 336, 984, 264, 1260, 7, 7, 3, 6, 5),
    "2c_vs_64zg": (2, 64, 400, 70, 332, 342, 202, 3080, 5, 6, 2, 5, 3),
}

# Slices as appendix A prints them: move, enemy, ally, own; ally, enemy, last actions.
SLICES = {
    "3m": ((4, 19, 29, 30), (12, 21, 48)),
    "MMM2": ((4, 100, 172, 176), (70, 142, 322)),
    "2s3z": ((4, 44, 76, 80), (35, 65, 120)),
    "1c3s5z": ((4, 85, 157, 162), (72, 135, 270)),
    "corridor": ((4, 124, 154, 156), (30, 102, 282)),
    "2s_vs_1sc": ((4, 9, 15, 17), (10, 13, 27)),
    "bane_vs_bane": ((4, 172, 333, 336), (144, 264, 984)),
    "2c_vs_64zg": ((4, 324, 330, 332), (10, 202, 342)),
}


def widths(layout: ObsLayout, kind: str) -> tuple[int, set[int]]:
    blocks = [b for b in layout.blocks if b.kind == kind]
    return len(blocks), {len(b.features) for b in blocks}


def test_the_registry_is_complete():
    assert set(SCENARIOS) == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_row_of_the_map_table(name: str):
    agents, enemies, limit, actions, obs, state, bare, best, enemy, ally, own, ally_state, enemy_state = TABLE[name]
    game = scenario(name)
    spec = env_spec(game, Interface())
    assert (spec.n_agents, game.n_enemies, spec.horizon) == (agents, enemies, limit)
    assert (spec.n_actions, len(spec.action_names)) == (actions, actions)
    assert (spec.obs_size, spec.state_size) == (obs, state)
    assert env_spec(game, Interface(state_last_action=False)).state_size == bare
    assert max_reward(game, Interface()) == game.max_reward == best
    assert widths(spec.obs_layout, "move") == (1, {4})
    assert widths(spec.obs_layout, "enemy") == (enemies, {enemy})
    assert widths(spec.obs_layout, "ally") == (agents - 1, {ally})
    assert widths(spec.obs_layout, "own") == (1, {own})
    assert widths(spec.state_layout, "ally") == (agents, {ally_state})
    assert widths(spec.state_layout, "enemy") == (enemies, {enemy_state})
    assert widths(spec.state_layout, "last_action") == (agents, {actions})


@pytest.mark.parametrize("name", SLICES)
def test_slices_of_appendix_a(name: str):
    spec = env_spec(scenario(name), Interface())

    def ends(layout: ObsLayout) -> tuple[int, ...]:
        return tuple(max(b.stop for b in layout.blocks if b.kind == kind) for kind in layout.kinds)

    assert spec.obs_layout.kinds == ("move", "enemy", "ally", "own")
    assert spec.state_layout.kinds == ("ally", "enemy", "last_action")
    assert (ends(spec.obs_layout), ends(spec.state_layout)) == SLICES[name]
