"""One headless browser for all tests of this folder; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.chrome import Browser, Page, find
from ibal.viz import Overlay, write_comparison, write_player
from unit.viz import skirmish


@pytest.fixture(scope="module")  # not "session": the browser need not stay for the rest of the suite
def chromium(tmp_path_factory) -> Iterator[Browser]:
    binary = find()
    if binary is None:
        pytest.skip("no Chromium found: install chromium, or set IBAL_CHROMIUM to a Chromium or Chrome binary")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    natural, jammed = skirmish.play(label="natural"), skirmish.play(attacked=True, label="jammed")
    notes = tuple(f"note {t}" for t in range(jammed.length))
    jammed = jammed._replace(overlay=jammed.overlay._replace(notes=notes))
    hidden = skirmish.play(attacked=True, label="hidden")
    noise = np.zeros((natural.length, skirmish.N, skirmish.SPEC.obs_size), np.float32)
    noise[0, 0, skirmish.LAYOUT.mask("north", "enemy[0].distance", "enemy[2].distance", "ally[1].health")] = 0.3
    noise[0, 0, skirmish.LAYOUT.mask("enemy[0].rel_x", "enemy[2].rel_x")] = -0.25
    seen = np.asarray(natural.steps.obs)[:-1] + noise
    seen[0, 0, skirmish.LAYOUT.mask("own")] = 0
    noisy = natural._replace(overlay=Overlay(seen=seen))
    shuffled = natural._replace(enemy_units=np.array([5, 3, 4]))
    out = {
        name: write_player(what, None, skirmish.SPEC, folder / f"{name}.html")
        for name, what in (
            ("natural", natural),
            ("jammed", jammed),
            ("hidden", hidden),
            ("noisy", noisy),
            ("shuffled", shuffled),
            ("huddle", skirmish.huddle(swapped=2)),
        )
    }
    out["stroll"] = write_player(skirmish.stroll(), None, skirmish.PEACEFUL, folder / "stroll.html")
    field = replace(skirmish.SCENE, others=("food", "pieces of food"))
    out["harvest"] = write_player(natural, field, skirmish.SPEC, folder / "harvest.html")
    out["cells"] = write_player(skirmish.cells(), None, skirmish.TILED, folder / "cells.html")
    stroll = skirmish.stroll()
    shots = [np.full((40, 60, 3), (0, 50 * t, 90), np.uint8) for t in range(stroll.length + 1)]
    out["shots"] = write_player(
        stroll._replace(pictures=tuple(shots)), None, skirmish.PEACEFUL, folder / "shots.html"
    )  # fmt: skip
    out["both"] = write_comparison([natural, jammed], None, skirmish.SPEC, folder / "both.html", title="both")
    return out


@pytest.fixture
def show(chromium, pages) -> Iterator[Callable[..., Page]]:
    """Open a page by name; afterwards it must have complained about nothing and loaded nothing but itself."""
    opened: list[Page] = []

    def open_page(name: str = "natural", **view: Any) -> Page:
        page = chromium.open(pages[name], **view)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.settle()
        assert page.complaints() == []
        assert all(url.startswith(("file:", "data:", "about:")) for url in page.requests()), page.requests()
        page.close()
