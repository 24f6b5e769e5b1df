"""Compute something costly only for those of many environments that need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal import tree

PARTS = 8  # environments are computed in chunks of this share of all: the fewer need it, the fewer chunks


def sparsely(f: Callable[[Any, Any], Array]) -> Callable[[Bool[Array, ""], Any, Any], Array]:
    """Return ``g(needed, shared, own)``, which is ``f(shared, own)`` where ``needed``, and of no meaning elsewhere.

    Under ``jax.vmap`` a condition becomes "compute both and choose". Here the environments that need ``f`` are brought
    together instead, and the others cost nothing. ``f`` may use nothing but its arguments; ``shared`` must be the same
    for all environments, or nothing is saved.
    """

    @jax.custom_batching.custom_vmap
    def g(needed: Array, shared: Any, own: Any) -> Array:
        return f(shared, own)

    @g.def_vmap
    def _many(size: int, batched: Any, needed: Array, shared: Any, own: Any) -> tuple[Array, bool]:
        over_needed, over_shared, over_own = batched
        if any(jax.tree.leaves(over_shared)):
            return jax.vmap(f, (jax.tree.map(_axis, over_shared), jax.tree.map(_axis, over_own)))(shared, own), True
        needed = needed if over_needed else jnp.broadcast_to(needed[None], (size,))
        own = jax.tree.map(lambda x, b: x if b else jnp.broadcast_to(x[None], (size, *x.shape)), own, over_own)
        chunk = -(-size // PARTS)
        order = jnp.argsort(~needed, stable=True)

        def one(index: Array, found: Array) -> Array:
            # The last chunk may repeat a row, which then gets the same value twice.
            rows = order[jnp.minimum(index * chunk + jnp.arange(chunk), size - 1)]
            return found.at[rows].set(jax.vmap(f, (None, 0))(shared, tree.at(own, rows)))

        shape = jax.eval_shape(f, shared, tree.at(own, 0))
        count = -(-needed.sum(dtype=jnp.int32) // chunk)
        return jax.lax.fori_loop(0, count, one, jnp.zeros((size, *shape.shape), shape.dtype)), True

    return g


def _axis(batched: bool) -> int | None:
    return 0 if batched else None
