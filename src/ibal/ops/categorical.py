"""A choice among the legal actions, from one number per action."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

ILLEGAL = -1e10  # finite: minus infinity times a probability of 0 would be no number


def log_policy(logits: Float[Array, "*b a"], avail: Bool[Array, "*b a"]) -> Float[Array, "*b a"]:
    """Return log-probabilities: those of illegal actions are near ``ILLEGAL``, their probability is exactly 0."""
    return jax.nn.log_softmax(jnp.where(avail, logits, ILLEGAL), axis=-1)


def entropy(log_p: Float[Array, "*b a"], avail: Bool[Array, "*b a"]) -> Float[Array, "*b"]:
    """Return -sum p log p over the legal actions (nats); 0 where only one is legal."""
    legal = jnp.where(avail, log_p, 0.0)
    return -jnp.where(avail, jnp.exp(legal) * legal, 0.0).sum(-1)


def of_action(per_action: Float[Array, "*b a"], action: Int[Array, "*b"]) -> Float[Array, "*b"]:
    """Return the entry of the chosen action."""
    return jnp.take_along_axis(per_action, action[..., None], axis=-1)[..., 0]
