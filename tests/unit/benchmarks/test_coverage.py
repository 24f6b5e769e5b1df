"""Every printed 95 % interval covers what it says, simulated; what does not is known, and told by how much."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ibal.evaluation import stats

FOLDER = Path(__file__).parents[3] / "benchmarks"
REPEATS = 6000
ERROR = 3 * np.sqrt(0.95 * 0.05 / REPEATS)  # of a simulated share
FEW = 3 * np.sqrt(0.95 * 0.05 / (REPEATS / 10))  # where single games are drawn


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    # Not by its name, which is that of a known package, too.
    spec = importlib.util.spec_from_file_location("benchmark_coverage", FOLDER / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(coverage: ModuleType) -> list:
    return list(coverage.rows(REPEATS, seed=1))


def test_intervals_over_three_seeds_covered_75_percent(coverage: ModuleType, rows: list) -> None:
    found = [row for row in rows if row.differ == "as trained"]
    assert len(found) >= 20
    for row in found:
        slack = (
            FEW
            if row.interval
            in (
                "return",
                "mean over attacks",
                "hindsight minimum",
                "interquartile mean",
            )
            else ERROR
        )
        # 128 games near the end of the scale take few values: up to 98.5 % at 3 seeds.
        most = 0.99 if row.episodes == 128 and "± 0.012" in row.truth else 0.972
        assert all(0.93 - slack <= each <= most + slack for each in row.coverage), row
    # The rule of before, the lowest and the highest of three means, in the same simulation.
    draw = np.random.default_rng(0)
    means = coverage.beta(draw, 0.5, 0.1, (REPEATS, 3))
    assert coverage.held((means.min(1), means.max(1)), 0.5) == pytest.approx(0.75, abs=ERROR * 2)


def test_intervals_of_one_team_cover(rows: list) -> None:
    for row in rows:
        if "one team" in row.interval or "band" in row.interval:
            assert len(row.coverage) == 1
            assert 0.925 - FEW / 2 <= row.coverage[0] <= 0.97 + FEW / 2, row


def test_seeds_that_do_not_differ_are_covered_too_often_and_hidden_failures_too_seldom(rows: list) -> None:
    same = [row for row in rows if row.differ == "not at all"]
    assert len(same) == 4
    for row in same:
        assert all(0.95 - ERROR <= each <= 0.99 + ERROR for each in row.coverage), row
    (failing,) = (row for row in rows if row.differ == "one in twenty fails")
    # Three seeds show no failure with probability 0.95^3; one among three gives an interval that holds 0.95.
    assert failing.coverage[0] == pytest.approx(1 - 0.95**3, abs=0.02)


def test_what_is_simulated_at_once_is_what_the_program_computes(coverage: ModuleType) -> None:
    scores = np.random.default_rng(0).random((4, 3, 20))
    for rate in (True, False):
        many = coverage._of_scores(scores, rate=rate)
        for k in range(4):
            one = stats.sample(list(scores[k]), rate)
            np.testing.assert_allclose([many.mean[k], many.between[k], many.within[k]], one[:2] + one[3:4])
            assert (many.df, many.episodes, many.rate) == (one.df, one.episodes, one.rate)
