"""The moment of reset: section 2.5 of the reference (formation), 1.7 (numbering), 2.3 (orders)."""

from collections import Counter
from functools import partial

import jax
import numpy as np
import pytest

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import SCENARIOS, Scenario, scenario
from ibal.envs.smac.spawn import enemy_order, initial_units, march_goal, positions
from ibal.envs.smac.state import IDLE, SCAN
from ibal.envs.smac.terrain import terrain
from ibal.envs.smac.units import UNITS, UnitType

STEP = 0.6884765625  # spacing of marines in the real 3m, 0.75 * 235 / 256
SHRINK = 235 / 256
# Cells by distance, ties counter-clockwise from South, as listed in the reference.
CELLS = [
    (0, 0), (0, -1), (1, 0), (0, 1), (-1, 0), (1, -1), (1, 1), (-1, 1), (-1, -1), (0, -2), (2, 0), (0, 2), (-2, 0),
    (1, -2), (2, -1), (2, 1), (1, 2), (-1, 2), (-2, 1), (-2, -1), (-1, -2), (2, -2), (2, 2), (-2, 2), (-2, -2),
]  # fmt: skip
SIZES = {
    "inner": lambda unit: unit.inner_radius,
    "radius": lambda unit: unit.radius,
    "separation": lambda unit: unit.separation_radius or unit.inner_radius,
}


def test_3m_stands_as_measured():
    agents, enemies = positions(scenario("3m"), Rules())
    np.testing.assert_allclose(agents, [(9, 16 - STEP), (9, 16), (9 + STEP, 16)])
    np.testing.assert_allclose(enemies, [(23, 16), (23, 16 - STEP), (23 + STEP, 16)])  # in the order of creation


def test_8m_lacks_the_south_west():
    agents, enemies = positions(scenario("8m"), Rules())
    expected = [
        (8.3115, 16), (8.3115, 16.6885), (9, 15.3115), (9, 16), (9, 16.6885), (9.6885, 15.3115), (9.6885, 16),
        (9.6885, 16.6885),
    ]  # fmt: skip
    np.testing.assert_allclose(agents, expected, atol=5e-5)
    np.testing.assert_allclose((enemies - (23, 16)) / STEP, CELLS[:8], atol=1e-6)


def test_five_marines_make_a_plus():
    agents, enemies = positions(scenario("5m_vs_6m"), Rules())
    np.testing.assert_allclose((agents - (9, 16)) / STEP, [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)], atol=1e-6)
    np.testing.assert_allclose((enemies - (23, 16)) / STEP, CELLS[:6], atol=1e-6)


def test_marines_of_mmm():
    """Seven marines fill C, S, E, N, W, SE, NE; the medivac hangs over the middle; two marauders find other places."""
    agents, enemies = positions(scenario("MMM"), Rules())
    marines = np.sort((agents[2:9] - (9, 16)) / STEP, axis=0)
    np.testing.assert_allclose(marines, np.sort(np.array(CELLS[:7], float), axis=0), atol=1e-6)
    np.testing.assert_allclose(agents[9], (9, 16))
    np.testing.assert_allclose((enemies[:7] - (23, 16)) / STEP, CELLS[:7], atol=1e-6)
    assert (agents[:2, 0] < 9 - STEP / 2).any() or (agents[:2, 1] < 16 - STEP).any()


def test_three_stalkers_stand_in_centre_south_and_east():
    agents, _ = positions(scenario("3s_vs_3z"), Rules())
    step = agents[1, 1] - agents[0, 1]
    assert step in (pytest.approx(1.1475, abs=1e-4), pytest.approx(0.918, abs=1e-4))  # of radius 0.625 or 0.5
    np.testing.assert_allclose((agents - (9, 16)) / step, [(0, -1), (0, 0), (1, 0)], atol=1e-6)


