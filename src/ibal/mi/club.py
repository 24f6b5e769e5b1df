"""Which observation dimension of agent i tells what agent j did: the CLUB bound, dimension by dimension.

One diagonal Gaussian model p_theta(o^i_{t+1} | a^i, a^j, tau) serves all ordered pairs (i, j). Because its density is a
product over dimensions, one pass gives the information of every dimension.

    params = init(key, config, spec)
    opt = descent.optimiser(config).init(params)
    params, opt, losses = fit(key, config, spec, params, opt, episodes, steps=1000)
    s = scores(key, config, spec, params, samples.transitions(key, config, spec, episodes, 2048))     # [n, n, o]

Source: IBAL Appendix B.1; CLUB: Cheng et al. 2020.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.mi import samples
from ibal.mi.config import ClubConfig
from ibal.mi.descent import descend, repeat
from ibal.mi.samples import PairBatch, Transitions
from ibal.nets.agents import linear, uniform
from ibal.nets.layers import Mlp, after_first, mlp, multiply_adds
from ibal.types import EnvSpec, Episodes, PRNGKey

CHUNK = 2**21  # numbers in the largest array of one pass of ``scores`` (8 MB: stays in the cache of a CPU)


class ClubParams(NamedTuple):
    """The first layer in one piece per input (a one-hot input chooses a row), then the other layers.

    ``pair`` is what an action of the partner means to this observer (None with identity "one-hot")."""

    tau: Float[Array, "w h"]
    mine: Float[Array, "a h"]
    other: Float[Array, "a h"]
    observer: Float[Array, "n h"]
    partner: Float[Array, "n h"]
    bias: Float[Array, "h"]
    pair: Float[Array, "n n a h"] | None
    rest: Mlp


def init(key: PRNGKey, config: ClubConfig, spec: EnvSpec) -> ClubParams:
    """Draw the model from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the first layer as one layer on all its inputs."""
    pieces = (_tau_size(config, spec), *2 * (spec.n_actions,), *2 * (spec.n_agents,))
    first, fan_in = config.hidden[0], sum(pieces)
    shapes = [*((rows, first) for rows in pieces), (first,)]
    tau, mine, other, observer, partner, bias = uniform(rng.stream(key, "first"), shapes, [fan_in] * len(shapes))
    pair = None
    if config.identity == "pair":
        shape = (spec.n_agents, spec.n_agents, spec.n_actions, first)
        pair = uniform(rng.stream(key, "pair"), [shape], [fan_in])[0]
    rest = mlp(rng.stream(key, "rest"), (*config.hidden, 2 * spec.obs_size))
    return ClubParams(tau, mine, other, observer, partner, bias, pair, rest)


def loss(config: ClubConfig, params: ClubParams, batch: PairBatch) -> Float[Array, ""]:
    """Negative log-likelihood of the observation in nats, summed over dimensions, mean over the tuples."""
    # Products with one-hots, not indexing: their gradient is a product again, that of indexing a slow scatter.
    first = linear(batch.tau, params.tau, params.bias)
    first += _one_hot(batch.mine, params.mine) + _one_hot(batch.other, params.other)
    first += _one_hot(batch.observer, params.observer) + _one_hot(batch.partner, params.partner)
    if params.pair is not None:
        first += params.pair[batch.observer, batch.partner, batch.other]
    density = _log_density(config, params, first, batch.tau, batch.after)
    return -jnp.sum(density.sum(1) * batch.weight)


def update(
    config: ClubConfig, params: ClubParams, opt_state: optax.OptState, batch: PairBatch
) -> tuple[ClubParams, optax.OptState, Float[Array, ""]]:
    """Take one gradient step; return the loss before it too."""
    return descend(config, lambda p: loss(config, p, batch), params, opt_state)


def fit(
    key: PRNGKey, config: ClubConfig, spec: EnvSpec, params: ClubParams, opt_state: optax.OptState,
    episodes: Episodes, steps: int,
) -> tuple[ClubParams, optax.OptState, Float[Array, "steps"]]:  # fmt: skip
    """Take ``steps`` gradient steps on tuples drawn from ``episodes``; return the losses too."""

    def step(index: Array, params: ClubParams, opt_state: optax.OptState) -> tuple[ClubParams, optax.OptState, Array]:
        batch = samples.pairs(rng.at(key, index), config, spec, episodes)
        return update(config, params, opt_state, batch)

    return repeat(step, params, opt_state, steps)


def scores(
    key: PRNGKey, config: ClubConfig, spec: EnvSpec, params: ClubParams, data: Transitions
) -> Float[Array, "n n o"]:
    """Return S[i, j, d]: information in nats between dimension d of i's next observation and j's action.

    S = mean over transitions of log p(o_d | a^i, a^j, tau) - mean over negatives a' of log p(o_d | a^i, a', tau), with
    a' drawn from the pair's own actions in ``data`` as ``config.negative`` says. Zero on the diagonal and for pairs
    that never occur. Not clipped: a badly fitted or noisy dimension may be negative.

    Needs memory for about ``CHUNK`` numbers, however many transitions there are.
    """
    count, n = data.action.shape
    partner = np.arange(n - 1)[None, :] + (np.arange(n - 1)[None, :] >= np.arange(n)[:, None])  # [n, n-1]
    candidates = 1 + (config.negatives or spec.n_actions)
    widest = max(params.bias.shape[0], *(layer.w.shape[1] for layer in params.rest))
    size = max(1, min(count, CHUNK // (n * (n - 1) * candidates * widest)))
    frequency = _frequencies(config, spec, data, partner)

    def add(total: tuple[Array, Array], chunk: Array) -> tuple[tuple[Array, Array], None]:
        index = jnp.minimum(chunk * size + jnp.arange(size), count - 1)
        fresh = chunk * size + jnp.arange(size) < count
        rows = jax.tree.map(lambda leaf: leaf[index], data)
        gain = _gains(rng.at(key, chunk), config, params, rows, partner, frequency)  # [r, n, n-1, o]
        counts = rows.observes[:, :, None] & rows.partners[:, partner] & fresh[:, None, None]
        gain = jnp.where(counts[..., None], gain, 0.0)
        return (total[0] + gain.sum(0), total[1] + counts.sum(0)), None

    nothing = (jnp.zeros((*partner.shape, spec.obs_size)), jnp.zeros(partner.shape, jnp.int32))
    (total, seen), _ = jax.lax.scan(add, nothing, jnp.arange(-(-count // size)))
    mean = total / jnp.maximum(seen, 1).astype(jnp.float32)[..., None]
    return jnp.zeros((n, n, spec.obs_size)).at[np.arange(n)[:, None], partner].set(mean)


def flops(config: ClubConfig, spec: EnvSpec) -> int:
    """Count the operations of the model for one tuple, forward; a gradient step costs three times that.

    The one-hot inputs are not counted: choosing a row costs no product.
    """
    return 2 * multiply_adds((_tau_size(config, spec), *config.hidden, 2 * spec.obs_size))


def _gains(
    key: PRNGKey, config: ClubConfig, params: ClubParams, rows: Transitions, partner: np.ndarray,
    frequency: Float[Array, "*t n n-1 a"],
) -> Float[Array, "r n n-1 o"]:  # fmt: skip
    """Return the log-density of what happened less its mean over the negatives, per pair and dimension."""
    true = rows.action[:, partner]
    chance = frequency[rows.time] if _by_time(config) else frequency[None]
    if config.negative in ("legal", "moment"):
        chance = chance * rows.avail[:, partner].astype(jnp.float32)
    if config.negatives:
        drawn = _draw(key, chance, (*true.shape, config.negatives))
        share = jnp.full(drawn.shape, 1 / config.negatives)
    else:
        n_actions = chance.shape[-1]
        drawn = jnp.broadcast_to(jnp.arange(n_actions)[None, None, None], (*true.shape, n_actions))
        share = jnp.broadcast_to(chance / jnp.maximum(chance.sum(-1, keepdims=True), 1e-30), drawn.shape)
    candidates = jnp.concatenate([true[..., None], drawn.astype(jnp.int32)], axis=-1)  # [r, n, n-1, 1 + negatives]

    known = linear(rows.tau, params.tau, params.bias) + params.mine[rows.action] + params.observer[None]
    first = known[:, :, None, None] + params.partner[partner][None, :, :, None] + params.other[candidates]
    if params.pair is not None:
        i = np.arange(partner.shape[0])[None, :, None, None]
        first += params.pair[i, partner[None, :, :, None], candidates]
    density = _log_density(config, params, first, rows.tau[:, :, None, None], rows.after[:, :, None, None])
    return density[..., 0, :] - jnp.einsum("rijcd,rijc->rijd", density[..., 1:, :], share)


def _frequencies(
    config: ClubConfig, spec: EnvSpec, data: Transitions, partner: np.ndarray
) -> Float[Array, "*t n n-1 a"]:
    """Count each partner's actions over the transitions in which the pair counts, per time step if asked for."""
    n = spec.n_agents
    weight = (data.observes[:, :, None] & data.partners[:, partner]).astype(jnp.float32)
    action = data.action[:, partner]
    i, slot = np.arange(n)[None, :, None], np.arange(n - 1)[None, None, :]
    if _by_time(config):
        empty = jnp.zeros((spec.horizon, n, n - 1, spec.n_actions))
        return empty.at[data.time[:, None, None], i, slot, action].add(weight)
    return jnp.zeros((n, n - 1, spec.n_actions)).at[i, slot, action].add(weight)


