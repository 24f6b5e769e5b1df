"""A whole evaluation and its folder.

evaluations/x/episodes.parquet   one row per episode          evaluations/x/summary.json   the numbers of a table
evaluations/x/parts/             what need not be played anew  evaluations/x/card.json      what was attacked, and how
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ibal.evaluate.card import card
from ibal.evaluate.matrix import Cell, Plan, engine_version, run, write_parquet
from ibal.evaluate.summary import summarise, write_json


class Evaluation(NamedTuple):
    """All episodes, what they come to, and the card."""

    rows: pl.DataFrame
    entries: list[dict[str, Any]]
    card: dict[str, Any]


def evaluate(
    cells: Sequence[Cell], plan: Plan, out: Path | None = None, note: Callable[[str], None] = lambda message: None
) -> Evaluation:
    """Play what ``out`` does not hold yet, and write its files anew; None: nothing is written.

    Raises ValueError if there is no cell, OSError where the folder cannot be written.
    """
    rows = run(cells, plan, out, note)
    entries = summarise(rows)
    done = Evaluation(rows, entries, card(cells, plan, entries))
    if out is not None:
        write_parquet(rows, out / "episodes.parquet")
        about = {"episodes": plan.episodes, "key_seed": plan.seed, "engine": engine_version()}
        write_json(about | {"entries": entries}, out / "summary.json")
        write_json(done.card, out / "card.json")
    return done
