"""The search for a preset: when a level counts as reached, and what the way there took."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import preset_search as search


def test_reached_needs_two_evaluations_in_a_row() -> None:
    wins = [0.0, 0.92, 0.85, 0.9, 0.95]
    lines = [{"kind": "eval", "env_steps": 20_000 * i, "win": win} for i, win in enumerate(wins)]
    lines.insert(2, {"kind": "chunk", "env_steps": 30_000, "seconds": 1.0})
    assert search.reached(lines, 0.9) == 60_000
    assert search.reached(lines, 0.96) is None
    assert search.reached(lines[:-1], 0.9) is None


def test_the_first_chunk_counts_without_its_compiling() -> None:
    chunks = [(10_000, 50.0), (30_000, 4.0), (40_000, 2.5), (60_000, 9.0)]
    lines = [{"kind": "chunk", "env_steps": at, "seconds": spent} for at, spent in chunks]
    # 10,000 steps at the second chunk's 20,000 in 4 s are 2 s; then 4 and 2.5.
    assert search.seconds_to(lines, 45_000) == pytest.approx(8.5)
