"""Statistics of every StarCraft unit that the SMAC maps use: two sets of data, ``Rules.data`` says which.

"liberty" (``UNITS``) are the Wings of Liberty base values: the maps name the Liberty mod only (build 4.10.0.75689 was
read; 4.6.2 and 5.0.14 are equal). A recorded game shows a stalker of the "multiplayer" data all the same: ``WEAPONS``
and ``STANDARD`` hold what differs there. Lengths are world units, times game loops (16 a game second, 8 an environment
step) unless a name says otherwise. An agent's unit is a copy of the Liberty unit, only passive: it acquires no target
and answers no attack. Its weapon is a link by name, so the weapon is of the data that are loaded and the body is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

LOOPS_PER_SECOND = 16
LOOPS_PER_STEP = 8
MINIMUM_SCAN_RANGE = 5.0


@dataclass(frozen=True)
class Weapon:
    """``range`` is edge to edge; ``period``, ``damage_point``, ``backswing`` and ``second_hit`` are in game seconds."""

    damage: float
    range: float
    period: float
    bonus: float = 0.0
    bonus_to: str = ""
    hits: int = 1
    damage_point: float = 0.167
    backswing: float = 0.5
    second_hit: float = 0.0  # a second hit of the same swing comes this much later; lost when the order changes
    missile_speed: float = 0.0  # units per game second; 0 = the hit is instant
    missile_acceleration: float = 0.0  # units per game second squared, beyond the first 3 units of flight
    range_slop: float = 1.0  # extra distance tolerated between the start of an attack and its damage point
    hits_air: bool = False
    close_damage_point: float | None = None  # hydralisk: its melee form, used below an edge distance of 0.5
    scan: float = MINIMUM_SCAN_RANGE  # how far its unit looks for targets at least; never less than the range


@dataclass(frozen=True)
class UnitType:
    """Body and weapon of a unit. ``radius`` rules ranges; what the others rule is a matter of
    ``Rules.slot`` and ``Rules.body``."""

    name: str
    race: str
    health: float
    radius: float
    inner_radius: float
    separation_radius: float
    speed: float  # per game second
    shield: float = 0.0
    armor: float = 0.0
    attributes: tuple[str, ...] = ()
    weapon: Weapon | None = None
    flies: bool = False  # in the air plane: ground units neither block it nor are blocked
    towers: bool = False  # colossus: stands above ground units, walks cliffs, counts as ground and air when shot at
    structure: bool = False
    acceleration: float = 0.0  # per game second squared; 0 = instant
    health_regeneration: float = 0.0  # per loop
    energy: float = 0.0
    max_energy: float = 0.0
    cooldown_scale: float = 15.0  # what SMAC divides the cooldown (the energy of a medivac) by in its state vector


ZERG_REGENERATION = 0.2734 / LOOPS_PER_SECOND
SHIELD_REGENERATION = 2.0 / LOOPS_PER_SECOND  # per loop
SHIELD_DELAY = 10 * LOOPS_PER_SECOND  # loops without damage before shields come back
MINIMUM_DAMAGE = 0.5  # of a hit, after armour
COOLDOWN_JITTER = (-1.0, 2.0)  # loops, uniform, added to every period

HEAL_PER_LOOP = 9 / LOOPS_PER_SECOND
HEAL_ENERGY_PER_LIFE = 0.33
HEAL_RANGE = 4.0  # edge to edge
HEAL_SEARCH_RADIUS = 6.0  # of the autocast of standard medivacs
HEAL_MINIMUM_ENERGY = 5.0  # to start an autocast
ENERGY_PER_LOOP = 0.5625 / LOOPS_PER_SECOND

BANELING_SPLASH = 2.2  # from the baneling's centre to the edge of its victims
BANELING_STRUCTURE_DAMAGE = 80.0

BEAM_HALF_LENGTH = 1.25  # a colossus sweep: 11 points, 0.25 apart, perpendicular to the line of fire
BEAM_RADIUS = 0.15
BEAM_HIT_DELAY = 4  # loops from the visit of a point to its damage (0.25 s)
BEAM_MAIN_DELAY = 12  # loops from the start to the damage of the main target (sweep + 0.375 s, rounded up)

MARINE = UnitType(
    "marine", "T", 45, 0.375, 0.375, 0.375, 2.25, attributes=("light", "biological"), cooldown_scale=15,
    weapon=Weapon(6, 5, 0.8608, damage_point=0.05, backswing=0.75, hits_air=True),
)  # fmt: skip
MARAUDER = UnitType(
    "marauder", "T", 125, 0.5625, 0.375, 0.5, 2.25, armor=1, attributes=("armored", "biological"),
    cooldown_scale=25, weapon=Weapon(10, 6, 1.5, 10, "armored", damage_point=0.0, backswing=0.0, missile_speed=20),
)  # fmt: skip
MEDIVAC = UnitType(
    "medivac", "T", 150, 0.75, 0.75, 0.75, 2.75, armor=1, attributes=("armored", "mechanical"), flies=True,
    acceleration=2.3125, energy=50, max_energy=200, cooldown_scale=200,
)  # fmt: skip
STALKER = UnitType(
    "stalker", "P", 80, 0.625, 0.5, 0.625, 2.9531, shield=80, armor=1, attributes=("armored", "mechanical"),
    cooldown_scale=35, weapon=Weapon(10, 6, 1.44, 4, "armored", missile_speed=18.75, hits_air=True),
)  # fmt: skip
ZEALOT = UnitType(
    "zealot", "P", 100, 0.5, 0.375, 0.375, 2.25, shield=50, armor=1, attributes=("light", "biological"),
    cooldown_scale=22, weapon=Weapon(8, 0.1, 1.2, hits=2, second_hit=0.28, damage_point=0.0),
)  # fmt: skip
COLOSSUS = UnitType(
    "colossus", "P", 200, 1.0, 0.5625, 0.75, 2.25, shield=150, armor=1, attributes=("armored", "mechanical", "massive"),
    towers=True, cooldown_scale=24,
    weapon=Weapon(20, 6, 2.2, hits=2, damage_point=0.0832, range_slop=0.0),
)  # fmt: skip
ZERGLING = UnitType(
    "zergling", "Z", 35, 0.375, 0.375, 0.375, 2.9531, attributes=("light", "biological"), cooldown_scale=11,
    health_regeneration=ZERG_REGENERATION, weapon=Weapon(5, 0.1, 0.696),
)  # fmt: skip
HYDRALISK = UnitType(
    "hydralisk", "Z", 80, 0.625, 0.375, 0.5, 2.25, attributes=("light", "biological"), cooldown_scale=10,
    health_regeneration=ZERG_REGENERATION,
    weapon=Weapon(12, 5, 0.83, damage_point=0.208, missile_speed=40, hits_air=True, close_damage_point=0.3),
)  # fmt: skip
BANELING = UnitType(
    "baneling", "Z", 30, 0.375, 0.375, 0.375, 2.5, attributes=("biological",), cooldown_scale=1,
    health_regeneration=ZERG_REGENERATION, weapon=Weapon(20, 0.25, 0.833, 15, "light", damage_point=0.0),
)  # fmt: skip
SPINE_CRAWLER = UnitType(
    "spine_crawler", "Z", 300, 0.875, 0.875, 0.875, 0.0, armor=2, attributes=("armored", "biological", "structure"),
    structure=True, health_regeneration=ZERG_REGENERATION,
    weapon=Weapon(25, 7, 1.6, 5, "armored", damage_point=0.3332, missile_speed=12, missile_acceleration=140,
                  range_slop=0.0),
)  # fmt: skip

UNITS: dict[str, UnitType] = {
    u.name: u
    for u in (
        MARINE, MARAUDER, MEDIVAC, STALKER, ZEALOT, COLOSSUS, ZERGLING, HYDRALISK, BANELING, SPINE_CRAWLER,
    )
}  # fmt: skip


def _changed(unit: UnitType, **values: Any) -> Weapon:
    """Return the weapon of ``unit`` with some values changed."""
    assert unit.weapon is not None
    return replace(unit.weapon, **values)


# The multiplayer data (VoidMulti with what it builds on) of about 4.10: weapons that differ from those above. The data
# count in normal seconds as these do; 1.4 "faster" seconds are one of them: 1.34 faster = 1.87.
WEAPONS: dict[str, Weapon] = {
    "marine": _changed(MARINE, scan=5.5),
    "marauder": _changed(MARAUDER, scan=6.5),
    # A recorded 2s3z game says 18 against armour (``tests/parity/test_smac_2s3z.py``).
    "stalker": _changed(STALKER, damage=13, bonus=5, period=1.87, scan=6.5),
    "colossus": _changed(COLOSSUS, damage=10, bonus=5, bonus_to="light", range=7, period=1.5, scan=7.5),
    "hydralisk": _changed(HYDRALISK, period=0.825, scan=5.5),
    "spine_crawler": _changed(SPINE_CRAWLER, period=1.85),
}
LANCES = replace(WEAPONS["colossus"], range=9)  # a colossus with the upgrade of its range
# Bodies that differ, of the standard units that enemies are. (A hydralisk has 90 life; no SMAC map has it as an enemy.)
STANDARD: dict[str, UnitType] = {"medivac": replace(MEDIVAC, speed=2.5, acceleration=2.25)}


def of_data(unit: UnitType, data: str, enemy: bool, lances: bool = False) -> UnitType:
    """Return ``unit`` with the values of a set of data, as an agent or as an enemy.

    ``lances`` arms a colossus with the multiplayer weapon of range 9, whatever the data.
    """
    if data == "multiplayer":
        unit = STANDARD.get(unit.name, unit) if enemy else unit
        unit = replace(unit, weapon=WEAPONS.get(unit.name, unit.weapon))
    return replace(unit, weapon=LANCES) if lances and unit.name == "colossus" else unit


def can_hit(attacker: UnitType, target: UnitType) -> bool:
    """Whether ``attacker``'s weapon may be ordered at ``target`` (ground weapons miss pure flyers)."""
    return attacker.weapon is not None and (attacker.weapon.hits_air or not target.flies)


def hit_damage(attacker: UnitType, target: UnitType) -> float:
    """Damage of one hit before shields and armour."""
    if attacker.weapon is None:
        return 0.0
    bonus = attacker.weapon.bonus if attacker.weapon.bonus_to in target.attributes else 0.0
    return attacker.weapon.damage + bonus
