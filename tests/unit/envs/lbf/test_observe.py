"""What players see: the examples that lb-foraging 2.0.0 gave (lbf_reference, section 4), and the options beyond it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from ibal import tree
from ibal.envs.lbf import observe
from ibal.envs.lbf.layout import obs_layout, state_layout
from ibal.envs.lbf.rules import Rules
from unit.envs.lbf import board

RULES = Rules(players=3, foods=6)
# Players, their levels, food; then what player 0 sees: the first food slots, itself, the first slot of another player.
EXAMPLES = [
    (
        [(10, 10), (13, 13), (14, 10)], [1, 2, 1], [(7, 13, 1), (12, 9, 2), (10, 14, 3)],
        [(0, 6, 1), (5, 2, 2)], (3, 3, 1), (6, 6, 2),
    ),
    ([(0, 0), (6, 6), (6, 7)], [1, 2, 1], [(3, 3, 1), (4, 4, 2)], [(3, 3, 1)], (0, 0, 1), (6, 6, 2)),
    ([(19, 19), (16, 16), (13, 13)], [1, 2, 1], [(17, 17, 1), (15, 15, 2)], [(1, 1, 1)], (3, 3, 1), (0, 0, 2)),
]  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Any:
    """Lists and windows of the three examples."""
    states = tree.stack([board.state(places, levels, foods, 6) for places, levels, foods, *_ in EXAMPLES])

    @jax.jit
    @jax.vmap
    def look(state: Any) -> Any:
        whole = observe.planes(state, RULES)
        return observe.lists(state, RULES), observe.windows(whole, state, RULES), whole

    return jax.tree.map(np.asarray, look(states))


@pytest.mark.parametrize("example", range(3))
def test_lists(seen: Any, example: int) -> None:
    *_, foods, own, other = EXAMPLES[example]
    empty = (-1, -1, 0)
    expected = [*foods, *[empty] * (6 - len(foods)), own, other, empty]
    np.testing.assert_array_equal(seen[0][example, 0].reshape(-1, 3), expected)


def test_windows(seen: Any) -> None:
    view = seen[1][0, 0]
    players, food, access = view[:49], view[49:98], view[98:]
    assert {i: players[i] for i in np.flatnonzero(players)} == {24: 1, 48: 2}
    assert {i + 49: food[i] for i in np.flatnonzero(food)} == {55: 1, 86: 2}
    assert (np.flatnonzero(access == 0) + 98).tolist() == [104, 122, 135, 146]
    corner = seen[1][1, 0]  # player at (0, 0), food at (3, 3): 16 cells inside, two of them taken
    assert corner[98:].sum() == 14
    lone = seen[1][2, 0]  # player at (19, 19), another and food within 3 cells
    assert lone[98:].sum() == 16 - 3


def test_the_state_is_the_field_with_a_border(seen: Any) -> None:
    whole = seen[2][0]
    assert whole.shape == (3, 26, 26)
    assert whole.size == state_layout(RULES).size == 2028
    assert whole[0, 10 + 3, 10 + 3] == 1
    assert whole[1, 10 + 3, 14 + 3] == 3
    assert whole[2].sum() == 400 - 3 - 3


def test_of_two_players_on_a_cell_the_last_one_shows() -> None:
    state = board.state([(5, 5), (5, 5), (5, 5)], [1, 3, 2], [(9, 9, 1)], 6)
    whole = np.asarray(jax.jit(lambda state: observe.planes(state, RULES))(state))
    assert whole[0].sum() == whole[0, 8, 8] == 2
    assert whole[2].sum() == 400 - 2


def test_strict_sight_sees_players_as_far_as_food() -> None:
    places, levels, foods, *_ = EXAMPLES[1]
    rules = Rules(players=3, foods=6, strict_sight=True, observe_levels=False)
    look = jax.jit(lambda state: observe.lists(state, rules))
    view = np.asarray(look(board.state(places, levels, foods, 6)))[0]
    np.testing.assert_array_equal(view[18:].reshape(-1, 2), [(0, 0), (-1, -1), (-1, -1)])


def test_layouts_name_cells_by_where_they_are() -> None:
    layout = obs_layout(RULES)
    assert layout.size == 147
    np.testing.assert_array_equal(np.flatnonzero(layout.mask("access")), np.arange(98, 147))
    np.testing.assert_array_equal(np.flatnonzero(layout.mask("own")), [24])
    np.testing.assert_array_equal(np.flatnonzero(layout.mask("ally")), [*range(24), *range(25, 49)])
    assert layout.names[55] == "food[6].-3+3"  # three rows north, three columns east: index 49 + 0 * 7 + 6
    vector = obs_layout(Rules(players=3, foods=6, observation="vector"))
    np.testing.assert_array_equal(np.flatnonzero(vector.mask("own")), [18, 19, 20])
    assert vector.names[-1] == "ally[1].level"
