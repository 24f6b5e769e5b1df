"""What a picture of a game needs: the fixed part (``scene``) and one moment (``frame``). Nothing here affects play."""

from __future__ import annotations

import jax.numpy as jnp

from ibal.envs.smac.layout import SIGHT
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import ATTACK, HEAL, Units, on_guard
from ibal.envs.smac.terrain import SIZE, terrain
from ibal.types import Frame, Scene


def _kinds(scenario: Scenario) -> tuple[str, ...]:
    return tuple(dict.fromkeys(t.name for t in (*scenario.ally_types, *scenario.enemy_types)))


def scene(scenario: Scenario) -> Scene:
    """Describe a map: who is who, and where one can walk."""
    return Scene(
        title=scenario.name,
        width=float(SIZE),
        height=float(SIZE),
        kinds=_kinds(scenario),
        teams=(0,) * scenario.n_agents + (1,) * scenario.n_enemies,
        walkable=tuple(tuple(int(cell) for cell in row) for row in terrain(scenario.terrain).walkable),
        sight=SIGHT,
    )


def frame(units: Units, scenario: Scenario) -> Frame:
    """Describe one moment; enemies are in creation order."""
    types, kinds = (*scenario.ally_types, *scenario.enemy_types), _kinds(scenario)
    alive = units.health > 0
    busy = alive & ((units.order == ATTACK) | (units.order == HEAL) | on_guard(units.order))
    return Frame(
        position=jnp.stack([units.x, units.y], axis=1),
        radius=jnp.asarray([t.radius for t in types], jnp.float32),
        kind=jnp.asarray([kinds.index(t.name) for t in types], jnp.int32),
        health=units.health,
        max_health=jnp.asarray([t.health for t in types], jnp.float32),
        shield=units.shield,
        max_shield=jnp.asarray([t.shield for t in types], jnp.float32),
        energy=units.energy,
        alive=alive,
        target=jnp.where(busy, units.target, -1),
    )
