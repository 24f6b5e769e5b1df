"""Learning curves: one panel per environment and measure, one line per method, all seeds behind it.

figure = draw([Curve("smac/3m", "natural", "ibal", 0, [0, 50_000], [0.0, 0.8])])
write_figure(figure, "docs/results/curves")             # curves.svg and curves.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow: told apart by the colour blind, and by the order of their greys.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", "--", "-.", ":")  # of the methods beyond the last colour, which would else look like the first ones
RATE = "win rate"


class Curve(NamedTuple):
    """One seed of a method in an environment under a measure ("natural", an attack); ``steps`` grow. ``score`` names
    what ``values`` are, the same for all curves of an environment."""

    env: str
    measure: str
    method: str
    seed: int
    steps: Sequence[float]
    values: Sequence[float]
    score: str = RATE


def of_rows(rows: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """Put rows of ``report.curves`` together that are one curve: of win rates, or of returns where nothing can be
    won."""
    without = {row["env"] for row in rows if row["win"] is None}
    found: dict[tuple[str, str, str, int, str], dict[int, float]] = {}
    for row in rows:
        name = row["env"], row["attack"], row["method"], row["seed"], row["run"]
        found.setdefault(name, {})[row["env_steps"]] = row["return" if row["env"] in without else "win"]
    return [
        Curve(env, attack, method, seed, sorted(points), [points[step] for step in sorted(points)],
              "return" if env in without else RATE)
        for (env, attack, method, seed, _), points in found.items()
    ]  # fmt: skip


def draw(curves: Sequence[Curve]) -> Figure:
    """Return the picture: columns are environments, rows measures.

    Thin: one seed each, with a point where it was measured. Thick: the mean of a method that has several, over the
    steps that all of them have reached, interpolated between their points; a single seed is no mean and gets none. All
    panels share the steps, those of one environment the score. Raises ValueError if there is no curve.
    """
    if not curves:
        raise ValueError("draw: no curve given")
    from matplotlib.figure import Figure

    envs, measures, methods = (list(dict.fromkeys(getattr(c, k) for c in curves)) for k in ("env", "measure", "method"))
    columns = len(envs) if len(measures) > 1 else min(len(envs), 3)  # a single row of many is broken
    panels = [(measure, env) for measure in measures for env in envs]
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1.6 + 3.2 * columns, 1.2 + 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    last = max(max(c.steps) for c in curves)
    per, unit = _unit(last)
    for k, (axis, (measure, env)) in enumerate(zip(axes, panels, strict=False)):
        here = [c for c in curves if (c.env, c.measure) == (env, measure)]
        for method in methods:
            style = COLOURS[methods.index(method) % len(COLOURS)], DASHES[methods.index(method) // len(COLOURS) % 4]
            _lines(axis, [c for c in here if c.method == method], per, style)
        _frame(axis, [c for c in curves if c.env == env], last / per)
        axis.set_title(env.removeprefix("smac/") + (f", {measure}" if len(measures) > 1 else ""), fontsize=10)
        if k + columns >= len(panels):
            axis.set_xlabel(unit, fontsize=9)
        if not here:
            axis.text(0.5, 0.5, "not played", transform=axis.transAxes, ha="center", va="center", color="#777777")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    _legend(figure, curves, methods)
    return figure


def _unit(last: float) -> tuple[float, str]:
    """Return in what steps are counted, so that the axis has numbers of few digits."""
    if last >= 1e6:
        return 1e6, "million environment steps"
    return (1e3, "thousand environment steps") if last >= 1e4 else (1.0, "environment steps")


def _lines(axis: Axes, curves: Sequence[Curve], per: float, style: tuple[str, str]) -> None:
    colour, dash = style
    for curve in curves:
        steps = np.asarray(curve.steps) / per
        alone = len(curves) == 1
        axis.plot(
            steps, curve.values, dash, color=colour, linewidth=1.0 if alone else 0.7, alpha=1.0 if alone else 0.45,
            marker=".", markersize=4 if alone or len(steps) == 1 else 2.5, clip_on=False,
        )  # fmt: skip
    if len(curves) < 2:
        return
    end = min(max(c.steps) for c in curves)
    steps = np.unique(np.concatenate([c.steps for c in curves]))
    steps = steps[(steps >= max(min(c.steps) for c in curves)) & (steps <= end)]
    if steps.size:
        each = np.array([np.interp(steps, c.steps, c.values) for c in curves])
        axis.plot(steps / per, each.mean(axis=0), dash, color=colour, linewidth=2.0, clip_on=False)
        axis.fill_between(steps / per, each.min(axis=0), each.max(axis=0), color=colour, alpha=0.12, linewidth=0)


def _frame(axis: Axes, curves: Sequence[Curve], last: float) -> None:
    """Give a panel the steps of all panels and the scores of its environment."""
    axis.set_xlim(0, last if last > 0 else 1)
    axis.set_ylabel(curves[0].score, fontsize=9)
    if curves[0].score == RATE:
        axis.set_ylim(0, 1.02)
    else:
        low, high = min(min(c.values) for c in curves), max(max(c.values) for c in curves)
        room = 0.05 * (high - low) or 0.5
        axis.set_ylim(low - room, high + room)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, curves: Sequence[Curve], methods: Sequence[str]) -> None:
    """Say what each colour is, of how many seeds it is, and what is a mean."""
    from matplotlib.lines import Line2D

    handles: list[Line2D] = []
    several = False
    for k, method in enumerate(methods):
        panels = {(c.env, c.measure) for c in curves if c.method == method}
        counts = {sum((c.env, c.measure, c.method) == (*panel, method) for c in curves) for panel in panels}
        several |= max(counts) > 1
        many = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        name = f"{method} ({many} {'seed' if counts == {1} else 'seeds'})"
        width = 2.0 if max(counts) > 1 else 1.0
        dash = DASHES[k // len(COLOURS) % 4]
        handles.append(Line2D([], [], color=COLOURS[k % len(COLOURS)], linestyle=dash, linewidth=width, label=name))
    title = (
        "thick: mean over seeds; thin: one seed; band: from the lowest to the highest"
        if several
        else "thin: one seed each, no mean"
    )
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(len(handles), 3), frameon=False, fontsize=9, title=title,
        title_fontsize=8, alignment="left",
    )  # fmt: skip
