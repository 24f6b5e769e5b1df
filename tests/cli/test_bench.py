"""``ibal bench`` hands over to a measurement, or says which there are."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from ibal.cli import bench
from ibal.cli.main import main


def test_it_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("own_bench")
    own.__spec__ = ModuleSpec("own_bench", None)
    own.main = lambda argv: len(argv)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_bench", own)
    monkeypatch.setitem(bench.BENCHES, "own", ("own_bench", "nothing"))
    assert main(["bench", "own", "a", "--b", "c"]) == 3


def test_what_cannot_be_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    assert "ibal bench: say what to measure: train" in capsys.readouterr().err
    assert main(["bench", "trian"]) == 2
    assert 'nothing called "trian" can be measured. Closest: "train". Choose: train' in capsys.readouterr().err
    monkeypatch.setitem(bench.BENCHES, "gone", ("ibal.train.no_such_bench", "nothing"))
    assert main(["bench", "gone"]) == 1
    assert "this installation of ibal cannot measure gone" in capsys.readouterr().err
