"""Clipping and optimisers step as PyTorch's do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibal.learners import optim
from ibal.learners.config import ValueConfig
from parity import vectors

STORED = vectors.load("pymarl_optim")
GRADIENTS = {name: jnp.asarray(STORED[f"grad.{name}"]) for name in ("x", "y")}
START = {name: jnp.asarray(STORED[name]) for name in ("x", "y")}


def path(optimiser: optax.GradientTransformation) -> dict[str, jax.Array]:
    """Return the parameters after each update."""

    def step(carry, gradient):
        params, state = carry
        change, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, change)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (START, optimiser.init(START)), GRADIENTS)[1])()


def norms() -> np.ndarray:
    return np.sqrt(sum((np.asarray(g, np.float64).reshape(len(g), -1) ** 2).sum(1) for g in GRADIENTS.values()))


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_path_equals_pytorch(name):
    found = path(optim.make(ValueConfig(optimiser=name)))
    for leaf, values in found.items():
        np.testing.assert_allclose(values, STORED[f"{name}/{leaf}"], atol=1e-6)
        # every update moves by far more than the tolerance
        assert np.abs(np.diff(values, axis=0)).max(axis=tuple(range(1, values.ndim))).min() > 1e-5


def test_the_stored_gradients_tell_apart_what_must_not_be_mixed_up():
    """Gradients lie on both sides of the clip, and optax's own default (eps inside the root) walks elsewhere."""
    assert (norms() > 20).sum() > 3
    assert (norms() < 1e-3).sum() > 3
    inside = path(optax.chain(optim.clip(10.0), optax.rmsprop(5e-4, decay=0.99, eps=1e-5)))
    assert np.abs(inside["x"] - STORED["rmsprop/x"]).max() > 1e-3
    unclipped = path(optax.rmsprop(5e-4, decay=0.99, eps=1e-5, eps_in_sqrt=False))
    assert np.abs(unclipped["x"] - STORED["rmsprop/x"]).max() > 1e-4


def test_clip_takes_the_norm_of_all_leaves_together():
    shrink = optim.clip(10.0)
    gradient = {"a": jnp.array([30.0, 0.0]), "b": jnp.array([[40.0]])}
    clipped: Any = shrink.update(gradient, shrink.init(gradient))[0]
    np.testing.assert_allclose(clipped["a"], [6, 0], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"], [[8]], rtol=1e-6)
    small = jax.tree.map(lambda g: g / 100, gradient)
    untouched, _ = shrink.update(small, shrink.init(small))
    jax.tree.map(np.testing.assert_array_equal, untouched, small)


def test_settings_are_taken_from_the_configuration():
    config = ValueConfig(lr=0.1, grad_clip=1.0)
    optimiser = optim.make(config)
    params = jnp.zeros(2)
    change: Any = optimiser.update(jnp.array([3.0, 4.0]), optimiser.init(params), params)[0]
    # v = 0.01 g^2, so the first step is lr g / (0.1 |g|)
    np.testing.assert_allclose(change, [-1, -1], rtol=1e-3)
