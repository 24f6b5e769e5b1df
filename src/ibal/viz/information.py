"""Pictures of why the interaction-breaking attack works: what entries tell, what actions tell, what is redundant.

    write(dimensions(picture), "analysis/dimensions")               # dimensions.svg and dimensions.png

Numbers come from ``evaluate.information``. Light background; blue against vermilion, and never colour alone. Source:
IBAL Figures 2, 7(d) and 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ibal.types import ObsLayout
from ibal.viz.files import SVG, write_figure
from ibal.viz.theme import THEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = THEMES["light"]
BLUE, VERMILION, INK, MUTED, LINE = (COLOURS[name] for name in ("agent", "enemy", "ink", "muted", "line"))
PALE = "#bcd4f2"  # the blue, lightened: bars that are to be covered by others
FONT: dict[Any, Any] = {"font.size": 9, "font.family": "sans-serif", "axes.edgecolor": MUTED, "axes.labelcolor": INK,
        "text.color": INK, "xtick.color": INK, "ytick.color": INK, **SVG}  # fmt: skip


# Information never is below 0, what is estimated of it may be.
BELOW = "Below 0: an estimate from finitely many moments, to be read as no information."


class Dimensions(NamedTuple):
    """What the entries of one agent tell about the other group, in nats, and what is done about it.

    ``before`` and ``after`` [o] as the attack's scores say (what is hidden tells nothing); ``measured`` [o] as a model
    fitted to masked observations says, None if there is none; ``strips``: name -> bool[o], rows under the bars;
    ``roles``: as from ``evaluate.information.by_role``.
    """

    title: str
    layout: ObsLayout
    before: np.ndarray
    after: np.ndarray
    measured: np.ndarray | None
    strips: Mapping[str, np.ndarray]
    roles: Mapping[str, Mapping[str, float]]


def dimensions(picture: Dimensions) -> Figure:
    """Draw Figure 2: information by entry before and after masking, D* and the truth; below, what tells about whom."""
    figure, (bars, rows, means) = _figure((max(9.0, 0.085 * len(picture.before)), 6.6), 3, (3.0, 1.1, 2.0))
    scale = max(float(np.max(picture.before)), 1e-12)
    x = np.arange(len(picture.before))
    bars.bar(x, np.maximum(picture.before, 0) / scale, width=0.9, color=PALE, label="before masking")
    bars.bar(x, np.maximum(picture.after, 0) / scale, width=0.55, color=BLUE, label="after masking")
    if picture.measured is not None:
        shown = np.clip(picture.measured / scale, 0, 1.05)
        bars.plot(x, shown, linestyle="none", marker="D", markersize=3.2, color=VERMILION, label="after, measured anew")
    bars.set(
        ylabel="information (largest = 1,\nbelow 0: drawn as 0)" if _negative(picture) else "information (largest = 1)",
        ylim=(0, 1.08),
        xlim=(-0.8, len(x) - 0.2),
        xticks=[],
    )
    bars.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    figure.suptitle(picture.title, x=0.01, ha="left", fontsize=10)
    for row, (name, mask) in enumerate(picture.strips.items()):
        colour = INK if name.startswith("truth") else VERMILION
        rows.bar(x[mask], 0.7, bottom=len(picture.strips) - 1 - row + 0.15, width=0.9, color=colour)
    rows.set(xlim=bars.get_xlim(), ylim=(0, len(picture.strips)))
    rows.set_yticks(np.arange(len(picture.strips))[::-1] + 0.5, list(picture.strips))
    rows.set_xticks(
        [(b.start + b.stop - 1) / 2 for b in picture.layout.blocks],
        [f"{b.kind} {b.slot}" if b.kind in ("ally", "enemy") else b.kind for b in picture.layout.blocks],
        rotation=35, ha="right", fontsize=8,
    )  # fmt: skip
    for axis in (bars, rows):
        axis.tick_params(length=0)
        for block in picture.layout.blocks[1:]:
            axis.axvline(block.start - 0.5, color=LINE, linewidth=0.8, zorder=0)
    _roles(means, picture.roles)
    if _negative(picture):
        _note(figure, BELOW)
    return figure


def _negative(picture: Dimensions) -> bool:
    """Whether anything in the picture is below 0."""
    values = [picture.before, picture.after, *(list(features.values()) for features in picture.roles.values())]
    values += [] if picture.measured is None else [picture.measured]
    return min((float(np.min(each)) for each in values), default=0.0) < 0


def _note(figure: Figure, text: str) -> None:
    """Write a sentence below a picture."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=MUTED)


def _roles(axis: Axes, roles: Mapping[str, Mapping[str, float]]) -> None:
    """Draw one bar per feature, role by role; the partner's in vermilion."""
    names, at, start = [], [], 0.0
    for role, features in roles.items():
        x = start + np.arange(len(features))
        axis.bar(x, list(features.values()), width=0.8, color=VERMILION if role == "partner" else MUTED)
        label = {"partner": "block of j", "other ally": "block of another ally", "enemy": "block of an enemy"}
        axis.text(x.mean(), 1.0, label.get(role, role), transform=axis.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=8.5, color=VERMILION if role == "partner" else INK)  # fmt: skip
        names += list(features)
        at += list(x)
        start += len(features) + 0.9
    axis.set_xticks(at, names, rotation=35, ha="right", fontsize=8)
    axis.set(ylabel="mean information on\nthe action of j (nats)")
    axis.axhline(0, color=MUTED, linewidth=0.8)
    axis.tick_params(axis="x", length=0)


