"""Statistics against values worked out by hand, published, or computed by rliable 1.2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibal.evaluation.stats import (
    Sample,
    bootstrap,
    clustered,
    difference,
    ends,
    interval,
    iqm,
    jackknife,
    of_rates,
    over_seeds,
    performance_profile,
    pooled_mean,
    probability_of_improvement,
    sample,
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


# 97.5 % quantiles of Student's t by degrees of freedom, from printed tables.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}


def test_one_teams_return_has_the_t_interval_of_its_episodes() -> None:
    half = T[3] * math.sqrt((4 + 1 + 0 + 9) / 3 / 4)
    assert interval(sample([[1.0, 2.0, 3.0, 6.0]])) == pytest.approx((3 - half, 3 + half), abs=1e-3)
    assert ends(sample([[2.0]])) is None  # one number says nothing of others
    assert ends(sample([[2.0, 2.0]])) == [2.0, 2.0]


def test_one_teams_wins_have_wilsons_interval() -> None:
    np.testing.assert_allclose(interval(sample([np.repeat([1.0, 0.0], [81, 182])], True)), wilson(81, 263), atol=1e-12)


def test_three_seeds_were_given_an_interval_from_the_lowest_to_the_highest() -> None:
    # Returns: t with 2 degrees of freedom over the three means.
    runs = [np.full(10, 4.0), np.full(10, 5.0), np.full(10, 9.0)]
    half = T[2] * math.sqrt((4 + 1 + 9) / 2 / 3)
    assert interval(sample(runs)) == pytest.approx((6 - half, 6 + half), abs=2e-3)
    # Rates: Wilson's formula for p (1 - p) / variance of the mean, in place of the number of games, and t for z.
    rates, t = [0.5, 0.6, 0.7], T[2]
    n = 0.6 * 0.4 / (0.01 / 3)
    middle, half = 0.6 + t * t / 2 / n, t * math.sqrt(0.6 * 0.4 / n + t * t / 4 / n / n)
    expected = (middle - half) / (1 + t * t / n), (middle + half) / (1 + t * t / n)
    assert interval(of_rates(rates, 10_000)) == pytest.approx(expected, abs=1e-4)
    assert expected[0] < 0.4
    assert expected[1] > 0.75


def test_64_of_64_had_an_interval_that_was_a_point() -> None:
    # Three seeds that win everything: Wilson's interval of 192 of 192 games, 1 / (1 + z^2 / 192) to 1.
    for found in (of_rates([1.0, 1.0, 1.0], 64), sample([np.ones(64)] * 3, rate=True)):
        assert interval(found) == pytest.approx((1 / (1 + 1.959964**2 / 192), 1.0))
        assert interval(found)[1] == 1.0
    assert interval(of_rates([0.0, 0.0], 50))[0] == 0.0
    low, high = interval(of_rates([0.5, 0.5, 0.5], 64))  # the same by chance
    assert (low, high) == pytest.approx(wilson(96, 192))
    assert interval(of_rates([1.0], 1))[0] == pytest.approx(0.2065, abs=1e-4)


def test_an_interval_is_never_narrower_than_the_episodes_make_it() -> None:
    draw = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        rates = draw.binomial(64, 0.7, (500, seeds)) / 64
        low, high = interval(of_rates(rates, 64))
        for k, mean in enumerate(rates.mean(1)):
            alone = wilson(round(mean * 64 * seeds), 64 * seeds)
            assert low[k] <= alone[0] + 1e-12
            assert high[k] >= alone[1] - 1e-12
        assert (low >= 0).all()
        assert (high <= 1).all()


def test_a_difference_has_the_degrees_of_freedom_of_welch() -> None:
    # By hand: variances of the means 4/3 (2 degrees) and 1 (4 degrees): (7/3)^2 / ((4/3)^2/2 + 1/4) = 4.78.
    x, y = Sample(10.0, 4 / 3, 2, 0.0, 300), Sample(7.0, 1.0, 4, 0.0, 500)
    apart, low, high = difference(x, y)
    half = (high - low) / 2
    assert (apart, (low + high) / 2) == (3.0, pytest.approx(3.0))
    assert T[4] * 0.91 < half / math.sqrt(7 / 3) < T[4]  # t of 4.78 lies between 2.571 (5) and 2.776 (4)
    assert half / math.sqrt(7 / 3) > 2.571
    # Nothing varies between the seeds: the episodes are left, and both ends are reached.
    apart, low, high = difference(of_rates([1.0] * 3, 64), of_rates([0.0] * 3, 64))
    assert (apart, high) == (1.0, pytest.approx(1.0))
    assert low == pytest.approx(1 - math.hypot(1 - wilson(192, 192)[0], wilson(0, 192)[1]))


def test_a_jackknife_of_a_mean_is_the_mean_of_the_runs() -> None:
    scores = np.array([[0.2, 0.4], [0.5, 0.9], [0.1, 0.3]])  # [runs, tasks]
    found = jackknife([scores], lambda groups: groups[0].mean((-2, -1)), 600, rate=True)
    own = of_rates(scores.mean(1), 200)
    assert (found.mean, found.between, found.df) == pytest.approx((own.mean, own.between, 2))
    # Of two environments: the variances of independent means add, a quarter each.
    two = jackknife([scores, scores], lambda g: (g[0].mean((-2, -1)) + g[1].mean((-2, -1))) / 2, 600)
    assert two.between == pytest.approx(own.between / 2)
    assert two.df == pytest.approx(4)


def test_moments_of_one_episode_count_as_one() -> None:
    values = np.repeat([1.0, 2.0, 6.0], 40)
    half = T[2] * math.sqrt((4 + 1 + 9) / 2 / 3)  # of three numbers, however often each is seen
    assert interval(clustered(values, np.repeat([7, 8, 9], 40))) == pytest.approx((3 - half, 3 + half), abs=2e-3)
    alone = interval(clustered([1.0, 2.0, 3.0, 6.0], range(4)))
    assert alone == pytest.approx(interval(sample([[1.0, 2.0, 3.0, 6.0]])))


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
