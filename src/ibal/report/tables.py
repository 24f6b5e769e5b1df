"""An evaluation laid out as a table of the paper: a block per scenario, a row per method, the published number beside.

    made = lay_out(pl.read_parquet("evaluations/x/episodes.parquet"), 7)
    made.blocks[0].rows[0].cells["Natural"].ours.mean      # percent

What is not in the episodes is None; nothing is put in its place. Mean and ``hindsight minimum`` need every column that
goes into them, episode by episode: an episode of one seed and number is the same world under all attacks. ``worst
attack`` is the lowest of the columns, as in ``ibal.evaluation.summary``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from ibal.evaluation import stats
from ibal.evaluation.summary import HINDSIGHT, WORST
from ibal.evaluation.versions import require_one
from ibal.experiments.paper import environments
from ibal.report.published import EPISODES, SEEDS, Number, PublishedTable, numbers, table

METHODS = {
    "vanilla": "Vanilla QMIX", "rand-obs": "Rand-Obs", "rand-act": "Rand-Act", "fgsm": "FGSM", "atla": "ATLA",
    "ernie": "ERNIE", "romance": "ROMANCE", "wall": "WALL", "ibal": "IBAL",
}  # fmt: skip
# The methods of another mixer carry its name ("ibal-vdn"); those of MAPPO are these.
MAPPO = {"mappo": "MAPPO"} | {
    f"mappo-{name}": f"MAPPO+{METHODS[name]}" for name in ("rand-obs", "rand-act", "fgsm", "atla", "ibal")
}
# Attack and perturbation behind the paper's columns.
COLUMNS = {
    "Natural": ("natural", "none"), "Rand": ("random", "none"), "FGSM": ("fgsm", "none"), "EGA": ("ega", "none"),
    "Wolfpack": ("wolfpack", "none"), "Interaction": ("interaction", "none"), "Dis-1": ("natural", "dis-1"),
    "Dis-2": ("natural", "dis-2"), "HP-10": ("natural", "hp-10"), "HP-15": ("natural", "hp-15"),
    "HP-20": ("natural", "hp-20"),
}  # fmt: skip
WORST_IN = (7, 8)  # tables that get columns for the attacker who may choose
NAMELESS = ("scripted", "unknown")  # methods that say nothing; such policies stand under their own names
_RUN = ("policy", "seed")
_EPISODE = (*_RUN, "env", "attack", "perturbation", "key_seed", "episode")

Mark = Literal["best", "second", ""]


class Estimate(NamedTuple):
    """Percent. ``sd`` is the standard deviation over seeds, None for one; ``low`` to ``high`` is the 95 % interval,
    None for the worst attack, whose name is ``of``. ``sample`` is what the interval came from, in 0..1."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    seeds: int
    episodes: int
    sample: stats.Sample
    of: str | None = None


class Cell(NamedTuple):
    """``mark`` says how ``ours`` stands among ours, ``published_mark`` how the paper's number stands in the paper."""

    ours: Estimate | None
    published: Number | None
    mark: Mark = ""
    published_mark: Mark = ""


class Row(NamedTuple):
    """``name`` is the paper's, or the own one of a method that it does not have."""

    name: str
    cells: dict[str, Cell]


class Block(NamedTuple):
    """One scenario. ``worst_over`` are the columns that the worst attack and the hindsight minimum are taken from."""

    scenario: str
    rows: list[Row]
    worst_over: tuple[str, ...]


class Table(NamedTuple):
    """``columns`` are those of the paper and those of ``worst_columns``; ``absent`` are scenarios the evaluation has
    nothing of; ``version`` is that of the rules that were played ("": the environments have none)."""

    number: int
    title: str
    columns: tuple[str, ...]
    blocks: list[Block]
    absent: tuple[str, ...]
    version: str = ""


def lay_out(rows: pl.DataFrame, number: int) -> Table:
    """Lay episodes out as table ``number`` of the paper.

    Raises ValueError where there is no such table, where it is not about episodes, where the rows have nothing of it,
    where they are of several versions of a world's rules, or where an episode comes twice.
    """
    paper = of_episodes(number)
    check(rows)
    named = rows.filter(pl.col("win").is_not_null()).with_columns(_column(), _group(MAPPO if number == 13 else METHODS))
    named = named.filter(pl.col("column").is_in(paper.columns))
    parts = {scenario: _played(named, number, scenario) for scenario in paper.data}
    blocks = [_block(part, paper, scenario) for scenario, part in parts.items() if part.height]
    if not blocks:
        raise ValueError(_nothing(rows, paper))
    absent = tuple(scenario for scenario, part in parts.items() if not part.height)
    columns = paper.columns + worst_columns(number)
    return Table(number, paper.title, columns, blocks, absent, version_of(named))


