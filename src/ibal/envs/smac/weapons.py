"""Shots, blasts, beams and heals: from a target in range to health lost."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.pairs import at, constant_at, pair_at, some, total, which, worked_out
from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.state import ATTACK, Units, on_guard
from ibal.envs.smac.stats import ROUNDING, Stats
from ibal.envs.smac.units import (
    BANELING_SPLASH,
    BEAM_HALF_LENGTH,
    BEAM_HIT_DELAY,
    BEAM_MAIN_DELAY,
    BEAM_RADIUS,
    COOLDOWN_JITTER,
    ENERGY_PER_LOOP,
    HEAL_ENERGY_PER_LIFE,
    HEAL_PER_LOOP,
    MINIMUM_DAMAGE,
    SHIELD_DELAY,
    SHIELD_REGENERATION,
)

_ARC = math.cos(math.radians(11.25))  # a unit may fire when it faces its target this closely
_CLOSE = 0.5  # edge distance below which a hydralisk uses its melee form
_BEAM_SPACING = 0.25
_BEAM_POINTS = 11


def upkeep(units: Units, stats: Stats, has_energy: bool) -> Units:
    """Count timers down, regenerate shields, Zerg life and energy."""
    alive = units.health > 0
    calm = units.calm + 1
    shield = jnp.where(
        alive & (calm > SHIELD_DELAY), jnp.minimum(units.shield + SHIELD_REGENERATION, stats.max_shield), units.shield
    )
    energy = units.energy
    if has_energy:
        energy = jnp.where(alive, jnp.minimum(energy + ENERGY_PER_LOOP, stats.max_energy), energy)
    return units._replace(
        calm=calm,
        shield=shield,
        energy=energy,
        health=jnp.where(alive, jnp.minimum(units.health + stats.regeneration, stats.max_health), units.health),
        # The fraction of a loop by which a weapon was ready earlier counts for the next shot, if it is used now.
        cooldown=jnp.where(units.cooldown > 0, units.cooldown - 1, jnp.where(units.windup >= 0, units.cooldown, 0.0)),
        hold=jnp.maximum(units.hold - 1, 0),
        effect=jnp.where(units.effect > 0, units.effect - 1, -1),
        shot=units.shot + 1,
    )


def to_target(
    units: Units, stats: Stats
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"]]:
    """Return (dx, dy, distance, edge distance) from every unit to its target; of no meaning without one."""
    dx, dy = at(units.x, units.target) - units.x, at(units.y, units.target) - units.y
    distance = jnp.sqrt(dx * dx + dy * dy)
    return dx, dy, distance, distance - stats.radius - constant_at(stats.radius, units.target)


def attack(
    units: Units, jitter: Float[Array, "u e"], stats: Stats, rules: Rules, numbers: Quantities
) -> tuple[Units, Bool[Array, "u e"], Float[Array, "u e"]]:
    """Start attacks and release those that reach their damage point.

    Returns (units, released, edge distance to the target). A release sets the next cooldown: the period
    counted from the start of the attack, plus the jitter. Starts and releases happen in the first loop after they are
    due; the fractions of a loop lost thereby are given back to the cooldown, so that the mean period is exact.
    """
    dx, dy, distance, edge = to_target(units, stats)
    fights = stats.armed & (units.health > 0) & (units.target >= 0) & ((units.order == ATTACK) | on_guard(units.order))
    under_way = units.windup >= 0
    reach = stats.range + jnp.where(stats.melee, numbers.melee_reach, 0.0)
    goes_on = under_way & fights & (edge <= reach + numbers.slop * stats.slop)
    starts = ~under_way & fights & (edge <= reach + ROUNDING) & (units.cooldown <= 0)
    if rules.turning:
        facing = units.face_x * dx + units.face_y * dy >= _ARC * jnp.maximum(distance, 1e-6)
        starts = starts & (facing | stats.structure | stats.colossus)
    if some(stats.structure):
        aims = units.face_x * dx + units.face_y * dy >= _ARC * jnp.maximum(distance, 1e-6)
        starts = starts & (aims | ~stats.structure | (numbers.turret <= 0))
    point = jnp.where(edge <= _CLOSE, stats.close_damage_point, stats.damage_point)
    windup = jnp.where(goes_on, units.windup - 1, jnp.where(starts, point, -1.0))
    released = (goes_on | starts) & (windup <= 0)
    late = windup + units.cooldown  # minus the fractions of a loop by which this attack started and was released late
    cooldown = jnp.where(released, jnp.maximum(stats.period - point + jitter + late, 1.0), units.cooldown)
    units = units._replace(
        windup=jnp.where(released, -1.0, windup), cooldown=cooldown, shot=jnp.where(starts, 0.0, units.shot)
    )
    return units, released, edge


def launch(
    units: Units, released: Bool[Array, "u e"], edge: Float[Array, "u e"], stats: Stats, numbers: Quantities
) -> Units:
    """Start what a release leaves behind: backswing, missile in flight, second hit, colossus sweep."""
    flight = jnp.maximum(edge + stats.radius, 0.0)
    # Time to cover the distance: constant speed, then (spine crawler) accelerating beyond 3 units.
    far = jnp.maximum(flight - 3.0, 0.0)
    rate = jnp.maximum(stats.missile_acceleration, 1e-6)
    speeding = (jnp.sqrt(stats.missile**2 + 2 * rate * far) - stats.missile) / rate
    speed = jnp.maximum(stats.missile, 1e-6)
    loops = jnp.where(stats.missile_acceleration > 0, jnp.minimum(flight, 3.0) / speed + speeding, flight / speed)
    delay = jnp.where(stats.missile > 0, jnp.maximum(jnp.ceil(loops), 1.0), stats.second_hit)
    delay = jnp.where(stats.colossus, float(BEAM_MAIN_DELAY), delay)
    starts = released & (delay > 0)
    units = units._replace(
        hold=jnp.where(released, jnp.ceil(numbers.backswing * stats.backswing), units.hold),
        effect=jnp.where(starts, delay, units.effect),
        effect_target=jnp.where(starts, units.target, units.effect_target),
    )
    if not some(stats.colossus):
        return units
    dx, dy, distance, _ = to_target(units, stats)
    scale = 1.0 / jnp.maximum(distance, 1e-6)
    return units._replace(
        beam_x=jnp.where(starts, -dy * scale, units.beam_x), beam_y=jnp.where(starts, dx * scale, units.beam_y)
    )


def lands(units: Units, stats: Stats) -> Bool[Array, "u e"]:
    """Delayed single hits that are due: missiles also of the dead, second hits and salvos of the living only."""
    return (units.effect == 0) & ~stats.colossus & ((units.health > 0) | (stats.missile > 0))


def hits(
    units: Units,
    priority: Float[Array, "u e"],
    hit: Bool[Array, "u e"],
    instant: Bool[Array, "u e"],
    aim: Int[Array, "u e"],
    stats: Stats,
    numbers: Quantities,
    n: int,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Bool[Array, "u e"]]:
    """Resolve single hits, at most one per unit and always on an opponent, in the random order of this loop.

    ``aim`` is the target of each hit (-1 = none). Returns (shield lost, health lost, shots not fired): an instant shot
    does not happen when its shooter or its target has already fallen to earlier hits of the same loop.
    """
    index = np.arange(units.x.shape[0], dtype=np.int32)[:, None]
    raw = jnp.where(hit, pair_at(stats.damage, aim), 0.0)
    if some(stats.structure):
        raw = raw - jnp.where(hit, (1.0 - numbers.crawler_bonus) * pair_at(stats.crawler_bonus, aim), 0.0)
    armor = constant_at(stats.armor, aim)
    shielded = some(stats.max_shield)
    shield = jnp.where(hit, at(units.shield, aim), 0.0) if shielded else jnp.zeros_like(raw)
    # What a hit takes away: before armour while there is a shield, after armour once there is none.
    toll = jnp.where(hit, jnp.where(shield > 0, raw, jnp.maximum(raw - armor, MINIMUM_DAMAGE)), 0.0)
    pool = units.health + units.shield
    target_pool = at(pool, aim)

    def earlier(toll: Float[Array, "u e"]) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
        """(what earlier hits take from each hit's target, from its shooter), given the toll of every hit."""

        def on_target(mine: Any, theirs: Any, _: Any) -> Array:
            (when, aim), (then, their_aim, toll) = mine, theirs
            return jnp.where((their_aim == aim) & (then < when), toll, 0.0)

        return (
            _by_team(on_target, (priority, aim), (priority, aim, toll), n, opponents=False),
            _by_team(on_target, (priority, index), (priority, aim, toll), n, opponents=True),
        )

    def unfired(before: Float[Array, "u e"], suffered: Float[Array, "u e"]) -> Bool[Array, "u e"]:
        return instant & hit & ((suffered >= pool) | (target_pool <= before))

    # A shot that is not fired does not stop another one: the second pass leaves out those that the first found.
    missed = unfired(*earlier(toll))
    before, suffered = earlier(jnp.where(missed, 0.0, toll))
    missed = unfired(before, suffered)
    raw = jnp.where(missed, 0.0, raw)
    absorbed = jnp.minimum(raw, jnp.maximum(shield - before, 0.0))
    over = raw - absorbed
    wound = jnp.where(over > 0, jnp.maximum(over - armor, MINIMUM_DAMAGE), 0.0)

    def received(amount: Float[Array, "u e"]) -> Float[Array, "u e"]:
        def term(mine: Any, theirs: Any, _: Any) -> Array:
            return jnp.where(theirs[0] == mine[0], theirs[1], 0.0)

        return _by_team(term, (index,), (aim, amount), n, opponents=True)

    return received(absorbed) if shielded else jnp.zeros_like(raw), received(wound), missed


def _by_team(term: Any, mine: Any, theirs: Any, n: int, opponents: bool) -> Float[Array, "u e"]:
    """Sum a term over the team mates of every unit, itself included, or over its opponents."""
    agents, enemies = slice(0, n), slice(n, None)
    others = (enemies, agents) if opponents else (agents, enemies)
    teams = zip((agents, enemies), others, strict=True)
    return jnp.concatenate([total(term, [v[i] for v in mine], [v[j] for v in theirs]) for i, j in teams])


def repeated(
    count: Float[Array, "u e"], raw: Float[Array, "u e"], shield: Float[Array, "u e"], armor: Float[Array, "u e"]
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Return (shield lost, health lost) of ``count`` equal hits in a row: armour counts once per hit on life."""
    total = count * raw
    lost = jnp.minimum(total, shield)
    whole = jnp.floor(shield / jnp.maximum(raw, 1e-6))  # hits that the shield takes completely
    through = jnp.maximum(count - whole, 0.0)  # hits that reach life, the first one perhaps only in part
    first = raw * (whole + 1) - shield
    first_wound = jnp.where((through > 0) & (first > 0), jnp.maximum(first - armor, MINIMUM_DAMAGE), 0.0)
    rest = jnp.maximum(through - 1, 0.0) * jnp.maximum(raw - armor, MINIMUM_DAMAGE)
    return lost, jnp.where(raw > 0, first_wound + rest, 0.0)


def beams(units: Units, stats: Stats) -> tuple[Float[Array, "u e"], Array]:
    """Return (number of colossus hits on every unit in this loop, damage of one).

    Two sweeps of 11 points cross the target's position at right angles to the line of fire, in opposite directions; a
    unit is marked by the first point that touches it and hurt ``BEAM_HIT_DELAY`` loops later, once per sweep; the
    target itself takes both hits ``BEAM_MAIN_DELAY`` loops after the start.
    """
    age = jnp.where((units.effect >= 0) & stats.colossus & (units.health > 0), BEAM_MAIN_DELAY - units.effect, -1.0)
    main = units.effect_target[:, None] == jnp.arange(units.x.shape[0], dtype=jnp.int32)[None, :, None]
    centre_x, centre_y = at(units.x, units.effect_target), at(units.y, units.effect_target)
    rel_x, rel_y = units.x[None] - centre_x[:, None], units.y[None] - centre_y[:, None]
    along = rel_x * units.beam_x[:, None] + rel_y * units.beam_y[:, None]
    across = rel_y * units.beam_x[:, None] - rel_x * units.beam_y[:, None]
    reach = stats.radius[None] + BEAM_RADIUS
    half = jnp.sqrt(jnp.maximum(reach * reach - across * across, 0.0))
    low = jnp.maximum(jnp.ceil((along - half + BEAM_HALF_LENGTH) / _BEAM_SPACING), 0.0)
    high = jnp.minimum(jnp.floor((along + half + BEAM_HALF_LENGTH) / _BEAM_SPACING), _BEAM_POINTS - 1.0)
    touched = stats.beam & ~main & (jnp.abs(across) < reach) & (low <= high) & (age >= 0)[:, None]
    forth = jnp.floor(low / 2) + BEAM_HIT_DELAY == age[:, None]
    back = jnp.floor((_BEAM_POINTS - 1 - high) / 2) + BEAM_HIT_DELAY == age[:, None]
    sides = jnp.sum(jnp.where(touched, forth.astype(jnp.float32) + back.astype(jnp.float32), 0.0), axis=0)
    due = (age == BEAM_MAIN_DELAY)[:, None] & main & stats.beam
    raw = jnp.max(jnp.where(stats.beam, stats.damage, 0.0), axis=0)
    return sides + 2.0 * jnp.sum(due.astype(jnp.float32), axis=0), raw


def blasts(units: Units, fired: Bool[Array, "u e"], stats: Stats) -> tuple[Array, Array, Array]:
    """Return (number of baneling hits on every unit, damage of one, who exploded): on firing and on death."""
    bursting = jnp.asarray(stats.baneling) & ~units.burst & (fired | (units.health <= 0))
    dx, dy = units.x[None] - units.x[:, None], units.y[None] - units.y[:, None]
    near = jnp.sqrt(dx * dx + dy * dy) - stats.radius[None] <= BANELING_SPLASH
    caught = bursting[:, None] & (stats.splash > 0) & near
    count = jnp.sum(caught.astype(jnp.float32), axis=0)
    raw = jnp.max(jnp.broadcast_to(stats.splash, caught.shape), axis=0)
    return count, raw, bursting


def heal(units: Units, stats: Stats) -> Units:
    """Medivacs in range give life and pay energy."""
    edge = to_target(units, stats)[3]
    room = at(jnp.where(units.health > 0, stats.max_health - units.health, 0.0), units.target)
    valid = stats.heals & (units.health > 0) & (units.target >= 0) & (edge <= stats.range + ROUNDING)
    dose = jnp.where(valid, jnp.minimum(jnp.minimum(HEAL_PER_LOOP, room), units.energy / HEAL_ENERGY_PER_LIFE), 0.0)
    # One healer per target: the strongest dose counts, of equals the first; the others are refused.
    who, everybody = which(stats.heals), np.arange(units.x.shape[0], dtype=np.int32)[None, :, None]
    offered = (units.target[who][:, None] == everybody) & stats.can_heal[who]
    given = jnp.where(offered, dose[who][:, None], 0.0)
    best = jnp.max(given, axis=0)
    wins = (given == best[None]) & (given > 0)
    wins = wins & (jnp.cumsum(wins, axis=0) == 1)
    paid = jnp.sum(jnp.where(wins, given, 0.0), axis=1)
    return units._replace(
        health=units.health + best, energy=units.energy.at[who].add(-paid * np.float32(HEAL_ENERGY_PER_LIFE))
    )


def strike(
    units: Units,
    jitter: Float[Array, "u e"],
    priority: Float[Array, "u e"],
    stats: Stats,
    rules: Rules,
    numbers: Quantities,
    n: int,
) -> Units:
    """One loop of fighting: releases, delayed hits, beams, blasts; health and shields are settled at the end."""
    units, released, edge = attack(units, jitter, stats, rules, numbers)
    due = lands(units, stats)
    missile = stats.missile > 0
    instant = released & ~missile & ~stats.colossus & ~stats.baneling
    aim = jnp.where(due, units.effect_target, jnp.where(instant, units.target, -1))
    hit = due | instant
    shield_lost, health_lost, missed = worked_out(
        jnp.any(hit), lambda: hits(units, priority, hit, instant & ~due, aim, stats, numbers, n)
    )
    released = released & ~missed
    units = launch(units, released, edge, stats, numbers)
    units = units._replace(cooldown=jnp.where(missed, 0.0, units.cooldown))
    if some(stats.colossus):
        count, raw = beams(units, stats)
        left = jnp.maximum(units.shield - shield_lost, 0.0)
        more_shield, more_health = repeated(
            count, jnp.full_like(count, raw), left, jnp.broadcast_to(stats.armor, left.shape)
        )
        shield_lost, health_lost = shield_lost + more_shield, health_lost + more_health
    if some(stats.baneling):
        count, raw, burst = blasts(units, released, stats)
        left = jnp.maximum(units.shield - shield_lost, 0.0)
        more_shield, more_health = repeated(count, raw, left, jnp.broadcast_to(stats.armor, left.shape))
        shield_lost, health_lost = shield_lost + more_shield, health_lost + more_health
        units = units._replace(burst=units.burst | burst, health=jnp.where(burst, 0.0, units.health))
    hurt = shield_lost + health_lost > 0
    return units._replace(
        shield=jnp.maximum(units.shield - shield_lost, 0.0),
        health=jnp.maximum(units.health - health_lost, 0.0),
        calm=jnp.where(hurt, 0.0, units.calm),
    )


def cooldown_jitter(uniform: Float[Array, "u e"], rules: Rules) -> Float[Array, "u e"]:
    """Turn uniform numbers into the loops added to a period."""
    low, high = COOLDOWN_JITTER
    return low + (high - low) * uniform if rules.jitter else jnp.zeros_like(uniform)
