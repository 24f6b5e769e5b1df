"""Whom units engage: agents what they were told, enemies what StarCraft's automatic targeting gives them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.pairs import FAR, at, columns, constant_at, first_smallest, pair_at, some, which
from ibal.envs.smac.physics import nearest_agent
from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.state import ATTACK, HEAL, HOLD, IDLE, SCAN, Units
from ibal.envs.smac.stats import ROUNDING, Stats
from ibal.envs.smac.units import HEAL_MINIMUM_ENERGY, HEAL_SEARCH_RADIUS
from ibal.envs.smac.weapons import to_target

_BEYOND = 100.0  # agents out of scan range come after all others: more than any distance
_ARRIVED = 0.5  # from its goal


def drop_finished(units: Units) -> Units:
    """Agents whose target is dead, or healed to the full, fall idle; enemies forget dead targets."""
    gone = (units.target >= 0) & (at(units.health, units.target) <= 0)
    stop = gone & ((units.order == ATTACK) | (units.order == HEAL))
    forget = gone | (units.health <= 0)
    return units._replace(target=jnp.where(forget, -1, units.target), order=jnp.where(stop, IDLE, units.order))


def acquire(
    units: Units,
    luck: Float[Array, "u e"],
    loop: Int[Array, "1 #e"],
    stats: Stats,
    numbers: Quantities,
    n: int,
    rules: Rules = Rules(),
) -> Int[Array, "m e"]:
    """Choose the target of every enemy for this loop, -1 for none.

    A target is kept until it dies or gets too far away (``numbers.keep_scan``, ``keep_more``). Otherwise one of the
    agents in scan range that the weapon can hit is taken, by distance or by chance (``luck``, uniform per unit), those
    that hit the searcher first (``attackers``). With ``switch`` a target that does not attack the searcher is dropped
    for one that does, unless an attack is under way. All SMAC units are of one threat class, medivacs included.

    Who answers (``answer_marching``, ``answer_holding``) also takes agents from beyond scan range: one that shoots at
    it, and, after all others, one that shoots at a team mate close by. It follows such a target for as long as it does
    not get too far from its goal.

    Where the rules say so, colossi measure nearness from their goal, agents in weapon range first, and an agents'
    colossus that shoots counts as hitting everybody.
    """
    numbers = columns(numbers)
    index = np.arange(units.x.shape[0], dtype=np.int32)[:, None]
    # Multiples of one uniform number are uniform each; cubes keep any few of them next to independent, where equal
    # steps would favour the first and the last agent.
    factors = np.array([[211 + k**3 % 5003] for k in range(n)], np.float32)
    gun, body = stats.range, stats.radius
    alive = units.health > 0

    def key(mine: Any, theirs: Any, tables: Any) -> Array:
        (
            x, y, target, under_way, draw, number, radius, held, scan, lives, answers, leashed, looks,
            by_distance, by_chance, attackers, call, switches, *sent,
        ) = mine  # fmt: skip
        (
            their_x, their_y, their_target, their_number, factor, their_radius, shorter, they_live, threat,
            they_shoot, victim_x, victim_y,
        ) = theirs  # fmt: skip
        (can_hit,) = tables
        dx, dy = their_x - x, their_y - y
        distance = jnp.sqrt(dx * dx + dy * dy)
        edge = distance - radius - their_radius
        valid = can_hit & they_live & lives
        hitting = (they_shoot & (their_target == number)) | threat
        current = target == their_number
        keep = valid & current & ((edge <= held) | under_way | (answers & hitting) | ~looks)
        draw = draw * factor
        far = edge
        if sent:
            goal_x, goal_y, goalward, reach = sent
            from_goal = jnp.sqrt((their_x - goal_x) ** 2 + (their_y - goal_y) ** 2)
            far = jnp.where(goalward, from_goal + jnp.where(edge > reach + ROUNDING, _BEYOND / 2, 0.0), edge)
        rank = by_distance * far + by_chance * (draw - jnp.floor(draw))
        rank = rank - jnp.where(hitting, attackers, 0.0)
        near = distance - shorter <= scan
        heard = they_shoot & ((victim_x - x) ** 2 + (victim_y - y) ** 2 <= call)
        followed = leashed & current
        rank = rank + jnp.where(near | hitting, 0.0, jnp.where(followed, 1.0, 2.0) * _BEYOND)
        near = near | (answers & (heard | followed))
        surely = under_way | hitting | ~switches | ~looks
        first = jnp.where(keep, jnp.where(surely, -FAR, -FAR / 4), rank)
        first = jnp.where(switches & hitting & near & ~(keep & surely), rank - FAR / 2, first)
        return jnp.where(keep | (valid & near & looks), first, FAR)

    holds = units.order == HOLD
    answers = (holds & (numbers.answer_holding > 0)) | (~holds & (numbers.answer_marching > 0))
    leashed = _from_goal(units) <= numbers.leash
    held = numbers.keep_scan * stats.scan + (1.0 - numbers.keep_scan) * gun + numbers.keep_more
    scan = stats.scan + jnp.where(stats.armed, numbers.scan_more + numbers.scan_own * body, 0.0)
    # Neighbours look at different times.
    cadence = jnp.where(units.target < 0, numbers.cadence, numbers.cadence_again)
    looks = jnp.mod((loop + 3 * index).astype(jnp.float32), cadence) < 1
    enemies = (units.x, units.y, units.target, units.windup >= 0, luck, index, body, held, scan, alive, answers,
               leashed, looks)  # fmt: skip
    common = (numbers.near, numbers.chance, numbers.attackers, numbers.help_radius**2, numbers.switch > 0)
    shots = _shots(units, stats, numbers, n)
    threat = stats.heals[:n] & (numbers.medivacs > 0)
    if rules.colossus_calls and some(stats.colossus):
        threat = threat | (stats.colossus[:n] & shots[0])
    agents = (units.x[:n], units.y[:n], units.target[:n], index[:n], factors, body[:n], numbers.scan_other * body[:n],
              alive[:n], threat, *shots)  # fmt: skip
    homeward = rules.colossus_near == "goal" and some(stats.colossus)
    sent = (units.goal_x[n:], units.goal_y[n:], stats.colossus[n:], gun[n:]) if homeward else ()
    mine = [*(value[n:] for value in enemies), *common, *sent]
    return first_smallest(key, mine, agents, (stats.can_hit[n:, :n],))


def _shots(
    units: Units, stats: Stats, numbers: Quantities, n: int
) -> tuple[Bool[Array, "n e"], Float[Array, "n e"], Float[Array, "n e"]]:
    """Return which agents have an enemy under fire, and where that one stands."""
    dx, dy, _, edge = to_target(units, stats)
    fires = jnp.where(numbers.memory > 0, units.shot <= numbers.memory, edge <= stats.range + ROUNDING)
    shoots = (units.order == ATTACK) & (units.target >= n) & (units.health > 0) & fires
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
    who = which(stats.heals & ~stats.ally)
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


def by_itself(units: Units, stats: Stats, n: int) -> Units:
    """Let the agents' colossi that have no order to attack aim at the nearest enemy in weapon range.

    An inference: on the two maps where agents have colossi no untrained team of the real game earns less than 3.5
    (14 different ones on 1c3s5z, 11 on 2c_vs_64zg), where on twelve others some earn at most 0.1. Their turrets shoot
    though nobody tells them to. Whoever has somebody in range gets an order to attack it; ``obedient`` takes it back.
    """
    who = which(stats.colossus & stats.ally)
    alive = units.health > 0

    def key(mine: Any, theirs: Any, tables: Any) -> Array:
        (x, y, radius, reach), (their_x, their_y, their_radius, lives), (can_hit,) = mine, theirs, tables
        edge = jnp.sqrt((their_x - x) ** 2 + (their_y - y) ** 2) - radius - their_radius
        return jnp.where(can_hit & lives & (edge <= reach + ROUNDING), edge, FAR)

    guns = [value[who] for value in (units.x, units.y, stats.radius, stats.range)]
    enemies = [value[n:] for value in (units.x, units.y, stats.radius, alive)]
    found = first_smallest(key, guns, enemies, (stats.can_hit[who][:, n:],))
    free = (stats.colossus & stats.ally)[who] & alive[who] & (units.order[who] != ATTACK) & (found >= 0)
    return units._replace(
        order=units.order.at[who].set(jnp.where(free, ATTACK, units.order[who])),
        target=units.target.at[who].set(jnp.where(free, n + found, units.target[who])),
    )


def obedient(units: Units, sent: Units, stats: Stats) -> Units:
    """Give the agents' colossi back the orders and targets that they had in ``sent``."""
    own = stats.colossus & stats.ally
    return units._replace(
        order=jnp.where(own, sent.order, units.order), target=jnp.where(own, sent.target, units.target)
    )


