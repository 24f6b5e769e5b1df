"""What a notebook shows: the numbers of the entries; names of others are text and never markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ibal.evaluation.summary import WORST
from ibal.report import page
from ibal.viz import scores

CARD: dict[str, Any] = {"policies": [], "attacks": []}


def entry(policy: str, attack: str, win: float | None, **more: Any) -> dict[str, Any]:
    out = {"policy": policy, "method": "m", "env": "toy/x", "version": "", "perturbation": "none", "attack": attack}
    out |= {
        "seeds": [0],
        "win_rate": win,
        "win_rate_sd": None,
        "win_rate_interval": None if win is None else (0.1, 0.9),
    }
    return out | {"return": 7.0, "return_sd": 0.5, "return_interval": (6.0, 8.0)} | more


class Cells(HTMLParser):
    """The texts of a table's cells, and the elements that there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_table_has_the_numbers_of_the_entries() -> None:
    entries = [
        entry("runs/<b>a", "natural", 0.75), entry("runs/<b>a", "fgsm", 0.25),
        entry("runs/<b>a", WORST, 0.25, of="fgsm", win_rate_interval=None), entry("random", "natural", 0.5),
    ]  # fmt: skip
    found = Cells(page.table(entries, CARD))
    assert found.texts[:5] == ["toy/x", "team", "natural", "fgsm", WORST]
    assert found.texts[5:12] == ["<b>a", "0.750", "[0.100, 0.900]", "0.250", "[0.100, 0.900]", "0.250", "(fgsm)"]
    assert found.texts[12:17] == ["random", "0.500", "[0.100, 0.900]", "-", "-"]
    assert "b" not in found.elements


def test_returns_stand_where_nothing_can_be_won() -> None:
    found = Cells(page.table([entry("a", "natural", None)], CARD))
    assert found.texts[3:6] == ["a", "7.00 ± 0.50", "[6.00, 8.00]"]


def test_a_figure_stands_in_the_page_itself() -> None:
    assert page.picture(None) == ""
    assert page.picture(Figure(figsize=(1, 1))).startswith('<img alt="figure" src="data:image/png;base64,iVBOR')


def test_scores_are_drawn_where_they_are() -> None:
    entries = [entry("a", "natural", 0.75), entry("a", "fgsm", 0.25), entry("b", "natural", 0.5),
               entry("a", WORST, 0.25, of="fgsm", win_rate_interval=None)]  # fmt: skip
    figure = scores.draw([*entries, *(e | {"perturbation": "dis-1"} for e in entries)], {"a": "A", "b": "B"})
    first, second = figure.axes
    assert second.get_title() == "toy/x, dis-1"
    assert [label.get_text() for label in first.get_xticklabels()] == ["natural", "fgsm", WORST]
    points = [line for line in first.get_lines() if np.size(line.get_xdata()) == 1 and line.get_marker() in ("o", "s")]
    heights = sorted(float(np.asarray(line.get_ydata())[0]) for line in points)
    assert heights == [0.25, 0.25, 0.5, 0.75]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]
