"""New games: what always holds, and how often what is drawn (lbf_reference, section 2; tables by hand)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.crew import remove
from ibal.envs.lbf.perturb import default_params
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.spawn import spawn

GAMES = 2000
FIELD = Rules()
LEVELS = {"max_player_level": jnp.int32(2), "food_margin": jnp.int32(0)}  # lb-foraging 2.0.0
TINY = Rules(rows=5, cols=5, players=1, foods=2)


@pytest.fixture(scope="module")
def draws() -> Any:
    """One program for all parameters."""
    draw = jax.jit(jax.vmap(lambda key, params: spawn(key, FIELD, params), (0, None)))
    params = default_params(FIELD)

    def games(**changes: Any) -> Any:
        found = draw(jax.random.split(jax.random.key(0), GAMES), params._replace(**changes))
        return jax.tree.map(np.asarray, found)

    return games


def share(values: np.ndarray, among: range) -> list[float]:
    return [float((values == value).mean()) for value in among]


def test_places(draws: Any) -> None:
    games = draws()
    cells = games.place[..., 0] * 20 + games.place[..., 1]
    assert all(len(set(row)) == 5 for row in cells.tolist())
    assert games.left.all()  # six pieces always find room on 20 x 20 cells
    food = games.food
    assert ((food >= 1) & (food <= 18)).all()
    apart = np.abs(food[:, :, None] - food[:, None])  # [game, m, m, 2]
    down, right = apart[..., 0], apart[..., 1]
    pair = ~np.eye(6, dtype=bool)[None]
    assert not (pair & (down <= 1) & (right <= 1)).any()
    assert not (pair & (down + right <= 2) & ((down == 0) | (right == 0))).any()
    assert not (games.place[:, :, None] == food[:, None]).all(-1).any()
    order = food[..., 0] * 20 + food[..., 1]
    assert (np.diff(order) > 0).all()
    # Every cell is equally likely for a player: 400 shares with a standard error of sqrt(1 / 400 / (5 * 2000)).
    counts = np.bincount(cells.ravel(), minlength=400) / cells.size
    assert np.abs(counts - 1 / 400).max() < 4.5 * np.sqrt(1 / 400 / cells.size)


def test_levels_of_masia(draws: Any) -> None:
    games = draws()
    assert (games.level == 1).all()
    np.testing.assert_allclose(share(games.food_level, range(1, 3)), 0.5, atol=4 * 0.5 / np.sqrt(6 * GAMES))
    np.testing.assert_array_equal(games.total, games.food_level.sum(1))


def test_levels_of_lb_foraging_2(draws: Any) -> None:
    games = draws(**LEVELS)
    np.testing.assert_allclose(share(games.level, range(1, 3)), 0.5, atol=4 * 0.5 / np.sqrt(5 * GAMES))
    # P(S = 3, 4, 5, 6) = 16, 10, 5, 1 of 32 for the sum S of the three lowest of five levels; food is uniform in 1..S.
    sums = np.array([16, 10, 5, 1]) / 32
    expected = [sum(p / s for s, p in zip(range(3, 7), sums, strict=True) if s >= level) for level in range(1, 7)]
    np.testing.assert_allclose(expected[0], 0.28125)
    # The food of one game shares S: no more than four times the error of as many games.
    np.testing.assert_allclose(share(games.food_level, range(1, 7)), expected, atol=4 * 0.45 / np.sqrt(GAMES) / 2)
    three = np.sort(games.level, axis=1)[:, :3].sum(1)
    assert (games.food_level <= three[:, None]).all()
    # lb-foraging itself: mean total 13.98 in 400 games
    assert abs(games.total.mean() - 13.98) < 0.5


def test_forced_cooperation_and_a_given_highest_level(draws: Any) -> None:
    games = draws(**LEVELS, force_coop=jnp.array(True))
    three = np.sort(games.level, axis=1)[:, :3].sum(1)
    assert (games.food_level == three[:, None]).all()
    games = draws(min_food_level=jnp.int32(4), max_food_level=jnp.int32(5))
    np.testing.assert_allclose(share(games.food_level, range(4, 6)), 0.5, atol=4 * 0.5 / np.sqrt(6 * GAMES))


def test_who_is_absent_leaves_the_others_where_they_were_and_carries_nothing(draws: Any) -> None:
    bare, games = draws(), draws(**remove(default_params(FIELD), 3)._asdict())
    assert ((~games.present).sum(1) == 3).all()
    assert (games.place[games.present] == bare.place[games.present]).all()
    assert (games.level[~games.present] == 0).all()
    assert (games.food_level == 1).all()  # two players of level 1 are left: 1 .. 2, without its upper end


def test_food_is_uniform_over_what_is_allowed_and_may_find_no_room() -> None:
    draw = jax.jit(jax.vmap(lambda key: spawn(key, TINY, default_params(TINY))))
    games = jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(1), GAMES)))
    outside = ((games.place == 0) | (games.place == 4)).any((1, 2))
    left = games.left[outside]
    assert left[:, 0].all()
    # Nine cells; food in the middle one forbids all others. Food elsewhere leaves two or three.
    alone = ~left[:, 1]
    assert abs(alone.mean() - 1 / 9) < 4 * np.sqrt(8 / 81 / outside.sum())
    assert (games.food[outside][alone][:, 0] == 2).all()
    assert (games.food_level[outside][alone][:, 1] == 0).all()
    # Which pairs can be: first one of 9, second one of those left (3 beside a corner, 2 beside the middle of a side).
    chances: dict[tuple[Any, ...], float] = {}
    cells = [(r, c) for r in (1, 2, 3) for c in (1, 2, 3)]
    for a in cells:
        free = [
            b
            for b in cells
            if not (abs(a[0] - b[0]) <= 1 and abs(a[1] - b[1]) <= 1)
            and not (a[0] == b[0] or a[1] == b[1])
        ]  # fmt: skip
        for b in free:
            pair = tuple(sorted((a, b)))
            chances[pair] = chances.get(pair, 0.0) + 1 / 9 / len(free)
    found: dict[tuple[Any, ...], float] = {}
    for row in games.food[outside][~alone].tolist():
        pair = tuple(map(tuple, row))
        found[pair] = found.get(pair, 0.0) + 1 / outside.sum()
    assert set(found) == set(chances)
    for pair, chance in chances.items():
        assert abs(found[pair] - chance) < 4 * np.sqrt(chance * (1 - chance) / outside.sum()), pair
