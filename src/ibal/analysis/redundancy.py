"""What the interaction-breaking attack leaves out when it estimates the information of a group by a sum over pairs and
dimensions.

    redundancy(key, config, spec, train, test, most, steps)          # group-wise less sum of parts   (Fig. 14)

Informations are in nats. Source: IBAL Lemma 4.3, Appendix F.1.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.evaluation import stats
from ibal.mi import descent, samples
from ibal.mi.config import ClubConfig
from ibal.nets.agents import linear, uniform
from ibal.nets.layers import Mlp, after_first, mlp
from ibal.types import EnvSpec, Episodes, PRNGKey

PLAIN = ClubConfig(tau="obs", dead="exclude")  # which transitions the group's model is about
OUTLIERS, RANGE = 0.01, 2.0  # share of moments that no Gaussian describes, and what entries range over (SMAC: -1..1)
TEMPERS = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0], np.float32)  # exponents of the density, tried in turn


ESTIMATES = ("club_group", "club_parts", "mixture_group", "mixture_parts")


class Redundancy(NamedTuple):
    """Group-wise information I(o^{G1}; a^{G2} | a^{G1}, tau) and the sum of its parts I(o^i_d; a^j | a^i, tau), per
    moment, by two readings of the same model: "club" (the bound that the attack uses) and "mixture" (log of the mean
    density instead of mean of the log-density, which for the true model is the information itself).

    Shapes: time [r] and episode [r], where a moment is from; club_group, club_parts, mixture_group, mixture_parts [r]
    in nats; parts summed over living pairs.
    """

    time: np.ndarray
    episode: np.ndarray
    club_group: np.ndarray
    club_parts: np.ndarray
    mixture_group: np.ndarray
    mixture_parts: np.ndarray

    def per_step(self, fewest: int = 20) -> dict[str, np.ndarray]:
        """Return the mean of every estimate over the moments of one time step, ``redundancy`` (group less parts) of
        both readings with its 95 % interval (``low``, ``high``), and ``count``, for the time steps that have ``fewest``
        moments. The interval is about the moments that could have been drawn, given the model that was fitted; those
        of one episode count together."""
        times, counts = np.unique(self.time, return_counts=True)
        rows = [self.time == t for t, c in zip(times, counts, strict=True) if c >= fewest]
        out = {"time": times[counts >= fewest], "count": counts[counts >= fewest]}
        for name in ESTIMATES:
            out[name] = np.array([getattr(self, name)[r].mean() for r in rows])
        for reading in ("club", "mixture"):
            gap = getattr(self, f"{reading}_group") - getattr(self, f"{reading}_parts")
            ends = [stats.interval(stats.clustered(gap[r], self.episode[r])) for r in rows]
            out[f"{reading}_redundancy"] = np.array([gap[r].mean() for r in rows])
            out[f"{reading}_low"], out[f"{reading}_high"] = np.array(ends).reshape(-1, 2).T
        return out


class GroupParams(NamedTuple):
    """Diagonal Gaussian p(o^i_{t+1} | o^i_t, a^i, the actions that are shown); the first layer in pieces."""

    tau: Float[Array, "o h"]
    observer: Float[Array, "n h"]
    shown: Float[Array, "n n a h"]
    silent: Float[Array, "n n h"]
    rest: Mlp


def redundancy(
    key: PRNGKey, config: ClubConfig, spec: EnvSpec, train: Episodes, test: Episodes, most: int, steps: int,
    count: int = 2048, negatives: int = 63,
) -> Redundancy:  # fmt: skip
    """Fit a model of the next observation given any set of actions on ``train``; measure on moments of ``test``.

    One model gives the group's information (all actions shown, those of G2 replaced together) and that of its parts
    (one partner shown), so that a difference is not one between two fits. G1 has ``most`` agents and is drawn per
    moment. Replacements are legal at the moment and drawn agent by agent as often as in that time step of ``train``.
    ``config`` gives layers, bounds of the variance, and how the model learns; the past is agent i's observation.

    Dimensions are independent given the actions in this model: "club" is then additive over dimensions and can only
    show redundancy between partners. "mixture" shows what dimensions tell twice because they obey the same action. It
    is a lower bound for any function in place of the log-density (Poole et al. 2019, InfoNCE; exact in the model when
    that is right), so the density is made robust (a hundredth of it uniform) and taken to the power in TEMPERS that
    gives most, one for the group and one for the parts: noise that many dimensions share would else make the model too
    sure. The group's cannot exceed log(``negatives`` + 1), which bites where G2 is large.

    Source: Lemma 4.3 and Appendix F.1, which does not say how the group-wise information is estimated.
    """
    run = partial(_redundancy, config, spec, most=most, steps=steps, count=count, negatives=negatives)
    time, episode, *found = jax.jit(run)(key, train, test)
    club_group, club_parts, *mixtures = (np.asarray(values, np.float64) for values in found)
    mixture_group, mixture_parts = (each[:, each.mean(0).argmax()] for each in mixtures)
    return Redundancy(np.asarray(time), np.asarray(episode), club_group, club_parts, mixture_group, mixture_parts)


def _redundancy(
    config: ClubConfig, spec: EnvSpec, key: PRNGKey, train: Episodes, test: Episodes, most: int, steps: int,
    count: int, negatives: int,
) -> tuple[Array, ...]:  # fmt: skip
    params = _fit_group(rng.stream(key, "fit"), config, spec, train, steps)
    data = samples.transitions(rng.stream(key, "rows"), PLAIN, spec, test, count)
    episode, _ = samples.rows(rng.stream(key, "rows"), test.length, count)  # the same draw
    order = jnp.argsort(jax.random.uniform(rng.stream(key, "group"), (count, spec.n_agents)), axis=1)
    keys = jax.vmap(lambda r: rng.at(rng.stream(key, "drawn"), r))(jnp.arange(count))
    often = _how_often(spec, train)
    one = partial(_moment, config, params, most, negatives)
    found = jax.lax.map(lambda row: one(*row), (keys, data, order, often[data.time]), batch_size=16)
    return (data.time, episode, *found)


def _moment(
    config: ClubConfig, params: GroupParams, most: int, negatives: int, key: PRNGKey, row: samples.Transitions,
    order: Int[Array, "n"], often: Float[Array, "n a"],
) -> tuple[Array, ...]:  # fmt: skip
    """Return club_group, club_parts, and mixture_group, mixture_parts [p] for every exponent in TEMPERS."""
    n, n_actions = often.shape
    group = order < most
    who = jnp.argsort(order)[:most]  # the members of G1
    observes = row.observes[who]
    # A little of everything legal: an action that ``train`` never shows at this time has no negative otherwise.
    chance = jnp.where(row.avail, often + 1e-2, 0.0)
    log_chance = jnp.log(chance / jnp.maximum(chance.sum(1, keepdims=True), 1e-30))

    drawn = jax.random.categorical(key, log_chance[None], axis=2, shape=(negatives, n)).astype(jnp.int32)
    joint = jnp.where(group[None], row.action[None], drawn)
    joint = jnp.concatenate([row.action[None], joint])  # [1 + negatives, n]
    everyone = jnp.ones((n,), bool)

    def density(i: Array, action: Array, shown: Array) -> Array:
        return _log_density(config, params, i, row.tau[i], row.after[i], action, shown)

    over_draws = jax.vmap(density, (None, 0, None))
    each = jax.vmap(lambda i: over_draws(i, joint, everyone))(who)  # [k, 1 + negatives, o]
    each = jnp.where(observes[:, None, None], each, 0.0)
    plain, blurred = each.sum((0, 2)), jnp.where(observes[:, None, None], _blurred(each), 0.0).sum((0, 2))
    club_group = plain[0] - plain[1:].mean()
    tempered = jnp.asarray(TEMPERS)[:, None] * blurred[None]  # [p, 1 + negatives]
    mixture_group = tempered[:, 0] - (jax.nn.logsumexp(tempered, axis=1) - math.log(negatives + 1))

    def part(i: Array, j: Array) -> Array:
        shown = (jnp.arange(n) == i) | (jnp.arange(n) == j)
        alternatives = jnp.where((jnp.arange(n) == j)[None], jnp.arange(n_actions)[:, None], row.action[None])
        by_action = over_draws(i, alternatives.astype(jnp.int32), shown)  # [a, o]
        true = row.action[j]
        club_part = by_action[true] - jnp.einsum("ao,a->o", by_action, jnp.exp(log_chance[j]))
        tempered = jnp.asarray(TEMPERS)[:, None, None] * _blurred(by_action)[None]  # [p, a, o]
        mixture_part = tempered[:, true] - jax.nn.logsumexp(tempered + log_chance[j][None, :, None], axis=1)
        return jnp.concatenate([club_part.sum()[None], mixture_part.sum(1)])

    pairs = jax.vmap(lambda i: jax.vmap(lambda j: part(i, j))(jnp.arange(n)))(who)  # [k, n, 1 + p]
    counts = observes[:, None] & (row.partners & ~group)[None]
    parts = jnp.where(counts[..., None], pairs, 0.0).sum((0, 1))
    return club_group, parts[0], mixture_group, parts[1:]


def _fit_group(key: PRNGKey, config: ClubConfig, spec: EnvSpec, episodes: Episodes, steps: int) -> GroupParams:
    """Learn with all other actions shown in half of the rows, with one in the others."""
    n, a, o, h = spec.n_agents, spec.n_actions, spec.obs_size, config.hidden[0]
    shapes = ((o, h), (n, h), (n, n, a, h), (n, n, h))
    tau, observer, shown, silent = uniform(rng.stream(key, "first"), shapes, [o + 2 * n + n * a] * 4)
    params: Any = GroupParams(tau, observer, shown, silent, mlp(rng.stream(key, "rest"), (*config.hidden, 2 * o)))
    per_batch = max(config.batch // n, 1)

    def loss(params: GroupParams, data: samples.Transitions, shown: Array) -> Array:
        of_agent = partial(_log_density, config, params)
        of_row = jax.vmap(of_agent, (0, 0, 0, None, 0))
        density = jax.vmap(of_row, (None, 0, 0, 0, 0))(jnp.arange(n), data.tau, data.after, data.action, shown)
        counted = jnp.where(data.observes, density.sum(2), 0.0)
        return -counted.sum() / jnp.maximum(data.observes.sum(), 1).astype(jnp.float32)

    def step(index: Array, params: GroupParams, opt: Any) -> tuple[GroupParams, Any, Array]:
        here = rng.at(key, index)
        data = samples.transitions(rng.stream(here, "rows"), PLAIN, spec, episodes, per_batch)
        everyone = jax.random.bernoulli(rng.stream(here, "everyone"), 0.5, (per_batch, n, 1))
        # The living partner of the highest draw.
        lottery = jax.random.uniform(rng.stream(here, "partner"), (per_batch, n, n))
        candidate = data.partners[:, None, :] & ~jnp.eye(n, dtype=bool)[None]
        partner = jnp.argmax(jnp.where(candidate, lottery, -1.0), axis=2)
        shown = everyone | jnp.eye(n, dtype=bool)[None] | (partner[..., None] == jnp.arange(n)[None, None])
        return descent.descend(config, lambda p: loss(p, data, shown), params, opt)

    params, _, _ = descent.repeat(step, params, descent.optimiser(config).init(params), steps)
    return params


def _log_density(
    config: ClubConfig, params: GroupParams, i: Int[Array, ""], tau: Float[Array, "o"], after: Float[Array, "o"],
    action: Int[Array, "n"], shown: Bool[Array, "n"],
) -> Float[Array, "o"]:  # fmt: skip
    """Log-density of every entry of i's next observation, given the actions of those in ``shown`` (i among them)."""
    known = params.shown[i, jnp.arange(action.shape[0]), action]
    first = jnp.where(shown[:, None], known, params.silent[i]).sum(0)
    first = first + linear(tau, params.tau, params.observer[i])
    change, raw = jnp.split(after_first(params.rest, first), 2)
    low, high = config.log_variance
    middle, half = (low + high) / 2, (high - low) / 2
    log_variance = middle + half * jnp.tanh((raw - middle) / half)
    squared = (after - tau - change) ** 2 * jnp.exp(-log_variance)
    return -0.5 * (squared + log_variance + math.log(2 * math.pi))


def _blurred(log_density: Float[Array, "*c o"]) -> Float[Array, "*c o"]:
    """Make a small part of every density uniform over the range of an entry, so that an event the model has never seen
    costs a few nats and not the square of its distance, which a few moments would decide every mean with."""
    return jnp.logaddexp(log_density + math.log1p(-OUTLIERS), math.log(OUTLIERS / RANGE))


def _how_often(spec: EnvSpec, episodes: Episodes) -> Float[Array, "t n a"]:
    """Return the share of each agent's actions per time step (0 where no episode has lasted so long)."""
    executed = episodes.action if episodes.executed is None else episodes.executed
    inside = jnp.arange(executed.shape[1])[None] < episodes.length[:, None]
    counts = jnp.where(inside[..., None, None], jax.nn.one_hot(executed, spec.n_actions), 0.0).sum(0)
    return counts / jnp.maximum(inside.sum(0), 1).astype(jnp.float32)[:, None, None]
