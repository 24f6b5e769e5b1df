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
from jaxtyping import Array, Float

from ibal.nets.agents import linear, uniform
from ibal.types import PRNGKey


class Linear(NamedTuple):
    """One dense layer: ``x w + b``."""

    w: Float[Array, "i o"]
    b: Float[Array, "o"]


Mlp = tuple[Linear, ...]


def mlp(key: PRNGKey, sizes: Sequence[int]) -> Mlp:
    """Draw the layers between consecutive ``sizes`` from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Source: default of torch.nn.Linear.
    """
    return tuple(draw(key, list(pairwise(sizes))))


def draw(key: PRNGKey, sizes: Sequence[tuple[int, int]]) -> list[Linear]:
    """Draw one layer per ``(in, out)``, weights and biases alike."""
    drawn = uniform(key, [s for i, o in sizes for s in ((i, o), (o,))], [i for i, _ in sizes for _ in range(2)])
    return [Linear(w, b) for w, b in zip(drawn[0::2], drawn[1::2], strict=True)]


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
