"""A team whose actions depend on what it sees, in JAX and in NumPy: what is attacked shows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibal.types import EnvSpec, Policy


def weights(spec: EnvSpec) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(spec.obs_size, spec.n_actions)).astype(np.float32)


def choose(spec: EnvSpec, obs: Any, avail: Any) -> np.ndarray:
    """Actions [n] for obs [n, o] and avail [n, a]."""
    scores = np.asarray(obs) @ weights(spec)
    return np.where(np.asarray(avail, bool), scores, -np.inf).argmax(axis=1).astype(np.int32)


def seeing(spec: EnvSpec) -> Policy:
    held = jnp.asarray(weights(spec))

    def scores(carry: Any, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[Any, jax.Array]:
        return carry, obs @ held

    def select(key: jax.Array, scores: jax.Array, avail: jax.Array) -> jax.Array:
        return jnp.argmax(jnp.where(avail, scores, -jnp.inf), axis=1).astype(jnp.int32)

    return Policy(lambda: (), scores, select)
