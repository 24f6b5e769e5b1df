"""The policy of an evolutionary attacker, and the archive from which the next population comes.

Source: ROMANCE (Yuan et al. 2023), Appendix, Algorithm 1 and its official settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.adversaries.ega.options import EgaOptions
from ibal.nets.layers import Mlp, apply
from ibal.types import PRNGKey


class Member(NamedTuple):
    """An attacker: its network, and what it takes to go on learning (None in evaluation)."""

    net: Mlp
    target: Mlp | None = None
    opt: Any = None


class Entry(NamedTuple):
    """A place of the archive, or a candidate for one; ``valid``: it is taken. In evaluation the rest is None.

    ``quality`` is minus the mean return of the team; ``points`` are inputs at which it attacked, where ``attacked``;
    ``born`` grows with every arrival.
    """

    member: Member
    valid: Bool[Array, "*b"]
    quality: Float[Array, "*b"] | None = None
    points: Float[Array, "*b k i"] | None = None
    attacked: Bool[Array, "*b k"] | None = None
    born: Int[Array, "*b"] | None = None


def sparse(config: EgaOptions, q: Float[Array, "*b a"]) -> Float[Array, "*b a"]:
    """Return log(p_ref exp(Q / lambda)) of every choice: attack agent 0, 1, ..., or nobody (last).

    p_ref = (delta / n, ..., delta / n, 1 - delta).
    """
    n = q.shape[-1] - 1
    reference = jnp.log(jnp.array([config.delta / n] * n + [1 - config.delta]))
    return reference.reshape((1,) * (q.ndim - 1) + (n + 1,)) + q / config.sparsity


def probabilities(config: EgaOptions, q: Float[Array, "*b a"], x: Float[Array, "*b i"]) -> Float[Array, "*b a"]:
    """Return p (1 - (n + 1) b) + b with p = p_ref exp(Q / lambda) / Z; without a budget nobody is attacked.

    The last entry of ``x`` is the share of the budget that is left.
    """
    p = jax.nn.softmax(sparse(config, q))
    smooth = p * (1 - q.shape[-1] * config.smoothing) + config.smoothing
    return jnp.where(x[..., -1:] > 0, smooth, _nobody(q))


def soft_value(config: EgaOptions, q: Float[Array, "*b a"], x: Float[Array, "*b i"]) -> Float[Array, "*b"]:
    """Return lambda log sum_a p_ref(a) exp(Q(a) / lambda); without a budget there is nothing to choose."""
    value = config.sparsity * jax.nn.logsumexp(sparse(config, q), axis=-1)
    return jnp.where(x[..., -1] > 0, value, q[..., -1])


def divergence(p: Float[Array, "m *b a"]) -> Float[Array, "*b"]:
    """Return the Jensen-Shannon divergence of the distributions along the first axis, in nats: H(mean) - mean H."""
    return entropy(p.mean(0)) - entropy(p).mean(0)


def entropy(p: Float[Array, "*b a"]) -> Float[Array, "*b"]:
    """Return -sum p log p; entries of 0 count nothing, and have a gradient."""
    return -(p * jnp.log(jnp.maximum(p, 1e-12))).sum(-1)


def consider(
    key: PRNGKey, config: EgaOptions, archive: Entry, candidate: Entry, rho: Float[Array, ""]
) -> Entry:  # fmt: skip
    """Return the archive after a candidate has asked for a place.

    With d the distances to the members: if min d > (1 - rho) mean d it gets a place of its own (that of the oldest if
    all are taken), else it replaces the nearest with probability |q_old| / (|q_new| + |q_old|).
    """
    assert archive.quality is not None
    assert archive.born is not None
    assert candidate.quality is not None
    assert candidate.born is not None
    taken = archive.valid
    apart = distances(config, archive, candidate)
    mean = jnp.where(taken, apart, 0.0).sum() / jnp.maximum(taken.sum(), 1).astype(jnp.float32)
    apart = jnp.where(taken, apart, jnp.inf)
    nearest = jnp.argmin(apart)
    new = apart[nearest] > (1 - rho) * mean  # an empty archive: infinity
    free = jnp.where(taken.all(), jnp.argmin(archive.born), jnp.argmin(taken))

    ours, theirs = jnp.abs(candidate.quality), jnp.abs(archive.quality[nearest])
    total = ours + theirs
    chance = jnp.where(total > 0, theirs / jnp.where(total > 0, total, 1.0), 0.5)
    wins = jax.random.uniform(key) < chance
    place = jnp.where(new, free, nearest)
    # Who replaces another one has come no later than it.
    candidate = candidate._replace(born=jnp.where(new, candidate.born, archive.born[nearest]))
    return jax.tree.map(lambda old, one: jnp.where(new | wins, old.at[place].set(one), old), archive, candidate)


def distances(config: EgaOptions, archive: Entry, candidate: Entry) -> Float[Array, "m"]:
    """Return for every member the mean of KL(candidate || member) per choice over the points of both; 0 if none."""
    assert archive.points is not None
    assert archive.attacked is not None
    assert candidate.points is not None
    assert candidate.attacked is not None
    own, shown = candidate.points, candidate.attacked

    def one(net: Mlp, points: Array, attacked: Array) -> Float[Array, ""]:
        x = jnp.concatenate((own, points)).astype(jnp.float32)
        counts = jnp.concatenate((shown, attacked)).astype(jnp.float32)
        p = probabilities(config, apply(candidate.member.net, x), x)
        other = probabilities(config, apply(net, x), x)
        kl = (p * (jnp.log(jnp.maximum(p, 1e-12)) - jnp.log(jnp.maximum(other, 1e-12)))).mean(-1)
        return (counts * kl).sum() / jnp.maximum(counts.sum(), 1.0)

    return jax.vmap(one)(archive.member.net, archive.points, archive.attacked)


def choose(
    key: PRNGKey, config: EgaOptions, archive: Entry, fresh: Member, share: Float[Array, ""]
) -> tuple[Member, Int[Array, "m"]]:
    """Return the next population, and from which place of the archive each comes (-1: it is new).

    If the archive has as many members as a population, they are drawn with replacement from softmax(quality /
    temperature), and each is replaced by one of ``fresh`` with probability ``share``; else all of them are taken, and
    the rest are new. (The official code needs one member more, so it stands still if all that learn stay alike.)
    """
    assert archive.quality is not None
    count, places = config.population, jnp.arange(config.population)
    logits = jnp.where(archive.valid, archive.quality / config.temperature, -jnp.inf)
    some = archive.valid.any()
    drawn = jax.random.categorical(rng.stream(key, "which"), jnp.where(some, logits, 0.0), shape=(count,))
    replaced = jax.random.uniform(rng.stream(key, "fresh"), (count,)) < share
    crowded = archive.valid.sum() >= count
    # Places are taken in order, and never given back.
    origin = jnp.where(crowded, drawn, jnp.minimum(places, config.archive - 1)).astype(jnp.int32)
    kept = jnp.where(crowded, ~replaced, (places < config.archive) & archive.valid[origin])
    population = tree.where(kept, tree.at(archive.member, origin), fresh)
    return population, jnp.where(kept, origin, -1)


def _nobody(q: Float[Array, "*b a"]) -> Float[Array, "*b a"]:
    return jnp.broadcast_to(jax.nn.one_hot(q.shape[-1] - 1, q.shape[-1]), q.shape)
