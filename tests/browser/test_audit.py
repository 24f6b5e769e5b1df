"""The page of an audit in a real browser: replays are put together when they are opened."""

from __future__ import annotations

from pathlib import Path

from browser.chrome import Browser
from ibal.report.audit import page as audit_page
from ibal.viz.player import player_pieces
from unit.report.test_audit import everything
from unit.viz import skirmish


def test_replays_play_when_they_are_opened(chromium: Browser, tmp_path: Path) -> None:
    films = [(f"stop[who={i}]", player_pieces(skirmish.stroll(i + 2), None, skirmish.PEACEFUL, title=f"film {i}"))
             for i in range(2)]  # fmt: skip
    (tmp_path / "audit.html").write_text(audit_page(everything(), films), encoding="utf-8")
    page = chromium.open(tmp_path / "audit.html", width=1400, height=900)
    page.wait("document.querySelectorAll('iframe')[0].srcdoc.length > 0")
    assert page.eval("document.querySelectorAll('iframe')[1].srcdoc") == ""
    page.eval("document.querySelectorAll('details:has(iframe) summary')[1].click()")
    page.wait("document.querySelectorAll('iframe')[1].srcdoc.length > 0")
    held = page.eval("[...document.querySelectorAll('iframe')].map(frame => frame.srcdoc)")
    assert held == ["".join(pieces) for _, pieces in films]
    page.settle()
    assert page.complaints() == []
    assert all(url.startswith(("file:", "data:", "about:")) for url in page.requests())
    page.close()
