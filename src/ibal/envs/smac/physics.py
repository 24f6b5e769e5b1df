"""How bodies move: toward a goal, around obstacles, pushed apart where they overlap, kept on the ground."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.pairs import FAR, at, columns, constant_at, first_smallest, library, some, total, union, worked_out
from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.state import ATTACK, MOVE, Units, on_guard
from ibal.envs.smac.stats import ROUNDING, Stats
from ibal.envs.smac.terrain import BLOCKS, SIZE, Terrain

TURN_PER_LOOP = 62.5  # degrees
_UNDO = 0.75  # share of a deep overlap that one push may undo
_CLOSEST = 1.02  # two centres never come nearer than the radius of the larger disc times this
_HALT_NEAR_AGENTS = 5.0  # an enemy medivac with nobody to heal stops when an agent is this close


def head_for(
    units: Units, stats: Stats, numbers: Quantities, terrain: Terrain, n: int, hunts: bool
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"], Bool[Array, "u e"]]:
    """Return (dx, dy, way, planted): direction (unit vector), how far each unit wants to go in this loop, and whether
    it stands its ground (it is attacking from where it is)."""
    aiming = units.target >= 0
    reach = stats.range + jnp.where(stats.melee, numbers.melee_reach, 0.0)
    reach = reach + stats.radius + constant_at(stats.radius, units.target)
    goal_x = jnp.where(aiming, at(units.x, units.target), units.goal_x)
    goal_y = jnp.where(aiming, at(units.y, units.target), units.goal_y)
    alive = units.health > 0
    if hunts:  # enemies ordered at the agents themselves walk to the nearest
        near = nearest_agent(units, n)
        at_x, at_y = at(units.x[:n], near), at(units.y[:n], near)
        seek = ~aiming[n:] & (near >= 0)
        goal_x = jnp.concatenate([goal_x[:n], jnp.where(seek, at_x, goal_x[n:])])
        goal_y = jnp.concatenate([goal_y[:n], jnp.where(seek, at_y, goal_y[n:])])

    wants = alive & jnp.where(
        aiming, (units.windup < 0) & (units.hold <= 0), (units.order == MOVE) | on_guard(units.order)
    )
    to_x, to_y = goal_x - units.x, goal_y - units.y
    straight = jnp.sqrt(to_x * to_x + to_y * to_y)
    rest = jnp.maximum(straight - jnp.where(aiming, reach, 0.0), 0.0)
    in_reach = aiming & (straight <= reach + ROUNDING)
    if terrain.route is not None:
        via_x, via_y, bent = waypoint(units, goal_x, goal_y, terrain)
        bent = bent & ~stats.flies & ~stats.walker
        to_x, to_y = jnp.where(bent, via_x - units.x, to_x), jnp.where(bent, via_y - units.y, to_y)
        rest = jnp.where(bent, 1.0, rest)
        straight = jnp.where(bent, jnp.sqrt(to_x * to_x + to_y * to_y), straight)
    halted = jnp.zeros(alive.shape, bool)
    if some(stats.heals & ~stats.ally):
        halted = stats.heals & ~stats.ally & ~aiming & _near_agents(units, n, _HALT_NEAR_AGENTS)
    scale = 1.0 / jnp.maximum(straight, 1e-6)
    planted = (
        alive
        & aiming
        & (in_reach | (units.windup >= 0) | (units.hold > 0))
        & ((units.order == ATTACK) | on_guard(units.order))
    )
    return to_x * scale, to_y * scale, jnp.where(wants & ~halted, rest, 0.0), planted


def nearest_agent(units: Units, n: int) -> Int[Array, "m e"]:
    """The living agent nearest to every enemy, -1 if all are dead."""

    def key(mine: Any, theirs: Any, _: Any) -> Array:
        (x, y), (their_x, their_y, lives) = mine, theirs
        dx, dy = their_x - x, their_y - y
        return jnp.where(lives, dx * dx + dy * dy, FAR)

    agents = (units.x[:n], units.y[:n], units.health[:n] > 0)
    return first_smallest(key, (units.x[n:], units.y[n:]), agents)


def _near_agents(units: Units, n: int, radius: float) -> Bool[Array, "u e"]:
    """Whether a living agent is this close."""

    def close(mine: Any, theirs: Any, _: Any) -> Array:
        (x, y), (their_x, their_y, lives) = mine, theirs
        dx, dy = their_x - x, their_y - y
        return (lives & (dx * dx + dy * dy <= radius**2)).astype(jnp.int32)

    return union(close, (units.x, units.y), (units.x[:n], units.y[:n], units.health[:n] > 0)) > 0


def waypoint(
    units: Units, goal_x: Float[Array, "u e"], goal_y: Float[Array, "u e"], terrain: Terrain
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Bool[Array, "u e"]]:
    """Return the end of the next straight leg toward the goal, and whether the way bends before the goal."""
    route, node = jnp.asarray(terrain.route), jnp.asarray(terrain.node)

    def block(x: Array, y: Array) -> Array:
        limit = BLOCKS - 1
        return jnp.clip((y / 2).astype(int), 0, limit) * BLOCKS + jnp.clip((x / 2).astype(int), 0, limit)

    here, there = block(units.x, units.y), block(goal_x, goal_y)
    hop = route[here, there]
    return node[hop, 0], node[hop, 1], (hop != there) & (hop != here)


def stride(units: Units, way: Float[Array, "u e"], stats: Stats) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Return (length of this loop's step, new speed). Units without acceleration start and stop at once.

    A medivac that has caught up with its patient keeps its speed.
    """
    faster = jnp.minimum(units.speed + stats.acceleration, stats.speed)
    gathering = jnp.where(way > 0, faster, jnp.where(units.target >= 0, units.speed, 0.0))
    speed = jnp.where(stats.acceleration > 0, gathering, stats.speed)
    return jnp.minimum(speed, way), jnp.where(stats.acceleration > 0, speed, units.speed)


