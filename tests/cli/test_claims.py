"""Two commands that write into one folder at the same time do not mix their files: the second is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibal.cli import analyse, attack, curves
from ibal.cli.main import main
from ibal.files import claimed

COMMANDS = {
    "train": ["--env", "two-step"],
    "evaluate": ["random", "--env", "two-step", "--attacks", "natural"],
    "curves": ["run"],
    "analyse": ["random", "--env", "two-step", "--attacker", "file"],
    "demo": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_second_of_two_with_one_out_is_told_of_the_first(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(curves, "check_run", lambda run: None)
    monkeypatch.setattr(curves, "logged", lambda run: [{}])
    monkeypatch.setattr(analyse, "_attackers", lambda options, spec: [])
    out = tmp_path / "out"
    with claimed(out):
        before = list(out.iterdir())
        assert main([command, *COMMANDS[command], "--out", str(out), "--quiet"]) == 2
        assert list(out.iterdir()) == before
    streams = capsys.readouterr()
    assert f"ibal {command}: --out {out} is being written to by process " in streams.err
    assert (streams.out, streams.err.count("\n")) == ("", 1)


def test_one_attacker_is_not_fitted_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["attack", "random", "--env", "two-step", "--out", str(tmp_path / "bank"), "--quiet"]
    seen: list[int] = []

    def fit(*_: Any) -> dict[str, Any]:
        seen.append(main(asked))  # the same command, while the first one fits
        return {"attacker": "x"}

    monkeypatch.setattr(attack, "_fit", fit)
    assert main(asked) == 0
    assert seen == [2]
    assert "is being written to by process " in capsys.readouterr().err