def fits(rules_size: str, game: Scenario, groups_are_allies: bool, placed: list[tuple[float, float]]) -> bool:
    """Whether every unit took the nearest free cell of its own lattice (colossi and medivacs need no room)."""
    ground = terrain(game.terrain).above_cliffs
    taken: list[tuple[float, float, float, str]] = []
    todo = iter(placed)
    for group in game.allies if groups_are_allies else game.enemies:
        unit = UNITS[group.unit]
        radius = SIZES[rules_size](unit) * SHRINK
        plane = "air" if unit.flies else "tower" if unit.towers else "ground"
        for _ in range(group.count):
            free = (
                (x, y)
                for x, y in ((group.at[0] + 2 * radius * i, group.at[1] + 2 * radius * j) for i, j in CELLS)
                if ground[int(y), int(x)]
                and all(p != plane or np.hypot(x - a, y - b) > radius + r - 1e-4 for a, b, r, p in taken)
            )
            x, y = next(free)
            if np.hypot(*np.subtract(next(todo), (x, y))) > 1e-4:
                return False
            taken.append((x, y, radius, plane))
    return True


# Up to 13 units a side: beyond that the order of the cells is an extrapolation of the reference.
@pytest.mark.parametrize("name", [n for n, game in SCENARIOS.items() if game.n_enemies <= 13])
def test_everybody_takes_the_nearest_free_cell(name: str):
    game = scenario(name)
    enemies = [(float(x), float(y)) for x, y in positions(game, Rules())[1]]
    assert any(fits(size, game, False, enemies) for size in SIZES)


@pytest.mark.parametrize("name", SCENARIOS)
def test_bodies_of_a_team_do_not_share_a_slot(name: str):
    game = scenario(name)
    for team, types in zip(positions(game, Rules()), (game.ally_types, game.enemy_types), strict=True):
        for i, (unit, at) in enumerate(zip(types, team, strict=True)):
            for other, there in zip(types[:i], team[:i], strict=True):
                if not (unit.flies or other.flies or unit.towers != other.towers):
                    room = (min_size(unit) + min_size(other)) * SHRINK
                    assert np.hypot(*(at - there)) > room - 1e-4


