"""Whom units engage: agents what they were told, enemies what StarCraft's automatic targeting gives them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.pairs import FAR, at, constant_at, first_smallest
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.state import ATTACK, HEAL, HOLD, IDLE, SCAN, Units
from ibal.envs.smac.stats import ROUNDING, Stats
from ibal.envs.smac.units import HEAL_MINIMUM_ENERGY, HEAL_SEARCH_RADIUS
from ibal.envs.smac.weapons import to_target

_ATTACKER_BONUS = 100.0  # larger than any distance
_CALL_FOR_HELP = 4.0  # how far away a team mate that is shot at is heard
_LEASH = 21.0  # how far from its goal a unit follows a target out of scan range
_ARRIVED = 0.5  # from its goal


def drop_finished(units: Units) -> Units:
    """Agents whose target is dead, or healed to the full, fall idle; enemies forget dead targets."""
    gone = (units.target >= 0) & (at(units.health, units.target) <= 0)
    stop = gone & ((units.order == ATTACK) | (units.order == HEAL))
    forget = gone | (units.health <= 0)
    return units._replace(target=jnp.where(forget, -1, units.target), order=jnp.where(stop, IDLE, units.order))


def acquire(units: Units, luck: Float[Array, "u e"], stats: Stats, rules: Rules, n: int) -> Int[Array, "m e"]:
    """Choose the target of every enemy for this loop, -1 for none.

    A target is kept until it dies or leaves the scan range (``rules.sticky``). Otherwise one of the agents in scan
    range that the weapon can hit is taken: at random (``luck``, uniform per unit), or the nearest by edge distance; on
    request first one that is hitting the searcher. All SMAC units are of one threat class, medivacs included.

    Units that hold their goal (``rules.answer``) also take agents from beyond scan range: one that shoots at them, and,
    after all others, one that shoots at a team mate close by. They follow such a target for as long as they do not get
    too far from their goal.
    """
    index = np.arange(units.x.shape[0], dtype=np.int32)[:, None]
    # Multiples of one uniform number are uniform each; cubes keep any few of them next to independent, where equal
    # steps would favour the first and the last agent.
    factors = np.array([[211 + k**3 % 5003] for k in range(n)], np.float32)
    gun, body = stats.range, stats.radius
    alive = units.health > 0

    def key(mine: Any, theirs: Any, tables: Any) -> Array:
        (x, y, target, under_way, draw, number, radius, reach, scan, lives, answers, leashed), (can_hit,) = mine, tables
        their_x, their_y, their_target, their_number, factor, their_radius, they_live, they_shoot, *victim = theirs
        dx, dy = their_x - x, their_y - y
        distance = jnp.sqrt(dx * dx + dy * dy)
        edge = distance - radius - their_radius
        measures = {"edge-edge": edge, "centre-edge": distance - their_radius, "centre-centre": distance}
        within = {"scan": edge <= scan, "weapon": edge <= reach, "death": True}
        valid = can_hit & they_live & lives
        hitting = they_shoot & (their_target == number)
        keep = valid & (target == their_number) & (within[rules.sticky] | under_way | (answers & hitting))
        rank = edge
        if rules.acquire == "random":
            rank = draw * factor
            rank = rank - jnp.floor(rank)
        if rules.prefer_attackers:
            rank = rank - jnp.where(hitting, _ATTACKER_BONUS, 0.0)
        near = measures[rules.scan_measure] <= scan
        if rules.answer != "none":
            victim_x, victim_y = victim
            heard = they_shoot & ((victim_x - x) ** 2 + (victim_y - y) ** 2 <= _CALL_FOR_HELP**2)
            followed = leashed & (target == their_number)
            rank = rank + jnp.where(near | hitting, 0.0, jnp.where(followed, 1.0, 2.0) * _ATTACKER_BONUS)
            near = near | (answers & (heard | followed))
        return jnp.where(keep, -FAR, jnp.where(valid & near, rank, FAR))

    answers = (units.order == HOLD) | (rules.answer == "all")
    leashed = _from_goal(units) <= _LEASH
    enemies = (units.x, units.y, units.target, units.windup >= 0, luck, index, body, gun, stats.scan, alive, answers,
               leashed)  # fmt: skip
    agents = (units.x[:n], units.y[:n], units.target[:n], index[:n], factors, body[:n], alive[:n],
              *_shots(units, stats, n))  # fmt: skip
    return first_smallest(key, [value[n:] for value in enemies], agents, (stats.can_hit[n:, :n],))


def _shots(units: Units, stats: Stats, n: int) -> tuple[Bool[Array, "n e"], Float[Array, "n e"], Float[Array, "n e"]]:
    """Return which agents have an enemy under fire, and where that one stands."""
    dx, dy, _, edge = to_target(units, stats)
    shoots = (units.order == ATTACK) & (units.target >= n) & (units.health > 0) & (edge <= stats.range + ROUNDING)
    return shoots[:n], (units.x + dx)[:n], (units.y + dy)[:n]


def _from_goal(units: Units) -> Float[Array, "u e"]:
    return jnp.sqrt((units.goal_x - units.x) ** 2 + (units.goal_y - units.y) ** 2)


def settle(units: Units) -> Units:
    """Let enemies that have nobody to fight hold their goal once they are there."""
    done = (units.order == SCAN) & (units.target < 0) & (_from_goal(units) <= _ARRIVED)
    return units._replace(order=jnp.where(done, HOLD, units.order))


def heal_targets(units: Units, stats: Stats) -> Int[Array, "u e"]:
    """Choose whom the enemy's medivacs heal: the lowest life fraction within reach, kept until it is full.

    Rows of other units hold -1.
    """
    who = np.flatnonzero(stats.heals & ~stats.ally)
    index = np.arange(units.x.shape[0], dtype=np.int32)[:, None]
    alive = units.health > 0
    hurt = alive & (units.health < stats.max_health)

    def key(mine: Any, theirs: Any, tables: Any) -> Array:
        (x, y, target, energy, radius, lives), (can_heal,) = mine, tables
        their_x, their_y, number, their_radius, needs, fraction = theirs
        dx, dy = their_x - x, their_y - y
        edge = jnp.sqrt(dx * dx + dy * dy) - radius - their_radius
        current = target == number
        ready = (energy >= HEAL_MINIMUM_ENERGY) | (current & (energy > 0))
        valid = can_heal & needs & lives & ready & (edge <= HEAL_SEARCH_RADIUS)
        return jnp.where(valid, jnp.where(current, -FAR, fraction + 1e-4 * edge), FAR)

    healers = (units.x, units.y, units.target, units.energy, stats.radius, alive)
    patients = (units.x, units.y, index, stats.radius, hurt, units.health / stats.max_health)
    found = first_smallest(key, [value[who] for value in healers], patients, (stats.can_heal[who],))
    return jnp.full(units.target.shape, -1, jnp.int32).at[who].set(found)


def engage(units: Units, luck: Float[Array, "u e"], stats: Stats, rules: Rules, n: int) -> Units:
    """Update the targets of all enemies; agents keep theirs."""
    target = jnp.concatenate([units.target[:n], acquire(units, luck, stats, rules, n)])
    if not stats.heals.any():
        return units._replace(target=target)
    if (stats.heals & ~stats.ally).any():
        target = jnp.where(stats.heals & ~stats.ally, heal_targets(units, stats), target)
    full = (target >= 0) & (at(units.health, target) >= constant_at(stats.max_health, target))
    idle = stats.heals & stats.ally & (units.order == HEAL) & full
    return units._replace(target=jnp.where(idle, -1, target), order=jnp.where(idle, IDLE, units.order))
