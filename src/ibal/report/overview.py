"""Methods beside each other over all that was played: interquartile mean, what they are above vanilla, worst attack.

Scores are win rates, or returns where nothing can be won. A task is an attack with a perturbation in one environment, a
run is one seed of one policy. Source: Agarwal et al. 2021, sections 4.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ibal.evaluation import stats
from ibal.evaluation.summary import HINDSIGHT, WORST, can_be_won
from ibal.report.formats import aligned, escape_markdown
from ibal.report.tables import check, own_name, version_of

BASELINE = "vanilla"
ALL = "all environments"
_RUN = ("policy", "seed")
Task = tuple[str, str, str]  # environment, attack, perturbation
Interval = tuple[float, float] | None
Scores = dict[Task, dict[tuple[str, int | None], float]]  # of one method: task -> run -> mean over episodes


class Line(NamedTuple):
    """What one method comes to. ``scores``: the mean over runs of each task. ``worst``: the lowest of them, and ``of``
    which task. ``hindsight``: the mean, over runs, of the least score of every episode over all tasks. ``iqm``: over
    all runs and tasks. These are None if the method lacks a task that others played.

    Over the tasks of both: ``above``: its mean less vanilla's; ``improvement``: P(a run is better than one of vanilla).
    Intervals are the 95 % ones of ``evaluate.stats``, all that a run scored taken together; None where one run, or one
    that lacks a task, tells nothing of others. ``improvement`` has none: with three runs on either side even methods
    that are equal are told apart completely in one of ten comparisons, so that an interval would say nothing.
    """

    method: str
    runs: int
    scores: dict[str, float]
    iqm: float | None
    iqm_interval: Interval
    above: float | None
    above_interval: Interval
    improvement: float | None
    worst: float | None
    of: str | None
    hindsight: float | None


class Part(NamedTuple):
    """One environment, or all together; ``score`` is "win rate" or "return"; ``version`` that of its rules, if any."""

    env: str
    score: str
    tasks: list[str]
    lines: list[Line]
    version: str = ""


def overview(rows: pl.DataFrame) -> list[Part]:
    """Return a part per environment and, where several can be won, one over all of these.

    Raises ValueError for several versions of a world's rules, and where an episode comes twice.
    """
    check(rows)
    named = rows.with_columns(own_name().alias("group"))
    parts: list[Part] = []
    won: list[pl.DataFrame] = []
    for (env,), played in named.group_by("env", maintain_order=True):
        has_win = can_be_won(played)
        scored = played.with_columns(pl.col("win" if has_win else "return").cast(pl.Float64).alias("score"))
        parts.append(_part(str(env), "win rate" if has_win else "return", scored))
        won += [scored] if has_win else []
    if len(won) > 1:
        parts.append(_part(ALL, "win rate", pl.concat(won, how="diagonal")))
    return parts


def _part(name: str, score: str, rows: pl.DataFrame) -> Part:
    per_run = rows.group_by("group", "env", "attack", "perturbation", *_RUN, maintain_order=True).agg(
        pl.col("score").mean()
    )
    found: dict[str, Scores] = {}
    for row in per_run.iter_rows(named=True):
        task = row["env"], row["attack"], row["perturbation"]
        found.setdefault(row["group"], {}).setdefault(task, {})[row["policy"], row["seed"]] = row["score"]
    tasks = list(dict.fromkeys(task for scores in found.values() for task in scores))
    is_rate = score == "win rate"
    lines = [_line(method, found, tasks, rows.filter(pl.col("group") == method), is_rate) for method in found]
    return Part(name, score, [_label(task, name) for task in tasks], lines, version_of(rows))


def _line(
    method: str, found: Mapping[str, Scores], tasks: Sequence[Task], rows: pl.DataFrame, is_rate: bool
) -> Line:  # fmt: skip
    mine, base = found[method], found.get(BASELINE, {})
    env = tasks[0][0] if len({task[0] for task in tasks}) == 1 else ALL
    means = {task: float(np.mean(list(mine[task].values()))) for task in tasks if task in mine}
    runs = max(map(len, mine.values()))
    line = Line(method, runs, {_label(task, env): mean for task, mean in means.items()}, *[None] * 8)
    if len(means) == len(tasks):
        lowest = min(means, key=lambda task: means[task])
        line = line._replace(
            iqm=float(_iqm([np.asarray(list(mine[task].values())) for task in tasks])), worst=means[lowest],
            of=_label(lowest, env), hindsight=_hindsight(rows),
        )  # fmt: skip
        # The interquartile mean is of half of the scores, and so of half of the episodes.
        sample = _sample(
            mine, tasks, lambda groups: _iqm([_flat(group) for group in groups]), rows.height // 2, is_rate
        )
        line = line._replace(iqm_interval=stats.interval(sample) if sample and runs > 1 else None)
    shared = [task for task in tasks if task in mine and task in base]
    if not shared or method == BASELINE:
        return line
    x, y = ([list(scores[task].values()) for task in shared] for scores in (mine, base))
    above = float(np.mean([np.mean(a) - np.mean(b) for a, b in zip(x, y, strict=True)]))
    line = line._replace(above=above, improvement=float(stats.probability_of_improvement(x, y)))
    count = rows.height * len(shared) // max(len(means), 1)
    both = [_sample(scores, shared, _mean_of_tasks, count, is_rate) for scores in (mine, base)]
    if both[0] and both[1]:
        line = line._replace(above_interval=stats.difference(both[0], both[1])[1:])
    return line


def _sample(
    scores: Scores, tasks: Sequence[Task], statistic: Callable[[list[stats.Numbers]], Any], episodes: int, rate: bool
) -> stats.Sample | None:
    """Take all that a run scored together, environment by environment; None where a run lacks a task of its
    environment, or where a single run tells nothing of others."""
    groups: list[stats.Numbers] = []
    for env in dict.fromkeys(task[0] for task in tasks):
        columns = [scores[task] for task in tasks if task[0] == env]
        if any(column.keys() != columns[0].keys() for column in columns):
            return None
        groups.append(np.array([[column[run] for column in columns] for run in columns[0]]))
    counts = [len(group) for group in groups]
    if min(counts) < 2 and (max(counts) > 1 or not rate):
        return None
    return stats.jackknife(groups, statistic, max(episodes, 1), rate)


def _iqm(scores: Sequence[stats.Numbers]) -> stats.Numbers:
    return stats.iqm(np.concatenate(scores, -1), -1)


def _flat(group: stats.Numbers) -> stats.Numbers:
    return group.reshape(*group.shape[:-2], -1)


def _mean_of_tasks(groups: Sequence[stats.Numbers]) -> stats.Numbers:
    return np.asarray(np.concatenate([group.mean(-2) for group in groups], -1).mean(-1))


def _hindsight(rows: pl.DataFrame) -> float:
    """An attacker who chooses among everything that was played, in each world anew and knowing how it ends."""
    of_episode = rows.group_by("env", *_RUN, "key_seed", "episode").agg(pl.col("score").min())
    of_run = of_episode.group_by("env", *_RUN).agg(pl.col("score").mean())
    return float(of_run.group_by("env").agg(pl.col("score").mean())["score"].to_numpy().mean())


def _label(task: Task, env: str) -> str:
    words = [task[0]] if env == ALL else []
    words += [task[1]] if task[2] == "none" else [task[2]] if task[1] == "natural" else [task[1], task[2]]
    return ", ".join(words)


def as_markdown(parts: Sequence[Part], room: int = 100) -> str:
    """Return the tables of each part, none wider than ``room`` if that can be; win rates in percent."""
    out: list[str] = []
    for part in parts:
        unit = "win rate in percent" if part.score == "win rate" else "return"
        rules = f" (rules {part.version})" if part.version else ""
        out += [f"### {part.env}: {unit}{rules}", *_narrow(_cells(part), room)]
    out.append(
        f"{WORST}: what the task leaves that leaves least, and which. {HINDSIGHT}: every episode under the attack that "
        "hurts it most, which no attacker reaches. IQM: interquartile mean over all runs and tasks. above "
        f"{BASELINE}: difference of the means over the tasks of both. P(better): how often a run is better than one of "
        f"{BASELINE}; no interval, which three runs cannot give. Intervals: of several runs about what trained them, "
        "of one about this team. –: not played, or not all that others played."
    )
    return "\n\n".join(out)


def _cells(part: Part) -> list[list[str]]:
    """Return the table with a row per method and a head."""
    factor, digits = (100, 1) if part.score == "win rate" else (1, 2)
    tasks = [] if part.env == ALL else part.tasks
    heads = [
        "method",
        "runs",
        *map(escape_markdown, tasks),
        WORST,
        HINDSIGHT,
        "IQM [95 %]",
        f"above {BASELINE} [95 %]",
        "P(better)",
    ]
    rows = [
        [
            escape_markdown(line.method), str(line.runs),
            *(_number(line.scores.get(task), None, factor, digits) for task in tasks),
            _number(line.worst, None, factor, digits) + (f" ({escape_markdown(line.of)})" if line.of else ""),
            _number(line.hindsight, None, factor, digits),
            _number(line.iqm, line.iqm_interval, factor, digits),
            _number(line.above, line.above_interval, factor, digits, sign="+"),
            _number(line.improvement, None, 1, 2),
        ]
        for line in part.lines
    ]  # fmt: skip
    return [heads, *rows]


def _narrow(cells: Sequence[Sequence[str]], room: int) -> list[str]:
    """Return the table, or with rows and columns exchanged, whichever has to be broken into fewer tables."""
    turned = [list(column) for column in zip(*cells, strict=True)]
    return min(_broken(cells, room), _broken(turned, room), key=len)


def _broken(cells: Sequence[Sequence[str]], room: int) -> list[str]:
    """Break a table into several with the same first column, each as wide as fits."""
    columns = list(zip(*cells, strict=True))
    widths = [max(3, *map(len, column)) + 3 for column in columns]
    chunks: list[list[int]] = []
    for k in range(1, len(columns)):
        if not chunks or widths[0] + 1 + sum(widths[i] for i in [*chunks[-1], k]) > room:
            chunks.append([])
        chunks[-1].append(k)
    return [aligned([[row[k] for k in (0, *chunk)] for row in cells], 1) for chunk in chunks]


def _number(value: float | None, interval: Interval, factor: float, digits: int, sign: str = "") -> str:
    if value is None:
        return "–"
    low_high = "" if interval is None else ", ".join(f"{factor * end:{sign}.{digits}f}" for end in interval)
    return f"{factor * value:{sign}.{digits}f}" + (f" [{low_high}]" if low_high else "")
