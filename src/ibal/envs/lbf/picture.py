"""What a picture of a game needs: the fixed part (``scene``) and one moment (``frame``). Nothing here affects play.

Rows count from the north, pictures from the south. The kind of a player or of food is its level, and so is its health;
players load the food that is their target.
"""

from __future__ import annotations

import jax.numpy as jnp

from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.spawn import WEAKEST
from ibal.envs.lbf.state import LOAD, State
from ibal.types import Frame, Scene


def _highest(rules: Rules) -> int:
    """The highest level that there can be."""
    return max(rules.max_player_level, rules.max_food_level or WEAKEST * rules.max_player_level)


def scene(name: str, rules: Rules) -> Scene:
    """Describe the field: every cell can be walked on."""
    return Scene(
        title=name.split("/")[-1],
        width=float(rules.cols),
        height=float(rules.rows),
        kinds=tuple(str(level) for level in range(1, _highest(rules) + 1)),
        teams=(0,) * rules.players + (1,) * rules.foods,
        walkable=((1,) * rules.cols,) * rules.rows,
        sight=float(rules.sight),
        others=("food", "pieces of food"),
        square=True,
    )


def frame(state: State, rules: Rules) -> Frame:
    """Describe one moment; players first, then food. Who is absent lies in a corner."""
    n, m = rules.players, rules.foods
    alive = jnp.concatenate([state.present, state.left])
    place = jnp.concatenate([state.place, state.food])
    place = jnp.where((place < rules.rows + rules.cols).all(axis=1, keepdims=True), place, 0).astype(jnp.float32)
    level = jnp.maximum(jnp.concatenate([state.level, state.food_level]), 1)
    hands = (jnp.abs(state.place[:, None] - state.food[None]).sum(axis=2) == 1) & (state.action == LOAD)[:, None]
    load = jnp.where(hands.any(axis=1), n + jnp.argmax(hands, axis=1), -1)
    zero = jnp.zeros(n + m, jnp.float32)
    return Frame(
        position=jnp.stack([place[:, 1] + 0.5, rules.rows - 0.5 - place[:, 0]], axis=1),
        radius=jnp.full(n + m, 0.4, jnp.float32),
        kind=jnp.minimum(level, _highest(rules)) - 1,
        health=jnp.where(alive, level, 0).astype(jnp.float32),
        max_health=level.astype(jnp.float32),
        shield=zero,
        max_shield=zero,
        energy=zero,
        alive=alive,
        target=jnp.concatenate([load, jnp.full(m, -1, load.dtype)]).astype(jnp.int32),
    )
