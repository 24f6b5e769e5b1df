"""The moment of reset: formation, agent numbering, enemy numbering, marching orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ibal import rng
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Game, Group, Scenario
from ibal.envs.smac.state import IDLE, SCAN, Units
from ibal.envs.smac.terrain import terrain
from ibal.envs.smac.units import LOOPS_PER_SECOND, SHIELD_DELAY, UNITS, UnitType

DISC = 235 / 256  # a marine's spacing over its diameter, at creation and in crowds
MARGIN = 63 / 2048  # the same as a length, which fits stalkers and zealots too: disc = radius - MARGIN
GRAIN = 4096  # the game keeps coordinates as multiples of 1/4096
LONG_AGO = 1e4  # loops
_REACH = 12  # lattice cells looked at in each direction


@cache
def lattice() -> tuple[tuple[int, int], ...]:
    """Cells of the square lattice by distance from the centre, ties counter-clockwise from South."""
    span = range(-_REACH, _REACH + 1)
    angle = {(i, j): round(float(np.arctan2(i, -j)) % (2 * np.pi), 9) for i in span for j in span}
    return tuple(sorted(angle, key=lambda c: (c[0] ** 2 + c[1] ** 2, angle[c])))


def _plane(unit: UnitType) -> str:
    return "air" if unit.flies else "tower" if unit.towers else "ground"


def body_radius(unit: UnitType, rules: Rules, kind: str) -> float:
    """The shrunk disc of a unit, from its "inner", "separation" or full "radius"."""
    size = {"inner": unit.inner_radius, "separation": unit.separation_radius, "radius": unit.radius}[kind]
    return size * DISC if rules.shrink == "share" else size - MARGIN


def formation(groups: tuple[Group, ...], ground: np.ndarray, rules: Rules = Rules()) -> list[tuple[float, float]]:
    """Positions of the units of one player in creation order.

    All units of a group are asked for at one point; each takes the nearest free cell of a lattice whose step is its own
    slot diameter (``rules.slot``). Only units of the same plane (ground, colossi, air) need room from each other.

    "contact": a free cell is first pulled straight toward the point until the unit touches somebody; the cell that ends
    nearest is taken, of equals the first. Exact for marines, 3 x 3 shapes and eight of the ten units of 2s3z; the last
    zealot of each team stands 0.02 off (``tests/parity``).
    """
    placed: list[tuple[float, float, float, str]] = []
    for group in groups:
        unit, (at_x, at_y) = UNITS[group.unit], group.at
        radius, plane = body_radius(unit, rules, rules.slot), _plane(unit)
        cells = [(2 * radius * i, 2 * radius * j) for i, j in lattice()]
        for _ in range(group.count):
            others = [(px - at_x, py - at_y, radius + r) for px, py, r, p in placed if p == plane]
            free = (
                (x, y)
                for x, y in cells
                if ground[int(at_y + y), int(at_x + x)]
                and all(np.hypot(x - px, y - py) > room - 1e-4 for px, py, room in others)
            )
            x, y = _innermost(free, others, 4 * radius) if rules.formation == "contact" else next(free)
            placed.append((at_x + x, at_y + y, radius, plane))
    return [(x, y) for x, y, _, _ in placed]


def _innermost(
    free: Iterable[tuple[float, float]], others: list[tuple[float, float, float]], further: float
) -> tuple[float, float]:
    """Pull every free cell, nearest first, to the origin and return where the one stands that ends nearest.

    Cells that begin ``further`` out than the best one ended are not looked at.
    """
    best, where = np.inf, (0.0, 0.0)
    for x, y in free:
        far = float(np.hypot(x, y))
        if far > best + further:
            break
        end = _pull(x, y, others)
        if end < best - 1e-6:
            best = end
            where = (x, y) if end >= far - 1e-6 else (_along(end, x / far), _along(end, y / far))
    return where


def _pull(x: float, y: float, others: list[tuple[float, float, float]]) -> float:
    """How far from the origin a body ends that moves there from (x, y) until it touches one of ``others``."""
    far = float(np.hypot(x, y))
    if far == 0:
        return 0.0
    end = 0.0
    for px, py, room in others:
        middle = (x * px + y * py) / far
        square = room**2 - px**2 - py**2 + middle**2
        touch = middle + float(np.sqrt(max(square, 0.0)))
        if square >= 0 and touch <= far + 1e-3:
            end = max(end, min(touch, far))
    return end


def _along(length: float, direction: float) -> float:
    """A length in one direction, rounded as the game rounds (which reproduces 2s3z to the last digit)."""
    return float(np.floor(round(length * GRAIN) * (int(direction * GRAIN) / GRAIN)) / GRAIN)


@cache
def positions(scenario: Scenario, rules: Rules = Rules()) -> tuple[np.ndarray, np.ndarray]:
    """Return (agents float64[n, 2] in agent-id order, enemies float64[m, 2] in creation order)."""
    ground = terrain(scenario.terrain).above_cliffs
    names = [g.unit for g in scenario.allies for _ in range(g.count)]
    allies = sorted((name, x, y) for name, (x, y) in zip(names, formation(scenario.allies, ground, rules), strict=True))
    return np.array([(x, y) for _, x, y in allies]), np.array(formation(scenario.enemies, ground, rules))


def initial_units(scenario: Scenario, rules: Rules) -> Units:
    """All units at reset; enemies under their one order (goals are set by ``reset``)."""
    allies, enemies = positions(scenario, rules)
    types = (*scenario.ally_types, *scenario.enemy_types)
    where = jnp.asarray(np.concatenate([allies, enemies]), jnp.float32)

    def each(value: Callable[[UnitType], float]) -> Array:
        return jnp.asarray([value(t) for t in types], jnp.float32)

    return fresh(where[:, 0], where[:, 1], SCAN, scenario.n_agents, each)


def fresh(
    x: Float[Array, "u"],
    y: Float[Array, "u"],
    order: int,
    n: int,
    each: Callable[[Callable[[UnitType], float]], Float[Array, "u"]],
) -> Units:
    """New units at these places, ready to fire: the first ``n``, the agents, idle, enemies under ``order``.

    ``each`` gives a number of every unit from its type.
    """
    total = x.shape[0]
    zero, none = jnp.zeros(total, jnp.float32), jnp.full(total, -1, jnp.int32)
    return Units(
        x=x,
        y=y,
        health=each(lambda t: t.health),
        shield=each(lambda t: t.shield),
        energy=each(lambda t: t.energy),
        cooldown=zero,
        calm=jnp.full(total, SHIELD_DELAY, jnp.float32),
        speed=each(lambda t: 0.0 if t.acceleration else t.speed / LOOPS_PER_SECOND),
        order=jnp.where(jnp.arange(total) >= n, order, IDLE).astype(jnp.int32),
        goal_x=x,
        goal_y=y,
        target=none,
        windup=jnp.full(total, -1, jnp.float32),
        hold=zero,
        effect=jnp.full(total, -1, jnp.float32),
        effect_target=none,
        beam_x=zero,
        beam_y=zero,
        burst=jnp.zeros(total, bool),
        face_x=zero,
        face_y=jnp.full(total, -1, jnp.float32),
        side=jnp.ones(total, jnp.float32),
        shot=jnp.full(total, LONG_AGO, jnp.float32),
    )


def enemy_order(key: Key[Array, ""], scenario: Game, rules: Rules) -> Int[Array, "m"]:
    """Draw how enemies are numbered: entry j is the creation index of the enemy that agents call j.

    "unimodal": walking through the units in creation order, each goes with probability 1/2 to the end of the front list
    or to the head of the tail list; ids = front + tail. That is how the SC2 interface lists units (45 of 45 recorded
    games), and what policies trained in the real game expect (MMM: 0.66 of wins against 0.24 for a permutation).
    """
    m = scenario.n_enemies
    if rules.enemy_ids == "creation":
        return jnp.arange(m)
    if rules.enemy_ids == "permutation":
        return jax.random.permutation(key, m)
    if rules.enemy_ids != "unimodal":
        raise ValueError(f'enemy_ids is "{rules.enemy_ids}", not one of unimodal, permutation, creation')
    front = rng.uniform(key, (m,)) < 0.5
    rank = jnp.where(front, jnp.cumsum(front) - 1, m - jnp.cumsum(~front))
    return jnp.zeros(m, int).at[rank].set(jnp.arange(m))


def march_goal(key: Key[Array, ""], scenario: Scenario, rules: Rules) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """Where each enemy is sent: the map's point plus the enemy's own offset in its formation.

    2m_vs_1z draws the point on a segment. Enemies that hunt agents or have no order get their own position.
    """
    enemies = jnp.asarray(positions(scenario, rules)[1], jnp.float32)
    if scenario.march in ("none", "agents"):
        return enemies[:, 0], enemies[:, 1]
    goal = jnp.asarray(scenario.goal, jnp.float32)
    if scenario.march == "segment":
        end = jnp.asarray(scenario.goal_end, jnp.float32)
        goal = goal + jax.random.uniform(key) * (end - goal)
    offset = enemies - enemies.mean(0, keepdims=True) if rules.march_offsets else jnp.zeros_like(enemies)
    target = goal[None] + offset
    return target[:, 0], target[:, 1]


def marches_straight(scenario: Scenario) -> bool:
    """Whether the enemies' first loops are a plain walk: toward a point, with no wall on the map to go around."""
    return scenario.march in ("point", "segment") and terrain(scenario.terrain).route is None


def walk(units: Units, n: int, loops: int) -> Units:
    """Move the enemies ``loops`` loops toward their goals: what the engine does while nobody is near, but for less.

    A medivac has hardly begun to accelerate and stays.
    """
    dx, dy = units.goal_x - units.x, units.goal_y - units.y
    enemy = jnp.arange(units.x.shape[0]) >= n
    reach = jnp.where(enemy, loops * units.speed, 0.0) / jnp.maximum(jnp.hypot(dx, dy), 1e-6)
    return units._replace(x=units.x + reach * dx, y=units.y + reach * dy)
