"""The files of ``examples/`` run: in this process and on toys, so that what they compile is compiled once."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import ibal

HOME = Path(__file__).parents[2] / "examples"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", HOME / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def scores(table: ibal.Evaluation) -> dict[tuple[str, str], Any]:
    return {(entry["policy"], entry["attack"]): entry for entry in table.entries}


def test_train_and_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("train_and_attack", monkeypatch).main(tiny=True)
    assert {attack for _, attack in scores(table)} >= {"natural", "random", "interaction"}


def test_write_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("write_an_attack", monkeypatch).main(tiny=True)
    found = scores(table)
    assert found["alone", "natural"]["attacked"] == 0
    assert 0 < found["alone", "half"]["attacked"] < found["alone", "always"]["attacked"] <= 1 / 2  # one agent of some


def test_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("own_environment", monkeypatch).main(tiny=True)
    assert set(table.rows["env"]) == {"meet"}
    assert set(table.rows["length"]) == {10}


def test_compare_methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = load("compare_methods", monkeypatch).main(tiny=True, out=tmp_path)
    assert {policy for policy, _ in scores(table)} == {"vanilla", "rand-act"}
    assert {file.name for file in tmp_path.iterdir()} == {"scores.png", "vanilla.png", "rand-act.png"}


@pytest.mark.thorough
def test_sweep_without_recompiling(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load("sweep_without_recompiling", monkeypatch).main(tiny=True)
    assert len(found) == 6
    assert found[0][2] <= found[-1][2]  # twice the health is no disadvantage


def test_play_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    file = HOME.parent / "docs" / "results" / "ibal" / "policies" / "3m-vanilla-0.safetensors"
    team, held = load("play_with_numpy", monkeypatch).main(file), ibal.load_policy(file)
    rng = np.random.default_rng(0)
    team.reset()
    for _ in range(20):  # float32 in another order of additions: ties are not to be expected
        obs = rng.normal(size=(team.n, team.o)).astype(np.float32)
        avail = rng.random((team.n, team.a)) < 0.7
        avail[:, 0] = True
        assert team.act(obs, avail).tolist() == held.act(obs, avail).tolist()


@pytest.mark.thorough
def test_the_notebook_runs_from_top_to_bottom() -> None:
    names = runpy.run_path(str(HOME / "notebook.py"))
    assert names["run"].finished
    assert names["table"].rows.height == 6 * 256
