"""Pictures of learning curves show the mean over what all seeds have reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibal.viz.curves import Curve, draw
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
    assert [line.get_label() for line in thick] == ["vanilla", "ibal"]
    np.testing.assert_allclose(np.asarray(thick[0].get_xdata()), [0, 1, 2])
    np.testing.assert_allclose(np.asarray(thick[0].get_ydata()), [0, 0.3, 0.5], atol=1e-6)
    assert [path.suffix for path in write_figure(figure, tmp_path / "c")] == [".svg", ".png"]
    assert "vanilla" in (tmp_path / "c.svg").read_text()


def test_many_environments_are_broken_into_rows() -> None:
    figure = draw([Curve(f"e{k}", "natural", "m", 0, [0, 1], [0, 1]) for k in range(5)])
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    with pytest.raises(ValueError, match="no curve given"):
        draw([])
