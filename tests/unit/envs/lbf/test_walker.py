"""What the scripted team does in situations set up by hand: the chances of its actions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.lbf import observe
from ibal.envs.lbf.layout import env_spec
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import EAST, LOAD, NONE, NORTH, SOUTH, WEST
from ibal.envs.lbf.walker import walker
from unit.envs.lbf import board

RULES = Rules(players=2, foods=2)
TEAM = walker(env_spec("lbf/test", RULES))


@pytest.fixture(scope="module")
def chances() -> Any:
    """Say with which chance player 0 does what, the other player and food (row, column) being where they are."""

    @jax.jit
    def look(state: Any, last: Any) -> Any:
        obs = observe.windows(observe.planes(state, RULES), state, RULES)
        return jnp.exp(TEAM.scores((), obs, jnp.ones((2, 6), bool), jnp.stack([last, last]))[1][0])

    def of(place: Any, foods: Any, other: Any = (0, 19), last: int = NONE) -> dict[int, float]:
        found = np.asarray(look(board.state([place, other], [1, 1], [(*f, 1) for f in foods], 2), jnp.int32(last)))
        return {i: round(float(p / found.sum()), 4) for i, p in enumerate(found) if p > 1e-6}

    return of


@pytest.mark.parametrize(
    ("foods", "other", "expected"),
    [
        ([(8, 10)], (0, 19), {NORTH: 1.0}),
        ([(10, 11), (8, 10)], (0, 19), {LOAD: 1.0}),
        ([(9, 11)], (0, 19), {NORTH: 0.5, EAST: 0.5}),
        ([(9, 11)], (9, 10), {EAST: 1.0}),
        ([(12, 10), (7, 7)], (0, 19), {SOUTH: 1.0}),
        ([(8, 10)], (9, 10), {SOUTH: 0.3333, WEST: 0.3333, EAST: 0.3333}),
    ],
    ids=["straight", "beside", "diagonal", "one way taken", "the nearest", "the only way taken"],
)
def test_it_goes_to_the_nearest_food_and_loads(chances: Any, foods: Any, other: Any, expected: Any) -> None:
    assert chances((10, 10), foods, other) == expected


@pytest.mark.parametrize(
    ("place", "last", "expected"),
    [
        ((10, 10), EAST, {NORTH: 0.0125, SOUTH: 0.0125, WEST: 0.0125, EAST: 0.9625}),
        ((10, 10), LOAD, {NORTH: 0.25, SOUTH: 0.25, WEST: 0.25, EAST: 0.25}),
        ((10, 17), EAST, {NORTH: 0.3333, SOUTH: 0.3333, WEST: 0.3333}),
        ((2, 16), EAST, {SOUTH: 0.0167, WEST: 0.0167, EAST: 0.9667}),
    ],
    ids=["in the open", "when it has eaten", "at the border", "along the border"],
)
def test_it_keeps_its_direction_to_where_nothing_is_left_to_see(
    chances: Any, place: Any, last: int, expected: Any
) -> None:
    assert chances(place, [(19, 1)] if place[0] < 10 else [(2, 2)], last=last) == expected


def test_it_needs_the_grid() -> None:
    with pytest.raises(ValueError, match='observation="grid"'):
        walker(env_spec("lbf/test", Rules(observation="vector")))
