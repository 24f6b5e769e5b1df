"""The documentation without building it: ``dev.py docs`` needs more libraries than the checks have."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from ibal.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not re.fullmatch(r"table-\d+\.md", p.name))
# What the table of CONTRIBUTING.md names and no page is about.
NO_PAGE = {"launcher", "example"}
TEXTS = [*PAGES, *ROOT.glob("*.md"), *(ROOT / "src").rglob("*.md")]


def test_every_page_can_be_reached_from_the_first() -> None:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    listed = [line for tree in trees for line in tree.split() if not line.startswith(":")]
    named = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES} - {"index"}
    assert named <= set(listed), "name it in a toctree of docs/index.md"
    assert all((DOCS / f"{name}.md").is_file() for name in named)


def test_what_pages_include_and_link_to_is_there() -> None:
    for page in TEXTS:
        text = page.read_text(encoding="utf-8")
        links = [*re.findall(r"\{literalinclude\} (\S+)", text), *re.findall(r"\]\(([^)#:\s]+)[^)]*\)", text)]
        for link in links:
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def test_a_file_that_was_moved_is_not_named_by_its_old_path() -> None:
    """In running text: what commands write stands in other folders."""
    for page in TEXTS:
        for path in re.findall(r"`((?:src|docs|examples|tests|benchmarks)/[\w./-]+)`", page.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for path in re.findall(
            r"`((?:adversaries|envs|nets|mi|learners|game|ops)/[\w./-]+\.py)`", page.read_text("utf-8")
        ):
            here = (ROOT / "src" / "ibal" / path).exists() or "my_" in path or "/x." in path
            assert here, f"{page.name}: {path}"


def commands() -> list[str]:
    """The command lines of ``ibal`` in all pages; a line that ends with a backslash goes on in the next."""
    found: list[str] = []
    for page in TEXTS:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [line.partition("#")[0].strip() for line in lines if re.match(r"ibal [a-z]+( |$)", line)]
    return sorted({line for line in found if "…" not in line and "<" not in line})


@pytest.mark.parametrize("line", commands())
def test_a_command_of_a_page_is_one_that_there_is(line: str) -> None:
    name, *words = (re.sub(r"\bK\b", "0", word) for word in shlex.split(line)[1:])  # K: any seed
    module = importlib.import_module(COMMANDS[name][0])
    if name == "train":
        module.parse(words)
    elif words[:1] not in (["list"], ["check"], ["train"], ["env"]):
        module._parser().parse_args(words)


def test_there_is_a_page_for_whatever_can_be_added() -> None:
    rows = re.findall(r"^\| an? \*\*(.+?)\*\*", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    pages = {page.stem for page in (DOCS / "how-to").glob("*.md")}
    names = {"SMAC map": "smac-map", "agent network": "network", "MI estimator": "estimator"}
    assert len(rows) > 8
    assert {names.get(row, row) for row in rows} - NO_PAGE <= pages
