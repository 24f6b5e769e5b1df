"""What is drawn in an episode, against chances worked out by hand; places against the formations of the SMAC maps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Group
from ibal.envs.smac.spawn import formation
from ibal.envs.smac.terrain import terrain
from ibal.envs.smacv2.armies import Army, army
from ibal.envs.smacv2.draw import draw, on_diagonal
from ibal.envs.smacv2.formation import numbered, places

COUNT = 100_000
SIX = army("terran_10_vs_11")
NEWEST, LATTICE = Rules.of("2026-12"), Rules.of("2026-11")


def kind_of(chosen: Army, *names: str) -> jax.Array:
    order = [kind.name for kind in chosen.kinds]
    return jnp.array([order.index(name) for name in names], jnp.int32)


@pytest.fixture(scope="module")
def many():
    """So many episodes of terran_10_vs_11: kinds (0 marauder, 1 marine, 2 medivac), and places that are asked for."""
    keys = jax.random.split(jax.random.key(0), COUNT)
    weights = jnp.array(SIX.weights, jnp.float32)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda k: draw(k, SIX, weights, jnp.float32(0.5))))(keys))


def test_types_are_drawn_with_their_weights(many) -> None:
    share = [(many.kind[:, :10] == k).mean() for k in range(3)]
    np.testing.assert_allclose(share, [0.45, 0.45, 0.1], atol=0.0025)  # 5 standard errors of 1e6 units
    assert (many.kind[:, 10:20] == many.kind[:, :10]).all()


def test_the_one_further_enemy_is_a_fighter(many) -> None:
    extra = many.kind[:, 20]
    assert set(np.unique(extra)) == {0, 1}
    assert (extra == 0).mean() == pytest.approx(0.5, abs=0.008)


def test_agents_are_surrounded_in_half_of_the_episodes(many) -> None:
    around = (many.x[:, 0] == 16) & (many.y[:, 0] == 16)
    assert around.mean() == pytest.approx(0.5, abs=0.008)
    assert (many.x[around, :10] == 16).all()
    assert (many.y[around, :10] == 16).all()


def test_otherwise_every_agent_faces_its_mirror_image(many) -> None:
    west = many.x[:, 0] != 16
    x, y = many.x[west], many.y[west]
    np.testing.assert_allclose(x[:, 10:20], 32 - x[:, :10], atol=1e-5)
    np.testing.assert_array_equal(y[:, 10:20], y[:, :10])
    assert 0 <= x[:, :10].min() < 0.01
    assert 14.99 < x[:, :10].max() <= 15
    assert 16 <= x[:, 20].min() < 16.01
    assert 31.99 < x[:, 20].max() <= 32
    assert (x[:, 20].mean(), y[:, 20].mean()) == pytest.approx((24, 16), abs=0.2)
    out = (x[:, :10] < 2) | (y[:, :10] < 2) | (y[:, :10] > 30)
    assert out.mean() == pytest.approx(1 - 28 / 32 * 13 / 15, abs=0.004)  # 24.2 %


def test_a_surrounding_enemy_comes_in_one_to_four_groups(many) -> None:
    around = many.x[:, 0] == 16
    x, y = many.x[around, 10:], many.y[around, 10:]
    groups = 1 + ((np.diff(x) != 0) | (np.diff(y) != 0)).sum(axis=1)
    one = sum(g * g**-11.0 for g in (1, 2, 3, 4)) / 4  # all eleven in one of g groups
    assert (groups == 1).mean() == pytest.approx(one, abs=0.01)
    # None of four groups is empty, by inclusion and exclusion.
    four = sum((-1) ** k * n * (1 - k / 4) ** 11 for k, n in enumerate((1, 4, 6, 4))) / 4
    assert (groups == 4).mean() == pytest.approx(four, abs=0.01)
    np.testing.assert_allclose(np.abs(x - 16), np.abs(y - 16), atol=1e-4)  # on a diagonal
    away = np.abs(x[:, 0] - 16)
    assert (away.min(), away.max(), away.mean()) == pytest.approx((2, 16, 9), abs=0.1)
    quarter = [((x[:, 0] < 16) == west).mean() for west in (True, False)]
    np.testing.assert_allclose(quarter, 0.5, atol=0.015)


def test_points_on_diagonals() -> None:
    at = on_diagonal(jnp.array([1, 0, 2]), jnp.array([0.25, 1.0, 0.0], jnp.float32))
    np.testing.assert_allclose(at, [(3.5, 28.5), (14, 14), (32, 32)])


def test_a_team_of_exceptions_is_drawn_again() -> None:
    """Of two zerg units both are banelings with 0.1 * 0.1, which is refused: 0.18 / 0.99 have one."""
    two = Army("two", 2, 2, "Z", ("zergling", "hydralisk", "baneling"), exception="baneling")
    keys = jax.random.split(jax.random.key(1), 50_000)
    weights = jnp.array(two.weights, jnp.float32)
    kind = np.asarray(jax.jit(jax.vmap(lambda k: draw(k, two, weights, jnp.float32(0.5)).kind))(keys))
    banes = (kind[:, :2] == 0).sum(axis=1)
    assert banes.max() == 1
    assert banes.mean() == pytest.approx(0.18 / 0.99, abs=0.01)


TEAMS = {
    "terran_5_vs_5": [
        ("marine",) * 5 * 2,
        ("marauder", "medivac", "marine", "marauder", "marine", "medivac", "marine", "marine", "marauder", "marine"),
    ],
    "protoss_5_vs_5": [
        ("stalker",) * 2 + ("zealot",) * 3 + ("stalker", "zealot") * 2 + ("colossus",),
        ("colossus", "stalker", "zealot", "colossus", "stalker") * 2,
    ],
}


@pytest.mark.parametrize("rules", [NEWEST, LATTICE], ids=["contact", "lattice"])
@pytest.mark.parametrize("name", list(TEAMS))
def test_units_at_one_point_stand_as_on_the_maps_of_smac(name: str, rules: Rules) -> None:
    chosen, ground = army(name), terrain("open").above_cliffs
    put = jax.jit(lambda kind, x, y: places(chosen, kind, x, y, rules))
    for team in TEAMS[name]:
        x = jnp.repeat(jnp.array([16.0, 7.0], jnp.float32), 5)
        y = jnp.repeat(jnp.array([16.0, 25.0], jnp.float32), 5)
        found = np.stack(put(kind_of(chosen, *team), x, y), axis=1)
        for half, at in ((slice(0, 5), (16.0, 16.0)), (slice(5, 10), (7.0, 25.0))):
            groups = tuple(Group(unit, 1, at) for unit in team[half])
            np.testing.assert_allclose(found[half], formation(groups, ground, rules), atol=6e-4)


def test_the_enemies_find_room_beside_the_agents_and_nobody_stands_outside() -> None:
    chosen = army("zerg_10_vs_10")
    kind = jnp.asarray(np.random.default_rng(0).integers(0, 3, 20), jnp.int32)
    x = jnp.array([16.0] * 10 + [16.0] * 5 + [31.5] * 5, jnp.float32)
    y = jnp.array([16.0] * 10 + [16.0] * 5 + [0.0] * 5, jnp.float32)
    x, y = (np.asarray(a) for a in jax.jit(lambda k, x, y: places(chosen, k, x, y, NEWEST))(kind, x, y))
    size = np.array([t.radius - 63 / 2048 for t in chosen.kinds])[np.asarray(kind)]
    apart = np.hypot(x[:, None] - x[None], y[:, None] - y[None]) - (size[:, None] + size[None])
    assert apart[~np.eye(20, dtype=bool)].min() > -0.02
    assert (x + size).max() <= 30 + 1e-4
    assert (y - size).min() >= 2 - 1e-4


def test_agents_are_numbered_by_type_then_place() -> None:
    """Five marines at (16, 16) stand C, S, E, N, W at a step of 2 * (0.375 - 63/2048); ids go by x, then y."""
    chosen, d = army("terran_5_vs_5"), 0.375 * 2 - 2 * 63 / 2048
    kind = kind_of(chosen, *("marine",) * 10)
    x, y = places(chosen, kind, jnp.repeat(jnp.array([16.0, 25.0]), 5), jnp.full(10, 16.0), NEWEST)
    order = numbered(chosen, kind, x, y)
    ids = np.stack([x, y], axis=1)[np.asarray(order)]
    np.testing.assert_allclose(ids, [(16 - d, 16), (16, 16 - d), (16, 16), (16, 16 + d), (16 + d, 16)], atol=3e-4)
    mixed = kind_of(chosen, "medivac", "marine", "marauder", "marine", "marauder", *("marine",) * 5)
    x = jnp.array([1, 5, 9, 5, 3] + [20] * 5, jnp.float32)
    y = jnp.array([0, 7, 0, 6, 0] + [0] * 5, jnp.float32)
    assert numbered(chosen, mixed, x, y).tolist() == [4, 2, 3, 1, 0]
