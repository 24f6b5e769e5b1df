"""A plain multi-layer perceptron, drawn as PyTorch draws it.

    layers = mlp(key, (30, 64, 64, 9))
    y = apply(layers, x)                        # x [*b, 30] -> y [*b, 9]; relu in between, none at the end

Where the input is mostly one-hot, the first product is a choice of rows of the first weight matrix: the caller sums
those rows itself and goes on with ``after_first``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import rng
from ibal.nets.agents import linear, uniform
from ibal.types import PRNGKey


class Linear(NamedTuple):
    """One dense layer: ``x w + b``."""

    w: Float[Array, "i o"]
    b: Float[Array, "o"]


Mlp = tuple[Linear, ...]

RELU_GAIN = 2**0.5  # keeps the size of what passes a relu


class Norm(NamedTuple):
    """Scale and offset of a normalisation over the features of one input (LayerNorm): no batch decides anything, so
    nothing that an attack shows to some agents reaches the others."""

    scale: Float[Array, "i"]
    offset: Float[Array, "i"]


def norm(size: int) -> Norm:
    """Return the normalisation that only normalises."""
    return Norm(jnp.ones(size), jnp.zeros(size))


def normalise(weights: Norm, x: Float[Array, "*b i"]) -> Float[Array, "*b i"]:
    """Return (x - mean) / sqrt(variance + 1e-5), scaled and moved. Source: torch.nn.LayerNorm."""
    apart = x - x.mean(-1, keepdims=True)
    plain = apart * jax.lax.rsqrt((apart**2).mean(-1, keepdims=True) + 1e-5)
    features = (1,) * (x.ndim - 1) + (-1,)
    return plain * weights.scale.reshape(features) + weights.offset.reshape(features)


def mlp(key: PRNGKey, sizes: Sequence[int]) -> Mlp:
    """Draw the layers between consecutive ``sizes`` from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Source: default of torch.nn.Linear.
    """
    return tuple(draw(key, list(pairwise(sizes))))


def draw(key: PRNGKey, sizes: Sequence[tuple[int, int]]) -> list[Linear]:
    """Draw one layer per ``(in, out)``, weights and biases alike."""
    drawn = uniform(key, [s for i, o in sizes for s in ((i, o), (o,))], [i for i, _ in sizes for _ in range(2)])
    return [Linear(w, b) for w, b in zip(drawn[0::2], drawn[1::2], strict=True)]


def orthogonal(key: PRNGKey, size: tuple[int, int], gain: float) -> Linear:
    """Draw a layer whose weights are ``gain`` times a matrix with orthonormal rows or columns; biases are zero.

    Source: Saxe et al. 2014; official settings of MAPPO and of PPO on continuous control.
    """
    return Linear(jax.nn.initializers.orthogonal(gain)(key, size, jnp.float32), jnp.zeros(size[1]))


def orthogonal_mlp(key: PRNGKey, sizes: Sequence[int], last: float) -> Mlp:
    """Draw orthogonal layers of gain sqrt(2), the last one of gain ``last``."""
    between = list(pairwise(sizes))
    gains = [RELU_GAIN] * (len(between) - 1) + [last]
    return tuple(
        orthogonal(rng.at(key, i), size, gain) for i, (size, gain) in enumerate(zip(between, gains, strict=True))
    )


def apply(layers: Mlp, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
    """Return the output of the last layer."""
    return after_first(layers[1:], linear(x, *layers[0]))


def after_first(rest: Mlp, first: Float[Array, "*b h"]) -> Float[Array, "*b o"]:
    """Return the output of the last layer, given the first one's sums (before its relu) and the layers after it."""
    for layer in rest:
        first = linear(jax.nn.relu(first), *layer)
    return first


def multiply_adds(sizes: Sequence[int]) -> int:
    """Count the multiplications of one forward pass (a FLOP count is twice that; a gradient costs two more passes)."""
    return sum(i * o for i, o in pairwise(sizes))
