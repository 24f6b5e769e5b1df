"""The page as text: complete in itself, safe to embed, written whole. How it behaves is tested in a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from ibal.viz import write_comparison, write_player
from ibal.viz.files import replace_file
from ibal.viz.player import embed, player_html
from ibal.viz.theme import THEMES
from unit.viz import skirmish


class _Reader(HTMLParser):
    """Collects attributes that load something, ids, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads, self.ids, self.scripts, self._inside = [], [], [], False

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "poster")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "script":
            self._inside = True
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside &= tag != "script"

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


@pytest.fixture(scope="module")
def page(natural, jammed):
    return player_html([natural, jammed], None, skirmish.SPEC, title="natural & <jammed>", summary="{{data}}")


def test_nothing_is_loaded_from_elsewhere(page):
    assert read(page).loads == ["data:,"]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page


def test_no_placeholder_is_left_and_none_in_the_data_is_filled(page):
    assert page.count("{{") == page.count("{{data}}") == 1  # the summary, untouched


def test_data_cannot_end_its_script_element(page):
    reader = read(page)
    assert len(reader.scripts) == 2
    data = json.loads(reader.scripts[0])
    assert [t["label"] for t in data["trajectories"]] == ["natural", "jammed"]
    assert data["trajectories"][0]["scene"]["kinds"][3]["name"] == "sentry </script>"
    assert "</script" not in embed({"a": "</script><!--"})


def test_title_is_escaped(page):
    assert "<title>natural &amp; &lt;jammed&gt;</title>" in page


def test_ids_are_unique_and_every_colour_is_defined(page):
    ids = read(page).ids
    assert len(set(ids)) == len(ids)
    defined = set(THEMES["light"]) | {"on-accent", "columns", "part", "tint", "heat"}
    assert set(re.findall(r"var\(--([a-z-]+)", page)) <= defined
    assert set(THEMES["light"]) == set(THEMES["dark"])


def test_no_trajectory_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        player_html([], None, skirmish.SPEC)


def test_a_comparison_needs_two_to_four_labels_of_their_own(natural, jammed, tmp_path):
    path = tmp_path / "x.html"
    assert write_comparison([natural, jammed], None, skirmish.SPEC, path) == path
    assert "<title>test/skirmish: natural · jammed</title>" in path.read_text()
    path.unlink()
    for wrong, sentence in (
        ([natural], "2 to 4 episodes side by side, not 1"),
        ([natural] * 5, "not 5"),
        ([natural, natural], 'the label "natural" is given twice'),
        ([natural, skirmish.blank()], "an episode has no label"),
    ):
        with pytest.raises(ValueError, match=sentence):
            write_comparison(wrong, None, skirmish.SPEC, path)
    assert not path.exists()


def test_a_page_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "x.html"
    path.write_text("old")
    assert write_player(skirmish.blank(), None, skirmish.SPEC, path) == path
    assert path.read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.html"
    path.write_text("old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
