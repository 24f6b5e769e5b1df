"""What teams keep under attacks, as points with intervals: one panel per environment and perturbation.

figure = draw(entries, short(policies))                 # entries as ``evaluation.summary.summarise`` gives them
write_figure(figure, "docs/results/scores")             # scores.svg and scores.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ibal.evaluation.summary import EXTRA
from ibal.viz.curves import COLOURS, RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]
MARKS = "osD^vPX*"  # so that a print without colours tells them apart too


def draw(entries: Sequence[Entry], names: Mapping[str, str]) -> Figure:
    """Return the picture: attacks from left to right, one point per team with the 95 % interval of ``stats``.

    ``names`` are those to show for the policies, as ``report.names.short`` makes them.

    What is no attack (worst, hindsight, mean) stands right of a line and has an interval only where the entry has one.
    Raises ValueError if there is nothing to draw.
    """
    if not entries:
        raise ValueError("draw: no entry given")
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        panels.setdefault((entry["env"], entry["perturbation"]), []).append(entry)
    attacks = list(dict.fromkeys(entry["attack"] for entry in entries))
    width = 1.8 + max(len(attacks) * (0.35 + 0.12 * len(names)), 1.6)
    figure = Figure(figsize=(width, 0.6 + 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False).flatten()
    for axis, ((env, perturbation), here) in zip(axes, panels.items(), strict=True):
        _panel(axis, here, list(names), attacks)
        axis.set_title(env + (f", {perturbation}" if perturbation != "none" else ""), fontsize=10)
    handles = [axes[0].plot([], [], _mark(i), color=COLOURS[i % len(COLOURS)], label=name)[0]
               for i, name in enumerate(names.values())]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=9,
                  title="mean and 95 % interval", title_fontsize=8, alignment="left")  # fmt: skip
    return figure


def _panel(axis: Axes, entries: Sequence[Entry], policies: Sequence[str], attacks: Sequence[str]) -> None:
    score = "return" if any(entry["win_rate"] is None for entry in entries) else "win_rate"
    step = 0.7 / len(policies)
    for entry in entries:
        i = policies.index(entry["policy"])
        x = attacks.index(entry["attack"]) + (i - (len(policies) - 1) / 2) * step
        value, ends = entry[score], entry[f"{score}_interval"]
        reach = None if ends is None else [[max(value - ends[0], 0)], [max(ends[1] - value, 0)]]
        axis.errorbar([x], [value], reach, fmt=_mark(i), color=COLOURS[i % len(COLOURS)], markersize=5, capsize=2,
                      linewidth=1, clip_on=False)  # fmt: skip
    if attacked := [k for k, name in enumerate(attacks) if name not in EXTRA]:
        axis.axvline(attacked[-1] + 0.5, color="#bbbbbb", linewidth=0.8)
    axis.set_xticks(range(len(attacks)), attacks, rotation=30, ha="right", fontsize=8)
    axis.set_xlim(-0.6, len(attacks) - 0.4)
    axis.set_ylabel(RATE if score == "win_rate" else "return", fontsize=9)
    if score == "win_rate":
        axis.set_ylim(0, 1.02)
    axis.grid(alpha=0.25, axis="y")
    axis.spines[["top", "right"]].set_visible(False)


def _mark(i: int) -> str:
    return MARKS[i % len(MARKS)]
