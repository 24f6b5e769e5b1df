"""Teams beside each other, whatever was played: a point and its 95 % interval for each, a panel per measure and map.

figure = draw(rows)                                        # of ibal.grid(…).rows, or of an evaluation
write_figure(figure, "ablations/figure-9")

The order of teams is that of the rows, so that variants of one option stand in its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ibal.evaluation import stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR = "#0072b2"


def draw(rows: pl.DataFrame) -> Figure:
    """Return the picture: columns are environments, rows what teams met. Win rates; small points are single seeds.
    Raises ValueError where there is nothing that can be won."""
    played = rows.filter(pl.col("win").is_not_null())
    if not played.height:
        raise ValueError("there is no game here that can be won, so nothing to draw")
    from matplotlib.figure import Figure

    envs = played["env"].unique(maintain_order=True).to_list()
    measures = played.select("attack", "perturbation").unique(maintain_order=True).rows()
    teams = {env: played.filter(pl.col("env") == env)["policy"].unique(maintain_order=True).to_list() for env in envs}
    height = 0.8 + 0.22 * max(map(len, teams.values()))
    size = (1.6 + 3.0 * len(envs), 0.4 + height * len(measures))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(measures), len(envs), squeeze=False)
    for i, measure in enumerate(measures):
        for j, env in enumerate(envs):
            attack, perturbation = measure
            here = played.filter(
                pl.col("env") == env, pl.col("attack") == attack, pl.col("perturbation") == perturbation
            )
            _panel(axes[i][j], here, teams[env])
            axes[i][j].set_title(f"{env.removeprefix('smac/')}: {name_of(attack, perturbation)}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("win rate, 95 % interval", fontsize=9)
    return figure


def name_of(attack: str, perturbation: str) -> str:
    """Return what a team met in words."""
    words = [word for word in (attack, perturbation) if word not in ("natural", "none")]
    return " with ".join(words) or "natural"


def points(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return mean, interval and the means of the seeds of every team in the rows of one panel."""
    found: dict[str, dict[str, Any]] = {}
    for (team,), group in rows.group_by("policy", maintain_order=True):
        runs = [part["win"].cast(pl.Float64).to_numpy() for _, part in group.group_by("seed", maintain_order=True)]
        sample = stats.sample(runs, rate=True)
        low, high = stats.interval(sample)
        found[str(team)] = {"mean": sample.mean, "low": low, "high": high, "seeds": [float(r.mean()) for r in runs]}
    return found


def _panel(axis: Axes, rows: pl.DataFrame, teams: list[str]) -> None:
    found = points(rows)
    for y, team in enumerate(teams):
        if team not in found:
            axis.text(0.02, y, "not played", fontsize=7, va="center", color="#777777")
            continue
        one = found[team]
        axis.plot([one["low"], one["high"]], [y, y], color=COLOUR, linewidth=1.5, clip_on=False)
        axis.plot(one["mean"], y, "o", color=COLOUR, markersize=5, clip_on=False)
        axis.plot(one["seeds"], [y] * len(one["seeds"]), "|", color="#d55e00", markersize=6, clip_on=False)
    axis.set_yticks(range(len(teams)), teams, fontsize=8)
    axis.set_ylim(len(teams) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
