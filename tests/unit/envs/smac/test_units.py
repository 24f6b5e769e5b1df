"""The unit table against sections 3.2, 3.3 and 4.7 of the reference, copied here row by row."""

import numpy as np
import pytest

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.stats import Stats, stats
from ibal.envs.smac.units import LOOPS_PER_SECOND, LOOPS_PER_STEP, UNITS, can_hit, hit_damage
from unit.envs.smac.lab import LAB, NAMES, N

# life, shield, armor, speed per environment step, radius, attributes
BODIES = {
    "marine": (45, 0, 0, 1.125, 0.375, "light biological"),
    "marauder": (125, 0, 1, 1.125, 0.5625, "armored biological"),
    "medivac": (150, 0, 1, 1.375, 0.75, "armored mechanical"),
    "stalker": (80, 80, 1, 1.47655, 0.625, "armored mechanical"),
    "zealot": (100, 50, 1, 1.125, 0.5, "light biological"),
    "colossus": (200, 150, 1, 1.125, 1.0, "armored mechanical massive"),
    "zergling": (35, 0, 0, 1.47655, 0.375, "light biological"),
    "hydralisk": (80, 0, 0, 1.125, 0.625, "light biological"),
    "baneling": (30, 0, 0, 1.25, 0.375, "biological"),
    "spine_crawler": (300, 0, 2, 0, 0.875, "armored biological structure"),
}
# damage, bonus, to, hits, range, period (loops), damage point (s), backswing (s), hits air, missile per s
WEAPONS = {
    "marine": (6, 0, "", 1, 5, 13.7728, 0.05, 0.75, True, 0),
    "marauder": (10, 10, "armored", 1, 6, 24, 0, 0, False, 20),
    "stalker": (10, 4, "armored", 1, 6, 23.04, 0.167, 0.5, True, 18.75),
    "zealot": (8, 0, "", 2, 0.1, 19.2, 0, 0.5, False, 0),
    "colossus": (20, 0, "", 2, 6, 35.2, 0.0832, 0.5, False, 0),
    "zergling": (5, 0, "", 1, 0.1, 11.136, 0.167, 0.5, False, 0),
    "hydralisk": (12, 0, "", 1, 5, 13.28, 0.208, 0.5, True, 40),
    "spine_crawler": (25, 5, "armored", 1, 7, 25.6, 0.3332, 0.5, False, 12),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(name: str):
    life, shield, armor, step, radius, attributes = BODIES[name]
    unit = UNITS[name]
    assert (unit.health, unit.shield, unit.armor, unit.radius) == (life, shield, armor, radius)
    assert set(unit.attributes) == set(attributes.split())
    assert unit.speed / LOOPS_PER_SECOND * LOOPS_PER_STEP == pytest.approx(step, abs=1e-9)


def test_everyone_is_in_the_table():
    assert set(UNITS) == set(BODIES)
    assert {n for n, unit in UNITS.items() if unit.flies} == {"medivac"}
    assert {n for n, unit in UNITS.items() if unit.towers} == {"colossus"}
    assert {n for n, unit in UNITS.items() if unit.structure} == {"spine_crawler"}
    assert {n for n, unit in UNITS.items() if unit.weapon is None} == {"medivac"}
    assert (UNITS["medivac"].energy, UNITS["medivac"].max_energy) == (50, 200)
    assert {n for n, unit in UNITS.items() if unit.acceleration} == {"medivac"}


@pytest.mark.parametrize("name", WEAPONS)
def test_weapon(name: str):
    damage, bonus, bonus_to, hits, reach, period, point, backswing, air, missile = WEAPONS[name]
    weapon = UNITS[name].weapon
    assert weapon is not None
    assert (weapon.damage, weapon.bonus, weapon.bonus_to, weapon.hits) == (damage, bonus, bonus_to, hits)
    assert weapon.range == reach
    assert weapon.period * LOOPS_PER_SECOND == pytest.approx(period)
    assert (weapon.damage_point, weapon.backswing) == (point, backswing)
    assert (weapon.hits_air, weapon.missile_speed) == (air, missile)


def test_special_weapons():
    baneling, hydralisk, spine = (UNITS[n].weapon for n in ("baneling", "hydralisk", "spine_crawler"))
    assert (baneling.damage, baneling.bonus, baneling.bonus_to, baneling.range) == (20, 15, "light", 0.25)
    assert (baneling.damage_point, baneling.hits_air) == (0, False)
    assert hydralisk.close_damage_point == 0.3
    assert UNITS["zealot"].weapon.second_hit == 0.28
    assert spine.missile_acceleration == 140
    assert {n for n, u in UNITS.items() if u.weapon and u.weapon.range_slop != 1} == {"colossus", "spine_crawler"}


def test_only_flyers_are_out_of_reach_of_ground_weapons():
    medivac = UNITS["medivac"]
    assert {n for n, unit in UNITS.items() if can_hit(unit, medivac)} == {"marine", "stalker", "hydralisk"}
    armed = {n for n in UNITS if n != "medivac"}
    for target in armed:  # a colossus stands on the ground as well as in the air
        assert {n for n, unit in UNITS.items() if can_hit(unit, UNITS[target])} == armed


# What one hit takes from shields, before armour.
@pytest.mark.parametrize(
    ("attacker", "target", "damage"),
    [
        ("marine", "zealot", 6), ("marauder", "marine", 10), ("marauder", "marauder", 20), ("marauder", "colossus", 20),
        ("stalker", "zealot", 10), ("stalker", "stalker", 14), ("stalker", "colossus", 14), ("stalker", "medivac", 14),
        ("stalker", "spine_crawler", 14), ("zealot", "stalker", 8), ("colossus", "zealot", 20),
        ("hydralisk", "zealot", 12), ("zergling", "colossus", 5), ("spine_crawler", "stalker", 30),
        ("spine_crawler", "zealot", 25), ("baneling", "zealot", 35), ("baneling", "baneling", 20),
        ("baneling", "stalker", 20), ("medivac", "marine", 0),
    ],
)  # fmt: skip
def test_damage_of_one_hit(attacker: str, target: str, damage: float):
    assert hit_damage(UNITS[attacker], UNITS[target]) == damage


# How far apart the centres are when the attacker begins to fire: range and both radii.
@pytest.mark.parametrize(
    ("attacker", "target", "distance"),
    [
        ("marine", "marine", 5.75), ("marine", "marauder", 5.9375), ("marine", "medivac", 6.125),
        ("marauder", "marine", 6.9375), ("marauder", "marauder", 7.125),
        ("stalker", "zealot", 7.125), ("stalker", "stalker", 7.25), ("stalker", "colossus", 7.625),
        ("colossus", "zealot", 7.5), ("colossus", "stalker", 7.625), ("colossus", "colossus", 8.0),
        ("hydralisk", "zealot", 6.125), ("zealot", "marine", 0.975), ("zealot", "stalker", 1.225),
        ("zergling", "zergling", 0.85), ("zergling", "baneling", 0.85), ("medivac", "marine", 5.125),
        ("medivac", "marauder", 5.3125), ("spine_crawler", "stalker", 8.5),
    ],
)  # fmt: skip
def test_firing_distance(attacker: str, target: str, distance: float):
    facts = stats(LAB)
    i, j = NAMES.index(attacker, N), NAMES.index(target)
    assert facts.range[i, 0] + facts.radius[i, 0] + facts.radius[j, 0] == pytest.approx(distance, abs=1e-6)


def test_scan_range_is_five_or_the_weapon_range():
    scan = {name: float(stats(LAB).scan[NAMES.index(name, N), 0]) for name in UNITS}
    far = {"marauder": 6, "stalker": 6, "colossus": 6, "spine_crawler": 7, "medivac": 0}
    assert scan == {name: far.get(name, 5) for name in UNITS}


def test_arrays_follow_the_table():
    facts = stats(LAB)
    types = [UNITS[name] for name in NAMES]
    assert (facts.max_health[:, 0] == [t.health for t in types]).all()
    assert (facts.max_shield[:, 0] == [t.shield for t in types]).all()
    np.testing.assert_allclose(facts.speed[:, 0] * 8, [BODIES[n][3] for n in NAMES], rtol=1e-6)
    np.testing.assert_allclose(facts.acceleration.max(), 2.3125 / 256)
    assert (facts.ally[:, 0] == (np.arange(len(NAMES)) < N)).all()
    ours, theirs = facts.ally[:, None, 0], facts.ally[None, :, 0]
    for table in (facts.can_hit, facts.beam, facts.splash > 0):  # friends are never hurt
        assert not (table[..., 0] & (ours == theirs)).any()
    healed = {NAMES[j] for j in np.flatnonzero(facts.can_heal[..., 0].any(0))} - {
        "spine_crawler"
    }  # never meets a medivac
    assert healed == {"marine", "marauder", "zealot", "zergling", "hydralisk", "baneling"}
    assert not (facts.can_heal[..., 0] & (ours != theirs)).any()


# The multiplayer data of about 4.10, what differs: damage, bonus, to, period (loops), range, scan.
MULTIPLAYER = {
    "marine": (6, 0, "", 13.7728, 5, 5.5),
    "marauder": (10, 10, "armored", 24, 6, 6.5),
    "stalker": (13, 5, "armored", 29.92, 6, 6.5),
    "colossus": (10, 5, "light", 24, 7, 7.5),
    "hydralisk": (12, 0, "", 13.2, 5, 5.5),
    "spine_crawler": (25, 5, "armored", 29.6, 7, 7),
}


@pytest.mark.parametrize("name", [*WEAPONS, "baneling"])
def test_the_multiplayer_data_change_weapons_of_both_teams(name: str):
    old, new = stats(LAB), stats(LAB, Rules(data="multiplayer"))
    rows = [i for i, other in enumerate(NAMES) if other == name]
    for i in rows:
        if name not in MULTIPLAYER:
            assert (new.period[i], new.range[i], new.scan[i]) == (old.period[i], old.range[i], old.scan[i])
            assert (new.damage[i] == old.damage[i]).all()
            continue
        damage, bonus, bonus_to, period, reach, scan = MULTIPLAYER[name]
        assert (new.period[i, 0], new.range[i, 0], new.scan[i, 0]) == (np.float32(period), reach, scan)
        for j, other in enumerate(NAMES):
            assert new.damage[i, j, 0] == damage + bonus * (bonus_to in UNITS[other].attributes)


def test_the_multiplayer_data_change_one_body_and_only_of_enemies():
    """A standard medivac makes 2.5 a second and reaches that at 2.25 a second squared; an agent's stays as it is."""
    old, new = stats(LAB), stats(LAB, Rules(data="multiplayer"))
    theirs = [i for i, name in enumerate(NAMES) if name == "medivac" and i >= N]
    assert (new.speed[theirs, 0] * 16 == 2.5).all()
    assert (new.acceleration[theirs, 0] * 256 == 2.25).all()
    others = [i for i in range(len(NAMES)) if i not in theirs]
    for name in Stats._fields:
        value, before = getattr(new, name), getattr(old, name)
        if name in ("speed", "acceleration"):
            assert (value[others] == before[others]).all()
        elif name not in ("period", "range", "scan", "damage"):
            assert (value == before).all(), name


def test_lances_are_the_multiplayer_weapon_with_range_nine_on_either_data():
    i, marine = NAMES.index("colossus"), NAMES.index("marine")
    for data in ("liberty", "multiplayer"):
        facts = stats(LAB, Rules(data=data, colossus="lances"))
        assert (facts.range[i, 0], facts.scan[i, 0], facts.period[i, 0], facts.damage[i, marine, 0]) == (9, 9, 24, 15)
