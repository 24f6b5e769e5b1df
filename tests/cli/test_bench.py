"""``ibal bench`` hands over to a measurement, or says which there are."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from ibal.cli import bench
from ibal.cli.main import main
from ibal.training import bench as train_bench


def test_it_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("own_bench")
    own.__spec__ = ModuleSpec("own_bench", None)
    given: list[list[str]] = []
    own.main = lambda argv: given.append(argv) or 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_bench", own)
    monkeypatch.setitem(bench.BENCHES, "own", ("own_bench", "nothing"))
    assert main(["bench", "own", "a", "--b", "c"]) == 3
    assert given == [["a", "--b", "c"]]


def test_the_parts_of_a_training_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_bench, "matmul_peak", lambda: 100.0)  # of this machine: seconds
    asked = ["--maps", "toy/climbing", "--presets", "smoke", "--seeds", "0", "--quiet", "--json"]
    assert main(["bench", "train", *asked]) == 0
    said = json.loads(capsys.readouterr().out)
    speed = said["runs"]["smoke/toy/climbing"]
    assert speed["environment"] + speed["policy"] + speed["learner"] + speed["rest"] == pytest.approx(1)
    assert min(speed[part] for part in ("steps_per_s", "environment", "policy", "learner", "update_ms")) > 0
    assert speed["share_of_peak"] == pytest.approx(speed["gflops"] / 100)
    assert speed["hours_10m"] == pytest.approx(1e7 / speed["steps_per_s"] / 3600)
    # Eight games of one step: agent and mixer forward twice, backward once (for twice the price of once).
    agent, mixer = (1 + 3 + 2) * 64 + 2 * 64 * 192 + 64 * 3, 3 * (64 + 32 + 64 + 32) + 64 * 64 + 64 * 32 + 64 + 64
    useful = 8 * 4 * 2 * (2 * agent + mixer)
    assert speed["gflops"] * speed["update_ms"] == pytest.approx(useful / 1e6)


def test_an_interrupt_keeps_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed = train_bench.TrainSpeed(1000.0, 0.1, 0.1, 0.7, 0.1, 0.02, 50.0, 90.0, 2.0, 9.0)
    costs = iter([(1.25, [1.0, 1.5])])

    def cost(*args: object) -> tuple[float, list[float]]:
        for found in costs:
            return found
        raise KeyboardInterrupt

    monkeypatch.setattr(train_bench, "matmul_peak", lambda: 100.0)
    monkeypatch.setattr(train_bench, "measure", lambda *args: speed)
    monkeypatch.setattr(train_bench, "relative_cost", cost)
    asked = ["--maps", "toy/climbing,toy/two-step", "--presets", "smoke", "--seeds", "0", "--methods", "rand-obs"]
    assert main(["bench", "train", *asked]) == 130
    said = capsys.readouterr()
    assert "rand-obs on toy/climbing: 1.250 of vanilla's time per step (rounds 1.000 to 1.500)" in said.out
    assert "two-step" not in said.out.partition("rand-obs")[2]
    assert "interrupted; here is what was measured until then" in said.err


def test_what_cannot_be_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    assert "ibal bench: say what to measure: train" in capsys.readouterr().err
    assert main(["bench", "trian"]) == 2
    assert 'nothing called "trian" can be measured. Closest: "train". Choose: train' in capsys.readouterr().err
    monkeypatch.setitem(bench.BENCHES, "gone", ("ibal.training.no_such_bench", "nothing"))
    assert main(["bench", "gone"]) == 1
    assert "this installation of ibal cannot measure gone" in capsys.readouterr().err