def _by_time(config: ClubConfig) -> bool:
    return config.negative in ("same-time", "moment")


def _draw(key: PRNGKey, chance: Float[Array, "*#c a"], shape: tuple[int, ...]) -> Int[Array, "*#c m"]:
    """Draw actions in proportion to ``chance``: the first whose cumulative share exceeds a uniform number."""
    cumulative = jnp.cumsum(chance, axis=-1)
    reached = jax.random.uniform(key, shape) * cumulative[..., -1:]
    passed = reached[..., None] >= cumulative[..., None, :]
    return jnp.minimum(passed.sum(-1, dtype=jnp.int32), chance.shape[-1] - 1)


def _log_density(
    config: ClubConfig, params: ClubParams, first: Float[Array, "*c h"], tau: Float[Array, "*d w"],
    after: Float[Array, "*d o"],
) -> Float[Array, "*c o"]:  # fmt: skip
    """Log-density of every dimension, given the sums of the first layer; ``tau`` and ``after`` broadcast."""
    mean, raw = jnp.split(after_first(params.rest, first), 2, axis=-1)
    if config.residual:
        mean = mean + tau
    low, high = config.log_variance
    # tanh and not a clip: a clipped log-variance has no gradient and would never come back.
    middle, half = (low + high) / 2, (high - low) / 2
    log_variance = middle + half * jnp.tanh((raw - middle) / half)
    return -0.5 * ((after - mean) ** 2 * jnp.exp(-log_variance) + log_variance + math.log(2 * math.pi))


def _one_hot(index: Int[Array, "c"], table: Float[Array, "k h"]) -> Float[Array, "c h"]:
    return jax.nn.one_hot(index, table.shape[0], dtype=table.dtype) @ table


def _tau_size(config: ClubConfig, spec: EnvSpec) -> int:
    return {"none": 0, "time": 1, "obs": spec.obs_size}[config.tau]
