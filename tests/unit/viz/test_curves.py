"""Pictures of learning curves show the mean over what all seeds have reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ibal.viz.curves import RATE, Curve, draw
from ibal.viz.files import write_figure


def test_a_panel_per_environment_and_measure_and_a_line_per_method(tmp_path: Path) -> None:
    curves = [
        Curve(env, measure, method, seed, [0, 1e6, 2e6 + seed], [0.0, 0.2 * (1 + seed), 0.5])
        for env in ("smac/3m", "smac/8m") for measure in ("natural", "interaction") for method in ("vanilla", "ibal")
        for seed in (0, 1)
    ]  # fmt: skip
    figure = draw(curves[:-1])
    assert [axis.get_title() for axis in figure.axes] == [
        "3m, natural", "8m, natural", "3m, interaction", "8m, interaction",
    ]  # fmt: skip
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.0]
    assert [line.get_color() for line in thick] == ["#0072b2", "#d55e00"]
    assert keys(figure) == ["vanilla (2 seeds)", "ibal (1 to 2 seeds)"]
    np.testing.assert_allclose(np.asarray(thick[0].get_xdata()), [0, 1, 2])
    np.testing.assert_allclose(np.asarray(thick[0].get_ydata()), [0, 0.3, 0.5], atol=1e-6)
    assert [path.suffix for path in write_figure(figure, tmp_path / "c")] == [".svg", ".png"]
    assert "vanilla" in (tmp_path / "c.svg").read_text()


def keys(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("last", "shown", "unit"),
    [(2000, 2000, "environment steps"), (250_000, 250, "thousand environment steps"),
     (3e6, 3, "million environment steps")],
)  # fmt: skip
def test_a_tiny_run_was_drawn_over_0_002_million_steps(last: float, shown: float, unit: str) -> None:
    axis = draw([Curve("e", "natural", "m", 0, [0, last], [0.1, 0.2])]).axes[0]
    assert (axis.get_xlabel(), axis.get_xlim()) == (unit, (0, shown))


def test_panels_did_not_share_their_steps() -> None:
    short = Curve("a", "natural", "m", 0, [0, 500], [0.1, 0.2])
    long = Curve("b", "natural", "m", 0, [100, 4000], [-30.0, 20.0], "return")
    left, right = draw([short, long]).axes
    assert left.get_xlim() == right.get_xlim() == (0, 4000)
    assert (left.get_ylabel(), right.get_ylabel()) == (RATE, "return")
    assert left.get_ylim()[0] == 0
    assert left.get_ylim()[1] > 1
    assert right.get_ylim()[0] < -30


def test_one_seed_looked_like_a_mean() -> None:
    figure = draw([Curve("e", "natural", "m", 3, [0, 1, 2], [0.1, 0.2, 0.3])])
    assert all(line.get_linewidth() < 2 for line in figure.axes[0].lines)
    assert keys(figure) == ["m (1 seed)"]
    assert "no mean" in figure.legends[0].get_title().get_text()
    assert figure.axes[0].lines[0].get_marker() == "."  # a single point would be no line


def test_methods_beyond_the_last_colour_are_told_apart() -> None:
    figure = draw([Curve("e", "natural", f"m{k}", 0, [0, 1], [0, 1]) for k in range(9)])
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 9


def test_many_environments_are_broken_into_rows() -> None:
    figure = draw([Curve(f"e{k}", "natural", "m", 0, [0, 1], [0, 1]) for k in range(5)])
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    with pytest.raises(ValueError, match="no curve given"):
        draw([])


def test_dollar_signs_in_names_are_no_formula(tmp_path: Path) -> None:
    """A run folder of somebody else's may call its method "a $x^ b$"."""
    figure = draw([Curve("my $x^ env$", "natural", method, 0, [0, 1e6], [0.0, 0.5]) for method in ("$a_$", "$b^$")])
    write_figure(figure, tmp_path / "c")
    assert "my $x^ env$" in (tmp_path / "c.svg").read_text()
