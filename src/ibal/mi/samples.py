"""Draw training records for the two estimators from recorded episodes.

All shapes are fixed by ``count``; padding beyond an episode's length is never drawn. An agent is dead where only the
no-op is left to it (``EnvSpec.noop_action``; without one nobody is ever dead).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import EnvSpec, Episodes, PRNGKey


class PairBatch(NamedTuple):
    """What one step of the observation model learns from; ``c`` tuples (episode, t, i, j), i the observer.

    Shapes: tau [c, w] the past as agent i knows it; after [c, o] its clean observation one step later; mine, other
    [c] executed actions of i and j; observer, partner [c] their indices; weight [c] share of the tuple in the mean.
    """

    tau: Float[Array, "c w"]
    after: Float[Array, "c o"]
    mine: Int[Array, "c"]
    other: Int[Array, "c"]
    observer: Int[Array, "c"]
    partner: Int[Array, "c"]
    weight: Float[Array, "c"]


class Transitions(NamedTuple):
    """Whole transitions, for scores of all pairs at once; ``r`` rows.

    Shapes: tau [r, n, w]; after [r, n, o]; action [r, n] executed; avail [r, n, a]; time [r]; observes [r, n] and
    partners [r, n]: whether agent n counts as an observer or a partner.
    """

    tau: Float[Array, "r n w"]
    after: Float[Array, "r n o"]
    action: Int[Array, "r n"]
    avail: Bool[Array, "r n a"]
    time: Int[Array, "r"]
    observes: Bool[Array, "r n"]
    partners: Bool[Array, "r n"]


class JointBatch(NamedTuple):
    """What one step of the action model learns from; ``c`` transitions.

    Shapes: tau [c, w]; action [c, n] intended actions; group [c, n] whether the agent is in G1; target [c, n] the
    actions to predict (of G2) and legal [c, n, a] what was allowed then; counts [c, n] whether a target is in the mean.
    """

    tau: Float[Array, "c w"]
    action: Int[Array, "c n"]
    group: Bool[Array, "c n"]
    target: Int[Array, "c n"]
    legal: Bool[Array, "c n a"]
    counts: Bool[Array, "c n"]


def alive(avail: Bool[Array, "*b n a"], noop_action: int | None) -> Bool[Array, "*b n"]:
    """Tell who has any action but the no-op."""
    if noop_action is None:
        return jnp.ones(avail.shape[:-1], bool)
    others = np.arange(avail.shape[-1]) != noop_action
    return avail[..., others].any(-1)


def rows(key: PRNGKey, length: Int[Array, "b"], count: int, ahead: int = 0) -> tuple[Int[Array, "c"], Int[Array, "c"]]:
    """Draw (episode, t) uniformly, with replacement, from all steps that have ``ahead`` more steps after them.

    At least one such step must exist.
    """
    ends = jnp.cumsum(jnp.maximum(length.astype(jnp.int32) - ahead, 0))
    drawn = jax.random.randint(key, (count,), 0, jnp.maximum(ends[-1], 1))
    episode = jnp.searchsorted(ends, drawn, side="right").astype(jnp.int32)
    before = jnp.where(episode > 0, ends[episode - 1], 0)
    return episode, drawn - before


def pairs(key: PRNGKey, config: ClubConfig, spec: EnvSpec, episodes: Episodes, count: int | None = None) -> PairBatch:
    """Draw tuples for the observation model: clean observations, executed actions.

    A transition is drawn first, then a pair from those that count in it; the number of such pairs is the tuple's
    weight, so that the weighted mean is the mean over all tuples. No draw is wasted on the dead.
    """
    count = config.batch if count is None else count
    episode, t = rows(rng.stream(key, "row"), episodes.length, count)
    observes, partners = _who_counts(config, spec, episodes, episode, t)
    observer = _pick(rng.stream(key, "observer"), observes)
    others = partners & (jnp.arange(spec.n_agents)[None, :] != observer[:, None])
    partner = _pick(rng.stream(key, "partner"), others)
    weight = (observes.sum(1) * others.sum(1)).astype(jnp.float32)
    executed = episodes.action if episodes.executed is None else episodes.executed
    return PairBatch(
        tau=_past(config, spec, episodes, episode, t, observer),
        after=episodes.obs[episode, t + 1, observer].astype(jnp.float32),
        mine=executed[episode, t, observer].astype(jnp.int32),
        other=executed[episode, t, partner].astype(jnp.int32),
        observer=observer,
        partner=partner,
        weight=weight / jnp.maximum(weight.sum(), 1.0),
    )


def transitions(key: PRNGKey, config: ClubConfig, spec: EnvSpec, episodes: Episodes, count: int) -> Transitions:
    """Draw whole transitions for ``club.scores``: clean observations, executed actions."""
    episode, t = rows(key, episodes.length, count)
    observes, partners = _who_counts(config, spec, episodes, episode, t)
    executed = episodes.action if episodes.executed is None else episodes.executed
    everyone = jnp.arange(spec.n_agents)[None, :]
    return Transitions(
        tau=_past(config, spec, episodes, episode[:, None], t[:, None], everyone),
        after=episodes.obs[episode, t + 1].astype(jnp.float32),
        action=executed[episode, t].astype(jnp.int32),
        avail=episodes.avail[episode, t],
        time=t,
        observes=observes,
        partners=partners,
    )


def joint_actions(
    key: PRNGKey, config: ActionConfig, spec: EnvSpec, episodes: Episodes, most: int, *,
    hidden: Float[Array, "b t n h"] | None = None, count: int | None = None,
) -> JointBatch:  # fmt: skip
    """Draw transitions for the action model, each with its own groups (``partition``): intended actions.

    ``most`` is K, the largest size of G1. ``hidden`` are the team's hidden states after ``obs[t]``; needed by T1 and
    T2. For T5 the targets are those of the next step, whose legal actions are not known when the model is used: all
    count as legal.
    """
    count = config.batch if count is None else count
    ahead = int(config.tau == "T5")
    episode, t = rows(rng.stream(key, "row"), episodes.length, count, ahead)
    group = partition(rng.stream(key, "group"), spec.n_agents, most, count)
    avail = episodes.avail[episode, t + ahead]
    return JointBatch(
        tau=_context_at(config, spec, episodes, hidden, episode, t),
        action=episodes.action[episode, t].astype(jnp.int32),
        group=group,
        target=episodes.action[episode, t + ahead].astype(jnp.int32),
        legal=jnp.ones_like(avail) if ahead else avail,
        counts=~group & alive(avail, spec.noop_action),
    )


def partition(key: PRNGKey, n_agents: int, most: int, count: int) -> Bool[Array, "c n"]:
    """Draw G1 ``count`` times: its size uniform in 0..``most``, then its members uniform.

    Source: Section 4.4. Size 0 is what trains the model's answer without any action.
    """
    if not 0 <= most <= n_agents:
        raise ValueError(f"partition: the largest group is {most} of {n_agents} agents; 0..{n_agents} was expected")
    size = jax.random.randint(rng.stream(key, "size"), (count, 1), 0, most + 1)
    order = jnp.argsort(jax.random.uniform(rng.stream(key, "order"), (count, n_agents)), axis=1)
    return order < size


def context(
    config: ActionConfig, spec: EnvSpec, state_before: Float[Array, "*b s"] | None = None,
    hidden: Float[Array, "*b n h"] | None = None,
) -> Float[Array, "*b w"]:  # fmt: skip
    """Return the history as the action model takes it.

    T1: ``hidden`` of now; T2: ``hidden`` of one step before; T3: the state of one step before, without the
    last actions in it; before the first step zeros. T4 and T5 take nothing: a vector of size 0.
    """
    if config.tau in ("T1", "T2"):
        if hidden is None:
            raise ValueError(f"the action model with tau={config.tau} needs the hidden states of the team; none given")
        return hidden.reshape(*hidden.shape[:-2], -1).astype(jnp.float32)
    if config.tau == "T3":
        if state_before is None:
            raise ValueError("the action model with tau=T3 needs the state of one step before; none given")
        return state_before[..., _without_last_actions(spec)].astype(jnp.float32)
    return jnp.zeros((0,), jnp.float32)


def context_size(config: ActionConfig, spec: EnvSpec, hidden_size: int = 0) -> int:
    """Return the size of ``context``; ``hidden_size`` is that of one agent's hidden state."""
    if config.tau in ("T1", "T2"):
        return spec.n_agents * hidden_size
    return len(_without_last_actions(spec)) if config.tau == "T3" else 0


