"""Sizes and slices of the 15 scenarios: the numbers of ``smacv2_reference.md``, which are those of oxwhirl/smacv2."""

from __future__ import annotations

import pytest

from ibal.envs.smac.layout import REAL
from ibal.envs.smacv2.armies import ARMIES, Army, army
from ibal.envs.smacv2.layout import env_spec, expected_max_reward
from ibal.envs.smacv2.options import Options

# size: (terran and zerg, protoss), each (actions, ends of move, enemies, allies, own; of the state's allies, enemies;
# with last actions)
SIZES = {
    "5_vs_5": ((11, 4, 44, 76, 82, 35, 65, 120), (11, 4, 49, 85, 92, 40, 75, 130)),
    "10_vs_10": ((16, 4, 84, 156, 162, 70, 130, 290), (16, 4, 94, 175, 182, 80, 150, 310)),
    "10_vs_11": ((17, 4, 92, 164, 170, 70, 136, 306), (17, 4, 103, 184, 191, 80, 157, 327)),
    "20_vs_20": ((26, 4, 164, 316, 322, 140, 260, 780), (26, 4, 184, 355, 362, 160, 300, 820)),
    "20_vs_23": ((29, 4, 188, 340, 346, 140, 278, 858), (29, 4, 211, 382, 389, 160, 321, 901)),
}


def stops(layout, *kinds: str) -> tuple[int, ...]:
    return tuple(max(block.stop for block in layout.blocks if block.kind == kind) for kind in kinds)


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("race", ["terran", "zerg", "protoss"])
def test_sizes_and_slices(race: str, size: str) -> None:
    chosen = ARMIES[f"{race}_{size}"]
    actions, *ends = SIZES[size][race == "protoss"]
    spec = env_spec(chosen, Options(), REAL)
    assert (spec.n_agents, chosen.n_enemies) == tuple(map(int, size.split("_vs_")))
    assert spec.n_actions == actions
    assert stops(spec.obs_layout, "move", "enemy", "ally", "own") == tuple(ends[:4])
    assert stops(spec.state_layout, "ally", "enemy") == tuple(ends[4:6])
    assert (spec.obs_size, spec.state_size) == (ends[3], ends[5])
    assert env_spec(chosen, Options(state_last_action=True), REAL).state_size == ends[6]


def test_there_are_fifteen_scenarios_of_200_steps() -> None:
    assert len(ARMIES) == 15
    assert {chosen.limit for chosen in ARMIES.values()} == {200}


@pytest.mark.parametrize(
    ("options", "obs", "state", "actions"),
    [
        ({"obs_own_pos": False}, -2, 0, 0),
        ({"conic_fov": True}, 2, 10, 12),
        ({"obs_last_action": True}, 44, 0, 0),
        ({"obs_timestep_number": True}, 1, 0, 0),
        ({"state_timestep_number": True}, 0, 1, 0),
    ],
)
def test_what_other_options_add_at_5_vs_5(options: dict[str, bool], obs: int, state: int, actions: int) -> None:
    for race, (o, s) in {"terran": (82, 65), "protoss": (92, 75)}.items():
        spec = env_spec(army(f"{race}_5_vs_5"), Options(**options), REAL)
        assert (spec.obs_size, spec.state_size, spec.n_actions) == (o + obs, s + state, 11 + actions)


def test_first_and_last_names_of_every_block() -> None:
    spec = env_spec(army("terran_5_vs_5"), Options(), REAL)
    bits = ("is_marine", "is_marauder", "is_medivac")
    names = spec.obs_layout.names
    assert names[4] == "enemy[0].attackable"
    assert names[44] == "ally[0].visible"
    assert names[76:] == tuple(f"own[0].{f}" for f in ("health", "x", "y", *bits))
    assert names[41:44] == tuple(f"enemy[4].{f}" for f in bits)
    state = spec.state_layout.names
    assert state[:7] == tuple(f"ally[0].{f}" for f in ("health", "weapon", "x", "y", *bits))
    assert state[35:41] == tuple(f"enemy[0].{f}" for f in ("health", "x", "y", *bits))
    protoss = env_spec(army("protoss_5_vs_5"), Options(), REAL).obs_layout.names
    life = ("health", "shield", "x", "y")
    assert protoss[85:] == tuple(f"own[0].{f}" for f in (*life, "is_stalker", "is_zealot", "is_colossus"))


def test_terran_teams_that_are_larger_than_the_enemy_can_heal_everybody() -> None:
    types = ("marine", "marauder", "medivac")
    assert env_spec(Army("own", 7, 5, "T", types), Options(), REAL).n_actions == 6 + 7
    assert env_spec(Army("own", 7, 5, "Z", ("zergling", "hydralisk", "baneling")), Options(), REAL).n_actions == 6 + 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("terran_5_vs_5", 707.5), ("terran_10_vs_11", 1316.5), ("terran_20_vs_23", 2534.5), ("protoss_5_vs_5", 1122.5),
        ("protoss_20_vs_20", 3890.0), ("zerg_5_vs_5", 523.75), ("zerg_20_vs_23", 1689.25),
    ],
)  # fmt: skip
def test_the_expected_return_of_a_won_game(name: str, expected: float) -> None:
    assert expected_max_reward(army(name), Options()) == pytest.approx(expected)


def test_wrong_names_and_armies_are_answered_with_one_sentence() -> None:
    with pytest.raises(ValueError, match=r'unknown SMACv2 scenario "teran_5_vs_5"\. Closest: "terran_5_vs_5"'):
        army("teran_5_vs_5")
    with pytest.raises(ValueError, match='"own": zealot is no unit of race T'):
        Army("own", 2, 2, "T", ("marine", "zealot"), (0.5, 0.5))
    with pytest.raises(ValueError, match="give each a weight"):
        Army("own", 2, 2, "T", ("marine",), (0.5, 0.5))
