"""PPO's formulas against numbers worked out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.ops.ppo import clipped_gain, clipped_value_loss, gae, huber, standardised


def advantages(following: list[float], discount: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Rewards 1, 0, 2 and values 0.5, 1, 0.2 in a row that ends with a slot of padding."""
    reward, value = jnp.array([1.0, 0.0, 2.0, 77.0]), jnp.array([0.5, 1.0, 0.2, 55.0])
    filled = jnp.array([True, True, True, False])
    found = gae(reward, jnp.array([*discount, 0.99]), value, jnp.array([*following, 99.0]), 0.95, filled)
    return np.asarray(found[0]), np.asarray(found[1])


def test_advantages_of_an_episode_that_terminates() -> None:
    # A2 = 2 - .2 = 1.8; A1 = .99 x .2 - 1 + .9405 x 1.8 = .8909; A0 = 1 + .99 - .5 + .9405 x .8909 = 2.32789145
    advantage, target = advantages([1.0, 0.2, 55.0], [0.99, 0.99, 0.0])
    np.testing.assert_allclose(advantage, [2.32789145, 0.8909, 1.8, 0], rtol=1e-6)
    np.testing.assert_allclose(target, [2.82789145, 1.8909, 2.0, 0], rtol=1e-6)


def test_advantages_of_an_episode_that_is_cut_off() -> None:
    # A2 = 2 + .99 x .7 - .2 = 2.493; A1 = -.802 + .9405 x 2.493; A0 = 1.49 + .9405 x 1.5426665
    advantage, target = advantages([1.0, 0.2, 0.7], [0.99, 0.99, 0.99])
    np.testing.assert_allclose(advantage, [2.94087784, 1.5426665, 2.493, 0], rtol=1e-6)
    np.testing.assert_allclose(target, [3.44087784, 2.5426665, 2.693, 0], rtol=1e-6)


def test_advantages_are_standardised_over_those_who_count() -> None:
    living = jnp.array([True, True, True, False])
    found = standardised(jnp.array([1.0, 3.0, 5.0, 7.0]), living)
    np.testing.assert_allclose(found, [-1.22474, 0.0, 1.22474, 2.44947], atol=2e-5)  # std = sqrt(8 / 3)
    other = standardised(jnp.array([1.0, 3.0, 5.0, -1000.0]), living)
    np.testing.assert_array_equal(other[:3], found[:3])


def test_a_small_spread_is_not_believed() -> None:
    nearly = jnp.array([1.0, 1.0 + 1e-6])
    assert abs(float(standardised(nearly, jnp.array([True, True]), least=1e-2)[1])) < 1e-4


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope"),
    [(1.5, 1.0, 1.2, 0.0), (1.5, -1.0, -1.5, -1.0), (0.5, 1.0, 0.5, 1.0), (0.5, -1.0, -0.8, 0.0)],
)
def test_the_gain_is_clipped_where_it_would_be_too_good(
    ratio: float, advantage: float, gain: float, slope: float
) -> None:
    one = lambda r: clipped_gain(r, jnp.float32(advantage), 0.2)  # noqa: E731
    assert float(one(jnp.float32(ratio))) == pytest.approx(gain)
    assert float(jax.grad(one)(jnp.float32(ratio))) == pytest.approx(slope)


def test_value_loss() -> None:
    # Target 1, old value 0: of 0.5 the clipped one is 0.2, off by 0.8; of -0.5 it is -0.2, which is nearer.
    found = clipped_value_loss(jnp.array([0.5, -0.5]), jnp.zeros(2), jnp.ones(2), 0.2, 10.0)
    np.testing.assert_allclose(found, [0.32, 1.125], rtol=1e-6)
    np.testing.assert_allclose(huber(jnp.array([12.0, -12.0, 3.0]), 10.0), [70.0, 70.0, 4.5])
