"""Methods beside each other over all that was played: interquartile mean, probability of improvement, worst case.

Scores are win rates, or returns where nothing can be won. A task is an attack with a perturbation in one environment, a
run is one seed of one policy. Source: Agarwal et al. 2021, sections 4.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ibal.evaluate import stats
from ibal.report.formats import aligned, escape_markdown
from ibal.report.tables import check_once, own_name

BASELINE = "vanilla"
ALL = "all environments"
_RUN = ("policy", "seed")
Task = tuple[str, str, str]  # environment, attack, perturbation
Interval = tuple[float, float] | None


class Line(NamedTuple):
    """What one method comes to. ``scores``: the mean over runs of each task. ``iqm``: over all its runs and tasks, None
    if it lacks a task that others played. ``improvement``: P(a run is better than one of vanilla), over the tasks of
    both. ``worst``: the mean, over runs, of the least score of every episode over all tasks. Intervals are 95 %
    bootstraps over the runs within each task, None where a method has one run only: nothing can vary there."""

    method: str
    runs: int
    scores: dict[str, float]
    iqm: float | None
    iqm_interval: Interval
    improvement: float | None
    improvement_interval: Interval
    worst: float | None


class Part(NamedTuple):
    """One environment, or all together; ``score`` is "win rate" or "return"."""

    env: str
    score: str
    tasks: list[str]
    lines: list[Line]


def overview(rows: pl.DataFrame) -> list[Part]:
    """Return a part per environment and, where several can be won, one over all of these.

    Raises ValueError where an episode comes twice.
    """
    check_once(rows)
    named = rows.with_columns(own_name().alias("group"))
    parts: list[Part] = []
    won: list[pl.DataFrame] = []
    for (env,), played in named.group_by("env", maintain_order=True):
        has_win = played["win"].null_count() == 0
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
    found: dict[str, dict[Task, list[float]]] = {}
    for row in per_run.iter_rows(named=True):
        task = row["env"], row["attack"], row["perturbation"]
        found.setdefault(row["group"], {}).setdefault(task, []).append(row["score"])
    tasks = list(dict.fromkeys(task for scores in found.values() for task in scores))
    lines = [_line(method, found, tasks, rows.filter(pl.col("group") == method)) for method in found]
    return Part(name, score, [_label(task, name) for task in tasks], lines)


def _line(method: str, found: dict[str, dict[Task, list[float]]], tasks: Sequence[Task], rows: pl.DataFrame) -> Line:
    mine, base = found[method], found.get(BASELINE, {})
    iqm, iqm_interval, improvement, improvement_interval = None, None, None, None
    complete = all(task in mine for task in tasks)
    if complete:
        iqm = float(_iqm([np.asarray(mine[task]) for task in tasks]))
        iqm_interval = stats.bootstrap(mine.values(), _iqm) if _vary(mine.values()) else None
    shared = [task for task in tasks if task in mine and task in base]
    if shared and method != BASELINE:
        x, y = [mine[task] for task in shared], [base[task] for task in shared]
        improvement = float(stats.probability_of_improvement(x, y))
        if _vary(x) and _vary(y):
            improvement_interval = stats.bootstrap(
                [*x, *y], lambda drawn: stats.probability_of_improvement(drawn[: len(x)], drawn[len(x) :])
            )
    env = tasks[0][0] if len({task[0] for task in tasks}) == 1 else ALL
    scores = {_label(task, env): float(np.mean(mine[task])) for task in tasks if task in mine}
    worst = _worst(rows) if complete else None
    runs = max(map(len, mine.values()))
    return Line(method, runs, scores, iqm, iqm_interval, improvement, improvement_interval, worst)


def _iqm(tasks: Sequence[stats.Numbers]) -> stats.Numbers:
    return stats.iqm(np.concatenate(tasks, -1), -1)


def _vary(tasks: Iterable[Sequence[float]]) -> bool:
    return max(map(len, tasks)) > 1


def _worst(rows: pl.DataFrame) -> float:
    """An attacker who may choose among everything that was played, in each world anew."""
    of_episode = rows.group_by("env", *_RUN, "key_seed", "episode").agg(pl.col("score").min())
    of_run = of_episode.group_by("env", *_RUN).agg(pl.col("score").mean())
    return float(of_run.group_by("env").agg(pl.col("score").mean())["score"].to_numpy().mean())


def _label(task: Task, env: str) -> str:
    words = [task[0]] if env == ALL else []
    words += [task[1]] if task[2] == "none" else [task[2]] if task[1] == "natural" else [task[1], task[2]]
    return ", ".join(words)


def as_markdown(parts: Sequence[Part]) -> str:
    """Return a table per part; win rates in percent."""
    out: list[str] = []
    for part in parts:
        tasks = [] if part.env == ALL else part.tasks
        heads = ["method", "runs", *tasks, "IQM [95 %]", f"P(better than {BASELINE}) [95 %]", "worst case"]
        lines = [heads, *(_cells(line, tasks, part.score == "win rate") for line in part.lines)]
        unit = "win rate in percent" if part.score == "win rate" else "return"
        out += [f"### {part.env}: {unit}", aligned(lines, 1)]
    out.append(
        "IQM: interquartile mean over all runs and attacks. Worst case: every episode under the attack that hurts it "
        "most. Intervals: bootstrap over runs within attacks; none from one run. –: not played, or not all that others "
        "played."
    )
    return "\n\n".join(out)


def _cells(line: Line, tasks: Sequence[str], is_rate: bool) -> list[str]:
    factor, digits = (100, 1) if is_rate else (1, 2)
    scores = [_number(line.scores.get(task), None, factor, digits) for task in tasks]
    return [
        escape_markdown(line.method),
        str(line.runs),
        *scores,
        _number(line.iqm, line.iqm_interval, factor, digits),
        _number(line.improvement, line.improvement_interval, 1, 2),
        _number(line.worst, None, factor, digits),
    ]


def _number(value: float | None, interval: Interval, factor: float, digits: int) -> str:
    if value is None:
        return "–"
    text = f"{factor * value:.{digits}f}"
    return text + (
        "" if interval is None else f" [{factor * interval[0]:.{digits}f}, {factor * interval[1]:.{digits}f}]"
    )
