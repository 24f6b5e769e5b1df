"""Pair arithmetic on arrays whose unit axis leads and whose environment axis trails: [u, e] and [u, u, e].

One-hot sums instead of gathers: with the environments on the last axis they run as plain vector instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

FAR = 1e9


class Pairs(NamedTuple):
    """Geometry between every two units: from i (first axis) to j (second axis)."""

    dx: Float[Array, "u u e"]
    dy: Float[Array, "u u e"]
    distance: Float[Array, "u u e"]


def geometry(x: Float[Array, "u e"], y: Float[Array, "u e"]) -> Pairs:
    """Differences and distances from every unit to every other."""
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]
    return Pairs(dx, dy, jnp.sqrt(dx * dx + dy * dy))


def chosen(target: Int[Array, "u e"], size: int) -> Bool[Array, "u u e"]:
    """One-hot of every unit's target (all False for -1)."""
    return target[:, None] == jnp.arange(size, dtype=target.dtype)[None, :, None]


def pick(onehot: Bool[Array, "u u e"], value: Float[Array, "u e"]) -> Float[Array, "u e"]:
    """Value at each unit's target, 0 without one."""
    return jnp.sum(jnp.where(onehot, value[None], 0), axis=1)


def pick_constant(onehot: Bool[Array, "u u e"], table: np.ndarray) -> Float[Array, "u e"]:
    """The same for a column of the unit table [u, 1]; where all units have one value, that value and no work."""
    if np.ptp(table) == 0:
        return jnp.full((onehot.shape[0], onehot.shape[2]), table.flat[0], jnp.float32)
    return jnp.sum(jnp.where(onehot, table[None], 0), axis=1)


def pick_pair(onehot: Bool[Array, "u u e"], value: Float[Array, "u u e"]) -> Float[Array, "u e"]:
    """Value of the pair (unit, its target), 0 without one."""
    return jnp.sum(jnp.where(onehot, value, 0), axis=1)


def first_smallest(key: Float[Array, "u v e"]) -> tuple[Int[Array, "u e"], Float[Array, "u e"]]:
    """Return (index of the smallest entry along the second axis, its value); the first of equals; -1 if all are FAR."""
    best = jnp.min(key, axis=1)
    index = jnp.arange(key.shape[1], dtype=jnp.int32)[None, :, None]
    first = jnp.min(jnp.where(key <= best[:, None], index, key.shape[1]), axis=1)
    return jnp.where(best < FAR / 2, first, -1), best
