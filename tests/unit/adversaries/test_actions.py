"""What attackers choose: retreats by hand, random legal actions by their frequencies, and computing sparsely."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibal import make, rng
from ibal.adversaries.random import legal
from ibal.adversaries.retreat import retreat
from ibal.ops.compact import sparsely

SPEC = make("3m").spec
STOP, NORTH, SOUTH, EAST, WEST = 1, 2, 3, 4, 5


def seen(*enemies: tuple[float, float]) -> np.ndarray:
    """One agent's observation with these enemies at (dx, dy)."""
    obs = np.zeros(SPEC.obs_size, np.float32)
    for slot, (dx, dy) in enumerate(enemies):
        names = dict(zip(SPEC.obs_layout.names, range(SPEC.obs_size), strict=True))
        for feature, value in (("distance", np.hypot(dx, dy)), ("dx", dx), ("dy", dy)):
            obs[names[f"enemy[{slot}].{feature}"]] = value
    return obs


def chosen(obs: list[np.ndarray], *legal_actions: int, intended: int = 6) -> list[int]:
    avail = np.zeros((len(obs), SPEC.n_actions), bool)
    avail[:, list(legal_actions)] = True
    found = retreat(SPEC)(jnp.asarray(np.stack(obs)), jnp.asarray(avail), jnp.full(len(obs), intended, jnp.int32))
    return np.asarray(found).tolist()


def test_retreat_leads_away_from_the_nearest_enemy() -> None:
    everywhere = (STOP, NORTH, SOUTH, EAST, WEST, 6)
    views = [seen((0.5, 0.1)), seen((-0.5, 0.1)), seen((0.9, 0.0), (0.1, -0.3))]
    assert chosen(views, *everywhere) == [WEST, EAST, NORTH]
    assert chosen(views[:1], STOP, NORTH, SOUTH, EAST) == [SOUTH]  # west is blocked: the next best


def test_who_sees_nobody_or_cannot_move_idles_and_the_dead_stay_dead() -> None:
    assert chosen([seen()], STOP, NORTH, EAST) == [STOP]
    assert chosen([seen((0.1, 0.1))], STOP, 6) == [STOP]
    assert chosen([seen()], 0, intended=0) == [0]


def test_random_legal_actions_are_uniform_over_the_legal_ones() -> None:
    avail = jnp.array([[True, False, True, True], [False, True, False, False]])
    drawn = np.asarray(jax.vmap(lambda i: legal(rng.at(rng.root(0), i), avail))(jnp.arange(3000)))
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=4) / 3000, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.04)
    assert (drawn[:, 1] == 1).all()


def test_what_is_computed_for_some_only_is_what_computing_for_all_gives() -> None:
    def f(shared: jax.Array, own: tuple[jax.Array, jax.Array]) -> jax.Array:
        return shared @ own[0] + own[1]

    g, shared = sparsely(f), jnp.arange(6.0).reshape(2, 3)
    x, constant = jnp.arange(60.0).reshape(20, 3), jnp.ones(2)
    whole = np.asarray(jax.vmap(lambda row: f(shared, (row, constant)))(x))
    np.testing.assert_array_equal(g(jnp.array(True), shared, (x[3], constant)), whole[3])
    for some in ([], [0], [4, 19], list(range(0, 20, 3)), list(range(20))):
        needed = np.isin(np.arange(20), some)
        found = jax.jit(jax.vmap(lambda on, row: g(on, shared, (row, constant))))(needed, x)
        np.testing.assert_array_equal(np.asarray(found)[needed], whole[needed])
    # A further axis, that of seeds, on everything: the shared arrays differ along it, the environments share them.
    seeds = jax.vmap(lambda w, on, rows: jax.vmap(lambda o, r: g(o, w, (r, constant)))(on, rows), (0, None, None))
    found = seeds(jnp.stack([shared, 2 * shared]), jnp.ones(20, bool), x)
    np.testing.assert_allclose(found[1], 2 * (whole - 1) + 1)
