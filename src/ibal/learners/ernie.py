"""ERNIE: a team whose values hardly change when what it sees changes a little, because they are trained to.

The learner adds ``smooth`` x R to its loss, R = mean over living agents and steps of KL(pi(o) || pi(o + delta)), with
pi the softmax of the values of legal actions and delta the noise within +-``smooth_eps`` that one step of gradient
ascent finds. The noise enters at every step, so it also reaches the values through the recurrent state.

Source: Bukharin et al. 2023 ("Robust multi-agent reinforcement learning via adversarial regularization"); settings for
SMAC from MIR3's re-implementation. Other than there, R is estimated on a few packed rows of a batch, not on all of it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.learners.config import ValueConfig
from ibal.nets import agents
from ibal.nets.agents import PyMarlAgent
from ibal.types import PRNGKey


def penalty(
    key: PRNGKey, params: PyMarlAgent, inputs: Float[Array, "t b i"], keep: Float[Array, "t b"],
    avail: Bool[Array, "t b a"], counts: Bool[Array, "t b"], obs_size: int, config: ValueConfig,
) -> Float[Array, ""]:  # fmt: skip
    """Return R. The first ``obs_size`` inputs are the observation, the only ones that are disturbed; ``counts`` says
    which steps and agents are averaged over; ``keep`` is 0 where an agent's history begins."""

    def log_policy(params: PyMarlAgent, delta: Float[Array, "t b o"]) -> Float[Array, "t b a"]:
        disturbed = jnp.concatenate((inputs[..., :obs_size] + delta, inputs[..., obs_size:]), axis=-1)
        _, q = agents.unroll(params, agents.start(params, inputs.shape[1]), disturbed, keep)
        return jax.nn.log_softmax(jnp.where(avail, q, -1e9), axis=-1)

    def divergence(calm: Float[Array, "t b a"], noisy: Float[Array, "t b a"]) -> Float[Array, ""]:
        each = (jnp.exp(calm) * jnp.where(avail, calm - noisy, 0.0)).sum(-1)
        return jnp.where(counts, each, 0.0).sum() / jnp.maximum(counts.sum(), 1).astype(jnp.float32)

    shape = (*inputs.shape[:2], obs_size)
    calm = log_policy(params, jnp.zeros(shape))
    delta = worst_noise(key, lambda d: divergence(jax.lax.stop_gradient(calm), log_policy(params, d)), shape, config)
    return divergence(calm, log_policy(params, delta))


def worst_noise(
    key: PRNGKey, divergence: Callable[[Array], Array], shape: tuple[int, ...], config: ValueConfig
) -> Float[Array, "..."]:
    """Take one step of size ``smooth_eps`` uphill from noise of size ``smooth_init`` (at 0 there is no uphill), within
    the bounds. Nothing is differentiated through it."""
    begin = config.smooth_init * jax.random.normal(key, shape)
    stepped = begin + config.smooth_eps * jnp.sign(jax.grad(divergence)(begin))
    return jax.lax.stop_gradient(jnp.clip(stepped, -config.smooth_eps, config.smooth_eps))
