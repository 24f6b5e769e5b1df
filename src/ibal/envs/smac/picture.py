"""What a picture of a game needs: the fixed part (``scene``) and one moment (``frame``). Nothing here affects play."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal.envs.smac.layout import SIGHT
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import ATTACK, HEAL, Units, on_guard
from ibal.envs.smac.terrain import SIZE, terrain
from ibal.types import Frame, Scene


def _kinds(scenario: Scenario) -> tuple[str, ...]:
    return tuple(dict.fromkeys(t.name for t in (*scenario.ally_types, *scenario.enemy_types)))


def scene(scenario: Scenario) -> Scene:
    """Describe a map: who is who, and where one can walk."""
    teams = (0,) * scenario.n_agents + (1,) * scenario.n_enemies
    return ground(scenario.name, scenario.terrain, _kinds(scenario), teams, SIGHT)


def ground(title: str, land: str, kinds: tuple[str, ...], teams: tuple[int, ...], sight: float) -> Scene:
    """Describe a terrain, and who fights on it."""
    walkable = tuple(tuple(int(cell) for cell in row) for row in terrain(land).walkable)
    return Scene(title, float(SIZE), float(SIZE), kinds, teams, walkable, sight)


def frame(units: Units, scenario: Scenario) -> Frame:
    """Describe one moment; enemies are in creation order."""
    types, kinds = (*scenario.ally_types, *scenario.enemy_types), _kinds(scenario)
    return frame_of(
        units,
        jnp.asarray([kinds.index(t.name) for t in types], jnp.int32),
        jnp.asarray([t.radius for t in types], jnp.float32),
        jnp.asarray([t.health for t in types], jnp.float32),
        jnp.asarray([t.shield for t in types], jnp.float32),
    )


def frame_of(
    units: Units, kind: Int[Array, "u"], radius: Float[Array, "u"], health: Float[Array, "u"], shield: Float[Array, "u"]
) -> Frame:
    """Describe one moment of units of these kinds, radii, and full health and shields."""
    alive = units.health > 0
    busy = alive & ((units.order == ATTACK) | (units.order == HEAL) | on_guard(units.order))
    return Frame(
        position=jnp.stack([units.x, units.y], axis=1),
        radius=radius,
        kind=kind,
        health=units.health,
        max_health=health,
        shield=units.shield,
        max_shield=shield,
        energy=units.energy,
        alive=alive,
        target=jnp.where(busy, units.target, -1),
    )
