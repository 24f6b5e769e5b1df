"""What actions do: which can be done, who moves where, who loads what.

Source: ``_is_valid_action`` and ``step`` of lb-foraging 2.0.0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import LOAD, MOVES, NONE, Params, State


class Loads(NamedTuple):
    """``taken`` [m] food that was collected in this step; ``reward`` [n] what each player got."""

    taken: Bool[Array, "m"]
    reward: Float[Array, "n"]


def possible(state: State, rules: Rules) -> Bool[Array, "n a"]:
    """Tell what each player can do: a move to a cell of the field without food, also to one that a player is on, and to
    load with food beside it. Who is disabled or absent can do nothing."""
    cell = state.place[:, None, :] + np.array(MOVES, np.int32)[None]  # [n, a, 2]
    size = np.array([rules.rows, rules.cols], np.int32)
    inside = ((cell >= 0) & (cell < size[None, None])).all(axis=2)
    food = (cell[:, :, None, :] == state.food[None, None]).all(axis=3) & state.left[None, None]
    can = inside & ~food.any(axis=2)
    can = can.at[:, NONE].set(True).at[:, LOAD].set(beside(state.place, state).any(axis=1))
    return permitted(can, state)


def permitted(can: Bool[Array, "n a"], state: State) -> Bool[Array, "n a"]:
    """Leave nothing but no action to who is disabled or absent."""
    free = (state.present & ~state.disabled)[:, None]
    return can & (free | (np.arange(len(MOVES)) == NONE)[None, :])


def beside(place: Int[Array, "n 2"], state: State) -> Bool[Array, "n m"]:
    """Tell which food that is left lies orthogonally beside each place."""
    return (jnp.abs(place[:, None] - state.food[None]).sum(axis=2) == 1) & state.left[None]


def moved(state: State, action: Int[Array, "n"]) -> Int[Array, "n 2"]:
    """Return where the players are after a step of possible actions.

    Who heads for a cell that nobody else heads for, or stays on, gets there; all others stay where they are. So two can
    swap, a row can advance together, and two can come to stand on one cell: where one failed to leave it.
    """
    target = state.place + jnp.asarray(MOVES, jnp.int32)[action]
    heading = (target[:, None] == target[None]).all(axis=2).sum(axis=1)
    return jnp.where((heading == 1)[:, None], target, state.place)


def load(state: State, action: Int[Array, "n"], place: Int[Array, "n 2"], params: Params) -> Loads:
    """Collect the food that those who load beside it are strong enough for together.

    Each of them gets (its level) (level of the food), normalized: over (their levels) (levels of all food); the penalty
    if they are too weak. No cell is beside two pieces, so nobody loads two.
    """
    hands = beside(place, state) & (action == LOAD)[:, None]
    strength = jnp.where(hands, state.level[:, None], 0).sum(axis=0)
    tried = hands.any(axis=0)
    taken = tried & (strength >= state.food_level)
    scale = jnp.where(params.normalize_reward, jnp.maximum(strength * state.total, 1), 1)
    won = jnp.where(taken, state.food_level, 0).astype(jnp.float32) / scale.astype(jnp.float32)
    share = state.level.astype(jnp.float32)[:, None] * won[None] - jnp.where(tried & ~taken, params.penalty, 0.0)[None]
    return Loads(taken, jnp.where(hands, share, 0.0).sum(axis=1))
