"""How bodies move: toward a goal, around obstacles, pushed apart where they overlap, kept on the ground."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ibal.envs.smac.pairs import FAR, Pairs, chosen, pick, pick_constant
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.state import ATTACK, MOVE, SCAN, Units
from ibal.envs.smac.stats import Stats
from ibal.envs.smac.terrain import BLOCKS, SIZE, Terrain

TURN_PER_LOOP = 62.5  # degrees
DETOUR_STEP = 20  # degrees between the detours a unit tries
_UNDO = 0.75  # share of a deep overlap that one push may undo
_HALT_NEAR_AGENTS = 5.0  # an enemy medivac with nobody to heal stops when an agent is this close


def head_for(
    units: Units, pairs: Pairs, stats: Stats, terrain: Terrain, n: int, hunts: bool
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"], Bool[Array, "u e"]]:
    """Return (dx, dy, way, planted): direction (unit vector), how far each unit wants to go in this loop, and whether
    it stands its ground (it is attacking from where it is)."""
    size = units.x.shape[0]
    theirs = chosen(units.target, size)
    aiming = units.target >= 0
    reach = stats.range + stats.radius + pick_constant(theirs, stats.radius)
    goal_x = jnp.where(aiming, pick(theirs, units.x), units.goal_x)
    goal_y = jnp.where(aiming, pick(theirs, units.y), units.goal_y)
    alive = units.health > 0
    if hunts:  # enemies ordered at the agents themselves walk to the nearest
        near = jnp.where(alive[None, :n], pairs.distance[n:, :n], 1e9)
        best = near <= jnp.min(near, axis=1, keepdims=True)
        count = jnp.maximum(jnp.sum(best.astype(jnp.float32), axis=1), 1.0)
        at_x = jnp.sum(jnp.where(best, units.x[None, :n], 0.0), axis=1) / count
        at_y = jnp.sum(jnp.where(best, units.y[None, :n], 0.0), axis=1) / count
        any_left = jnp.any(alive[:n], axis=0)[None]
        seek = ~aiming[n:] & any_left
        goal_x = jnp.concatenate([goal_x[:n], jnp.where(seek, at_x, goal_x[n:])])
        goal_y = jnp.concatenate([goal_y[:n], jnp.where(seek, at_y, goal_y[n:])])

    wants = alive & jnp.where(
        aiming, (units.windup < 0) & (units.hold <= 0), (units.order == MOVE) | (units.order == SCAN)
    )
    to_x, to_y = goal_x - units.x, goal_y - units.y
    straight = jnp.sqrt(to_x * to_x + to_y * to_y)
    rest = jnp.maximum(straight - jnp.where(aiming, reach, 0.0), 0.0)
    in_reach = aiming & (straight <= reach + 1e-4)
    if terrain.route is not None:
        via_x, via_y, bent = waypoint(units, goal_x, goal_y, terrain)
        bent = bent & ~stats.flies & ~stats.walker
        to_x, to_y = jnp.where(bent, via_x - units.x, to_x), jnp.where(bent, via_y - units.y, to_y)
        rest = jnp.where(bent, 1.0, rest)
        straight = jnp.where(bent, jnp.sqrt(to_x * to_x + to_y * to_y), straight)
    near_agent = stats.heals & ~stats.ally & ~aiming
    halted = near_agent & jnp.any((pairs.distance[:, :n] <= _HALT_NEAR_AGENTS) & alive[None, :n], axis=1)
    scale = 1.0 / jnp.maximum(straight, 1e-6)
    planted = (
        alive
        & aiming
        & (in_reach | (units.windup >= 0) | (units.hold > 0))
        & ((units.order == ATTACK) | (units.order == SCAN))
    )
    return to_x * scale, to_y * scale, jnp.where(wants & ~halted, rest, 0.0), planted


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
    theirs = chosen(units.target, units.x.shape[0])
    flight = dx * pick(theirs, dx * step) + dy * pick(theirs, dy * step)
    longer = jnp.minimum(speed, way + jnp.maximum(flight, 0.0))
    return jnp.where(((way > 0) | stats.heals) & (units.target >= 0), longer, step)


def steer(
    pairs: Pairs,
    blocks: Bool[Array, "u u e"],
    dx: Float[Array, "u e"],
    dy: Float[Array, "u e"],
    step: Float[Array, "u e"],
    side: Float[Array, "u e"],
    stats: Stats,
    rules: Rules,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"], Float[Array, "u e"]]:
    """Return (move_x, move_y, side): the first free step among straight ahead and detours to both sides.

    A direction is blocked if a full step that way ends inside, and nearer to, the disc of a blocking unit. Detours come
    every ``DETOUR_STEP`` degrees up to the limit of the unit's kind, the side taken last first; nothing free: stay.
    """
    largest = max(rules.melee_detour, rules.ranged_detour)
    angles = [0] + [s * a for a in range(DETOUR_STEP, largest + 1, DETOUR_STEP) for s in (1, -1)]
    lengths = [step * math.cos(math.radians(a)) if rules.detour_cosine else step for a in angles]
    reach = stats.disc[:, None] + stats.disc[None]
    ahead = pairs.dx * dx[:, None] + pairs.dy * dy[:, None]
    left = pairs.dy * dx[:, None] - pairs.dx * dy[:, None]
    # |r - L e|^2 < R^2 is r.e > (r^2 + L^2 - R^2) / 2L: one threshold per pair for all directions e.
    longest = jnp.maximum(step, 1e-6)[:, None]
    threshold = (pairs.distance * pairs.distance - reach * reach + longest * longest) / (2 * longest)
    threshold = jnp.where(blocks, jnp.maximum(threshold, 0.0), FAR)
    bits = jnp.zeros((), jnp.int32)
    for bit, angle in enumerate(angles):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        bits = bits | jnp.where(c * ahead + s * left > threshold, 1 << bit, 0)
    blocked = lax.reduce(bits, jnp.zeros((), bits.dtype), lax.bitwise_or, (1,))
    limit = jnp.where(stats.melee, rules.melee_detour, rules.ranged_detour)
    move_x = move_y = jnp.zeros_like(dx)
    free = jnp.zeros(dx.shape, bool)
    for bit in [0, *range(1, len(angles), 2)]:
        angle = angles[bit]  # bit + 1 holds the same detour to the right
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for turn in (side, -side) if angle else (side,):
            bits_right = bit + 1 if angle else bit
            clear = ((blocked >> jnp.where(turn > 0, bit, bits_right)) & 1) == 0
            take = clear & ~free & (angle <= limit)
            move_x = jnp.where(take, lengths[bit] * (c * dx - s * turn * dy), move_x)
            move_y = jnp.where(take, lengths[bit] * (c * dy + s * turn * dx), move_y)
            side = jnp.where(take, turn, side) if angle else side
            free = free | take
    return move_x, move_y, side


def separate(
    x: Float[Array, "u e"],
    y: Float[Array, "u e"],
    planted: Bool[Array, "u e"],
    alive: Bool[Array, "u e"],
    stats: Stats,
    rules: Rules,
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Return the displacement that pushes overlapping bodies apart: one that stands its ground stays, else half each.

    At most ``rules.push`` in one loop, but enough to undo most of a deep overlap (two team mates walking at each other
    come 0.28 nearer in a loop).
    """
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]
    square = dx * dx + dy * dy
    inverse = lax.rsqrt(jnp.maximum(square, 1e-12))
    overlap = jnp.maximum(stats.disc[:, None] + stats.disc[None] - square * inverse, 0.0)
    firm = planted & (not rules.push_planted)
    share = jnp.where(firm[:, None] == firm[None], 0.5, jnp.where(firm[None], 1.0, 0.0))
    # Two bodies on the very same point part along x, the lower index to the West.
    index = jnp.arange(x.shape[0])
    apart = jnp.where(index[:, None] < index[None], 1e-6, -1e-6)[..., None]
    dx = jnp.where(square < 1e-12, apart, dx)
    amount = jnp.where(stats.bodies & alive[:, None] & alive[None], overlap * share * inverse, 0.0)
    push_x, push_y = -jnp.sum(amount * dx, axis=1), -jnp.sum(amount * dy, axis=1)
    length = jnp.sqrt(push_x * push_x + push_y * push_y)
    scale = jnp.minimum(1.0, jnp.maximum(rules.push, _UNDO * length) / jnp.maximum(length, 1e-6))
    return push_x * scale, push_y * scale


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