def min_size(unit: UnitType) -> float:
    return min(size(unit) for size in SIZES.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_agents_are_numbered_by_type_then_x_then_y(name: str):
    game = scenario(name)
    agents, enemies = positions(game, Rules())
    keys = [(unit.name, x, y) for unit, (x, y) in zip(game.ally_types, agents.tolist(), strict=True)]
    assert keys == sorted(keys)
    assert Counter(unit.name for unit in game.ally_types) == Counter(
        {g.unit: sum(h.count for h in game.allies if h.unit == g.unit) for g in game.allies}
    )
    # Enemies stay in creation order: the group's point is taken by its first unit (unless somebody is there already).
    assert (enemies[0] == game.enemies[0].at).all()


def test_numbering_of_mixed_teams():
    order = {
        name: [unit.name for unit in scenario(name).ally_types] for name in ("MMM", "2s3z", "1c3s5z", "bane_vs_bane")
    }
    assert order["MMM"] == ["marauder"] * 2 + ["marine"] * 7 + ["medivac"]
    assert order["2s3z"] == ["stalker"] * 2 + ["zealot"] * 3
    assert order["1c3s5z"] == ["colossus"] + ["stalker"] * 3 + ["zealot"] * 5
    assert order["bane_vs_bane"] == ["baneling"] * 4 + ["zergling"] * 20
    assert [u.name for u in scenario("MMM").enemy_types] == ["marine"] * 7 + ["marauder"] * 2 + ["medivac"]


def test_colossus_and_medivac_share_the_middle_with_others():
    agents, _ = positions(scenario("1c3s5z"), Rules())
    np.testing.assert_allclose(agents[0], (9, 16))
    assert sum(np.allclose(at, (9, 16)) for at in positions(scenario("MMM"), Rules())[0]) == 2


def draws(name: str, rules: Rules, count: int = 4096) -> list[tuple[int, ...]]:
    keys = jax.random.split(jax.random.key(7), count)
    order = jax.jit(jax.vmap(partial(enemy_order, scenario=scenario(name), rules=rules)))(keys)
    return [tuple(row) for row in np.asarray(order).tolist()]


def test_enemy_ids_rise_and_then_fall_in_creation_order():
    for order in draws("8m", Rules(enemy_ids="unimodal")):
        peak = order.index(7)  # the last one created stands where front and tail meet
        assert sorted(order) == list(range(8))
        assert list(order[: peak + 1]) == sorted(order[: peak + 1])
        assert list(order[peak:]) == sorted(order[peak:], reverse=True)


def test_every_coin_is_fair():
    drawn = Counter(draws("3m", Rules(enemy_ids="unimodal")))
    # Enemies 0 and 1 go to the front or to the tail, 2 in between: four orders, 1024 +- 28 times each.
    assert set(drawn) == {(0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0)}
    assert all(abs(count - 1024) < 5 * 28 for count in drawn.values())
    eight = draws("8m", Rules(enemy_ids="unimodal"))
    assert len(set(eight)) == 2**7
    in_front = np.array([[order.index(unit) < order.index(7) for unit in range(7)] for order in eight])
    np.testing.assert_allclose(in_front.mean(0), 0.5, atol=5 * 0.0078)
    assert abs(np.corrcoef(in_front.T) - np.eye(7)).max() < 5 / 64  # independent of each other


def test_other_numberings():
    drawn = Counter(draws("3m", Rules(enemy_ids="permutation")))
    assert len(drawn) == 6
    assert all(abs(count - 4096 / 6) < 5 * 24 for count in drawn.values())
    assert set(draws("8m", Rules(enemy_ids="creation"), 4)) == {tuple(range(8))}
    with pytest.raises(ValueError, match=r'enemy_ids is "random".*unimodal'):
        draws("3m", Rules(enemy_ids="random"), 4)


def goals(name: str, count: int = 1) -> np.ndarray:
    """Where the enemies are sent: [draw, enemy, 2]."""
    keys = jax.random.split(jax.random.key(3), count)
    x, y = jax.vmap(partial(march_goal, scenario=scenario(name), rules=Rules()))(keys)
    return np.stack([x, y], axis=-1)


@pytest.mark.parametrize("name", [n for n, game in SCENARIOS.items() if game.march == "point"])
def test_enemies_march_to_the_point_of_the_map(name: str):
    goal, enemies = goals(name)[0], positions(scenario(name), Rules())[1]
    np.testing.assert_allclose(goal.mean(0), scenario(name).goal, atol=1e-3)
    spread = np.abs(enemies - enemies.mean(0)).max(0)
    assert (np.abs(goal - goal.mean(0)) <= spread + 1e-3).all()  # at most as wide as the formation


def test_goals_of_the_map_table():
    strip = [n for n, g in SCENARIOS.items() if g.march == "point" and g.enemies[0].at == (23, 16)]
    assert len(strip) == 16
    assert {scenario(name).goal for name in strip} == {(9, 16)}
    assert {scenario(name).goal for name in ("corridor", "so_many_baneling")} == {(4.47, 4.3298)}
    assert scenario("6h_vs_8z").goal == (14.5998, 9.49)
    assert scenario("bane_vs_bane").goal == (16, 8)
    assert {n: g.march for n, g in SCENARIOS.items() if g.march != "point"} == {
        "2m_vs_1z": "segment", "2s_vs_1sc": "none", "2c_vs_64zg": "agents",
    }  # fmt: skip


def test_the_goal_of_2m_vs_1z_lies_between_the_marines():
    goal = goals("2m_vs_1z", 2000)[:, 0]
    assert (goal[:, 1] == 12).all()
    assert 13 <= goal[:, 0].min() < 13.05
    assert 18.95 < goal[:, 0].max() <= 19
    assert abs(goal[:, 0].mean() - 16) < 5 * 6 / 12**0.5 / 2000**0.5


@pytest.mark.parametrize("name", ["3m", "2s3z", "MMM", "2s_vs_1sc"])
def test_units_at_reset(name: str):
    game = scenario(name)
    units = initial_units(game, Rules())
    types, n = (*game.ally_types, *game.enemy_types), game.n_agents
    assert units.health.tolist() == [t.health for t in types]
    assert units.shield.tolist() == [t.shield for t in types]
    assert units.energy.tolist() == [50.0 if t.name == "medivac" else 0.0 for t in types]
    assert (units.cooldown == 0).all()  # ready to fire
    assert (units.target == -1).all()
    assert (units.order[:n] == IDLE).all()
    if game.march == "point":
        assert (units.order[n:] == SCAN).all()
