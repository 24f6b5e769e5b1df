"""The page of a study in a real browser: sorted, filtered, copied, an episode opened, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from browser.chrome import Browser, Page
from ibal.report.study import Replay, study_data, study_html
from unit.report.study_rows import rows


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    data = study_data(rows(), title="A study", cards={("vanilla", "smac/3m", "ega", "none"): {"attack": "ega"}})
    path = tmp_path_factory.mktemp("study") / "index.html"
    path.write_text(study_html(data, '<svg viewBox="0 0 9 9"></svg>', [Replay(3, "seed 0", "<h1>an episode</h1>")]))
    return path


@pytest.fixture
def page(chromium: Browser, file: Path) -> Iterator[Page]:
    opened = chromium.open(file, width=1400, height=900)
    yield opened
    opened.settle()
    assert opened.complaints() == []
    assert all(url.startswith(("file:", "data:", "about:", "blob:")) for url in opened.requests())
    opened.close()


def column(page: Page, number: int) -> list[str]:
    return page.eval(f"[...document.querySelectorAll('#cell-table tbody tr')].map(r => r.cells[{number}].textContent)")


def test_cells_are_sorted_and_filtered(page: Page) -> None:
    assert len(column(page, 0)) == 36
    page.eval("document.querySelectorAll('#cell-table thead button')[4].click()")
    ours = [float(text) for text in column(page, 4)]
    assert ours == sorted(ours, reverse=True)
    page.eval("document.querySelectorAll('#cell-table thead button')[4].click()")
    assert [float(text) for text in column(page, 4)] == sorted(ours)
    page.eval("(() => { const s = document.querySelector('[data-filter=attack]'); s.value = 'ega';"
              " s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    assert set(column(page, 2)) == {"ega"}
    page.eval("(() => { const s = document.getElementById('search'); s.value = 'ibal 8m';"
              " s.dispatchEvent(new Event('input')); })()")  # fmt: skip
    assert (column(page, 0), column(page, 1)) == (["ibal"], ["8m"])


def test_a_table_of_the_paper_is_sorted_with_what_is_missing_last(page: Page) -> None:
    table = "document.querySelector('[data-table=\"7\"] table')"
    page.eval(f"{table}.querySelectorAll('thead button')[6].click()")
    names = page.eval(f"[...{table}.tBodies[0].rows].map(r => r.cells[0].textContent)")
    assert set(names[:3]) == {"IBAL", "Rand-Obs", "Vanilla QMIX"}


def test_a_cell_opens_its_card_and_plays_an_episode(page: Page) -> None:
    page.click_on("#cell-table tbody tr[data-cell='3']")
    assert page.eval("document.getElementById('detail').open")
    assert "Card" in page.eval("document.getElementById('detail-body').textContent")
    page.click_on("#detail .play")
    page.wait("document.querySelector('#detail iframe') && document.querySelector('#detail iframe').srcdoc.length > 0")
    assert page.eval("document.querySelector('#detail iframe').srcdoc") == "<h1>an episode</h1>"


def test_tables_are_copied_and_all_rows_are_printed(page: Page) -> None:
    page.eval("document.querySelector('[data-copy=LaTeX]').click()")
    page.wait("Number(document.querySelector('[data-copy=LaTeX]').dataset.copied) > 1000")
    page.eval("dispatchEvent(new Event('beforeprint'))")
    assert len(column(page, 0)) == 36


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone(chromium: Browser, file: Path, scheme: str) -> None:
    phone = chromium.open(file, width=390, height=844, scheme=scheme, phone=True)
    assert phone.eval("document.documentElement.scrollWidth") <= 390
    number = "document.querySelector('#cell-table tbody tr').cells[4]"  # of a cell: seen without scrolling sideways
    assert phone.eval(f"{number}.getBoundingClientRect().right") <= 390
    phone.close()


def test_attackers_that_change_nothing_are_marked(chromium: Browser, tmp_path: Path) -> None:
    calm = rows(["vanilla"], ("smac/3m",), attacks=["natural"])
    frame = pl.concat([rows(["vanilla"], ("smac/3m",)), calm.with_columns(pl.lit("ega[p=0]").alias("attack"))])
    fitted = {"fitted to": [{"what": "somebody"}]}
    cards = {("vanilla", "smac/3m", attack, "none"): fitted for attack in ("interaction", "ega[p=0]")}
    path = tmp_path / "index.html"
    path.write_text(study_html(study_data(frame, title="x", cards=cards)))
    page = chromium.open(path)
    heads = page.eval("[...document.querySelectorAll('#heat-table thead th')].map(h => h.textContent)")
    assert [head for head in heads if "badly fitted" in head] == ["ega[p=0]hardly felt: badly fitted?"]
    page.close()


def test_a_board_is_ranked_by_what_the_worst_attack_leaves(chromium: Browser, tmp_path: Path) -> None:
    place = {"env": "smac/3m", "score": "win", "under": "ega, none", "natural": 99.0, "steps": 10**6, "method": "x",
             "checked": "2026-11-29", "engine": "0.1.0", "version": "2026-12", "claims": 0, "held": 0,
             "wrong": 0}  # fmt: skip
    claimed = {"claims": 3, "held": 2, "wrong": 1}
    places = [
        place | {"team": "smac/3m/a", "worst": 60.0},
        place | {"team": "smac/3m/b", "worst": 40.0} | claimed,
        place | {"team": "smac/8m/c", "env": "smac/8m", "worst": 1.0},
    ]
    path = tmp_path / "board.html"
    path.write_text(study_html(study_data(rows(), title="Leaderboard") | {"board": places}))
    page = chromium.open(path, width=390, height=844, phone=True)
    teams = (
        "[...document.querySelectorAll('#board-list table')]"
        ".map(t => [...t.tBodies[0].rows].map(r => r.cells[0].textContent))"
    )
    assert page.eval(teams) == [["ax", "bx"], ["cx"]]
    page.eval("document.querySelectorAll('#board-list thead button')[1].click()")
    page.eval("document.querySelectorAll('#board-list thead button')[1].click()")
    assert page.eval(teams) == [["bx", "ax"], ["cx"]]
    assert page.eval("document.querySelector('#board-list .below').textContent") == "1 of 3 WRONG"
    assert page.eval("document.documentElement.scrollWidth") <= 390
    assert page.complaints() == []
    page.close()
