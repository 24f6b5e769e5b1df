"""Masks on a made-up S: three agents, two blocks of two entries about the others, one entry about oneself."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make
from ibal.adversaries import masks
from ibal.types import Block, ObsLayout

LAYOUT = ObsLayout((Block("ally", 0, 0, ("x", "y")), Block("ally", 1, 2, ("x", "y")), Block("own", 0, 4, ("health",))))
MEMBERS = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], bool)
S = jnp.array(
    [
        [[0.0] * 5, [3.0, 1.0, 0.0, 0.5, 9.0], [0.0, 0.2, 4.0, 1.0, 0.0]],
        [[2.0, 0.0, 0.0, 1.0, 0.0], [0.0] * 5, [9.0, 0.0, 8.0, 2.0, 0.0]],
        [[1.0, 1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 7.0], [0.0] * 5],
    ]
)
FIRST = jnp.array([True, False, False])  # G1 = {0}


def on(mask) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in np.asarray(mask)]


def test_the_other_group() -> None:
    apart = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], bool)
    np.testing.assert_array_equal(masks.others(FIRST), apart)
    np.testing.assert_array_equal(masks.others(FIRST, both=False), apart & [[True], [False], [False]])
    assert not masks.others(jnp.zeros(3, bool)).any()


def test_dimension_takes_the_entries_of_the_largest_sum_and_as_many_as_the_other_group_is_worth() -> None:
    apart = masks.others(FIRST)
    # Agent 0: S[0, 1] + S[0, 2] = 3, 1.2, 4, 1.5, 9, L = 2 x 2; agents 1 and 2: S[i, 0], L = 2 x 1.
    mask = masks.by_dimension(masks.summed(S, apart), apart, 2)
    assert on(mask) == [[0, 2, 3, 4], [0, 3], [0, 2]]
    assert on(masks.by_dimension(masks.summed(S, apart), apart, 9)) == [list(range(5))] * 3


def test_block_takes_for_every_other_agent_the_block_of_the_largest_sum() -> None:
    # Agent 0: block 0 for agent 1 (4 > 0.5), block 1 for agent 2; the entry 4, which tells most, is in no block.
    # Agent 1: block 0 for agent 0 (2 > 1); agent 2: block 1 for agent 0 (3 > 2), although block 0 is the right one.
    assert on(masks.by_block(S, masks.others(FIRST), MEMBERS)) == [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert on(masks.by_block(S, masks.others(FIRST, both=False), MEMBERS)) == [[0, 1, 2, 3], [], []]


def test_block_keeps_to_a_smaller_budget() -> None:
    assert on(masks.by_block(S, masks.others(FIRST), MEMBERS, 1)) == [[0, 2], [0], [2]]
    assert on(masks.by_block(S, masks.others(FIRST), MEMBERS, 0)) == [[], [], []]


def test_truth_is_what_the_layout_says() -> None:
    assert on(masks.truth(LAYOUT, masks.others(FIRST))) == [[0, 1, 2, 3], [0, 1], [0, 1]]
    last = jnp.array([False, False, True])
    assert on(masks.truth(LAYOUT, masks.others(last))) == [[2, 3], [2, 3], [0, 1, 2, 3]]


def test_nothing_is_hidden_when_nobody_is_attacked() -> None:
    apart = masks.others(jnp.zeros(3, bool))
    hidden = (masks.by_dimension(S.sum(1), apart, 2), masks.by_block(S, apart, MEMBERS), masks.truth(LAYOUT, apart))
    assert not any(np.asarray(mask).any() for mask in hidden)


def test_blocks_come_from_the_layout() -> None:
    np.testing.assert_array_equal(masks.blocks(make("8m").spec).sum(1), [5] * 7)
    with pytest.raises(ValueError, match='names no block of kind "ally"'):
        masks.blocks(make("two-step").spec)


def test_projections() -> None:
    clean = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    far = jnp.array([[3.0, 5.0], [0.1, 0.0]])
    np.testing.assert_allclose(masks.within_box(far, clean, 0.5), [[0.5, 1.5], [0.1, 0.0]])
    # The change (3, 4) has length 5.
    np.testing.assert_allclose(masks.within_ball(far, clean, 0.5), [[0.3, 1.4], [0.1, 0.0]], rtol=1e-6)
