"""Statistics against values worked out by hand, published, or computed by rliable 1.2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibal.evaluate.stats import (
    bootstrap,
    iqm,
    normal,
    over_seeds,
    performance_profile,
    pooled_mean,
    probability_of_improvement,
    wilson,
)

# Scores [runs, tasks]; what rliable 1.2.0 says of them is quoted below.
X = np.array(
    [[0.63, 0.9, 0.78, 0.23], [0.3, 0.87, 0.01, 0.82], [0.8, 0.47, 0.3, 0.28], [0.25, 0.45, 0.5, 0.55],
     [1.0, 0.79, 0.62, 0.99]]
)  # fmt: skip
Y = np.array([[0.63, 0.9, 0.78, 0.23], [0.03, 0.46, 0.42, 0.83], [0.57, 0.46, 0.45, 0.22]])


def test_mean_and_deviation_over_seeds() -> None:
    assert over_seeds([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt((4 + 1 + 9) / 2)))
    assert over_seeds([0.5]) == (0.5, None)
    with pytest.raises(ValueError, match="no value given"):
        over_seeds([])


def test_wilson_is_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29 (method 3, score without continuity correction).
    for wins, episodes, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                      (1, 29, 0.0061, 0.1718)):  # fmt: skip
        np.testing.assert_allclose(wilson(wins, episodes), (low, high), atol=5e-5)


def test_wilson_ends_exactly_at_0_and_1() -> None:
    for episodes in (1, 20, 512, 1024):
        assert wilson(0, episodes)[0] == 0.0
        assert wilson(episodes, episodes)[1] == 1.0
        assert wilson(0, episodes)[1] == pytest.approx(1 - wilson(episodes, episodes)[0])


def test_normal_interval_of_a_mean() -> None:
    half = 1.959964 * math.sqrt((4 + 1 + 0 + 9) / 3 / 4)
    assert normal([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3 - half, 3 + half))
    assert normal([2.0]) == (2.0, 2.0)


def test_bootstrap_of_a_win_rate_is_the_binomial_interval() -> None:
    # 30 of 100 resampled: Binomial(100, 0.3) / 100, whose 2.5 % and 97.5 % quantiles are 0.21 and 0.39.
    wins = np.repeat([1.0, 0.0], [30, 70])
    np.testing.assert_allclose(bootstrap([wins], pooled_mean, repeats=20_000), (0.21, 0.39), atol=0.01)


def test_bootstrap_draws_within_each_stratum() -> None:
    # Two seeds, one that always wins and one that never does: no episode differs from another of its seed.
    assert bootstrap([np.ones(50), np.zeros(50)], pooled_mean) == (0.5, 0.5)
    low, high = bootstrap([np.repeat([0.0, 1.0], 50)], pooled_mean)
    assert low < 0.45
    assert high > 0.55
    assert bootstrap([[3.0]], pooled_mean) == (3.0, 3.0)


def test_bootstrap_is_repeatable_and_refuses_nothing() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap([values], pooled_mean) == bootstrap([values], pooled_mean)
    assert bootstrap([values], pooled_mean) != bootstrap([values], pooled_mean, seed=1)
    for nothing in ([], [[]], [values, []]):
        with pytest.raises(ValueError, match="at least one number"):
            bootstrap(nothing, pooled_mean)


def test_iqm_cuts_a_quarter_at_each_end() -> None:
    assert iqm([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([9.0, 1.0, 2.0]) == pytest.approx(4.0)  # floor(3/4) = 0 values are cut
    assert iqm([0.0, 1.0, 3.0, 8.0, 9.0]) == pytest.approx(4.0)  # one at each end
    rows = np.array([[0.0, 1.0, 3.0, 100.0], [5.0, 5.0, 6.0, 7.0]])
    np.testing.assert_allclose(iqm(rows, -1), [2.0, 5.5])
    np.testing.assert_allclose(iqm(rows.T, 0), [2.0, 5.5])
    np.testing.assert_allclose(iqm(np.stack([X, X + 1]), (-2, -1)), [0.589, 1.589])


def test_probability_of_improvement_counts_pairs() -> None:
    # (3 > 1, 3 > 2, 2 > 1, 2 = 2): 3.5 of 4 pairs; the second task is the same on both sides: 0.5.
    assert probability_of_improvement([[3.0, 2.0]], [[1.0, 2.0]]) == 0.875
    assert probability_of_improvement([[3.0, 2.0], [1.0, 1.0]], [[1.0, 2.0], [1.0]]) == pytest.approx(0.6875)
    with pytest.raises(ValueError, match="X has 1 tasks and Y has 2"):
        probability_of_improvement([[1.0]], [[1.0], [1.0]])


def test_performance_profile_counts_what_is_above() -> None:
    np.testing.assert_array_equal(performance_profile([[0.0, 0.5], [1.0, 0.5]], [-1, 0, 0.5, 1]), [1, 0.75, 0.25, 0])


def test_the_same_as_rliable() -> None:
    assert iqm(X) == pytest.approx(0.589)
    assert iqm(X.T[:3]) == pytest.approx(0.59333333)
    assert probability_of_improvement([*X.T], [*Y.T]) == pytest.approx(0.6)
    # rliable.library.get_interval_estimates, 20 000 repeats, three times: 0.418 .. 0.421 and 0.744 .. 0.745.
    found = bootstrap(X.T, lambda tasks: iqm(np.stack(tasks, -1), (-2, -1)), repeats=20_000)
    np.testing.assert_allclose(found, (0.419, 0.745), atol=0.006)
    found = bootstrap([*X.T, *Y.T], lambda t: probability_of_improvement(t[:4], t[4:]), repeats=20_000)
    np.testing.assert_allclose(found, (0.38333, 0.80833), atol=0.006)
