"""What the paper claims, one by one, and whether it holds in what was played here.

    for found in judged(rows): print(found.claim.text, found.verdict)
    print(as_markdown(judged(rows)))

A claim says that every one of some numbers is above every one of some others; a number is the mean of a method over
columns of the paper's tables and over maps. It *holds* where the 95 % interval of every difference (``stats``) lies
above 0, *does not* where one lies below 0, and is *undecided* in between, or where one seed tells of no other. Numbers
of the same teams are taken for independent, which makes the interval wider. All claims here are ones that the paper's
own numbers support by the same rule (a test holds them to it).

Source: arXiv 2605.18024, Tables 7 to 10 and what its text says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from ibal.evaluation import stats
from ibal.report import published, tables

Verdict = Literal["holds", "does not", "undecided", "not played"]
MAPS = ("3m", "3s_vs_3z", "2s3z", "8m", "1c3s5z", "MMM")
ATTACKED = ("Natural", "Rand", "FGSM", "EGA", "Wolfpack", "Interaction")  # the six that the paper takes the mean of
OTHERS = tuple(name for name in tables.METHODS if name != "ibal")
# Dis-l says that a unit is disabled and stands still, and elsewhere that it is absent; both are played.
READINGS = {"Abs-1": ("natural", "abs-1")}
_COLUMNS = tables.COLUMNS | READINGS
_PUBLISHED = {"Abs-1": "Dis-1"}  # the paper's column for what it has no own one of


class Side(NamedTuple):
    """The mean of a method over columns."""

    method: str
    columns: tuple[str, ...]


class Claim(NamedTuple):
    """All of ``more`` are above all of ``less``, in the mean over ``maps``; a plain number is itself."""

    text: str
    more: tuple[Side | float, ...]
    less: tuple[Side | float, ...]
    maps: tuple[str, ...] = MAPS


class Judged(NamedTuple):
    """``apart``: the difference that decides, with its interval (0..1), between ``more`` and ``less``; ``paper`` the
    same difference in the paper, over the same ``maps``; ``seeds`` the fewest of any method on any map. None where
    nothing was played."""

    claim: Claim
    verdict: Verdict
    more: str
    less: str
    apart: tuple[float, float, float] | None
    paper: tuple[float, float, float] | None
    maps: tuple[str, ...]
    seeds: int


def _all(columns: str | tuple[str, ...], methods: Iterable[str]) -> tuple[Side, ...]:
    columns = (columns,) if isinstance(columns, str) else columns
    return tuple(Side(name, columns) for name in methods)


def _best(text: str, columns: str | tuple[str, ...], maps: tuple[str, ...] = MAPS) -> Claim:
    """IBAL is above all others."""
    return Claim(text, _all(columns, ["ibal"]), _all(columns, OTHERS), maps)


CLAIMS = (
    _best("IBAL is the most robust to the interaction-breaking attack", "Interaction"),
    *(_best(f"the same on {name}", "Interaction", (name,)) for name in MAPS),
    _best("IBAL is the best in the mean over the six attacks", ATTACKED),
    _best("IBAL is the most robust to an agent that is disabled (Dis-1: idle, in sight)", "Dis-1"),
    _best("the same, if Dis-1 means an agent that is absent", "Abs-1"),
    _best("IBAL is the most robust to less health (HP-10)", "HP-10"),
    _best("IBAL is the most robust to less health (HP-15)", "HP-15"),
    _best("IBAL is the most robust to less health (HP-20)", "HP-20"),
    Claim("the interaction-breaking attack is the worst of the six for vanilla QMIX",
          tuple(Side("vanilla", (name,)) for name in ATTACKED[:-1]), _all("Interaction", ["vanilla"])),
    Claim("vanilla QMIX hardly ever wins under it (less than 15 %)", (0.15,), _all("Interaction", ["vanilla"])),
    Claim("WALL is better than IBAL under Wolfpack", _all("Wolfpack", ["wall"]), _all("Wolfpack", ["ibal"])),
    Claim("training against FGSM is better than IBAL under FGSM", _all("FGSM", ["fgsm"]), _all("FGSM", ["ibal"])),
    Claim("WALL is the best under Wolfpack of all but IBAL",
          _all("Wolfpack", ["wall"]), _all("Wolfpack", [name for name in OTHERS if name != "wall"])),
    Claim("ROMANCE is better than vanilla QMIX under EGA", _all("EGA", ["romance"]), _all("EGA", ["vanilla"])),
    Claim("WALL is the second best in the mean over the six attacks",
          _all(ATTACKED, ["wall"]), _all(ATTACKED, [name for name in OTHERS if name != "wall"])),
    Claim("neither IBAL nor vanilla QMIX wins 3m with 20 % less health (less than 25 %)",
          (0.25,), _all("HP-20", ["ibal", "vanilla"]), ("3m",)),
)  # fmt: skip


def judged(rows: pl.DataFrame, claims: Sequence[Claim] = CLAIMS) -> list[Judged]:
    """Judge claims by rows of episodes. Raises ValueError for several versions of a world's rules, and where an episode
    comes twice."""
    tables.check(rows)
    scores = _scores(rows)
    return [_judge(claim, scores) for claim in claims]


# method -> map -> column -> run -> (mean, episodes)
_Scores = dict[str, dict[str, dict[str, dict[tuple[str, int | None], tuple[float, int]]]]]


def _scores(rows: pl.DataFrame) -> _Scores:
    found: _Scores = {}
    by = ["method", "env", "attack", "perturbation", "policy", "seed"]
    played = rows.filter(pl.col("win").is_not_null()).with_columns(tables.own_name().alias("method"))
    means = played.group_by(by, maintain_order=True).agg(pl.col("win").cast(pl.Float64).mean(), pl.len())
    columns = {what: name for name, what in _COLUMNS.items()}
    for row in means.iter_rows(named=True):
        column = columns.get((row["attack"], row["perturbation"]))
        if column is not None and row["env"].startswith("smac/"):
            of_map = found.setdefault(row["method"], {}).setdefault(row["env"].removeprefix("smac/"), {})
            of_map.setdefault(column, {})[row["policy"], row["seed"]] = row["win"], row["len"]
    return found


def _judge(claim: Claim, scores: _Scores) -> Judged:
    sides = [side for side in (*claim.more, *claim.less) if isinstance(side, Side)]
    maps = tuple(name for name in claim.maps if all(_runs(side, name, scores) for side in sides))
    if not maps:
        return Judged(claim, "not played", "", "", None, None, (), 0)
    seeds = min(len(_runs(side, name, scores)) for side in sides for name in maps)
    pairs = [(more, less) for more in claim.more for less in claim.less]
    found = [_apart(_sample(more, maps, scores), _sample(less, maps, scores)) for more, less in pairs]
    which, verdict = decided(found)
    more, less = pairs[which]
    paper = _apart(*(_published(side, maps) for side in pairs[which]))
    verdict = "undecided" if seeds < 2 else verdict
    return Judged(claim, verdict, _named(more, claim.less), _named(less, claim.more), found[which], paper, maps, seeds)


def decided(differences: Sequence[tuple[float, float, float]]) -> tuple[int, Verdict]:
    """Return which difference decides, and what: the one that lies farthest below 0, else the one that is least sure to
    lie above. Each is (difference, low, high)."""
    high = min(range(len(differences)), key=lambda i: differences[i][2])
    if differences[high][2] < 0:
        return high, "does not"
    low = min(range(len(differences)), key=lambda i: differences[i][1])
    return low, "holds" if differences[low][1] > 0 else "undecided"


def in_the_paper(claim: Claim) -> Verdict:
    """Judge a claim by the paper's own numbers."""
    pairs = [(more, less) for more in claim.more for less in claim.less]
    return decided([_apart(*(_published(side, claim.maps) for side in pair)) for pair in pairs])[1]


