"""ERNIE: a team whose choices hardly change when what it sees changes a little, because they are trained to.

The learner adds ``smooth`` x R to its loss, R = mean over living agents and steps of KL(pi(o) || pi(o + delta)), with
pi the softmax of the scores of legal actions (values, or a policy's logits) and delta the noise within +-``smooth_eps``
that one step of gradient ascent finds. The noise enters at every step, so it also reaches the scores through the
recurrent state.

Source: Bukharin et al. 2023 ("Robust multi-agent reinforcement learning via adversarial regularization"); settings for
SMAC from MIR3's re-implementation. Other than there, R is estimated on a few packed rows of a batch, not on all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.learners.config import LearnerConfig
from ibal.learners.packing import Packing, Rows, agent_inputs, goes_on
from ibal.types import PRNGKey

P = TypeVar("P")
G = TypeVar("G", bound=Any)  # a gradient with a field ``agent``
Scores = Callable[[P, Array, Array], Array]  # weights, inputs [t b i], keep [t b] (0: a history begins) -> [t b a]


def now_and_then(
    key: PRNGKey, updates: Int[Array, ""], params: P, scores: Scores[P], draw: Callable[[PRNGKey], Rows],
    obs_size: int, config: LearnerConfig,
) -> tuple[P, Float[Array, ""]]:  # fmt: skip
    """Return gradient and value of R on the rows that ``draw`` chooses by a key: ``smooth_every`` times as much at
    every ``smooth_every``-th update, and nothing at the others. That is the same on average, for a part of the cost."""

    def due() -> tuple[P, Float[Array, ""]]:
        here = rng.stream(key, "smooth")
        batch = draw(rng.stream(here, "rows"))
        t, _, n, a = batch.avail.shape
        avail = batch.avail.reshape(t, -1, a)
        counts = jnp.repeat(batch.valid, n, axis=1) & (avail.sum(-1) > 1)  # the dead have no choice
        inputs, keep, noise = agent_inputs(batch), goes_on(batch), rng.stream(here, "noise")
        value, gradient = jax.value_and_grad(
            lambda params: penalty(noise, params, scores, inputs, keep, avail, counts, obs_size, config)
        )(params)
        return jax.tree.map(lambda x: config.smooth_every * x, (gradient, value))

    def spared() -> tuple[P, Float[Array, ""]]:
        return jax.tree.map(jnp.zeros_like, params), jnp.float32(0)

    return jax.lax.cond(updates % config.smooth_every == 0, due, spared)


def added(
    gradient: G, found: tuple[Any, Float[Array, ""]], weight: float, part: str | None = None
) -> tuple[G, Float[Array, ""]]:
    """Return a learner's gradient with ``weight`` times that of R (``found``: it and R) in its ``agent``, and R; with
    ``part``, the name of the axis of devices that share a batch, the mean over them, in one exchange."""
    if part is not None:
        flat, unravel = ravel_pytree(found)
        found = unravel(jax.lax.pmean(flat, part))
    more, value = found
    return gradient._replace(agent=jax.tree.map(lambda g, s: g + weight * s, gradient.agent, more)), value


def some_rows(key: PRNGKey, packing: Packing, config: LearnerConfig) -> tuple[Int[Array, ""], int]:
    """Choose ``smooth_rows`` rows of a packing that stand side by side: the first of them, and how many they are."""
    count = min(config.smooth_rows, packing.episode.shape[0])
    return jax.random.randint(key, (), 0, jnp.maximum(packing.used - count, 0) + 1), count


def penalty(
    key: PRNGKey, params: P, scores: Scores[P], inputs: Float[Array, "t b i"], keep: Float[Array, "t b"],
    avail: Bool[Array, "t b a"], counts: Bool[Array, "t b"], obs_size: int, config: LearnerConfig,
) -> Float[Array, ""]:  # fmt: skip
    """Return R. The first ``obs_size`` inputs are the observation, the only ones that are disturbed; ``counts`` says
    which steps and agents are averaged over; ``keep`` is 0 where an agent's history begins."""

    def log_policy(params: P, delta: Float[Array, "t b o"]) -> Float[Array, "t b a"]:
        disturbed = jnp.concatenate((inputs[..., :obs_size] + delta, inputs[..., obs_size:]), axis=-1)
        return jax.nn.log_softmax(jnp.where(avail, scores(params, disturbed, keep), -1e9), axis=-1)

    def divergence(calm: Float[Array, "t b a"], noisy: Float[Array, "t b a"]) -> Float[Array, ""]:
        each = (jnp.exp(calm) * jnp.where(avail, calm - noisy, 0.0)).sum(-1)
        return jnp.where(counts, each, 0.0).sum() / jnp.maximum(counts.sum(), 1).astype(jnp.float32)

    shape = (*inputs.shape[:2], obs_size)
    calm = log_policy(params, jnp.zeros(shape))
    delta = worst_noise(key, lambda d: divergence(jax.lax.stop_gradient(calm), log_policy(params, d)), shape, config)
    return divergence(calm, log_policy(params, delta))


def worst_noise(
    key: PRNGKey, divergence: Callable[[Array], Array], shape: tuple[int, ...], config: LearnerConfig
) -> Float[Array, "..."]:
    """Take one step of size ``smooth_eps`` uphill from noise of size ``smooth_init`` (at 0 there is no uphill), within
    the bounds. Nothing is differentiated through it."""
    begin = config.smooth_init * jax.random.normal(key, shape)
    stepped = begin + config.smooth_eps * jnp.sign(jax.grad(divergence)(begin))
    return jax.lax.stop_gradient(jnp.clip(stepped, -config.smooth_eps, config.smooth_eps))
