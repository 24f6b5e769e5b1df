"""What an attacker costs the team that it was fitted to."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from ibal.evaluation.felt import badly_fitted, check_of, told


def rows(natural: list[float], attacked: list[float], column: str = "win") -> pl.DataFrame:
    frame = pl.DataFrame(
        {"attack": ["natural"] * len(natural) + ["attacked"] * len(attacked), "return": natural + attacked}
    )
    wins = frame["return"] if column == "win" else pl.Series([None] * len(frame), dtype=pl.Float64)
    return frame.with_columns(win=wins)


def test_what_is_lost_has_an_interval_by_wilsons_arms() -> None:
    found = check_of(rows([1.0] * 90 + [0.0] * 10, [1.0] * 30 + [0.0] * 70))
    assert (found["episodes"], found["score"], found["natural"], found["attacked"]) == (100, "win_rate", 0.9, 0.3)
    assert found["lost"] == pytest.approx(0.6)
    # Wilson: .9 in .8256 to .9448, .3 in .2189 to .3958; the arms are put together as roots of squares.
    below, above = (0.0744**2 + 0.0958**2) ** 0.5, (0.0448**2 + 0.0811**2) ** 0.5
    assert found["lost_interval"] == pytest.approx([0.6 - below, 0.6 + above], abs=2e-3)


@pytest.mark.parametrize(
    ("natural", "attacked", "column", "bad"),
    [
        ([1.0] * 50, [1.0] * 49 + [0.0], "win", True),  # one game of fifty: chance
        ([1.0] * 50, [1.0] * 30 + [0.0] * 20, "win", False),
        ([0.0] * 50, [0.0] * 50, "win", True),  # a victim that wins nothing teaches nothing
        ([5.0, 6.0, 7.0], [6.0, 7.0, 8.0], "return", True),  # it gains by it
        ([5.0, 5.1, 4.9], [1.0, 1.1, 0.9], "return", False),
    ],
)
def test_who_does_its_own_victim_no_harm_is_badly_fitted(
    natural: list[float], attacked: list[float], column: str, bad: bool
) -> None:
    assert badly_fitted({"check": check_of(rows(natural, attacked, column))}) is bad


def test_one_episode_tells_nothing_of_returns() -> None:
    found = check_of(rows([1.0], [0.0], "return"))
    assert found["lost_interval"] is None
    assert not badly_fitted({"check": found})


@pytest.mark.parametrize("meta", [{}, {"check": 3}, {"check": {}}, {"check": {"lost_interval": ["x", 1]}}])
def test_a_card_that_says_nothing_of_it_says_nothing_against_it(meta: dict[str, Any]) -> None:
    assert not badly_fitted(meta)
    assert told(meta | {"victim": "runs/x"}) == "fitted to runs/x"


def test_it_is_told_in_few_words() -> None:
    check = {"score": "win_rate", "natural": 0.95, "attacked": 0.94, "lost_interval": [-0.05, 0.07]}
    assert told({"victim": "v", "check": check}) == "fitted to v (win rate 0.95 → 0.94, badly fitted)"
    assert told({"check": check | {"lost_interval": [0.1, 0.2]}}) == "fitted (win rate 0.95 → 0.94)"