def rest(units: Units, n: int) -> Units:
    """Let enemies that have nobody to fight guard the place where they stand (SMACv2: nobody sends them anywhere)."""
    free = (np.arange(units.x.shape[0]) >= n)[:, None] & (units.target < 0) & (units.health > 0)
    return units._replace(
        order=jnp.where(free, HOLD, units.order),
        goal_x=jnp.where(free, units.x, units.goal_x),
        goal_y=jnp.where(free, units.y, units.goal_y),
    )


def hunt(units: Units, due: Bool[Array, "1 #e"], stats: Stats, n: int) -> Units:
    """Order every enemy that has nobody to fight to attack the living agent nearest to it, however far, where ``due``.

    An order at somebody whom its weapon cannot hit is refused, and so is every one of a unit without a weapon.
    Source: the trigger of SMACv2's map, every half second of the game.
    """
    near = nearest_agent(units, n)
    can = pair_at(stats.can_hit[n:, :n], near) > 0
    sent = due & can & (near >= 0) & (units.target[n:] < 0) & (units.health[n:] > 0)
    return units._replace(
        order=units.order.at[n:].set(jnp.where(sent, ATTACK, units.order[n:])),
        target=units.target.at[n:].set(jnp.where(sent, near, units.target[n:])),
    )


def engage(
    units: Units,
    luck: Float[Array, "u e"],
    loop: Int[Array, "1 #e"],
    stats: Stats,
    numbers: Quantities,
    n: int,
    sworn: bool = False,
    rules: Rules = Rules(),
) -> Units:
    """Update the targets of all enemies; agents keep theirs, and with ``sworn`` so do enemies under an attack order."""
    target = jnp.concatenate([units.target[:n], acquire(units, luck, loop, stats, numbers, n, rules)])
    if sworn:
        target = jnp.where(~stats.ally & (units.order == ATTACK), units.target, target)
    found = ~stats.ally & (target >= 0) & (target != units.target)
    wait = jnp.where(units.target < 0, numbers.wake, numbers.turn)
    units = units._replace(cooldown=jnp.where(found & (wait > 0), jnp.maximum(units.cooldown, wait), units.cooldown))
    if not some(stats.heals):
        return units._replace(target=target)
    if some(stats.heals & ~stats.ally):
        target = jnp.where(stats.heals & ~stats.ally, heal_targets(units, stats), target)
    full = (target >= 0) & (at(units.health, target) >= constant_at(stats.max_health, target))
    idle = stats.heals & stats.ally & (units.order == HEAL) & full
    return units._replace(target=jnp.where(idle, -1, target), order=jnp.where(idle, IDLE, units.order))
