"""Write tests/parity/fixtures/rliable.json: what rliable computes for scores of runs and tasks.

Needs rliable (with pandas below 3, which its dependency arch asks for), not this library; in a throw-away environment:

    pip install rliable "pandas<3" && python tests/parity/make_rliable_vectors.py

"cases": for each name the scores "x" [runs, tasks] and "y" [other runs, the same tasks], and of rliable 1.2.0
  "iqm" of x; "iqm_interval" its 95 % interval, runs resampled within tasks;
  "improvement" P(x > y); "improvement_interval" its interval, runs of both resampled within tasks;
  "thresholds" and "profile", the share of x above each of them; "profile_intervals" [2, thresholds].
Where two columns are the same numbers in the same order, rliable says 0.5 without asking Mann and Whitney: so do pairs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rliable import library, metrics  # type: ignore[import-not-found]  (not a dependency)

REPEATS = 50_000  # rliable's default for intervals
OUT = Path(__file__).parent / "fixtures" / "rliable.json"


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores as they come: few runs and many, ties, all the same, everything won or lost."""
    draw = np.random.default_rng(2021)
    wins = draw.binomial(32, [0.9, 0.5, 0.1], (5, 3)) / 32  # 32 test episodes: ties are common
    return {
        "win rates of 5 and 3 runs": (wins, draw.binomial(32, [0.8, 0.55, 0.1], (3, 3)) / 32),
        "10 and 10 runs, no ties": (draw.normal(1.0, 1.0, (10, 6)), draw.normal(0.5, 2.0, (10, 6))),
        "one task": (draw.random((7, 1)), draw.random((4, 1))),
        "two runs": (draw.random((2, 4)), draw.random((2, 4))),
        "against itself": (wins, wins),
        "ends": (np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])),
    }


def answers(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return what rliable says."""
    thresholds = np.linspace(min(0.0, x.min()), max(1.0, x.max()), 9)
    iqm, iqm_interval = library.get_interval_estimates(
        {"x": x}, lambda scores: np.array([metrics.aggregate_iqm(scores)]), reps=REPEATS
    )
    better, better_interval = library.get_interval_estimates(
        {"x": (x, y)}, lambda a, b: np.array([metrics.probability_of_improvement(a, b)]), reps=REPEATS // 5
    )
    profile, profile_interval = library.create_performance_profile({"x": x}, thresholds)
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "iqm": float(iqm["x"][0]),
        "iqm_interval": iqm_interval["x"][:, 0].tolist(),
        "improvement": float(better["x"][0]),
        "improvement_interval": better_interval["x"][:, 0].tolist(),
        "thresholds": thresholds.tolist(),
        "profile": profile["x"].tolist(),
        "profile_intervals": profile_interval["x"].tolist(),
    }


if __name__ == "__main__":
    np.random.seed(0)  # noqa: NPY002  (rliable draws from NumPy's global generator)
    written = {"rliable": "1.2.0", "cases": {name: answers(x, y) for name, (x, y) in cases().items()}}
    OUT.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
