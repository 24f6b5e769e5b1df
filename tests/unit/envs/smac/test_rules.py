"""Versions of the engine, and its numbers as arrays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.env import make
from ibal.envs.smac.pairs import columns
from ibal.envs.smac.physics import separate, steer
from ibal.envs.smac.rules import VERSIONS, Quantities, Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, IDLE, EnvState, Units
from ibal.envs.smac.stats import stats
from ibal.envs.smac.targeting import acquire

# Small, so that it compiles quickly.
DUEL = Scenario("duel", 60, (Group("marine", 2, (9.0, 16.0)),), (Group("zealot", 2, (14.0, 16.0)),), terrain="open")


def test_a_version_is_found_by_its_name():
    assert Rules.of("2026-11") == VERSIONS["2026-11"]
    assert Rules.of("2026-11").version == "2026-11"
    assert VERSIONS["2026-11"].quantities.squeeze == pytest.approx(0.7**2)  # as published in November 2026


def test_an_unknown_version_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r'no version "2026-1" of the engine; did you mean "2026-1[12]"'):
        Rules.of("2026-1")


def test_rules_of_no_version_say_what_differs():
    old = Rules.of("2026-11")
    changed = replace(old, quantities=old.quantities._replace(push=0.1), head_start=2)
    assert changed.version == "2026-11+head_start=2+push=0.1"
    assert replace(old, check_actions=False).version == "2026-11"  # who plays is no part of the world


def test_numbers_are_options_of_make():
    env = make(DUEL, push=0.25, head_start=0)
    assert float(env.params.quantities.push) == 0.25
    assert env.step == make(DUEL, head_start=0).step  # the same program for other numbers
    with pytest.raises(ValueError, match='no option "pusch"; did you mean "push"'):
        make(DUEL, pusch=0.25)


def play(numbers: Quantities) -> tuple[Units, Units]:
    """The units after 24 steps of attacking the first enemy, under rows of numbers: all at once, and one by one."""
    env = make(DUEL, rules=Rules.of("2026-11"))
    games = jax.random.split(jax.random.key(0), 3)

    def run(key: jax.Array, numbers: Quantities) -> Units:
        params = env.params._replace(quantities=numbers)
        state, step = env.reset(key, params)

        def act(loop: tuple[EnvState, jax.Array], key: jax.Array) -> tuple[tuple[EnvState, jax.Array], None]:
            state, avail = loop
            wish = jnp.where(avail[:, 6], 6, jnp.where(avail[:, 7], 7, jnp.where(avail[:, 1], 1, 0)))
            state, step = env.step(key, state, wish, params)
            return (state, step.avail), None

        return jax.lax.scan(act, (state, step.avail), jax.random.split(key, 24))[0][0].units

    several = jax.jit(jax.vmap(run, (0, None)))
    apart = [several(games, jax.tree.map(lambda a, i=i: a[i], numbers)) for i in range(2)]
    together = jax.jit(jax.vmap(jax.vmap(run, (0, None)), (None, 0)))(games, numbers)
    return together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *apart)


def test_rule_sets_side_by_side_play_as_each_alone():
    old = jax.tree.map(jnp.float32, Rules.of("2026-11").quantities)
    other = old._replace(scan_own=jnp.float32(1), scan_other=jnp.float32(1), cadence=jnp.float32(4))
    together, apart = play(jax.tree.map(lambda *leaves: jnp.stack(leaves), old, other))
    np.testing.assert_allclose(together.x, apart.x, atol=1e-4)
    np.testing.assert_allclose(together.health, apart.health, atol=1e-4)
    assert not np.allclose(together.x[0], together.x[1])  # the numbers do something


# Whom one enemy takes: a marine at (16, 16) and a group of agents West of it.
NEW = Quantities(near=1.0, chance=0.0, keep_scan=0.0, switch=1.0, scan_other=1.0)


def chosen(agents: str, x: list[float], numbers: Quantities, had: int = -1, loop: int = 0, **changes: object) -> int:
    """The target of the enemy, who had target ``had``; ``changes`` are columns of the agents."""
    n = len(x)
    game = Scenario("view", 60, (Group(agents, n, (9.0, 16.0)),), (Group("marine", 1, (16.0, 16.0)),), terrain="open")
    units = initial_units(game, Rules())
    units = units._replace(
        x=units.x.at[:n].set(jnp.array(x)), y=jnp.full(n + 1, 16.0), target=units.target.at[n].set(had)
    )
    for name, values in changes.items():
        column = getattr(units, name)
        units = units._replace(**{name: column.at[:n].set(jnp.array(values, column.dtype))})
    wide = jax.tree.map(lambda a: a[:, None], units)
    found = acquire(wide, jnp.full((n + 1, 1), 0.5), jnp.full((1, 1), loop), stats(game), numbers, n)
    return int(found[0, 0])


def test_the_nearest_is_taken_and_kept_in_the_range_of_the_weapon():
    assert chosen("marine", [11.8, 12.2], NEW) == 1
    assert chosen("marine", [11.8, 12.2], NEW, had=0) == 0
    assert chosen("marine", [10.1, 12.2], NEW, had=0) == 1  # 5.9 away: out of reach, 5 + 2 * 0.375


def test_who_does_not_attack_is_dropped_for_one_that_does():
    attack = {"order": [IDLE, ATTACK], "target": [-1, 2]}
    assert chosen("marine", [12.2, 11.8], NEW, had=0, **attack) == 1
    assert chosen("marine", [12.2, 11.8], NEW._replace(switch=0.0), had=0, **attack) == 0
    both = {"order": [ATTACK, ATTACK], "target": [2, 2]}
    assert chosen("marine", [12.2, 11.8], NEW, had=0, **both) == 0


def test_an_attacker_is_remembered_for_a_while():
    shot = {"order": [IDLE, ATTACK], "target": [-1, 2], "shot": [1e4, 20.0]}
    assert chosen("marine", [12.2, 11.8], NEW._replace(memory=24.0), had=0, **shot) == 1
    assert chosen("marine", [12.2, 11.8], NEW._replace(memory=16.0), had=0, **shot) == 0


def test_a_medivac_counts_as_an_attacker():
    assert chosen("medivac", [12.2, 11.8], NEW) == 0
    hit = {"order": [IDLE, ATTACK], "target": [-1, 2]}  # as if the second one shot
    assert chosen("medivac", [12.2, 11.8], NEW, had=0, **hit) == 1
    assert chosen("medivac", [12.2, 11.8], NEW._replace(medivacs=1.0), had=0, **hit) == 0


def test_between_two_looks_nothing_changes():
    rare = NEW._replace(cadence=4.0, cadence_again=8.0)
    # The enemy is unit 1 of two: it looks when loop + 3 is a multiple.
    assert [chosen("marine", [12.0], rare, loop=loop) for loop in range(4)] == [-1, 0, -1, -1]
    assert [chosen("marine", [9.0], rare, had=0, loop=loop) for loop in (0, 5, 6)] == [0, -1, 0]


def walk(look: float, swept: bool) -> float:
    """Degrees by which a zealot turns aside whose way is barred by an enemy 1.6 ahead and a little to the left."""
    game = Scenario("way", 60, (Group("zealot", 1, (9.0, 16.0)),), (Group("zealot", 1, (10.6, 16.05)),), terrain="open")
    units = jax.tree.map(lambda a: a[:, None], initial_units(game, Rules()))
    one, none = jnp.ones((2, 1)), jnp.zeros((2, 1))
    rules = Rules(swept=swept, detour_step=30, detour_most=120)
    numbers = columns(Quantities(look=look, melee_detour=120.0, cosine=0.0))
    planted, step = jnp.array([[False], [True]]), jnp.array([[0.14], [0.0]])
    move_x, move_y, _ = steer(units, planted, one, none, 5 * one, step, stats(game, rules), rules, numbers)
    return float(np.degrees(np.arctan2(move_y[0, 0], move_x[0, 0])))


def test_the_way_is_tested_as_far_as_it_is_looked_ahead():
    assert walk(1, swept=False) == pytest.approx(0, abs=0.1)
    # At 30 degrees to the right the end of 0.98 is free, but not the whole way: 1.6 sin 30 is less than two bodies.
    assert walk(7, swept=True) == pytest.approx(-30, abs=0.1)
    assert walk(30, swept=True) == pytest.approx(60, abs=0.1)
    assert walk(30, swept=False) == pytest.approx(0, abs=0.1)  # only the end, 4.2 away


def aside(**numbers: float) -> tuple[float, float]:
    """(degrees, length) of the step of a marine with 0.05 to go whose way is barred by a firm mate 0.9 ahead."""
    game = Scenario("way", 60, (Group("marine", 2, (9.0, 16.0)),), (Group("marine", 1, (23.0, 16.0)),), terrain="open")
    units = jax.tree.map(lambda a: a[:, None], initial_units(game, Rules()))
    column = jnp.zeros((3, 1))
    units = units._replace(x=column.at[:, 0].set(jnp.array([9.0, 9.9, 23.0])), y=column + 16.0)
    rules = Rules(swept=True, detour_step=30, detour_most=120)
    given = columns(Quantities(look=6, ranged_detour=120.0, cosine=0.0, **numbers))
    planted, step = jnp.array([[False], [True], [True]]), jnp.array([[0.05], [0.0], [0.0]])
    x, y, _ = steer(units, planted, column + 1, column, step, step, stats(game, rules), rules, given)
    return float(np.degrees(np.arctan2(y[0, 0], x[0, 0]))), float(np.hypot(x[0, 0], y[0, 0]))


def test_a_ranged_unit_looks_past_the_way_it_has_to_go():
    assert aside() == pytest.approx((0, 0.05), abs=1e-3)
    # Bodies are about 0.69 wide: six steps of 0.14 ahead the mate bars 30 degrees (0.9 sin 30 = 0.45), not 60 (0.78).
    angle, length = aside(look_past=6.0)
    assert (abs(angle), length) == (pytest.approx(60, abs=0.1), pytest.approx(0.05, abs=1e-3))
    angle, length = aside(look_past=6.0, full_detours=1.0)
    assert (abs(angle), length) == (pytest.approx(60, abs=0.1), pytest.approx(2.25 / 16, abs=1e-3))
    assert aside(full_detours=1.0) == pytest.approx((0, 0.05), abs=1e-3)  # straight ahead it stops where it should


def test_who_presses_on_a_walking_team_mate_gives_way():
    game = Scenario("file", 60, (Group("zealot", 2, (9.0, 16.0)),), (Group("marine", 1, (23.0, 16.0)),), terrain="open")
    rules = Rules(shrink="margin")
    x, y = jnp.array([[10.0], [10.8], [23.0]]), jnp.full((3, 1), 16.0)
    toward = (jnp.array([[1.0], [1.0], [0.0]]), jnp.zeros((3, 1)))
    idle, alive = jnp.zeros((3, 1), bool), jnp.ones((3, 1), bool)
    overlap = 2 * (0.5 - 63 / 2048) - 0.8
    for yields, behind, ahead in ((0.0, -overlap / 2, overlap / 2), (1.0, -overlap, 0.0)):
        push = separate(x, y, toward, idle, alive, stats(game, rules), columns(Quantities(push=0.3, yields=yields)))
        np.testing.assert_allclose(push[0][:2, 0], [behind, ahead], atol=1e-4)