def _runs(side: Side, name: str, scores: _Scores) -> list[tuple[str, int | None]]:
    """Return the runs of a method that have played all columns on a map."""
    columns = scores.get(side.method, {}).get(name, {})
    if not all(column in columns for column in side.columns):
        return []
    first, *more = (columns[column] for column in side.columns)
    return [run for run in first if all(run in other for other in more)]


def _sample(side: Side | float, maps: Sequence[str], scores: _Scores) -> stats.Sample:
    """Return the mean over maps and columns and its error, all that a run scored on a map taken together."""
    if not isinstance(side, Side):
        return _exactly(side)
    groups, episodes = [], 0
    for name in maps:
        columns, runs = scores[side.method][name], _runs(side, name, scores)
        cells = [[columns[column][run] for column in side.columns] for run in runs]
        groups.append(np.array([[mean for mean, _ in row] for row in cells]))
        episodes += sum(count for row in cells for _, count in row)
    return stats.jackknife(groups, _mean_of_maps, episodes, rate=True)


def _mean_of_maps(groups: list[stats.Numbers]) -> Any:
    return np.mean([group.mean((-2, -1)) for group in groups], axis=0)


def _exactly(value: float) -> stats.Sample:
    return stats.Sample(value, 0.0, np.inf, 0.0, 10**12, rate=True)