def move(units: Units, pairs: Pairs, stats: Stats, rules: Rules, terrain: Terrain, n: int, hunts: bool) -> Units:
    """Advance every body by one loop."""
    alive = units.health > 0
    dx, dy, way, planted = head_for(units, pairs, stats, terrain, n, hunts)
    step, speed = stride(units, way, stats)
    step = keep_up(units, dx, dy, way, step, speed, stats)
    foe = stats.ally[:, None] != stats.ally[None]
    blocks = stats.bodies & alive[None] & (foe | planted[None])
    move_x, move_y, side = steer(pairs, blocks, dx, dy, step, units.side, stats, rules)
    new_x, new_y = units.x + move_x, units.y + move_y
    push_x, push_y = separate(new_x, new_y, planted, alive, stats, rules)
    new_x, new_y = confine(units.x, units.y, new_x + push_x, new_y + push_y, stats, terrain)
    movable = alive & ~stats.structure
    if rules.turning:
        wants = alive & ((way > 0) | (units.target >= 0))
        moved = (move_x * move_x + move_y * move_y) > 0
        face_x, face_y = turn(units, jnp.where(moved, move_x, dx), jnp.where(moved, move_y, dy), wants)
        units = units._replace(face_x=face_x, face_y=face_y)
    return units._replace(
        x=jnp.where(movable, new_x, units.x), y=jnp.where(movable, new_y, units.y), speed=speed, side=side
    )


def turn(
    units: Units, to_x: Float[Array, "u e"], to_y: Float[Array, "u e"], wants: Bool[Array, "u e"]
) -> tuple[Float[Array, "u e"], Float[Array, "u e"]]:
    """Rotate every body toward where it goes or aims, at most ``TURN_PER_LOOP`` degrees."""
    c, s = math.cos(math.radians(TURN_PER_LOOP)), math.sin(math.radians(TURN_PER_LOOP))
    scale = 1.0 / jnp.maximum(jnp.sqrt(to_x * to_x + to_y * to_y), 1e-6)
    to_x, to_y = to_x * scale, to_y * scale
    dot = units.face_x * to_x + units.face_y * to_y
    left = jnp.where(units.face_x * to_y - units.face_y * to_x >= 0, s, -s)
    x = jnp.where(dot >= c, to_x, c * units.face_x - left * units.face_y)
    y = jnp.where(dot >= c, to_y, left * units.face_x + c * units.face_y)
    wants = wants & (scale < 1e5)
    return jnp.where(wants, x, units.face_x), jnp.where(wants, y, units.face_y)
