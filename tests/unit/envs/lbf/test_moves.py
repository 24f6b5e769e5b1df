"""Who moves where and who loads what, worked out by hand or by lb-foraging 2.0.0 (lbf_reference, sections 3 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.lbf import moves
from ibal.envs.lbf.env import make
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import State
from unit.envs.lbf import board

ENV = make(Rules(players=3, foods=2, observation="vector", state="observations", limit=9))
NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
FAR = (19, 0)  # a player there is in nobody's way
FOOD = (15, 15, 1)


@pytest.fixture(scope="module")
def game() -> Any:
    @jax.jit
    def run(state: State, action: jax.Array, params: Any) -> tuple[Any, ...]:
        after, shown = ENV.step(jax.random.key(0), state, action, params)
        return after, shown, moves.load(state, after.action, after.place, params).reward

    def play(state: State, *actions: int, **params: Any) -> tuple[Any, ...]:
        return run(state, jnp.array(actions, jnp.int32), ENV.params._replace(**params))

    return play


def places(state: State) -> list[list[int]]:
    return np.asarray(state.place).tolist()


def two(*cells: board.Cell) -> State:
    return board.state([*cells, FAR], [1, 1, 1], [(5, 9, 1), FOOD])


@pytest.mark.parametrize(
    ("cells", "actions", "after"),
    [
        pytest.param([(5, 5), (5, 6)], [EAST, WEST], [(5, 6), (5, 5)], id="two swap"),
        pytest.param([(5, 5), (5, 6)], [EAST, EAST], [(5, 6), (5, 7)], id="one follows"),
        pytest.param([(5, 5), (5, 6)], [EAST, NONE], [(5, 5), (5, 6)], id="one stands in the way"),
        pytest.param([(5, 5), (5, 7)], [EAST, WEST], [(5, 5), (5, 7)], id="both want one cell"),
        pytest.param([(0, 5), (5, 19)], [NORTH, EAST], [(0, 5), (5, 19)], id="north and east border"),
        pytest.param([(19, 5), (5, 0)], [SOUTH, WEST], [(19, 5), (5, 0)], id="south and west border"),
        pytest.param([(5, 8), (4, 9)], [EAST, SOUTH], [(5, 8), (4, 9)], id="food is no ground"),
        pytest.param([(5, 5), (9, 9)], [LOAD, NORTH], [(5, 5), (8, 9)], id="nothing to load"),
    ],
)
def test_moves(game: Any, cells: list[board.Cell], actions: list[int], after: list[board.Cell]) -> None:
    state, shown, _ = game(two(*cells), *actions, NONE)
    assert places(state)[:2] == [list(cell) for cell in after]
    assert float(shown.reward) == 0


def test_two_can_come_to_stand_on_one_cell_and_leave_it_one_by_one(game: Any) -> None:
    start = board.state([(5, 5), (5, 6), (7, 6)], [1, 1, 1], [FOOD, (1, 1, 1)])
    state, _, _ = game(start, EAST, SOUTH, NORTH)
    assert places(state) == [[5, 6], [5, 6], [7, 6]]
    state, _, _ = game(state, NONE, NONE, NONE)
    assert places(state) == [[5, 6], [5, 6], [7, 6]]
    state, _, _ = game(state, NORTH, NONE, NONE)
    assert places(state) == [[4, 6], [5, 6], [7, 6]]


@pytest.mark.parametrize(
    ("cells", "levels", "foods", "actions", "rewards", "left"),
    [
        pytest.param(
            [(5, 5), (5, 7), FAR], [1, 2, 1], [(5, 6, 3), (15, 15, 3)], [LOAD, LOAD, NONE], [1 / 6, 1 / 3, 0], 1,
            id="shares go by levels",
        ),
        pytest.param(
            [(5, 5), (5, 7), (4, 6)], [1, 2, 1], [(5, 6, 4), (15, 15, 4)], [LOAD] * 3, [1 / 8, 1 / 4, 1 / 8], 1,
            id="three are needed",
        ),
        pytest.param(
            [(5, 5), (5, 7), (4, 6)], [1, 2, 1], [(5, 6, 4), (15, 15, 4)], [LOAD, LOAD, NONE], [0, 0, 0], 2,
            id="one looks on",
        ),
        pytest.param(
            [(5, 5), (5, 5), FAR], [1, 1, 1], [(5, 6, 2)], [LOAD, LOAD, NONE], [0.5, 0.5, 0], 0, id="from one cell"
        ),
        pytest.param(
            [(4, 3), (4, 5), FAR], [2, 2, 1], [(4, 4, 2)], [LOAD, LOAD, NONE], [0.5, 0.5, 0], 0, id="both are enough"
        ),
        pytest.param(
            [(4, 3), (4, 5), FAR], [2, 2, 1], [(4, 4, 2)], [LOAD, NONE, NONE], [1, 0, 0], 0, id="one is enough"
        ),
        pytest.param(
            [(5, 4), (5, 5), FAR], [1, 1, 1], [(5, 6, 1), FOOD], [EAST, LOAD, NONE], [0, 0.5, 0], 1,
            id="a loader stays in the way",
        ),
        pytest.param(
            [(4, 5), FAR, (9, 9)], [1, 1, 1], [(5, 6, 1), FOOD], [LOAD, NONE, NONE], [0, 0, 0], 2, id="not diagonally"
        ),
    ],
)  # fmt: skip
def test_loads(
    game: Any, cells: list[board.Cell], levels: list[int], foods: list[Any], actions: list[int],
    rewards: Sequence[float], left: int,
) -> None:  # fmt: skip
    state, shown, each = game(board.state(cells, levels, foods, room=2), *actions)
    np.testing.assert_allclose(each, rewards, atol=1e-7)
    np.testing.assert_allclose(shown.reward, sum(rewards), atol=1e-7)
    np.testing.assert_allclose(shown.metrics["win"], sum(rewards), atol=1e-7)
    assert shown.metrics["foods_left"] == left == state.left.sum()
    assert bool(shown.metrics["all"]) == bool(shown.terminated) == (left == 0)


def test_a_failed_load_costs_the_penalty_and_rewards_need_not_be_normalized(game: Any) -> None:
    start = board.state([(5, 5), (9, 9), FAR], [1, 2, 1], [(5, 6, 2), (9, 10, 2)])
    _, shown, each = game(start, LOAD, LOAD, NONE, penalty=jnp.float32(0.1), normalize_reward=jnp.array(False))
    np.testing.assert_allclose(each, [-0.1, 4.0, 0.0], atol=1e-7)  # level 2 of the player times level 2 of the food
    np.testing.assert_allclose(shown.metrics["win"], 0.5)


def test_the_limit_terminates_and_after_the_end_nothing_changes(game: Any) -> None:
    limit = jnp.int32(2)
    state, shown, _ = game(two((5, 5), (9, 8)), EAST, NONE, NONE, limit=limit)
    assert not shown.terminated
    state, shown, _ = game(state, EAST, NONE, NONE, limit=limit)
    assert shown.terminated
    assert not shown.truncated
    later, shown, _ = game(state, EAST, EAST, NONE, limit=limit)
    assert places(later) == places(state) == [[5, 7], [9, 8], list(FAR)]
    assert shown.terminated
    assert float(shown.reward) == 0


def test_what_can_be_done() -> None:
    state = board.state([(0, 0), (5, 8), (5, 19)], [1, 1, 1], [(5, 9, 1), FOOD])
    state = state._replace(disabled=jnp.array([False, False, True]))
    can = jax.jit(lambda state: moves.possible(state, Rules(players=3, foods=2)))(state)
    assert np.asarray(can, int).tolist() == [[1, 0, 1, 0, 1, 0], [1, 1, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0]]