def _published(side: Side | float, maps: Sequence[str]) -> stats.Sample:
    """Return what the paper's numbers say of the same mean: its cells are independent as far as anybody can tell."""
    if not isinstance(side, Side):
        return _exactly(side)
    cells = [tables.as_sample(_number(side.method, name, column)) for name in maps for column in side.columns]
    count = len(cells)
    between = sum(cell.between for cell in cells) / count**2
    parts = sum((cell.between / count**2) ** 2 / cell.df for cell in cells)
    return stats.Sample(
        sum(cell.mean for cell in cells) / count, between, between**2 / parts if parts else cells[0].df,
        sum(cell.within for cell in cells) / count**2, sum(cell.episodes for cell in cells), rate=True,
    )  # fmt: skip


def _number(method: str, name: str, column: str) -> published.Number:
    label = tables.METHODS[method]
    for number in (7, 8, 9, 10):
        row = published.table(number).data.get(name, {}).get(label, {})
        if (found := row.get(_PUBLISHED.get(column, column))) is not None:
            return found
    raise ValueError(f"the paper has no {column} of {label} on {name}")


def _apart(more: stats.Sample, less: stats.Sample) -> tuple[float, float, float]:
    apart, low, high = stats.difference(more, less)
    return float(apart), float(low), float(high)


def _named(side: Side | float, others: Sequence[Side | float]) -> str:
    """Name a side: by its method, and by its column where the other side has other ones."""
    if not isinstance(side, Side):
        return f"{100 * side:g} %"
    columns = {other.columns for other in others if isinstance(other, Side)}
    label = tables.METHODS.get(side.method, side.method)
    return label if columns <= {side.columns} else f"{label} under {', '.join(side.columns)}"


def long_form(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return one record per claim, as JSON can hold it; differences in points."""
    out = []
    for one in found:
        record: dict[str, Any] = {"claim": one.claim.text, "verdict": one.verdict, "more": one.more, "less": one.less}
        for name, apart in (("ours", one.apart), ("paper", one.paper)):
            record[name] = None if apart is None else [round(100 * value, 2) for value in apart]
        out.append(record | {"maps": list(one.maps), "of_maps": list(one.claim.maps), "seeds": one.seeds})
    return out


def as_markdown(found: Sequence[Judged]) -> str:
    """Return the claims as a table: what decides, how far it is apart here and in the paper, in points."""
    words = ("holds", "does not", "undecided", "not played")
    count = {word: sum(one.verdict == word for one in found) for word in words}
    lines = [
        f"{len(found)} claims: " + ", ".join(f"{number} {word}" for word, number in count.items() if number) + ".", "",
        "| claim | verdict | what decides | here | paper | maps | seeds |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found:
        decides = f"{one.more} − {one.less}" if one.apart else ""
        maps = f"{len(one.maps)} of {len(one.claim.maps)}" if one.maps != one.claim.maps else ", ".join(one.maps)
        maps += f": {', '.join(one.maps)}" if one.maps and one.maps != one.claim.maps else ""
        parts = (one.claim.text, one.verdict, decides, _points(one.apart), _points(one.paper), maps, str(one.seeds))
        lines.append("| " + " | ".join(parts) + " |")
    return "\n".join(lines)


def _points(apart: tuple[float, float, float] | None) -> str:
    return "" if apart is None else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in apart))
