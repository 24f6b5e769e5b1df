"""Games set up by hand on 20 x 20 cells with sight 3."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from ibal.envs.lbf.state import AWAY, State

Cell = tuple[int, int]


def state(
    players: Sequence[Cell], levels: Sequence[int], foods: Sequence[tuple[int, int, int]], room: int | None = None
) -> State:
    """Return a game with players (row, column) and food (row, column, level), in an array with room for ``room``."""
    found = sorted(foods)
    n, m = len(players), len(found)
    empty = (room or m) - m
    return State(
        place=jnp.array(players, jnp.int32).reshape(n, 2),
        level=jnp.array(levels, jnp.int32),
        food=jnp.array([f[:2] for f in found] + [(AWAY, AWAY)] * empty, jnp.int32),
        food_level=jnp.array([f[2] for f in found] + [0] * empty, jnp.int32),
        left=jnp.array([True] * m + [False] * empty),
        total=jnp.int32(sum(f[2] for f in found)),
        collected=jnp.int32(0),
        step=jnp.int32(0),
        action=jnp.zeros(n, jnp.int32),
        disabled=jnp.zeros(n, bool),
        present=jnp.ones(n, bool),
        done=jnp.array(False),
    )
