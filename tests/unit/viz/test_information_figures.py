"""The pictures hold what they are given: bar heights, marks and labels are read back from the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ibal.types import Block, ObsLayout
from ibal.viz import information

LAYOUT = ObsLayout((
    Block("enemy", 0, 0, ("x", "health")), Block("ally", 0, 2, ("x", "y")), Block("ally", 1, 4, ("x", "y")),
))  # fmt: skip
BEFORE = np.array([0.1, 0.4, 2.0, 1.0, 0.0, -0.2])


def heights(axis, label: str) -> list[float]:
    bars = next(c for c in axis.containers if c.get_label() == label)
    return [bar.get_height() for bar in bars]


def drawn() -> Figure:
    hidden = np.array([False, False, True, True, False, False])
    return information.dimensions(information.Dimensions(
        "what is seen", LAYOUT, BEFORE, np.where(hidden, 0, BEFORE), np.zeros(6),
        {"hidden: whole blocks": hidden, "truth: the other group": np.roll(hidden, 2)},
        {"partner": {"x": 1.0, "y": 0.5}, "enemy": {"x": 0.2, "health": 0.4}},
    ))  # fmt: skip


def test_entries_before_and_after() -> None:
    bars, rows, means = drawn().axes
    np.testing.assert_allclose(heights(bars, "before masking"), [0.05, 0.2, 1.0, 0.5, 0, 0])
    np.testing.assert_allclose(heights(bars, "after masking"), [0.05, 0.2, 0, 0, 0, 0])
    assert [t.get_text() for t in rows.get_yticklabels()] == ["hidden: whole blocks", "truth: the other group"]
    marked = [[round(bar.get_x() + bar.get_width() / 2) for bar in c] for c in rows.containers]
    assert marked == [[2, 3], [4, 5]]
    assert [t.get_text() for t in rows.get_xticklabels()] == ["enemy 0", "ally 0", "ally 1"]
    assert {t.get_text() for t in means.texts} == {"block of j", "block of an enemy"}


def test_actions_that_are_never_legal_are_left_out() -> None:
    row = {
        "actions": ["no-op", "stop", "attack[0]"], "legal": np.array([0.0, 1.0, 0.5]),
        "information": np.array([np.nan, 0.2, 0.7]), "intended": np.array([0.0, 0.1, 0.9]),
        "executed": np.array([0.0, 1.0, 0.0]), "combat": True,
    }  # fmt: skip
    left, right = information.actions("t", [row, row], ["this attacker", "a second fit"]).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["stop", "attack[0]"]
    widths = [[bar.get_width() for bar in c] for c in left.containers]
    np.testing.assert_allclose(widths, [[0.2, 0.7]] * 2)
    np.testing.assert_allclose([bar.get_width() for bar in right.containers[1]], [1.0, 0.0])
    assert right.get_xlabel() == "share of attacked moments in combat"


def test_a_picture_spoke_of_combat_where_there_is_none() -> None:
    one = np.array([1.0])
    row = {"actions": ["go"], "legal": one, "information": one, "intended": one, "executed": one, "combat": False}
    assert information.actions("t", [row], ["this attacker"]).axes[1].get_xlabel() == "share of attacked moments"


def test_information_below_0_was_not_explained() -> None:
    assert information.BELOW in said(drawn())
    whole = information.Dimensions(
        "t", LAYOUT, np.abs(BEFORE), np.abs(BEFORE), None, {"truth": BEFORE > 1}, {"partner": {"x": 0.5}}
    )
    assert information.BELOW not in said(information.dimensions(whole))
    one = np.array([1.0])
    row = {"actions": ["go"], "legal": one, "intended": one, "executed": one, "combat": False}
    for value, explained in ((-0.1, True), (0.1, False)):
        figure = information.actions("t", [row | {"information": value * one}], ["this attacker"])
        assert (information.BELOW in said(figure)) == explained


def said(figure: Figure) -> str:
    """What stands below a picture."""
    return figure.get_supxlabel()


def test_redundancy_is_drawn_for_both_readings() -> None:
    one = np.array([1.0, 2.0])
    steps = {"time": np.array([0, 1])} | {
        f"{reading}_{name}": one * k
        for k, reading in enumerate(("club", "mixture"), 1) for name in ("group", "parts", "redundancy", "low", "high")
    }  # fmt: skip
    figure = information.redundancy("t", steps)
    axes = figure.axes
    assert said(figure).startswith("Redundancy below 0: the parts tell the same thing more than once")
    assert len(axes) == 2
    for k, axis in enumerate(axes, 1):
        for line in axis.lines[:3]:
            assert np.asarray(line.get_ydata()).tolist() == (one * k).tolist()


def test_files_are_readable_and_the_same_each_time(tmp_path: Path) -> None:
    svg, png = information.write(drawn(), tmp_path / "dimensions")
    assert (svg.name, png.name) == ("dimensions.svg", "dimensions.png")
    assert "what is seen" in svg.read_text()  # text, not outlines
    with Image.open(png) as image:
        assert image.size[0] > 900
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    before = svg.read_bytes()
    information.write(drawn(), tmp_path / "dimensions")
    assert svg.read_bytes() == before
