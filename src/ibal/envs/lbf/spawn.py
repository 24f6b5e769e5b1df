"""A new game: who stands where, and how heavy the food is.

Source: ``reset``, ``spawn_players`` and ``spawn_food`` of lb-foraging. They draw a place until it fits, at most 1000
times; here it is drawn among those that fit, which is the same distribution.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from ibal import rng
from ibal.envs import crew
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import AWAY, NONE, Params, State
from ibal.types import PRNGKey

WEAKEST = 3  # so many players must be able to load any food together


def spawn(key: PRNGKey, rules: Rules, params: Params) -> State:
    """Draw players, then food."""
    n, m = rules.players, rules.foods
    disabled, absent = crew.draw(rng.stream(key, "perturbation"), params)
    low, high = params.min_player_level, params.max_player_level
    level = jax.random.randint(rng.stream(key, "levels"), (n,), low, high + 1)
    level = jnp.where(absent, 0, level)
    place = jnp.where(absent[:, None], AWAY, _players(rng.stream(key, "places"), rules))
    food, left = _foods(jax.random.bits(rng.stream(key, "food"), (rules.rows, rules.cols)), place, rules)
    lightest, heaviest = _weights(level, params)
    weight = jax.random.randint(rng.stream(key, "weights"), (m,), lightest, heaviest + 1)
    weight = jnp.where(left, weight, 0)
    zero = jnp.int32(0)
    return State(
        place, level, food, weight, left, weight.sum(dtype=jnp.int32), zero, zero, jnp.full(n, NONE, jnp.int32),
        disabled, ~absent, jnp.array(False),
    )  # fmt: skip


def _players(key: PRNGKey, rules: Rules) -> Int[Array, "n 2"]:
    """Draw cells that differ, every choice equally likely: player i gets one of those that are free, by its number
    among them."""
    cells, n = rules.rows * rules.cols, rules.players
    number = jax.random.randint(key, (n,), 0, cells - np.arange(n), jnp.int32)

    def put(taken: Int[Array, "n"], i: Int[Array, ""]) -> tuple[Int[Array, "n"], None]:
        # With the k-th taken cell at t_k, counted from 0, t_k - k free ones lie before it.
        before = (taken[None] < taken[:, None]).sum(axis=1, dtype=jnp.int32)
        cell = number[i] + (taken - before <= number[i]).sum(dtype=jnp.int32)
        return taken.at[i].set(cell), None

    none = jnp.full(n, 2 * cells + n, jnp.int32)  # beyond all
    cell, _ = jax.lax.scan(put, none, jnp.arange(n))
    return jnp.stack([cell // rules.cols, cell % rules.cols], axis=1)


def _weights(level: Int[Array, "n"], params: Params) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Return the lowest and the highest level of food. Nobody is weaker than one who is absent: level 0 counts not."""
    present = jnp.sort(jnp.where(level > 0, level, AWAY))[:WEAKEST]
    together = jnp.where(present < AWAY, present, 0).sum(dtype=jnp.int32)
    by_players = together - jnp.where(params.force_coop, 0, params.food_margin)
    heaviest = jnp.where(params.max_food_level > 0, params.max_food_level, by_players)
    heaviest = jnp.maximum(heaviest, params.min_food_level)
    return jnp.where(params.force_coop, heaviest, params.min_food_level), heaviest


def _foods(
    bits: UInt32[Array, "r c"], place: Int[Array, "n 2"], rules: Rules
) -> tuple[Int[Array, "m 2"], Bool[Array, "m"]]:
    """Put food on the allowed cell that comes first in a random order, piece by piece, off the border.

    A piece forbids the 3 x 3 cells around it and those two away in its row and column to all later ones. Returns places
    sorted by row and column, ``AWAY`` at the end where no cell was left, and whether there is food.
    """
    row, col = np.arange(rules.rows)[:, None], np.arange(rules.cols)[None, :]
    inside = (row > 0) & (row < rules.rows - 1) & (col > 0) & (col < rules.cols - 1)
    here = (place[:, 0, None, None] == row[None]) & (place[:, 1, None, None] == col[None])
    # Each allowed cell holds a number of random bits above its own index, forbidden ones 0: the maximum is a cell drawn
    # among the allowed ones, and it says which. Cell 0 is on the border. (A maximum is quicker than where it is.)
    nowhere = rules.rows * rules.cols
    index = np.uint32((1 << nowhere.bit_length()) - 1)
    order = (bits & ~index) | (row * rules.cols + col).astype(np.uint32)
    order = jnp.where(inside & ~here.any(axis=0), order, np.uint32(0))

    def put(order: UInt32[Array, "r c"], _: None) -> tuple[UInt32[Array, "r c"], Int[Array, ""]]:
        best = order.max()
        cell = (best & index).astype(jnp.int32)
        down, right = jnp.abs(row - cell // rules.cols), jnp.abs(col - cell % rules.cols)
        near = ((down <= 1) & (right <= 1)) | ((down == 0) & (right <= 2)) | ((right == 0) & (down <= 2))
        return jnp.where(near, np.uint32(0), order), jnp.where(best > 0, cell, nowhere)

    _, cells = jax.lax.scan(put, order, None, length=rules.foods)
    cells = jnp.sort(cells)
    found = cells < nowhere
    places = jnp.stack([cells // rules.cols, cells % rules.cols], axis=1)
    return jnp.where(found[:, None], places, AWAY), found
