"""Dense layers on the state: what every learned mixer is made of. Weights are stored ``[in, out]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from ibal.nets.agents import linear, uniform
from ibal.types import PRNGKey


class Linear(NamedTuple):
    """One dense layer: ``x w + b``."""

    w: Float[Array, "i o"]
    b: Float[Array, "o"]


def draw(key: PRNGKey, sizes: Sequence[tuple[int, int]]) -> list[Linear]:
    """Draw one layer per ``(in, out)`` from PyTorch's default U(-1/sqrt(in), 1/sqrt(in)), weights and biases alike."""
    drawn = uniform(key, [s for i, o in sizes for s in ((i, o), (o,))], [i for i, _ in sizes for _ in range(2)])
    return [Linear(w, b) for w, b in zip(drawn[0::2], drawn[1::2], strict=True)]


def two_layers(first: Linear, second: Linear, x: Float[Array, "i"]) -> Float[Array, "o"]:
    """``second(relu(first(x)))``."""
    return linear(jax.nn.relu(linear(x, *first)), *second)