def of_episodes(number: int) -> PublishedTable:
    """Return a table of the paper that is about episodes. Raises ValueError with those that there are."""
    paper = table(number)
    if paper.unit != "percent":
        raise ValueError(
            f"table {number} holds {paper.unit} of training, which no evaluation says; there are the tables of win "
            f"rates: {', '.join(map(str, numbers('percent')))}"
        )
    return paper


def worst_columns(number: int) -> tuple[str, ...]:
    """Return the columns that the paper does not have."""
    return (WORST, HINDSIGHT) if number in WORST_IN else ()


def check(rows: pl.DataFrame) -> None:
    """Raise ValueError for rows that make no table: of several versions of a world's rules, or with episodes twice."""
    if "version" in rows.columns:
        played = rows.select("env", "version", "policy").unique(maintain_order=True)
        require_one(played.iter_rows())
    check_once(rows)


def version_of(rows: pl.DataFrame) -> str:
    """Return the version of the rules that rows were played by; "" where there is none, or several (of several kinds
    of environment)."""
    found = set(rows["version"]) - {""} if "version" in rows.columns else set()
    return found.pop() if len(found) == 1 else ", ".join(sorted(found))


def check_once(rows: pl.DataFrame) -> None:
    """Raise ValueError, with what it is of, if an episode comes twice: it would be counted twice."""
    twice = rows.filter(pl.struct(_EPISODE).is_duplicated())
    if twice.height:
        policy, seed, env, attack, perturbation = twice.select(_EPISODE[:5]).row(0)
        who = policy if seed is None else f"{policy} (seed {seed})"
        raise ValueError(
            f'episodes of "{who}" in {_where(env, attack, perturbation)} come twice; give each evaluation once'
        )


def alike(rows: pl.DataFrame) -> list[str]:
    """Return a sentence per method of which several policies have the same seed in one environment: a start and what
    came of it, say, which are counted as runs of one method all the same."""
    named = rows.filter(~pl.col("method").is_in(NAMELESS), pl.col("seed").is_not_null())
    teams = named.group_by("env", "method", "seed").agg(pl.col("policy").unique().sort())
    several = teams.filter(pl.col("policy").list.len() > 1).sort("env", "method", "seed").unique(
        ["env", "method"], keep="first", maintain_order=True
    )  # fmt: skip
    return [
        f'{", ".join(row["policy"])} are counted as runs of one method, "{row["method"]}", and have the same seed '
        f"{row['seed']}; leave out what is not meant"
        for row in several.iter_rows(named=True)
    ]


def estimate(runs: Sequence[np.ndarray]) -> Estimate:
    """Return the mean over runs of each run's mean; a run is one seed of one policy, its array has its episodes.

    The interval is that of ``evaluate.stats``: of one run about this team, of several about what trained them.
    """
    mean, sd = stats.over_seeds([100 * float(run.mean()) for run in runs])
    found = stats.sample(runs, rate=True)
    low, high = stats.interval(found)
    return Estimate(mean, sd, 100 * low, 100 * high, len(runs), found.episodes, found)


def difference(cell: Cell) -> tuple[float, float, float] | None:
    """Return ours - published with its 95 % interval, None where one of them is missing, has no interval, or is told
    without a standard deviation."""
    if cell.ours is None or cell.ours.low is None or cell.published is None or cell.published.sd is None:
        return None
    apart, low, high = stats.difference(cell.ours.sample, as_sample(cell.published))
    return 100 * apart, 100 * low, 100 * high


def as_sample(number: Number) -> stats.Sample:
    """Return what a published mean in percent tells of its error, with ``SEEDS`` runs of ``EPISODES`` episodes."""
    mean, between = number.mean / 100, ((number.sd or 0.0) / 100) ** 2 / SEEDS
    within = mean * (1 - mean) / (SEEDS * EPISODES)
    return stats.Sample(mean, between, SEEDS - 1, within, SEEDS * EPISODES, rate=True)


def marks(values: Sequence[float | None]) -> list[Mark]:
    """Say which values are the largest and which the second largest, as shown with one decimal.

    Equal ones share a mark; where all are equal, or there is one only, nobody is best.
    """
    shown = [None if value is None else round(value, 1) for value in values]
    ranked = sorted({value for value in shown if value is not None}, reverse=True)
    if len(ranked) < 2:
        return [""] * len(shown)
    named: dict[float | None, Mark] = {ranked[0]: "best", ranked[1]: "second"}
    return [named.get(value, "") for value in shown]


def long_form(made: Table) -> list[dict[str, Any]]:
    """Return one record per cell that has a number, ours or the paper's; what is missing is None."""
    out: list[dict[str, Any]] = []
    for block in made.blocks:
        for row in block.rows:
            for column, cell in row.cells.items():
                if cell.ours is None and cell.published is None:
                    continue
                mean, sd, low, high, seeds, episodes, _, of = cell.ours or (None,) * 8
                apart, least, most = difference(cell) or (None,) * 3
                published = cell.published or Number(math.nan, None)
                out.append({
                    "table": made.number, "scenario": block.scenario, "method": row.name, "column": column,
                    "ours_mean": mean, "ours_sd": sd, "low": low, "high": high,
                    "published_mean": None if cell.published is None else published.mean, "published_sd": published.sd,
                    "difference": apart, "difference_low": least, "difference_high": most,
                    "seeds": seeds, "episodes": episodes, "best": cell.mark or None, "of": of,
                    "version": made.version or None,
                })  # fmt: skip
    return out


