"""Reading an evaluation's folder: what earlier versions wrote, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ibal.evaluation.results import COLUMNS, EPISODES, ordered, read_episodes
from ibal.reading import Unreadable


def folder(where: Path, win: list[Any]) -> Path:
    texts = {name: "x" for name, kind in COLUMNS.items() if kind == pl.String}
    rows = [texts | {"seed": 0, "episode": i, "key_seed": 0, "win": w, "return": 1.0} for i, w in enumerate(win)]
    pl.DataFrame(rows).write_parquet(where / EPISODES)
    return where


def test_games_won_and_lost_of_earlier_versions_are_read_as_1_and_0(tmp_path: Path) -> None:
    assert read_episodes(folder(tmp_path, [True, False]))["win"].to_list() == [1.0, 0.0]


def test_shares_are_read_as_they_are(tmp_path: Path) -> None:
    assert read_episodes(folder(tmp_path, [0.25, None]))["win"].to_list() == [0.25, None]


@pytest.mark.parametrize("win", [1.5, -0.5, float("nan"), float("inf")])
def test_a_success_beyond_1_is_refused(tmp_path: Path, win: float) -> None:
    with pytest.raises(Unreadable, match="column win has numbers that are not within 0"):
        read_episodes(folder(tmp_path, [0.5, win]))


def test_the_lowest_column_comes_first_and_equals_stay_as_they_were() -> None:
    attacks = ["natural", "natural", "a", "a", "b", "b", "c", "c"]
    rows = pl.DataFrame({"attack": attacks, "win": [1.0, 1, 1, 0, 1, 0, 0, 0], "return": [0.0] * 8})
    assert ordered(rows)["attack"].unique(maintain_order=True).to_list() == ["c", "a", "b", "natural"]
