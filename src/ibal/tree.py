"""Small operations on pytrees of arrays that jax does not name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

T = TypeVar("T")


def where(condition: Bool[Array, "*b"], yes: T, no: T) -> T:
    """Choose leaf by leaf; the axes of ``condition`` are the leading axes of every leaf."""

    def choose(a: Array, b: Array) -> Array:
        rank = max(jnp.ndim(a), jnp.ndim(b))
        return jnp.where(condition.reshape(condition.shape + (1,) * (rank - condition.ndim)), a, b)

    return jax.tree.map(choose, yes, no)


def select(index: Any, options: Sequence[T]) -> T:
    """Choose the whole tree ``options[index]``; ``index`` is an integer scalar, clamped to the valid range.

    All options are stacked, so this is for a few small trees; for many use an array with a leading axis and ``index``.
    """
    return at(stack(options), jnp.clip(index, 0, len(options) - 1))


def stack(trees: Sequence[T], axis: int = 0) -> T:
    """Stack equal trees along a new axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis), *trees)


def on_host(trees: Sequence[T]) -> T:
    """Stack equal trees along a new first axis, as NumPy arrays."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def at(tree: T, index: Any) -> T:
    """Index the leading axis of every leaf (an integer, a slice or an array of integers)."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def length(tree: Any) -> int:
    """Return the size of the leading axis, which all leaves share."""
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1:
        raise ValueError(f"the leaves have leading axes of sizes {sorted(sizes)}; one size was expected")
    return sizes.pop()


def size(tree: Any) -> int:
    """Count the numbers in all leaves; works on the abstract leaves of ``jax.eval_shape`` too."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def nbytes(tree: Any) -> int:
    """Count the bytes of all leaves; works on the abstract leaves of ``jax.eval_shape`` too."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def common(number: Array, axis: str | None) -> Array:
    """Return an integer that is the same along the vmapped ``axis`` as one that does not depend on it (the greatest, if
    it is not the same after all): loops and slices may then use it without a batch of it. ``None``: no such axis."""
    return number if axis is None else jax.lax.pmax(number, axis)