def actions(title: str, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Figure:
    """Draw Figure 7(d) as bars: what each action tells, and how often it is intended and executed.

    ``rows`` as from ``evaluate.information.told``, one per attacker; actions that are never legal are left out.
    """
    names = rows[0]["actions"]
    legal = np.flatnonzero(np.asarray(rows[0]["legal"]) > 0)
    height = max(3.0, 0.34 * len(legal) + 1.5)
    figure, (left, right) = _figure((9.0, height), 1, (1.0,), columns=2)
    y, thick = np.arange(len(legal)), 0.8 / len(rows)
    for k, (row, label) in enumerate(zip(rows, labels, strict=True)):
        values = np.asarray(row["information"], float)[legal]
        colour, hatch = ((BLUE, None), (PALE, "///"))[k % 2]
        left.barh(y + (k - (len(rows) - 1) / 2) * thick, values, height=thick, color=colour, hatch=hatch,
                  edgecolor=BLUE, linewidth=0.6, label=label)  # fmt: skip
    intended, executed = (np.asarray(rows[0][name], float)[legal] for name in ("intended", "executed"))
    right.barh(y - 0.2, intended, height=0.38, color=MUTED, label="intended by the team")
    right.barh(y + 0.2, executed, height=0.38, color=VERMILION, hatch="...", edgecolor=INK, linewidth=0.4,
               label="executed: tells least")  # fmt: skip
    for axis in (left, right):
        axis.set_ylim(len(legal) - 0.4, -0.6)
        axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
        axis.grid(axis="x", color=LINE, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
    left.set_yticks(y, [names[a] for a in legal])
    right.set_yticks(y, [""] * len(legal))
    left.set_xlabel("information on the other group's actions (nats)")
    right.set(xlabel=f"share of attacked moments{' in combat' if rows[0]['combat'] else ''}", xlim=(0, 1))
    if any(np.nanmin(np.asarray(row["information"], float)[legal], initial=0.0) < 0 for row in rows):
        _note(figure, BELOW)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def redundancy(title: str, steps: Mapping[str, np.ndarray]) -> Figure:
    """Draw Figure 14: group-wise information, the sum of its parts and their difference, per time step, once as the
    bound that the attack uses and once as information. ``steps`` as from ``Redundancy.per_step``."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure((9.0, 3.6), 1, (1.0,), columns=2)
    names = {"club": "CLUB bound, as the attack uses it", "mixture": "information (mixture)"}
    time = steps["time"]
    for axis, (reading, name) in zip(axes, names.items(), strict=True):
        gap, low, high = (steps[f"{reading}_{what}"] for what in ("redundancy", "low", "high"))
        axis.plot(time, steps[f"{reading}_group"], color=BLUE, linewidth=1.6, label="group-wise")
        axis.plot(time, steps[f"{reading}_parts"], color=VERMILION, linestyle="--", linewidth=1.6, label="sum of parts")
        axis.plot(time, gap, color=INK, linestyle=":", linewidth=1.8, label="redundancy (difference)")
        axis.fill_between(time, low, high, color=INK, alpha=0.15, linewidth=0, label="its 95 % interval")
        axis.axhline(0, color=MUTED, linewidth=0.8)
        axis.set(xlabel="time step", ylabel="nats")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(name, fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    below = any((np.asarray(steps[f"{r}_{part}"]) < 0).any() for r in names for part in ("group", "parts"))
    lines = [
        "Redundancy below 0: the parts tell the same thing more than once; above 0: what only the whole group tells.",
        "The interval is about the moments drawn, given the fitted model.",
    ]
    _note(figure, "\n".join([*lines, "Group and parts b" + BELOW[1:]] if below else lines))
    return figure


def write(figure: Figure, stem: str | Path) -> list[Path]:
    """Write ``stem``.svg and ``stem``.png in the style of these pictures; return both paths."""
    return write_figure(figure, stem, FONT)


def _figure(
    size: tuple[float, float], rows: int, heights: Sequence[float], columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Make a figure without pyplot, which keeps global state and may look for a screen."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(FONT):
        figure = Figure(figsize=size, layout="constrained", facecolor=COLOURS["panel"])
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, height_ratios=list(heights)).ravel().tolist()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def pictures(numbers: Mapping[str, Any], layout: ObsLayout, folder: str | Path) -> list[Path]:
    """Draw what ``analysis.why`` found, as dimensions, actions and redundancy (.svg and .png) in ``folder``."""
    env, most, found = numbers["env"], numbers["most"], numbers["dimensions"]
    shown = found["agent"]
    strips = {name: value for name, value in shown.items() if name.startswith(("hidden:", "truth:"))}
    members = ", ".join(map(str, shown["group"]))
    about = f"what agent {shown['agent']} sees tells about the actions of the other group (G1: {members})"
    one = Dimensions(
        f"{env}: {about}", layout, shown["before"], shown["after"], shown["measured"], strips, found["roles"]
    )
    rows = numbers["actions"]["attackers"]
    labels = ["this attacker", "a second fit"][: len(rows)]
    title = f"{env}: does the sum over pairs and entries stand for the group? (G1: {most} drawn at random)"
    figures = {
        "dimensions": dimensions(one),
        "actions": actions(f"{env}: what an agent of G1 tells by its action", rows, labels),
        "redundancy": redundancy(title, numbers["redundancy"]["per_step"]),
    }
    return [path for name, figure in figures.items() for path in write(figure, Path(folder) / name)]
