"""TD(lambda) targets against numbers worked out by hand and against a plain loop over episodes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.ops.returns import lambda_returns

GAMMA = 0.5
compiled = jax.jit(lambda_returns, static_argnums=3)


def targets(reward, value, lam, terminated=(), length=None, end=None) -> np.ndarray:
    """``terminated`` lists the steps after which the task ended; ``length`` steps are filled."""
    steps = len(reward)
    discount = GAMMA * (1.0 - np.isin(np.arange(steps), terminated))
    filled = np.arange(steps) < (steps if length is None else length)
    r, d, v = (jnp.asarray(x, jnp.float32) for x in (reward, discount, value))
    ends = None if end is None else jnp.asarray(np.isin(np.arange(steps), end))
    return np.asarray(compiled(r, d, v, lam, jnp.asarray(filled), ends))


def test_lambda_0_gives_one_step_targets():
    # 1 + 8/2, 2 + 4/2, and nothing after termination
    np.testing.assert_array_equal(targets([1, 2, 3], [8, 4, 100], 0.0, terminated=[2]), [5, 4, 3])


def test_termination():
    # y2 = 3;  y1 = 2 + (4/2 + 3/2) / 2 = 3.75;  y0 = 1 + (8/2 + 3.75/2) / 2
    np.testing.assert_array_equal(targets([1, 2, 3], [8, 4, 100], 0.5, terminated=[2]), [3.9375, 3.75, 3])


def test_a_time_out_bootstraps():
    # y2 = 3 + 100/2 = 53, whole, not only the share 1 - lambda;  y1 = 2 + (4/2 + 53/2) / 2 = 16.25
    np.testing.assert_array_equal(targets([1, 2, 3], [8, 4, 100], 0.5), [7.0625, 16.25, 53])


def test_a_time_out_before_padding_bootstraps():
    # the same three steps, then rubbish
    y = targets([1, 2, 3, 77, np.nan], [8, 4, 100, 99, np.inf], 0.5, length=3)
    np.testing.assert_array_equal(y, [7.0625, 16.25, 53, 0, 0])


def test_termination_before_padding():
    y = targets([1, 2, 3, 77], [8, 4, 100, 99], 0.5, terminated=[2], length=3)
    np.testing.assert_array_equal(y, [3.9375, 3.75, 3, 0])


def test_episodes_that_follow_each_other_do_not_mix():
    # three terminated steps, a time-out of three steps, then padding
    y = targets([1, 2, 3, 1, 2, 3, 9], [8, 4, 100] * 2 + [9], 0.5, terminated=[2], length=6, end=[2, 5])
    np.testing.assert_array_equal(y, [3.9375, 3.75, 3, 7.0625, 16.25, 53, 0])
    # a time-out in front of another episode: its target must not run on
    y = targets([1, 2, 3, 1, 2, 3], [8, 4, 100] * 2, 0.5, terminated=[5], end=[2, 5])
    np.testing.assert_array_equal(y, [7.0625, 16.25, 53, 3.9375, 3.75, 3])


def test_lambda_1_gives_discounted_rewards():
    np.testing.assert_array_equal(targets([1, 2, 4], [8, 4, 100], 1.0, terminated=[2]), [1 + 2 / 2 + 4 / 4, 4, 4])
    np.testing.assert_array_equal(targets([1, 2, 4], [8, 4, 16], 1.0), [1 + 2 / 2 + 4 / 4 + 16 / 8, 8, 12])


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_batched_rows_equal_a_loop(lam: float):
    """Rows of random episodes, time first, against one loop per episode."""
    generator = np.random.default_rng(0)
    steps, rows = 17, 5
    reward, value = generator.normal(size=(2, steps, rows)).astype(np.float32)
    end, terminated, filled = np.zeros((3, steps, rows), bool)
    expected = np.zeros((steps, rows))
    for row in range(rows):
        start = 0
        while (stop := start + int(generator.integers(1, 7))) <= steps:
            end[stop - 1, row] = True
            terminated[stop - 1, row] = over = generator.random() < 0.5
            filled[start:stop, row] = True
            y = reward[stop - 1, row] + (0 if over else GAMMA * value[stop - 1, row])
            expected[stop - 1, row] = y
            for t in reversed(range(start, stop - 1)):
                y = reward[t, row] + GAMMA * ((1 - lam) * value[t, row] + lam * y)
                expected[t, row] = y
            start = stop
    arrays = (reward, (GAMMA * ~terminated).astype(np.float32), value, lam, filled, end)
    y = compiled(*(jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in arrays))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_a_single_step_and_gradients():
    np.testing.assert_array_equal(targets([1], [8], 0.5), [5])
    slope = jax.grad(lambda v: lambda_returns(jnp.ones(2), jnp.full(2, GAMMA), v, 0.5, jnp.array([True, False]))[0])
    np.testing.assert_array_equal(slope(jnp.array([1.0, 2.0])), [GAMMA, 0])
