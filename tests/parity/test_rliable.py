"""Our statistics give what rliable gives; ``make_rliable_vectors.py`` wrote down what that is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibal.evaluation.stats import Statistic, bootstrap, iqm, performance_profile, probability_of_improvement

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "rliable.json").read_text())["cases"]
REPEATS = 20_000
EXACT = 1e-12


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found = CASES[request.param]
    return found | {name: np.asarray(found[name]) for name in ("x", "y")}


def check(strata: Sequence[np.ndarray], statistic: Statistic, theirs: Sequence[float], error: float) -> None:
    """Their ends must lie where ours do for tails of 2.5 % - error and 2.5 % + error.

    So the noise of both bootstraps is allowed for in the same way where a statistic takes few values. The standard
    error of a tail is sqrt(0.025 * 0.975 / repeats): 0.11 % of ours, 0.07 %, 0.16 % or 0.35 % of theirs.
    """
    wide = bootstrap(strata, statistic, repeats=REPEATS, level=0.95 + 2 * error)
    narrow = bootstrap(strata, statistic, repeats=REPEATS, level=0.95 - 2 * error)
    assert wide[0] - EXACT <= theirs[0] <= narrow[0] + EXACT
    assert narrow[1] - EXACT <= theirs[1] <= wide[1] + EXACT


def test_iqm(case: dict[str, Any]) -> None:
    x = case["x"]
    np.testing.assert_allclose(iqm(x), case["iqm"], rtol=0, atol=EXACT)
    check(x.T, lambda tasks: iqm(np.stack(tasks, -1), (-2, -1)), case["iqm_interval"], 0.004)


def test_probability_of_improvement(case: dict[str, Any]) -> None:
    x, y = [*case["x"].T], [*case["y"].T]
    np.testing.assert_allclose(probability_of_improvement(x, y), case["improvement"], rtol=0, atol=EXACT)
    check(
        [*x, *y],
        lambda drawn: probability_of_improvement(drawn[: len(x)], drawn[len(x) :]),
        case["improvement_interval"],
        0.006,
    )


def test_performance_profile(case: dict[str, Any]) -> None:
    thresholds = np.asarray(case["thresholds"])
    np.testing.assert_allclose(performance_profile(case["x"], thresholds), case["profile"], rtol=0, atol=EXACT)
    for threshold, *theirs in zip(thresholds, *case["profile_intervals"], strict=True):
        check(
            case["x"].T,
            lambda tasks, threshold=threshold: (np.stack(tasks, -1) > threshold).mean((-2, -1)),
            theirs,
            0.011,
        )