def _without_last_actions(spec: EnvSpec) -> np.ndarray:
    kept = np.ones(spec.state_size, bool)
    for block in spec.state_layout.blocks:
        kept[block.start : block.stop] = block.kind != "last_action"
    return np.flatnonzero(kept)


def _context_at(
    config: ActionConfig, spec: EnvSpec, episodes: Episodes, hidden: Array | None, episode: Array, t: Array
) -> Float[Array, "c w"]:
    if config.tau in ("T4", "T5"):
        return jnp.zeros((t.shape[0], 0), jnp.float32)
    lag = 0 if config.tau == "T1" else 1
    earlier = jnp.maximum(t - lag, 0)
    past = context(config, spec, episodes.state[episode, earlier], None if hidden is None else hidden[episode, earlier])
    return jnp.where((t >= lag)[:, None], past, 0.0)


def _who_counts(
    config: ClubConfig, spec: EnvSpec, episodes: Episodes, episode: Array, t: Array
) -> tuple[Bool[Array, "c n"], Bool[Array, "c n"]]:
    """Return who counts as observer and as partner; whoever observes is a partner too."""
    now = alive(episodes.avail[episode, t], spec.noop_action)
    if config.dead == "include":
        return jnp.ones_like(now), jnp.ones_like(now)
    # Whoever dies during the step sees nothing but zeros after it.
    observes = now & alive(episodes.avail[episode, t + 1], spec.noop_action)
    return observes, now if config.dead == "exclude" else jnp.ones_like(now)


def _past(
    config: ClubConfig, spec: EnvSpec, episodes: Episodes, episode: Array, t: Array, agent: Array
) -> Float[Array, "*c w"]:
    """Return what the observation model knows of the past; the three indices broadcast to ``*c``."""
    if config.tau == "obs":
        return episodes.obs[episode, t, agent].astype(jnp.float32)
    shape = jnp.broadcast_shapes(episode.shape, agent.shape)
    share = jnp.broadcast_to(t / spec.horizon, shape)[..., None].astype(jnp.float32)
    return share if config.tau == "time" else share[..., :0]


def _pick(key: PRNGKey, allowed: Bool[Array, "c n"]) -> Int[Array, "c"]:
    """Draw one allowed index per row (0 where none is): the u-th of them, u uniform."""
    rank = jnp.cumsum(allowed.astype(jnp.int32), axis=1)
    total = rank[:, -1:]
    wanted = 1 + jnp.floor(jax.random.uniform(key, total.shape) * total.astype(jnp.float32)).astype(jnp.int32)
    return jnp.argmax(rank >= jnp.minimum(wanted, total), axis=1).astype(jnp.int32)