def _column() -> pl.Expr:
    found = pl.lit(None, pl.String)
    for name, (attack, perturbation) in COLUMNS.items():
        here = (pl.col("attack") == attack) & (pl.col("perturbation") == perturbation)
        found = pl.when(here).then(pl.lit(name)).otherwise(found)
    return found.alias("column")


def _group(names: dict[str, str]) -> pl.Expr:
    return own_name().replace(names).alias("group")


def own_name() -> pl.Expr:
    """Return the method, or the policy where its method says nothing."""
    return pl.when(pl.col("method").is_in(NAMELESS)).then("policy").otherwise("method")


def _played(rows: pl.DataFrame, number: int, scenario: str) -> pl.DataFrame:
    """Return the rows of a scenario of a table: of the first of its environments that there is something of."""
    parts = [rows.filter(pl.col("env") == name) for name in environments(number, scenario)]
    return next((part for part in parts if part.height), parts[0])


def _block(rows: pl.DataFrame, paper: PublishedTable, scenario: str) -> Block:
    published = paper.data[scenario]
    attacks = [column for column in paper.columns if column != "Mean"]
    played = tuple(column for column in attacks if column in rows["column"])
    wide = rows.with_columns(pl.col("win").cast(pl.Float64)).pivot(
        "column", index=["group", *_RUN, "key_seed", "episode"], values="win"
    )
    if len(played) == len(attacks) and "Mean" in paper.columns:
        wide = wide.with_columns(_over("mean", attacks).alias("Mean"))
    if paper.number in WORST_IN and len(played) > 1:
        wide = wide.with_columns(_over("min", played).alias(HINDSIGHT))
    columns = paper.columns + worst_columns(paper.number)
    names = list(dict.fromkeys([*published, *wide["group"]]))
    ours = {name: {column: _ours(wide, name, column) for column in columns} for name in names}
    if len(played) > 1:
        for found in ours.values():
            found |= {WORST: _worst({column: found[column] for column in played})} if WORST in columns else {}
    cells: dict[str, dict[str, Cell]] = {name: {} for name in names}
    for column in columns:
        numbers_ = [published.get(name, {}).get(column) for name in names]
        mine = marks([None if found is None else found.mean for found in (ours[name][column] for name in names)])
        theirs = marks([None if found is None else found.mean for found in numbers_])
        for name, number, mark, published_mark in zip(names, numbers_, mine, theirs, strict=True):
            cells[name][column] = Cell(ours[name][column], number, mark, published_mark)
    return Block(scenario, [Row(name, cells[name]) for name in names], played)


def _over(how: str, columns: Sequence[str]) -> pl.Expr:
    """Combine columns episode by episode; null where one of them is."""
    combined = pl.min_horizontal(columns) if how == "min" else pl.mean_horizontal(columns)
    return pl.when(pl.all_horizontal(pl.col(columns).is_not_null())).then(combined)


def _ours(wide: pl.DataFrame, name: str, column: str) -> Estimate | None:
    if column not in wide.columns:
        return None
    played = wide.filter((pl.col("group") == name) & pl.col(column).is_not_null()).sort(*_RUN, "key_seed", "episode")
    runs = [part[column].to_numpy() for _, part in played.group_by(_RUN, maintain_order=True)]
    return estimate(runs) if runs else None


def _worst(columns: dict[str, Estimate | None]) -> Estimate | None:
    """Return the lowest of the columns under its name, None where one of them was not played."""
    found = {column: one for column, one in columns.items() if one is not None}
    if len(found) < len(columns):
        return None
    lowest = min(found, key=lambda column: found[column].mean)
    return found[lowest]._replace(low=None, high=None, of=lowest)


def _where(env: str, attack: str, perturbation: str) -> str:
    return f"{env} under {attack}" + ("" if perturbation == "none" else f" with {perturbation}")


def _nothing(rows: pl.DataFrame, paper: PublishedTable) -> str:
    held = sorted(set(zip(rows["env"], rows["attack"], rows["perturbation"], strict=True)))
    some = ", ".join(_where(*what) for what in held[:4])
    more = f" and {len(held) - 4} more" if len(held) > 4 else ""
    columns = ", ".join(column for column in paper.columns if column != "Mean")
    return (
        f"the evaluation has nothing of table {paper.number} ({', '.join(paper.data)}; {columns}); "
        f"it has {some or 'no episodes'}{more}"
    )
