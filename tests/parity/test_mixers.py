"""QMIX and QPLEX give PyTorch's values and gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.nets.mixers import mixer
from parity import vectors

STORED = vectors.load("pymarl_mixers")


@pytest.mark.parametrize("name", ["qmix", "qplex"])
def test_values_and_gradients_equal_pytorch(name: str):
    apply = jax.vmap(mixer(name).apply, (None, 0, 0, 0, 0))
    q, state, best, actions, weight = (jnp.asarray(STORED[k]) for k in ("q", "state", "best", "actions", "weight"))

    def total(params: Any, q: jax.Array, best: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = apply(params, q, state, best, actions)
        return (values * weight).sum(), values

    params = vectors.mixer(name, STORED, f"{name}.")
    (of_params, of_q, of_best), values = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(params, q, best)
    np.testing.assert_allclose(values, STORED[f"{name}/q_tot"], atol=1e-5)
    np.testing.assert_allclose(of_q, STORED[f"{name}/grad/q"], atol=1e-5)
    np.testing.assert_array_equal(of_best, 0)
    expected = vectors.mixer(name, STORED, f"{name}/grad/")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), of_params, expected)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
