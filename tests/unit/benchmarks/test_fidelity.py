"""The arithmetic of the benchmarks; that they run is for whoever runs them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("fidelity")


def test_wilson_interval(fidelity: ModuleType) -> None:
    np.testing.assert_allclose(fidelity.wilson(8, 10), (0.4902, 0.9433), atol=1e-4)
    assert fidelity.wilson(0, 512)[0] == 0
    assert 0 < fidelity.wilson(0, 512)[1] < 0.01
    assert fidelity.wilson(512, 512)[1] == 1


def test_residual_of_a_perfect_critic_is_zero_and_ends_do_not_bootstrap(fidelity: ModuleType) -> None:
    reward = np.array([[1.0, 2.0, 3.0, 0.0]])
    over = np.array([[False, False, False, True]])  # the game ends with the third action
    q = np.array([[1 + 0.99 * (2 + 0.99 * 3), 2 + 0.99 * 3, 3.0, 77.0]])
    contact = np.array([[False, True, True, True]])
    out = fidelity.residual(fidelity.Probe(q, reward, over, contact))
    assert out["fight"]["abs"] == pytest.approx(0)
    assert out["contact_step"] == 1


def test_residual_is_negative_when_the_world_disappoints(fidelity: ModuleType) -> None:
    q, reward, no = np.array([[1.0, 1.0, 1.0]]), np.zeros((1, 3)), np.zeros((1, 3), bool)
    out = fidelity.residual(fidelity.Probe(q + np.array([[0, 0, -0.5]]), reward, no, np.array([[False, True, True]])))
    np.testing.assert_allclose(out["signed_by_step"], [-0.01, -0.505])
    assert out["before_contact"]["signed"] == pytest.approx(-0.01)
    assert out["fight"]["abs"] == pytest.approx(0.2575)


def test_names_of_files_and_settings(fidelity: ModuleType) -> None:
    assert fidelity.map_of(Path("x/qmix_3s_vs_3z.safetensors")) == ("qmix", "3s_vs_3z")
    assert fidelity.map_of(Path("vdn_3s5z_vs_3s6z.th")) == ("vdn", "3s5z_vs_3s6z")
    with pytest.raises(SystemExit, match=r"wanted <algorithm>_<map>\.safetensors"):
        fidelity.map_of(Path("qmix_4m.safetensors"))
    parsed = fidelity.parse_settings(["head_start=2", "enemy_ids=permutation", "jitter=false", "push=0.1"])
    assert parsed == {"head_start": 2, "enemy_ids": "permutation", "jitter": False, "push": 0.1}
    with pytest.raises(SystemExit, match="wanted OPTION=VALUE"):
        fidelity.parse_settings(["jitter"])
