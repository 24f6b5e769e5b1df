"""Learning curves: one panel per environment and measure, one line per method, all seeds behind it.

figure = draw([Curve("smac/3m", "natural", "ibal", 0, [0, 50_000], [0.0, 0.8])])
write(figure, "docs/results/curves")             # curves.svg and curves.png
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow: told apart by the colour blind, and by the order of their greys.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


class Curve(NamedTuple):
    """One seed of a method in an environment under a measure ("natural", an attack); ``steps`` grow."""

    env: str
    measure: str
    method: str
    seed: int
    steps: Sequence[float]
    values: Sequence[float]


def draw(curves: Sequence[Curve], label: str = "win rate") -> Figure:
    """Return the picture: columns are environments, rows measures; thick the mean over seeds, thin each seed.

    The mean is drawn over the steps that all seeds of a method have reached, interpolated between their points. Raises
    ValueError if there is no curve.
    """
    if not curves:
        raise ValueError("draw: no curve given")
    from matplotlib.figure import Figure

    envs, measures, methods = (list(dict.fromkeys(getattr(c, k) for c in curves)) for k in ("env", "measure", "method"))
    columns = len(envs) if len(measures) > 1 else min(len(envs), 3)  # a single row of many is broken
    panels = [(measure, env) for measure in measures for env in envs]
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1.2 + 3.0 * columns, 0.9 + 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axis, (measure, env) in zip(axes, panels, strict=False):
        for method in methods:
            mine = [c for c in curves if (c.env, c.measure, c.method) == (env, measure, method)]
            _lines(axis, mine, method, COLOURS[methods.index(method) % len(COLOURS)])
        axis.set_title(env.removeprefix("smac/") + (f", {measure}" if len(measures) > 1 else ""), fontsize=10)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(len(panels) - columns, 0) : len(panels)]:
        axis.set_xlabel("million environment steps")
    for axis in axes[::columns]:
        axis.set_ylabel(label)
    handles, names = axes[0].get_legend_handles_labels()
    if len(methods) > 1:
        figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 4), frameon=False)
    return figure


def _lines(axis: Axes, curves: Sequence[Curve], name: str, colour: str) -> None:
    for curve in curves:
        axis.plot(np.asarray(curve.steps) / 1e6, curve.values, color=colour, linewidth=0.7, alpha=0.45)
    if not curves:
        axis.plot([], [], color=colour, linewidth=2.0, label=name)  # in the legend of every panel all the same
        return
    end = min(max(c.steps) for c in curves)
    steps = np.unique(np.concatenate([c.steps for c in curves]))
    steps = steps[(steps >= max(min(c.steps) for c in curves)) & (steps <= end)]
    mean = np.mean([np.interp(steps, c.steps, c.values) for c in curves], axis=0)
    axis.plot(steps / 1e6, mean, color=colour, linewidth=2.0, label=name)
