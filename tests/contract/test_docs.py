"""The documentation without building it: ``dev.py docs`` needs more libraries than the checks have."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not re.fullmatch(r"table-\d+\.md", p.name))
# What the table of CONTRIBUTING.md names and no page is about.
NO_PAGE = {"launcher", "example"}


def test_every_page_can_be_reached_from_the_first() -> None:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    listed = [line for tree in trees for line in tree.split() if not line.startswith(":")]
    named = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES} - {"index"}
    assert named <= set(listed), "name it in a toctree of docs/index.md"
    assert all((DOCS / f"{name}.md").is_file() for name in named)


def test_what_pages_include_and_link_to_is_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = [*re.findall(r"\{literalinclude\} (\S+)", text), *re.findall(r"\]\(([^)#:\s]+)[^)]*\)", text)]
        for link in links:
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def test_there_is_a_page_for_whatever_can_be_added() -> None:
    rows = re.findall(r"^\| an? \*\*(.+?)\*\*", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    pages = {page.stem for page in (DOCS / "how-to").glob("*.md")}
    names = {"SMAC map": "smac-map", "agent network": "network", "MI estimator": "estimator"}
    assert len(rows) > 8
    assert {names.get(row, row) for row in rows} - NO_PAGE <= pages
