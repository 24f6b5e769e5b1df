from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibal import tree
from ibal.learners import lanes
from ibal.learners.lanes import Lanes, Plan

ROW = 12
ONE, SEVERAL = Plan(2, 4, 64, 1), Plan(2, 4, 32, 3)  # 64 >= 8 * 12 / 2 + 12; 3 * 2 lanes of 32 - 12 hold 9 * 12


def laid(sizes: list[int], of: Plan) -> Lanes:
    return jax.tree.map(np.asarray, jax.jit(lanes.lay, static_argnums=(1, 2))(jnp.asarray(sizes, jnp.int32), of, ROW))


@pytest.mark.parametrize("of", [ONE, SEVERAL])
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, ROW), min_size=9, max_size=9))
def test_every_step_of_every_episode_stands_in_exactly_one_slot_in_order(of: Plan, sizes: list[int]) -> None:
    found = laid(sizes, of)
    for index, size in enumerate(sizes):
        slot, lane = np.nonzero(found.episode == index)
        assert len(set(lane)) == 1
        assert list(slot) == list(range(slot[0], slot[0] + size))
        assert list(found.time[slot, lane[0]]) == list(range(size))
        assert slot[-1] < found.blocks[lane[0] // of.lanes] * of.span
    assert (found.episode >= 0).sum() == sum(sizes)


def test_lanes_are_as_long_as_each_other_where_that_saves_a_block() -> None:
    sizes = [7, 5, 6, 6, 7, 5, 4, 4, 4]
    found = laid(sizes, ONE)  # by hand: 7 6 5 4 4 and 7 6 5 4; then a 6 for a 4
    assert (found.episode >= 0).sum(0).tolist() == [24, 24]
    assert found.blocks.tolist() == [6]
    coarse = laid(sizes, Plan(2, 16, 64, 1))  # two blocks either way
    assert sorted((coarse.episode >= 0).sum(0)) == [22, 26]
    assert coarse.blocks.tolist() == [2]


def test_an_episode_moves_alone_where_nothing_shorter_can_come_back() -> None:
    found = laid([12, 4, 4, 4], Plan(2, 4, 64, 1))  # 12 and 4 4 4: nothing to gain
    assert (found.episode >= 0).sum(0).tolist() == [12, 12]
    lane, filled = lanes._evened(
        jnp.array([3, 3, 2]), jnp.array([0, 0, 0]), jnp.array([8, 0, 9]), jnp.array([False, False, True]), jnp.int32(4)
    )  # one 3 goes alone, and 5 : 3 is as good as it gets; the third lane is shut
    assert lane.tolist() == [1, 0, 0]
    assert filled.tolist() == [5, 3, 9]


@pytest.mark.parametrize("of", [ONE, SEVERAL])
def test_seeds_side_by_side_are_laid_as_each_alone(of: Plan) -> None:
    sizes = np.random.default_rng(0).integers(1, ROW + 1, (4, 9)).tolist()
    together = jax.jit(jax.vmap(lambda s: lanes.lay(s, of, ROW)))(jnp.asarray(sizes, jnp.int32))
    for index, mine in enumerate(sizes):
        jax.tree.map(np.testing.assert_array_equal, tree.at(together, index), laid(mine, of))


def test_more_than_fits_into_the_lanes_at_once_is_worked_on_in_waves() -> None:
    assert (laid([2] * 9, SEVERAL).blocks > 0).tolist() == [True, False, False]  # 18 steps of 40
    assert (laid([ROW] * 9, SEVERAL).blocks > 0).tolist() == [True, True, True]  # 108


@pytest.mark.parametrize(("n", "batch", "row"), [(3, 32, 61), (10, 32, 151), (2, 5, 8), (1, 1, 4), (27, 32, 181)])
def test_a_plan_has_room_for_the_longest_episodes(n: int, batch: int, row: int) -> None:
    of = lanes.plan(n, batch, row)
    found = jax.jit(lanes.lay, static_argnums=(1, 2))(jnp.full(batch, row), of, row)
    assert int((found.episode >= 0).sum()) == batch * row
