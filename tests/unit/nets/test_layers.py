"""The perceptron by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibal.nets import layers
from ibal.nets.layers import Linear


def test_forward_by_hand() -> None:
    net = (Linear(jnp.array([[1.0, -1.0]]), jnp.array([0.0, 1.0])), Linear(jnp.array([[2.0], [3.0]]), jnp.array([0.5])))
    # x = 2: hidden (2, -1) -> relu (2, 0) -> 4.5;  x = -1: (-1, 2) -> (0, 2) -> 6.5
    np.testing.assert_allclose(layers.apply(net, jnp.array([[[2.0], [-1.0]]])), [[[4.5], [6.5]]])
    np.testing.assert_allclose(layers.after_first(net[1:], jnp.array([2.0, -1.0])), [4.5])


def test_weights_are_drawn_as_pytorch_draws_them() -> None:
    net = layers.mlp(jax.random.key(0), (100, 400, 3))
    assert [(layer.w.shape, layer.b.shape) for layer in net] == [((100, 400), (400,)), ((400, 3), (3,))]
    for layer in net:
        bound = 1 / np.sqrt(layer.w.shape[0])
        assert np.abs(layer.w).max() <= bound
        assert np.std(layer.w) == np.clip(np.std(layer.w), 0.95 * bound / np.sqrt(3), 1.05 * bound / np.sqrt(3))
    assert layers.multiply_adds((100, 400, 3)) == 41_200
