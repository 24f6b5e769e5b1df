"""A folder of PyMARL's, imported, exported and imported again, is unchanged."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from ibal.nets import pymarl
from ibal.nets.mixers.vdn import VdnParams

SMALL = Path(__file__).parents[2] / "parity" / "fixtures" / "pymarl_small.npz"


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return {k: v for k, v in np.load(SMALL).items() if not k.startswith("out_")}


def split(tensors: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Agent and mixer under the names of PyMARL's two files."""
    mixer = {k.removeprefix("mixer."): v for k, v in tensors.items() if k.startswith("mixer.")}
    return {k: v for k, v in tensors.items() if not k.startswith("mixer.")}, mixer


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_round_trip_without_torch(
    tmp_path: Path, tensors: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file, save_file

    monkeypatch.setattr(pymarl, "_has_torch", lambda: False)
    for name, part in zip(("agent", "mixer"), split(tensors), strict=True):
        save_file(part, tmp_path / f"{name}.safetensors")
    first = pymarl.import_pymarl(tmp_path)
    files = pymarl.export_pymarl(tmp_path / "again", *first)
    assert [f.name for f in files] == ["agent.safetensors", "mixer.safetensors"]
    assert_same(pymarl.import_pymarl(tmp_path / "again"), first)
    for file, part in zip(files, split(tensors), strict=True):
        assert_same(load_file(file), part)


def test_round_trip_with_torch(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    parts = [{k: torch.from_numpy(v) for k, v in part.items()} for part in split(tensors)]
    for name, part in zip(("agent", "mixer"), parts, strict=True):
        torch.save(part, tmp_path / f"{name}.th")
    first = pymarl.import_pymarl(tmp_path)
    files = pymarl.export_pymarl(tmp_path / "again", *first)
    assert [f.name for f in files] == ["agent.th", "mixer.th"]
    assert_same(pymarl.import_pymarl(tmp_path / "again"), first)
    for file, part in zip(files, parts, strict=True):
        written = torch.load(file, weights_only=True)
        assert written.keys() == part.keys()
        assert all(torch.equal(written[name], part[name]) for name in part)


def test_published_weights_survive(tmp_path: Path) -> None:
    folder = os.environ.get("IBAL_POLICIES")
    if not folder:
        pytest.skip("set IBAL_POLICIES to the folder of published policy files")
    for file in sorted(Path(folder).glob("qmix_*.safetensors")):
        first = pymarl.load_agent(file), pymarl.load_mixer(file)
        pymarl.export_pymarl(tmp_path, *first)
        assert_same(pymarl.import_pymarl(tmp_path), first)


def test_mixers_without_weights_and_no_mixer(
    tmp_path: Path, tensors: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    monkeypatch.setattr(pymarl, "_has_torch", lambda: False)
    save_file(tensors, tmp_path / "agent.safetensors")
    params = pymarl.load_agent(tmp_path / "agent.safetensors")
    assert_same(pymarl.import_pymarl(tmp_path), (params, None))
    (tmp_path / "vdn").mkdir()
    (tmp_path / "vdn" / "agent.th").write_bytes(b"of an earlier export; would be read first")
    pymarl.export_pymarl(tmp_path / "vdn", params, VdnParams())
    assert_same(pymarl.import_pymarl(tmp_path / "vdn"), (params, VdnParams()))
    with pytest.raises(FileNotFoundError, match=r"agent\.th does not exist"):
        pymarl.import_pymarl(tmp_path / "none")
    with pytest.raises(ValueError, match="takes 14 inputs"):
        pymarl.import_pymarl(tmp_path, SimpleNamespace(name="toy", n_agents=3, n_actions=5, obs_size=7, state_size=6))
