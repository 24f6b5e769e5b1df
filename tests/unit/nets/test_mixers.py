"""Mixers: parity with PyTorch, monotonicity, shared interface."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ibal.nets import agents, pymarl
from ibal.nets.mixers import qmix, vdn

FIXTURES = Path(__file__).parents[2] / "parity" / "fixtures"
SMALL = np.load(FIXTURES / "pymarl_small.npz")


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """The inputs that ``tests/parity/make_pymarl_vectors.py`` used."""
    count = int(np.prod(shape))
    return np.sin(0.7 * np.arange(count, dtype=np.float64) ** 1.1 + phase).reshape(shape).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file({k: v for k, v in SMALL.items() if not k.startswith("out_")}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_qmix_equals_pytorch(file: Path) -> None:
    mixer = pymarl.load_mixer(file)
    q, state = SMALL["out_q"].max(2), wave(6, 6, phase=1.0)
    total = jax.vmap(qmix.apply, (None, 0, 0))(mixer, jnp.asarray(q), jnp.asarray(state))
    np.testing.assert_allclose(total, SMALL["out_tot"], atol=1e-5)
    assert (mixer.state_size, mixer.n_agents) == (6, 3)


def test_published_mixers_equal_pytorch() -> None:
    folder = os.environ.get("IBAL_POLICIES")
    if not folder:
        pytest.skip("set IBAL_POLICIES to the folder of published policy files")
    for name, row in json.loads((FIXTURES / "pymarl_real.json").read_text()).items():
        if "q_tot" not in row:
            continue
        params, mixer = pymarl.load_agent(Path(folder) / name), pymarl.load_mixer(Path(folder) / name)
        xs = jnp.asarray(wave(6, row["n"], params.input_size))
        _, q = agents.unroll(params, agents.start(params, row["n"]), xs)
        state = jnp.asarray(wave(6, row["state_size"], phase=1.0))
        total = jax.vmap(qmix.apply, (None, 0, 0))(mixer, q.max(2), state)
        np.testing.assert_allclose(total, row["q_tot"], atol=1e-5, rtol=1e-5, err_msg=name)


def test_qmix_is_monotone_in_every_agent() -> None:
    params = jax.jit(qmix.init, static_argnums=(1, 2))(jax.random.key(0), 4, 9)
    q, state = (jax.random.normal(jax.random.key(k), (50, size)) for k, size in enumerate((4, 9)))
    slopes = jax.jit(jax.vmap(jax.grad(qmix.apply, 1), (None, 0, 0)))(params, q, state)
    assert (slopes >= 0).all()
    assert (slopes > 0).any()


def test_qmix_init_shapes_and_bounds() -> None:
    params = jax.jit(qmix.init, static_argnums=(1, 2))(jax.random.key(1), 5, 120)
    assert (params.state_size, params.n_agents) == (120, 5)
    assert params.w1_out.w.shape == (64, 160)
    assert params.v_out.w.shape == (32, 1)
    assert 0.9 / np.sqrt(120) < float(jnp.abs(params.w1_in.w).max()) <= 1 / np.sqrt(120)


def test_vdn_sums() -> None:
    params = vdn.init(jax.random.key(0), 3, 2)
    assert float(vdn.apply(params, jnp.array([1.0, 2.0, 4.0]), jnp.zeros(2))) == 7.0


def test_files_without_or_with_another_mixer(tmp_path: Path, file: Path) -> None:
    pymarl.save_agent(pymarl.load_agent(file), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="holds no QMIX mixer"):
        pymarl.load_mixer(tmp_path / "b.safetensors")
    other = SimpleNamespace(name="toy", n_agents=3, state_size=7)
    with pytest.raises(ValueError, match="takes a state of 6 and 3 agents; toy has 7 and 3"):
        pymarl.load_mixer(file, other)
