"""The unit table as arrays for one scenario. Axis ``u`` leads and a last axis of size 1 stands for environments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.spawn import body_radius
from ibal.envs.smac.units import (
    BANELING_STRUCTURE_DAMAGE,
    HEAL_RANGE,
    LOOPS_PER_SECOND,
    UnitType,
    Weapon,
    can_hit,
    hit_damage,
    of_data,
)

ROUNDING = 1e-4  # who has walked up to its range may stand this much beyond it


class Stats(NamedTuple):
    """What the units of a scenario are, float32 or bool, [u, 1] or [u, u, 1]; times in loops, speeds per loop.

    NumPy arrays are constants of the compiled program; where teams are drawn, some are arrays [u, e] or [u, u, e].
    """

    radius: Any
    disc: Any  # collision radius
    max_health: Any
    max_shield: Any
    armor: Any
    regeneration: Any
    speed: Any
    acceleration: Any  # per loop squared, 0 = instant
    range: Any  # of the weapon; of the heal for medivacs
    slop: Any
    scan: Any  # how far it looks for targets, 0 for the unarmed
    period: Any
    damage_point: Any
    close_damage_point: Any
    backswing: Any
    second_hit: Any  # loops to the second hit, 0 = none
    missile: Any  # units per loop, 0 = instant
    missile_acceleration: Any
    bodied: Any  # collides with others on the ground
    towers: Any
    armed: Any
    melee: Any
    heals: Any
    max_energy: Any
    colossus: Any
    baneling: Any
    structure: Any
    walker: Any  # crosses cliffs
    flies: Any
    ally: Any
    damage: Any  # [i, j]: one hit of i on j, before shield and armour
    crawler_bonus: Any  # [i, j]: what of it is a spine crawler's bonus
    can_hit: Any  # [i, j]: i may shoot at j, an opponent
    can_heal: Any  # [i, j]
    splash: Any  # [i, j]: damage of baneling i's blast on j, 0 where none
    beam: Any  # [i, j]: the sweep of colossus i can hit j
    bodies: Any  # [i, j]: i and j cannot stand in one place


@cache
def stats(scenario: Scenario, rules: Rules = Rules()) -> Stats:
    """Build the arrays of a scenario: agents in agent-id order, then enemies in creation order.

    Of the rules the collision disc (``Rules.body``, ``Rules.shrink``), the unit data and the colossi's weapon count.
    """
    teams = ((scenario.ally_types, False), (scenario.enemy_types, True))
    types = tuple(of_data(t, rules.data, enemy, rules.colossus == "lances") for team, enemy in teams for t in team)
    ally = np.arange(len(types)) < scenario.n_agents
    opponents = ally[:, None] != ally[None, :]
    other = ~np.eye(len(types), dtype=bool)
    unarmed = Weapon(0, -10.0, 0)

    def body(value: Callable[[UnitType], float | bool]) -> np.ndarray:
        column = np.array([value(t) for t in types])
        return column[:, None] if column.dtype == bool else column.astype(np.float32)[:, None]

    def gun(value: Callable[[Weapon], float | bool]) -> np.ndarray:
        return body(lambda t: value(t.weapon or unarmed))

    def pair(value: Callable[[UnitType, UnitType], float | bool]) -> np.ndarray:
        table = np.array([[value(a, b) for b in types] for a in types])
        return table[..., None] if table.dtype == bool else table.astype(np.float32)[..., None]

    loops = LOOPS_PER_SECOND
    medivac = body(lambda t: t.name == "medivac")
    towers = body(lambda t: t.towers)
    bodied = body(lambda t: not t.flies)
    same_plane = (towers == towers[:, 0][None, :])[..., None] & (bodied & bodied[:, 0][None, :])[..., None]
    return Stats(
        radius=body(lambda t: t.radius),
        disc=body(lambda t: body_radius(t, rules, rules.body)),
        max_health=body(lambda t: t.health),
        max_shield=body(lambda t: t.shield),
        armor=body(lambda t: t.armor),
        regeneration=body(lambda t: t.health_regeneration),
        speed=body(lambda t: t.speed / loops),
        acceleration=body(lambda t: t.acceleration / loops**2),
        range=np.where(medivac, np.float32(HEAL_RANGE), gun(lambda w: w.range)),
        slop=gun(lambda w: w.range_slop),
        scan=body(lambda t: max(t.weapon.scan, t.weapon.range) if t.weapon else 0.0),
        period=gun(lambda w: w.period * loops),
        damage_point=gun(lambda w: w.damage_point * loops),
        close_damage_point=gun(lambda w: (w.close_damage_point or w.damage_point) * loops),
        backswing=gun(lambda w: w.backswing * loops),
        second_hit=gun(lambda w: float(np.ceil(w.second_hit * loops))),
        missile=gun(lambda w: w.missile_speed / loops),
        missile_acceleration=gun(lambda w: w.missile_acceleration / loops**2),
        bodied=bodied,
        towers=towers,
        armed=body(lambda t: t.weapon is not None),
        melee=gun(lambda w: 0 <= w.range <= 1),
        heals=medivac,
        max_energy=body(lambda t: t.max_energy),
        colossus=body(lambda t: t.name == "colossus"),
        baneling=body(lambda t: t.name == "baneling"),
        structure=body(lambda t: t.structure),
        walker=towers,
        flies=body(lambda t: t.flies),
        ally=ally[:, None],
        damage=pair(hit_damage),
        crawler_bonus=pair(lambda a, b: hit_damage(a, b) - a.weapon.damage if a.structure and a.weapon else 0.0),
        can_hit=pair(can_hit) & opponents[..., None],
        can_heal=pair(lambda a, b: a.name == "medivac" and "biological" in b.attributes and not b.structure)
        & (~opponents & other)[..., None],
        splash=pair(_splash) * opponents[..., None],
        beam=pair(lambda a, b: a.name == "colossus" and not b.flies) & opponents[..., None],
        bodies=same_plane & other[..., None],
    )


def _splash(attacker: UnitType, target: UnitType) -> float:
    if attacker.name != "baneling" or target.flies:
        return 0.0
    return BANELING_STRUCTURE_DAMAGE if target.structure else hit_damage(attacker, target)
