"""A running scale for values: networks learn numbers of mean 0 and deviation 1, whatever a game pays ("ValueNorm").

The statistics are exponential averages without a bias towards their start: after one batch they are that batch's. They
are kept as mean and variance instead of first and second moment, which is the same and loses no digits where returns
are large and alike.

Source: Yu et al. 2022 (MAPPO), official ``valuenorm.py``: beta 0.99999, variance at least 0.01.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

BETA = 0.99999
LEAST = 0.01  # variance


class Scale(NamedTuple):
    """Mean and variance so far, and the weight of all batches (1 - beta^count)."""

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    weight: Float[Array, ""]


def fresh() -> Scale:
    """Return the scale before any batch: mean 0, deviation 0.1 (the least)."""
    return Scale(jnp.float32(0), jnp.float32(0), jnp.float32(0))


def moments(x: Float[Array, "*b"], counts: Bool[Array, "*b"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return mean and population variance of the entries that count."""
    count = jnp.maximum(counts.sum(), 1).astype(jnp.float32)
    mean = jnp.where(counts, x, 0.0).sum() / count
    return mean, (jnp.where(counts, x - mean, 0.0) ** 2).sum() / count


def updated(
    scale: Scale, mean: Float[Array, ""], variance: Float[Array, ""], beta: float = BETA
) -> Scale:  # fmt: skip
    """Take in one batch, of which mean and variance are given."""
    weight = beta * scale.weight + (1 - beta)
    share = (1 - beta) / weight
    apart = mean - scale.mean
    mixed = (1 - share) * scale.variance + share * variance + share * (1 - share) * apart**2
    return Scale(scale.mean + share * apart, mixed, weight)


def deviation(scale: Scale) -> Float[Array, ""]:
    """Return the standard deviation that values are divided by."""
    return jnp.sqrt(jnp.maximum(scale.variance, LEAST))


def normalised(scale: Scale, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return N(x) = (x - mean) / deviation."""
    return (x - scale.mean) / deviation(scale)


def restored(scale: Scale, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return D(x), which undoes N."""
    return x * deviation(scale) + scale.mean