def keep_up(
    units: Units,
    dx: Float[Array, "u e"],
    dy: Float[Array, "u e"],
    way: Float[Array, "u e"],
    step: Float[Array, "u e"],
    speed: Float[Array, "u e"],
    stats: Stats,
) -> Float[Array, "u e"]:
    """Lengthen the last step toward a target that walks away in the same loop, which would stay out of range for ever.

    Everybody moves at once here; in the game a unit that moves after its target sees where that went. A medivac follows
    its patient even when in range.
    """
    flight = dx * at(dx * step, units.target) + dy * at(dy * step, units.target)
    longer = jnp.minimum(speed, way + jnp.maximum(flight, 0.0))
    return jnp.where(((way > 0) | stats.heals) & (units.target >= 0), longer, step)


@cache
def _choices(turns: int) -> np.ndarray:
    """Which direction a unit takes, -1 for none: int32[1 << turns, 2] by (blocked directions, side).

    Directions are 0 (straight ahead), then pairs (left, right), each further from it than the last.
    """
    table = np.full((1 << turns, 2), -1, np.int32)
    for side in (0, 1):  # 0: last time to the right
        pairs = [(2 * k - side, 2 * k - 1 + side) for k in range(1, turns // 2 + 1)]
        order = [0, *(direction for pair in pairs for direction in pair)]
        for blocked in range(1 << turns):
            free = [direction for direction in order if not blocked >> direction & 1]
            table[blocked, side] = free[0] if free else -1
    return table


def steer(
    units: Units,
    planted: Bool[Array, "u e"],
    dx: Float[Array, "u e"],
    dy: Float[Array, "u e"],
    way: Float[Array, "u e"],
    step: Float[Array, "u e"],
    stats: Stats,
    rules: Rules,
    numbers: Quantities,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"]]:
    """Return (move_x, move_y, side): the first free step among straight ahead and detours to both sides.

    A direction is blocked if ``numbers.look`` full steps that way, but no more than the way there is to go, end inside,
    and nearer to, the disc of an enemy or of a team mate that stands its ground. Other team mates give way and block
    one step, and with a smaller disc (``numbers.squeeze``). With ``rules.swept`` the whole way to there must be free
    of firm bodies. A ranged unit that is nearly in range looks ``numbers.look_past`` full steps ahead all the same, and
    walks full steps while it goes around (``numbers.full_detours``). Detours come every ``rules.detour_step`` degrees
    up to the limit of the unit's kind, the side taken last first; with nothing free the unit stays.
    """
    angles = [0, *(sign * a for a in range(rules.detour_step, rules.detour_most + 1, rules.detour_step)
                   for sign in (1, -1))]  # fmt: skip
    turns = [(math.cos(math.radians(a)), math.sin(math.radians(a))) for a in angles]
    of = library(stats.disc, stats.bodies)
    room = of.square(stats.disc[:, None] + stats.disc[None])
    foe = stats.ally[:, None] != stats.ally[None]
    room = of.where(stats.bodies, room, np.float32(-FAR))  # a disc that no step ends in

    def directions(mine: Any, theirs: Any, tables: Any) -> Array:
        """One bit for every direction that unit j blocks."""
        x, y, dx, dy, square, inverse, far_square, far_inverse, squeeze = mine
        (their_x, their_y, planted), (room, foe) = theirs, tables
        to_x, to_y = their_x - x, their_y - y
        ahead, left = to_x * dx + to_y * dy, to_y * dx - to_x * dy
        # |r - L e|^2 < R^2 is r.e > (r^2 + L^2 - R^2) / 2L: one threshold per pair for all directions e.
        firm = planted | foe
        disc = jnp.where(firm, room, room * squeeze)
        square, inverse = jnp.where(firm, far_square, square), jnp.where(firm, far_inverse, inverse)
        distance = to_x * to_x + to_y * to_y
        threshold = jnp.maximum((distance - disc + square) * inverse, 0.0)
        if rules.swept:
            # The whole way: nearest to j after r.e < L, where the square of the distance is r^2 - (r.e)^2; so j is hit
            # if r.e > q, the root of r^2 - R^2. With q <= L the threshold of the end, (q^2 + L^2) / 2L, is between q
            # and L, and this one condition holds both; with q > L only the end can be inside.
            outside = distance - disc
            passes = firm & (outside > 0) & (outside <= square)
            threshold = jnp.where(passes, jnp.sqrt(jnp.maximum(outside, 0.0)), threshold)
        bits = jnp.zeros((), jnp.int32)
        for bit, (c, s) in enumerate(turns):
            bits = bits | jnp.where(c * ahead + s * left > threshold, 1 << bit, 0)
        return bits

    longest = jnp.maximum(step, 1e-6)
    look = numbers.look + jnp.where(stats.melee, numbers.look_melee, 0.0)
    past = jnp.where(stats.melee, 0.0, numbers.look_past)
    full = jnp.where(past > 0, jnp.maximum(stats.speed, longest), longest)
    far = jnp.minimum(look * full, jnp.maximum(way, jnp.maximum(longest, past * full)))
    mine = (units.x, units.y, dx, dy, longest * longest, 0.5 / longest, far * far, 0.5 / far, numbers.squeeze)
    theirs = (*present(units.x, units.y, units.health > 0), planted)
    blocked = worked_out(jnp.any(step > 0), lambda: union(directions, mine, theirs, (room, foe)))
    limit = jnp.where(stats.melee, numbers.melee_detour, numbers.ranged_detour)
    for bit, angle in enumerate(angles):
        blocked = blocked | jnp.where(abs(angle) > limit, 1 << bit, 0)
    entry = blocked * 2 + jnp.where(units.side > 0, 1, 0)
    choice = jnp.asarray(_choices(len(turns)).reshape(-1)).at[entry].get(mode="clip")
    move_x = move_y = jnp.zeros_like(dx)
    strides = (numbers.full_detours > 0) & ~stats.melee & (stats.acceleration == 0) & (step > 0)
    aside = jnp.where(strides, stats.speed, step)
    for direction, (c, s) in enumerate(turns):
        length = (aside if direction else step) * (numbers.cosine * c + (1.0 - numbers.cosine))
        move_x = jnp.where(choice == direction, length * (c * dx - s * dy), move_x)
        move_y = jnp.where(choice == direction, length * (c * dy + s * dx), move_y)
    return move_x, move_y, jnp.where((choice > 0) & (step > 0), jnp.where(choice % 2 == 1, 1.0, -1.0), units.side)


def present(
    x: Float[Array, "u e"], y: Float[Array, "u e"], alive: Bool[Array, "u e"]
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Positions with the dead taken off the field, far from everybody and from each other."""
    away = np.arange(2, 2 + x.shape[0], dtype=np.float32)[:, None] * 1000.0
    return jnp.where(alive, x, away), jnp.where(alive, y, away)


def separate(
    x: Float[Array, "u e"],
    y: Float[Array, "u e"],
    toward: tuple[Float[Array, "u e"], Float[Array, "u e"]],
    planted: Bool[Array, "u e"],
    alive: Bool[Array, "u e"],
    stats: Stats,
    numbers: Quantities,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Return the displacement that pushes overlapping bodies apart: one that stands its ground stays, else half each.

    Of two team mates who walk (``toward``: unit vectors, zero for those who stand), the one that presses on the other
    gives way the more, by ``numbers.yields``. At most ``numbers.push`` in one loop, but enough to undo most of a deep
    overlap (two team mates walking at each other come 0.28 nearer in a loop).
    """
    x, y = present(x, y, alive)
    firm = jnp.where(planted, 0.5 * (1.0 - numbers.push_planted), 0.0)
    head_x, head_y = toward
    walks = (head_x != 0) | (head_y != 0)
    index = np.arange(x.shape[0])
    # Two bodies on the very same point part along x, the lower index to the West.
    apart = np.where(index[:, None] < index[None], 1e-6, -1e-6).astype(np.float32)[..., None]
    room = library(stats.disc, stats.bodies).where(stats.bodies, stats.disc[:, None] + stats.disc[None], 0.0)
    mates = stats.ally[:, None] == stats.ally[None]

    def push(mine: Any, theirs: Any, tables: Any) -> tuple[Array, Array]:
        x, y, firm, head_x, head_y, walks, yields = mine
        their_x, their_y, their_firm, their_head_x, their_head_y, walk = theirs
        room, apart, mates = tables
        dx, dy = their_x - x + apart, their_y - y
        inverse = lax.rsqrt(jnp.maximum(dx * dx + dy * dy, 1e-12))
        ratio = room * inverse
        pressing = jnp.sign(dx * (head_x + their_head_x) + dy * (head_y + their_head_y))
        more = jnp.where(mates & walks & walk, 0.5 * yields * pressing, 0.0)
        amount = jnp.maximum(ratio - 1.0, 0.0) * (firm - their_firm - 0.5 - more)
        return amount * dx, amount * dy

    values = (x, y, firm, head_x, head_y, walks)
    pair = (*values, numbers.yields), values, (room, apart, mates)
    push_x, push_y = total(lambda *views: push(*views)[0], *pair), total(lambda *views: push(*views)[1], *pair)
    length = jnp.sqrt(push_x * push_x + push_y * push_y)
    scale = jnp.minimum(1.0, jnp.maximum(numbers.push, _UNDO * length) / jnp.maximum(length, 1e-6))
    return push_x * scale, push_y * scale


def stands_back(
    units: Units, new_x: Float[Array, "u e"], new_y: Float[Array, "u e"], stats: Stats
) -> Bool[Array, "u e"]:
    """Whether a unit must stay where it is, because its step would end over the middle of another body.

    The step is held against where the other was and where it goes, so that whoever else stays, no middle comes to lie
    inside another disc. Two bodies that were so created may move as they like.
    """
    alive = units.health > 0
    of = library(stats.disc, stats.bodies)
    close = of.square(_CLOSEST * of.maximum(stats.disc[:, None], stats.disc[None]))
    close = of.where(stats.bodies, close, np.float32(0))

    def into(mine: Any, theirs: Any, tables: Any) -> Array:
        (x, y, new_x, new_y), (their_x, their_y, their_new_x, their_new_y), (close,) = mine, theirs, tables

        def square(dx: Array, dy: Array) -> Array:
            return dx * dx + dy * dy

        there = jnp.minimum(square(their_x - new_x, their_y - new_y), square(their_new_x - new_x, their_new_y - new_y))
        return ((there < close) & (square(their_x - x, their_y - y) >= close)).astype(jnp.int32)

    old, new = present(units.x, units.y, alive), present(new_x, new_y, alive)
    return union(into, (*old, *new), (*old, *new), (close,)) > 0


def confine(
    x: Float[Array, "u e"],
    y: Float[Array, "u e"],
    new_x: Float[Array, "u e"],
    new_y: Float[Array, "u e"],
    stats: Stats,
    terrain: Terrain,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Keep the step on the ground: clamp to a rectangle, or take the whole step, its x part, its y part, or none."""
    if terrain.box is not None:
        x0, x1, y0, y1 = terrain.box
        margin = jnp.where(stats.flies, 0.0, stats.disc)
        return jnp.clip(new_x, x0 + margin, x1 - margin), jnp.clip(new_y, y0 + margin, y1 - margin)
    ground, cliffs = jnp.asarray(terrain.ground), jnp.asarray(terrain.above_cliffs)

    def free(px: Array, py: Array) -> Array:
        cx, cy = jnp.clip(px.astype(int), 0, SIZE - 1), jnp.clip(py.astype(int), 0, SIZE - 1)
        ok = ground[cy, cx]
        if np.any(terrain.ground != terrain.above_cliffs):
            ok = jnp.where(stats.walker, cliffs[cy, cx], ok)
        return ok

    whole, only_x, only_y = free(new_x, new_y), free(new_x, y), free(x, new_y)
    return (
        jnp.where(whole | only_x, new_x, x),
        jnp.where(whole | (only_y & ~only_x), new_y, y),
    )


def move(units: Units, stats: Stats, rules: Rules, numbers: Quantities, terrain: Terrain, n: int, hunts: bool) -> Units:
    """Advance every body by one loop."""
    numbers = columns(numbers)
    alive = units.health > 0
    dx, dy, way, planted = head_for(units, stats, numbers, terrain, n, hunts)
    step, speed = stride(units, way, stats)
    step = keep_up(units, dx, dy, way, step, speed, stats)
    move_x, move_y, side = steer(units, planted, dx, dy, way, step, stats, rules, numbers)
    new_x, new_y = units.x + move_x, units.y + move_y
    walks = (step > 0) & ~planted
    toward = (jnp.where(walks, dx, 0.0), jnp.where(walks, dy, 0.0))
    push_x, push_y = separate(new_x, new_y, toward, planted, alive, stats, numbers)
    new_x, new_y = confine(units.x, units.y, new_x + push_x, new_y + push_y, stats, terrain)
    movable = alive & ~stats.structure
    if rules.middles:
        anybody = jnp.any((new_x != units.x) | (new_y != units.y))
        movable = movable & ~worked_out(anybody, lambda: stands_back(units, new_x, new_y, stats))
    if rules.turning:
        wants = alive & ((way > 0) | (units.target >= 0))
        moved = (move_x * move_x + move_y * move_y) > 0
        face_x, face_y = turn(units, jnp.where(moved, move_x, dx), jnp.where(moved, move_y, dy), wants)
        units = units._replace(face_x=face_x, face_y=face_y)
    elif some(stats.structure):
        aims = alive & stats.structure & (units.target >= 0) & (numbers.turret > 0)
        face_x, face_y = turn(units, dx, dy, aims, numbers.turret)
        units = units._replace(face_x=face_x, face_y=face_y)
    return units._replace(
        x=jnp.where(movable, new_x, units.x), y=jnp.where(movable, new_y, units.y), speed=speed, side=side
    )


def turn(
    units: Units,
    to_x: Float[Array, "u e"],
    to_y: Float[Array, "u e"],
    wants: Bool[Array, "u e"],
    degrees: Array | float = TURN_PER_LOOP,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Rotate every body toward where it goes or aims, at most ``degrees``."""
    c, s = jnp.cos(jnp.radians(degrees)), jnp.sin(jnp.radians(degrees))
    scale = 1.0 / jnp.maximum(jnp.sqrt(to_x * to_x + to_y * to_y), 1e-6)
    to_x, to_y = to_x * scale, to_y * scale
    dot = units.face_x * to_x + units.face_y * to_y
    left = jnp.where(units.face_x * to_y - units.face_y * to_x >= 0, s, -s)
    x = jnp.where(dot >= c, to_x, c * units.face_x - left * units.face_y)
    y = jnp.where(dot >= c, to_y, left * units.face_x + c * units.face_y)
    wants = wants & (scale < 1e5)
    return jnp.where(wants, x, units.face_x), jnp.where(wants, y, units.face_y)
