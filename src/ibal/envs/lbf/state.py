"""The arrays of one game. Axes: n players (the agents), m pieces of food; places are (row, column) from the north-west
corner."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
ACTIONS = ("none", "north", "south", "west", "east", "load")
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
AWAY = 10_000  # row and column of who or what is not on the field: far from everything


class Params(NamedTuple):
    """What can be swept without recompiling; the fields of ``Rules`` of the same name say what they mean.

    A ``limit`` above the one that the environment was made with does nothing.
    The last four are those of ``ibal.envs.crew``.
    """

    limit: Int[Array, ""]
    min_player_level: Int[Array, ""]
    max_player_level: Int[Array, ""]
    min_food_level: Int[Array, ""]
    max_food_level: Int[Array, ""]
    food_margin: Int[Array, ""]
    force_coop: Bool[Array, ""]
    normalize_reward: Bool[Array, ""]
    penalty: Float[Array, ""]
    disabled: Bool[Array, "n"]
    absent: Bool[Array, "n"]
    n_disabled: Int[Array, ""]
    n_absent: Int[Array, ""]


class State(NamedTuple):
    """One game between two steps. Food is sorted by row and column and keeps its place when it is gone.

    ``left`` [m] food that is still there, ``total`` levels of all food at the start, ``collected`` those of the food
    that is gone; ``action`` what each player last did, an action that could not be done being none; players that are
    not ``present`` are ``AWAY`` and of level 0.
    """

    place: Int[Array, "n 2"]
    level: Int[Array, "n"]
    food: Int[Array, "m 2"]
    food_level: Int[Array, "m"]
    left: Bool[Array, "m"]
    total: Int[Array, ""]
    collected: Int[Array, ""]
    step: Int[Array, ""]
    action: Int[Array, "n"]
    disabled: Bool[Array, "n"]
    present: Bool[Array, "n"]
    done: Bool[Array, ""]
