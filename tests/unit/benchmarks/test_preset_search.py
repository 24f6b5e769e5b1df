"""The search for a preset: which candidate comes first, and when a level counts as reached."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import preset_search as search
from common import first_of_two


def test_reached_needs_two_evaluations_in_a_row() -> None:
    wins = [0.0, 0.92, 0.85, 0.9, 0.95]
    assert first_of_two((20_000 * i, win >= 0.9) for i, win in enumerate(wins)) == 60_000
    assert first_of_two((20_000 * i, win >= 0.96) for i, win in enumerate(wins)) is None
    assert first_of_two((20_000 * i, win >= 0.9) for i, win in enumerate(wins[:-1])) is None


def test_the_soonest_comes_first_and_a_map_that_is_missing_last(capsys: pytest.CaptureFixture[str]) -> None:
    def row(candidate: str, name: str, seed: int, processor: float, reached: bool = True) -> dict[str, object]:
        return {"candidate": candidate, "map": name, "seed": seed, "processor": processor, "reached": reached,
                "steps": 100_000}  # fmt: skip

    rows = [row("slow", "8m", 0, 30.0), row("slow", "8m", 1, 50.0, False), row("slow", "3m", 0, 20.0)]
    rows += [row("fast", "8m", 0, 35.0), row("fast", "3m", 0, 15.0), row("half", "8m", 0, 1.0)]
    search.told(rows)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["fast", "slow", "half"]
    assert "40 s (100k, 1 of 2 not)" in lines[2]
