"""Draw uniformly, with replacement, among the rows that count.

steps = among(played.reshape(-1))            # once: it sorts
rows = drawn(key, steps, 256)                # as often as wanted; if no row counts, they are of no meaning
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ibal.types import PRNGKey


class Among(NamedTuple):
    """All rows, those that count first, and how many those are."""

    rows: Int[Array, "b"]
    many: Int[Array, ""]


def among(wanted: Bool[Array, "b"]) -> Among:
    """Put the wanted rows first, in their order."""
    return Among(jnp.argsort(~wanted, stable=True), wanted.sum())


def drawn(key: PRNGKey, some: Among, size: int) -> Int[Array, "k"]:
    """Draw ``size`` of the wanted rows."""
    return some.rows[jax.random.randint(key, (size,), 0, jnp.maximum(some.many, 1))]
