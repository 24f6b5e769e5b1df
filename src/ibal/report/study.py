"""The page of a study: one file that works without a server or a network.

    data = study_data(rows, title="mine", tables=(7, 9), cards=cards)
    html = study_html(data, curves="<svg …>", replays=[Replay(0, "…", page)])

``rows`` are those of ``ibal.grid(…).rows``. A cell is a team in one environment under an attack and a perturbation:
mean over its seeds with the 95 % interval of ``evaluation.stats``, the paper's number beside it where it has one.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ibal.evaluation import stats
from ibal.evaluation.summary import can_be_won
from ibal.experiments.paper import environments
from ibal.report import formats, published, tables
from ibal.webpage import embed, filled, packed

_BY = ("policy", "method", "env", "version", "attack", "perturbation")


class Replay(NamedTuple):
    """An episode that can be played: number of its cell in the page, what it is called, and the player's page."""

    cell: int
    label: str
    page: str


def study_data(
    rows: pl.DataFrame, *, title: str, numbers: Sequence[int] = (), about: Mapping[str, Any] | None = None,
    cards: Mapping[tuple[str, str, str, str], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return what the page shows, as what JSON can hold.

    ``numbers``: tables of the paper; (): all that the rows have something of. ``cards``: by team, environment, attack
    and perturbation what its cells say of threat, attackers and versions. ``about``: further facts of the study.
    """
    known = _published()
    cells = [_cell(dict(zip(_BY, names, strict=True)), group, known)
             for names, group in _groups(rows)]  # fmt: skip
    shown, missing = _tables(rows, numbers) if rows.height else ([], [])
    held: list[Mapping[str, Any]] = []
    for cell in cells:
        card = (cards or {}).get((cell["team"], cell["env"], cell["attack"], cell["perturbation"]))
        if card is not None:
            if card not in held:
                held.append(card)
            cell["card"] = held.index(card)
    return {
        "title": title, "about": dict(about or {}), "cells": cells, "tables": shown, "absent": missing, "cards": held,
    }  # fmt: skip


def _groups(rows: pl.DataFrame) -> Any:
    return rows.group_by(_BY, maintain_order=True) if rows.height else ()


def _cell(names: dict[str, Any], group: pl.DataFrame, known: Mapping[tuple[str, str, str, str], Any]) -> dict[str, Any]:
    """Put one cell together: percent of games won, or the return where nothing can be won."""
    wins = can_be_won(group)
    column, scale = ("win", 100.0) if wins else ("return", 1.0)
    scores, of = group[column].cast(pl.Float64).to_numpy(), group["seed"].to_list()
    seeds = list(dict.fromkeys(of))
    which = np.array([seeds.index(seed) for seed in of])
    runs = [scores[which == i] for i in range(len(seeds))]
    found = stats.sample(runs, rate=wins)
    low, high = stats.interval(found)
    mean, sd = stats.over_seeds([scale * float(np.mean(run)) for run in runs])
    cell = {
        "team": names["policy"], "method": names["method"], "env": names["env"], "attack": names["attack"],
        "perturbation": names["perturbation"], "version": names["version"], "score": "win" if wins else "return",
        "mean": _short(mean), "sd": _short(sd), "low": _short(scale * low), "high": _short(scale * high),
        "seeds": seeds, "each": [_short(scale * float(np.mean(run))) for run in runs], "episodes": group.height,
        "length": _short(_mean(group, "length")), "attacked": _short(_mean(group, "attacked")),
    }  # fmt: skip
    number = known.get((names["method"], names["env"], names["attack"], names["perturbation"]))
    if number is not None and wins:
        cell |= {"paper": number.mean, "paper_sd": number.sd}
        if number.sd is not None:
            apart = stats.difference(found, tables.as_sample(number))
            cell["apart"] = [_short(100 * value) for value in apart]
    return cell


def _mean(group: pl.DataFrame, column: str) -> float | None:
    value = group[column].mean() if column in group.columns else None
    return float(value) if isinstance(value, int | float) else None


def _short(value: float | None) -> float | None:
    """Return a number with as many digits as anybody reads, or None for what is none."""
    return None if value is None or not math.isfinite(value) else round(float(value), 3)


def _published() -> dict[tuple[str, str, str, str], published.Number]:
    """Return the paper's numbers by method, environment, attack and perturbation, as they are called here."""
    found: dict[tuple[str, str, str, str], published.Number] = {}
    for number in published.numbers("percent"):
        names = {label: name for name, label in (tables.MAPPO if number == 13 else tables.METHODS).items()}
        for scenario, models in published.table(number).data.items():
            env = environments(number, scenario)[0]
            for model, row in models.items():
                for column, value in row.items():
                    if column in tables.COLUMNS and model in names:
                        found.setdefault((names[model], env, *tables.COLUMNS[column]), value)
    return found


def _tables(rows: pl.DataFrame, numbers: Sequence[int]) -> tuple[list[dict[str, Any]], list[str]]:
    """Lay the rows out as tables of the paper; say which of those that were asked for there is nothing of."""
    shown: list[dict[str, Any]] = []
    missing: list[str] = []
    for number in numbers or published.numbers("percent"):
        try:
            made = tables.lay_out(rows, number)
        except ValueError as error:
            if numbers:
                missing.append(str(error))
            continue
        if not numbers and not any(_both(cell) for block in made.blocks for row in block.rows
                                   for cell in row.cells.values()):  # fmt: skip
            continue
        shown.append({
            "number": number, "title": made.title, "columns": list(made.columns), "version": made.version,
            "blocks": [
                {"scenario": block.scenario,
                 "rows": [{"name": row.name, "cells": [_table_cell(row.cells[column]) for column in made.columns]}
                          for row in block.rows]}
                for block in made.blocks
            ],
            "latex": formats.latex(made), "csv": formats.comma_separated(made),
        })  # fmt: skip
    return shown, missing


def times_table(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Lay training times out beside the paper's Table 14, as minutes to ten million environment steps; None where no
    training is of its maps. ``trainings``: method, env, seconds, env_steps, one per run. Other machines have other
    times: what compares is one method with another."""
    paper = published.table(14)
    ours: dict[tuple[str, str], list[float]] = {}
    for one in trainings:
        minutes = one["seconds"] / max(one["env_steps"], 1) * 1e7 / 60
        name = str(one["method"])
        ours.setdefault((str(one["env"]), tables.METHODS.get(name, name)), []).append(minutes)
    blocks: list[dict[str, Any]] = []
    lines = ["scenario,method,ours_minutes,runs,published_minutes"]
    for scenario, models in paper.data.items():
        names = list(dict.fromkeys([*models, *(name for env, name in ours if env == f"smac/{scenario}")]))
        rows: list[dict[str, Any]] = []
        for name in names:
            mine, theirs = ours.get((f"smac/{scenario}", name)), models.get(name)
            mean, sd = stats.over_seeds(mine) if mine else (None, None)
            cell: dict[str, Any] = {"seeds": len(mine or ())}
            cell |= {} if mean is None else {"mean": _short(mean), "sd": _short(sd)}
            cell |= {} if theirs is None else {"paper": theirs["Time"].mean}
            rows.append({"name": name, "cells": [cell]})
            lines.append(f"{scenario},{name},{cell.get('mean', '')},{cell['seeds']},{cell.get('paper', '')}")
        if any("mean" in row["cells"][0] for row in rows):
            blocks.append({"scenario": scenario, "rows": rows})
    if not blocks:
        return None
    title = f"{paper.title}, in minutes; ours as this study's machines took"
    return {"number": 14, "title": title, "columns": ["Time"], "version": "", "blocks": blocks,
            "latex": "", "csv": "\n".join(lines)}  # fmt: skip


def _both(cell: tables.Cell) -> bool:
    return cell.ours is not None and cell.published is not None


def _table_cell(cell: tables.Cell) -> dict[str, Any]:
    out: dict[str, Any] = {"mark": cell.mark, "paper_mark": cell.published_mark}
    if cell.ours is not None:
        names = ("mean", "sd", "low", "high", "seeds", "episodes", "of")
        out |= {name: getattr(cell.ours, name) for name in names}
        out |= {name: _short(out[name]) for name in names[:4]}
    if cell.published is not None:
        out |= {"paper": cell.published.mean, "paper_sd": cell.published.sd}
    if (apart := tables.difference(cell)) is not None:
        out["apart"] = [_short(value) for value in apart]
    return out


def study_html(data: Mapping[str, Any], curves: str = "", replays: Sequence[Replay] = ()) -> str:
    """Return the page. ``curves`` is a picture as SVG."""
    web = resources.files("ibal.report") / "web"
    films = [{"cell": one.cell, "label": one.label, "page": packed(one.page)} for one in replays]
    parts = {
        "title": html.escape(str(data["title"])),
        "style": (web / "study.css").read_text("utf-8"),
        "script": "\n".join((web / name).read_text("utf-8") for name in ("unpack.js", "study.js")),
        "curves": curves,
        "data": embed({**data, "replays": films}),
    }
    return filled((web / "study.html").read_text("utf-8"), parts)
