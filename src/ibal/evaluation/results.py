"""A whole evaluation and its folder.

evaluations/x/episodes.parquet   one row per episode          evaluations/x/summary.json   the numbers of a table
evaluations/x/parts/             what need not be played anew  evaluations/x/card.json      what was attacked, and how
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ibal import reading
from ibal.envs import version_of
from ibal.evaluation.card import card
from ibal.evaluation.hosted import Broken
from ibal.evaluation.matrix import Cell, Plan, as_parquet, engine_version, run
from ibal.evaluation.summary import can_be_won, summarise, write_json
from ibal.files import appear_bytes

EPISODES = "episodes.parquet"
COLUMNS = {
    "policy": pl.String, "method": pl.String, "seed": pl.Int64, "env": pl.String, "attack": pl.String,
    "perturbation": pl.String, "episode": pl.Int64, "key_seed": pl.Int64, "win": pl.Float64, "return": pl.Float64,
}  # fmt: skip
VERSION = {"version": pl.String}  # evaluations of before there were versions lack it


class Evaluation(NamedTuple):
    """All episodes, what they come to, and the card. ``broken``: which world or team in Python ended it, and how."""

    rows: pl.DataFrame
    entries: list[dict[str, Any]]
    card: dict[str, Any]
    broken: str = ""


def evaluate(
    cells: Sequence[Cell], plan: Plan, out: Path | None = None, note: Callable[[str], None] = lambda message: None,
    partial: bool = False, lowest_first: bool = False,
) -> Evaluation:  # fmt: skip
    """Play what ``out`` does not hold yet, and write its files anew; None: nothing is written.

    ``partial``: as in ``run``; the card is then of what was played. ``lowest_first``: the attack that leaves least
    comes first, in rows and entries. Raises ValueError if there is no cell, OSError where the folder cannot be written.
    """
    broken = ""
    try:
        rows = run(cells, plan, out, note, partial)
    except Broken as error:
        if not partial or error.before is None:
            raise
        rows, broken = error.before, str(error)
        note(f"{broken}: these are {rows.height // plan.episodes} of {len(cells)} cells")
    cells = cells[: rows.height // plan.episodes]
    rows = ordered(rows) if lowest_first else rows
    entries = summarise(rows)
    done = Evaluation(rows, entries, card(cells, plan, entries), broken)
    if out is not None:
        content = as_parquet(rows)
        out.mkdir(parents=True, exist_ok=True)
        appear_bytes(out / EPISODES, content)
        about = {"episodes": plan.episodes, "key_seed": plan.seed, "engine": engine_version()}
        about["episodes_sha256"] = hashlib.sha256(content).hexdigest()
        write_json(about | {"entries": entries}, out / "summary.json")
        write_json(done.card, out / "card.json")
    return done


def score_of(rows: pl.DataFrame) -> str:
    """Return the column that says how well teams have played: "win", or "return" where games cannot be won."""
    return "win" if can_be_won(rows) else "return"


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Put the attack that leaves least first, over all teams and perturbations: the share won, or the return where
    games cannot be won."""
    score = score_of(rows)
    means = rows.group_by("attack", maintain_order=True).agg(pl.col(score).mean()).sort(score, maintain_order=True)
    place = {name: i for i, name in enumerate(means["attack"])}
    return rows.sort(pl.col("attack").replace_strict(place, return_dtype=pl.Int32), maintain_order=True)


def read_episodes(folder: Path, note: Callable[[str], None] = lambda message: None) -> pl.DataFrame:
    """Return the rows of an evaluation's folder (``COLUMNS``, ``VERSION``), compared with what its ``summary.json``
    says of them; ``note`` is told where it says nothing.

    Raises OSError, or ValueError in one sentence for what is damaged or no evaluation.
    """
    file, beside = folder / EPISODES, folder / "summary.json"
    held = reading.content(file)
    about = reading.table(beside, {}, {"episodes_sha256": str}) if beside.exists() else {}
    wanted = about.get("episodes_sha256")
    if wanted not in (None, hashlib.sha256(held).hexdigest()):
        raise reading.Unreadable(
            f"{file} is not the one that {beside.name} was written with; give its ibal evaluate command again"
        )
    rows = reading.frame(held, str(file), COLUMNS, optional=VERSION)
    if "version" not in rows.columns:
        oldest = {env: version_of(env, {}) for env in rows["env"].unique().drop_nulls()}
        rows = rows.with_columns(pl.col("env").replace_strict(oldest, default="").alias("version"))
    names = [name for name, kind in (COLUMNS | VERSION).items() if kind == pl.String]
    for column in (*names, "episode", "key_seed", "return"):
        if rows[column].null_count() or (column == "return" and not rows[column].is_finite().all()):
            raise reading.Unreadable(f"{file}: column {column} has gaps or numbers that are none")
    if not rows["win"].drop_nulls().is_between(0, 1).all():
        raise reading.Unreadable(f"{file}: column win has numbers that are not within 0 (lost) .. 1 (won)")
    for column in names:
        for text in rows[column].unique():
            reading.as_type(str, text, f"{file}: {column}")
    if wanted is None:
        note(f"{file}: unchecked: no {beside.name} beside it says whether it is as it was written")
    return rows
