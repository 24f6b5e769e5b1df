"""Proximal policy optimisation as formulas: advantages, their scale, and the two clipped losses.

Source: Schulman et al. 2016 (GAE), Schulman et al. 2017 (PPO); the value loss as in Yu et al. 2022 (MAPPO).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.ops.returns import lambda_returns

EPS = 1e-5  # added to the standard deviation of advantages


def gae(
    reward: Float[Array, "t *b"],
    discount_next: Float[Array, "t *b"],
    value: Float[Array, "t *b"],
    following: Float[Array, "t *b"],
    lam: float,
    filled: Bool[Array, "t *b"],
    end: Bool[Array, "t *b"] | None = None,
) -> tuple[Float[Array, "t *b"], Float[Array, "t *b"]]:
    """Return generalised advantages A_t and value targets A_t + v_t, both 0 and of no meaning in padding.

    ``value[t]`` is that of the state before step t, ``following[t]`` that of the state after it. The rest is as for
    ``lambda_returns``: A_t = delta_t + d_t lambda A_{t+1} is its target minus v_t (the values in between cancel).
    """
    target = lambda_returns(reward, discount_next, following, lam, filled, end)
    return jnp.where(filled, target - value, 0.0), target


def standardised(
    advantage: Float[Array, "*b"], counts: Bool[Array, "*b"], least: float = 0.0
) -> Float[Array, "*b"]:  # fmt: skip
    """Return (A - mean) / (std + 1e-5), with mean and population std over the entries that count.

    ``least`` is the smallest std that is believed: where all games are the same, the rest would only blow up noise.
    """
    count = jnp.maximum(counts.sum(), 1).astype(jnp.float32)
    centre = jnp.where(counts, advantage, 0.0).sum() / count
    spread = jnp.sqrt((jnp.where(counts, advantage - centre, 0.0) ** 2).sum() / count)
    return (advantage - centre) / (jnp.maximum(spread, least) + EPS)


def clipped_gain(ratio: Float[Array, "*b"], advantage: Float[Array, "*b"], clip: float) -> Float[Array, "*b"]:
    """Return min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), to be made large."""
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def huber(error: Float[Array, "*b"], delta: float) -> Float[Array, "*b"]:
    """Return e^2 / 2 up to ``delta``, and delta (|e| - delta / 2) beyond."""
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))


def clipped_value_loss(
    value: Float[Array, "*b"], old: Float[Array, "*b"], target: Float[Array, "*b"], clip: float, delta: float
) -> Float[Array, "*b"]:
    """Return the larger of the Huber losses of ``value`` and of ``old`` moved towards it by at most ``clip``."""
    near = old + jnp.clip(value - old, -clip, clip)
    return jnp.maximum(huber(target - value, delta), huber(target - near, delta))
