"""MAPPO and IPPO: a recurrent team that chooses by chance, and a critic that says how much better a choice was.

One update learns from whole episodes that the team has just played, ``epochs`` times. What is trained on is the pair
(o~, a^) of ``Episodes``: the ratio and the gradient are those of the intended action given what the team saw, rewards
and advantages those of what was done (paper, Theorem 4.2). Probabilities and values of the team as it played are found
again from the stored arrays before the first step: so the first ratio is 1, whatever rounding the storage brought.

Source: Yu et al. 2022 and its official code. Other than there: a batch is whole episodes, so nothing is cut off in the
middle of one; an agent sees its own last intended action, as those of value learners do; dead agents count in the
critic's loss only, as in the official runs on SMAC.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.learners import ernie
from ibal.learners.base import Learner, Progress, update_of
from ibal.learners.config import PpoConfig
from ibal.learners.optim import clip as clip_norm
from ibal.learners.packing import (
    Packing,
    Reobserve,
    Rows,
    agent_inputs,
    goes_on,
    minibatch,
    pack,
    padded,
    row_group,
    rows,
    slots,
)
from ibal.learners.ppo.chunks import beginnings, pieces
from ibal.nets import actor, critic, recurrent
from ibal.nets.recurrent import Recurrent
from ibal.ops import scale as scales
from ibal.ops.adam import adam
from ibal.ops.categorical import entropy, log_policy, of_action
from ibal.ops.ppo import clipped_gain, clipped_value_loss, gae, standardised
from ibal.ops.scale import Scale
from ibal.types import EnvSpec, Episodes, Policy

LEAST_SPREAD = 1e-3  # of advantages, in units of reward: where all games are the same there is nothing to learn


class PpoParams(NamedTuple):
    """Weights of the team and of what judges it."""

    agent: Recurrent
    critic: Recurrent


class PpoState(NamedTuple):
    """Everything the learner knows: ``moments`` are those of the two optimisers, ``scale`` the units of values,
    ``updates`` counts gradient steps."""

    params: PpoParams
    moments: Any
    scale: Scale
    updates: Int[Array, ""]


class Steps(NamedTuple):
    """Packed rows as the networks read them, time first, rows and agents side by side. ``valid`` are the steps that
    were played, ``counts`` those whose choice is learned from: the agent was alive (and it was its own)."""

    seen: Float[Array, "t rn i"]
    judged: Float[Array, "t rn j"]
    keep: Float[Array, "t rn"]
    avail: Bool[Array, "t rn a"]
    action: Int[Array, "t rn"]
    valid: Bool[Array, "t rn"]
    counts: Bool[Array, "t rn"]


class Before(NamedTuple):
    """What the networks said of the rows before the first step, and what follows from it; rows first. ``value`` is in
    the critic's units, ``advantage`` standardised, ``target`` in units of reward; ``memory`` and ``judgement`` are the
    hidden states of actor and critic at the beginning of every piece."""

    log_p: Float[Array, "r t n"]
    value: Float[Array, "r t n"]
    advantage: Float[Array, "r t n"]
    target: Float[Array, "r t n"]
    counts: Bool[Array, "r t n"]
    valid: Bool[Array, "r t n"]
    memory: Float[Array, "r c n h"]
    judgement: Float[Array, "r c n h"]


class _Of(NamedTuple):
    """What does not change during an update: how rows are read, and in how large groups."""

    spec: EnvSpec
    config: PpoConfig
    episodes: Episodes
    reobserve: Reobserve | None
    group: int


def ppo_learner(spec: EnvSpec, config: PpoConfig, reobserve: Reobserve | None = None) -> Learner:
    """Build the learner of an environment of size ``spec``.

    ``reobserve`` is the training adversary's, if it has one: it turns stored clean observations into those the team
    saw.
    """
    agent = actor.actor_agent(spec, config.hidden)
    optimisers: Any = (_optimiser(config.lr, config), _optimiser(config.critic_lr, config))

    def init(key: jax.Array) -> PpoState:
        params = PpoParams(
            actor.init(rng.stream(key, "agent"), spec, config.hidden, config.gain),
            critic.init(rng.stream(key, "critic"), spec, config.hidden, sees(config)),
        )
        moments = tuple(o.init(p) for o, p in zip(optimisers, params, strict=True))
        return PpoState(params, moments, scales.fresh(), jnp.int32(0))

    def policy(state: PpoState, progress: Progress) -> Policy:
        return agent.bind(state.params.agent)._replace(select=actor.sampled)

    def learn(
        key: jax.Array, state: PpoState, episodes: Episodes, left: Float[Array, ""]
    ) -> tuple[PpoState, dict[str, Array]]:
        packing, of = layout(spec, config, episodes, reobserve)
        before = look_back(state, packing, of)

        def step(index: jax.Array, carry: tuple[PpoState, Any]) -> tuple[PpoState, Any]:
            state, sums = carry
            part, of_part = minibatch(rng.stream(key, "order"), index, packing, before, config.minibatches)
            scale = scales.updated(state.scale, *scales.moments(of_part.target, of_part.valid))
            gradient, metrics = _gradient(state.params, scale, part, of_part, of)
            if config.smooth > 0:
                smoothness = _smoothness(rng.at(key, index), state, part, of)
                gradient, metrics["smoothness"] = ernie.added(gradient, smoothness, config.smooth)
            stepped = [o.update(g, m) for o, g, m in zip(optimisers, gradient, state.moments, strict=True)]
            changes: Any = PpoParams(*(change for change, _ in stepped))
            if config.lr_anneal:
                changes = jax.tree.map(lambda change: change * left, changes)
            params = jax.tree.map(jnp.add, state.params, changes)
            moments = tuple(moment for _, moment in stepped)
            metrics |= {"grad_norm": optax.tree.norm(gradient.agent), "critic_grad": optax.tree.norm(gradient.critic)}
            return PpoState(params, moments, scale, state.updates + 1), jax.tree.map(jnp.add, sums, metrics)

        count = config.epochs * config.minibatches
        more = ("smoothness",) if config.smooth > 0 else ()
        nothing = dict.fromkeys((*_LOGGED, "grad_norm", "critic_grad", *more), jnp.float32(0))
        state, sums = jax.lax.fori_loop(0, count, step, (state, nothing))
        played = episodes.length.sum().astype(jnp.float32)
        read = -(-packing.used // of.group) * of.group * packing.episode.shape[1]
        means = {name: total / count for name, total in sums.items()}
        means |= {"padding": 1 - played / read.astype(jnp.float32), "target": state.scale.mean}
        return state, means | {"updates": jnp.int32(count)}

    return Learner(init, policy, update_of(learn))


def sees(config: PpoConfig) -> critic.Sees:
    """Return what the critic sees."""
    return "state" if config.name == "mappo" else "own"


def layout(
    spec: EnvSpec, config: PpoConfig, episodes: Episodes, reobserve: Reobserve | None
) -> tuple[Packing, _Of]:  # fmt: skip
    """Place the episodes in rows, as many as can be divided into minibatches and groups of rows read at a time."""
    count = episodes.length.shape[0]
    group = row_group(spec.n_agents, max(1, count // config.minibatches))
    packing = pack(slots(episodes), episodes.obs.shape[1])
    return padded(packing, group * config.minibatches), _Of(spec, config, episodes, reobserve, group)


def steps(first: Int[Array, ""], count: int, packing: Packing, of: _Of) -> Steps:
    """Read ``count`` rows of a packing."""
    spec, episodes = of.spec, of.episodes
    everyone = jnp.arange(episodes.length.shape[0])
    batch = rows(episodes, everyone, packing, first, count, of.reobserve)
    clean = rows(episodes._replace(seen=None), everyone, packing, first, count).obs
    alive = critic.alive_of(batch.avail, spec)
    valid = jnp.broadcast_to(batch.valid[..., None], alive.shape)
    counts = valid & alive
    if of.config.mask_replaced and episodes.executed is not None:
        done = rows(episodes._replace(action=episodes.executed), everyone, packing, first, count)
        counts &= done.action == batch.action
    judged = critic.inputs(sees(of.config), batch.state, clean, alive)
    flat = [x.reshape(x.shape[0], -1, *x.shape[3:]) for x in (judged, batch.avail, batch.action, valid, counts)]
    return Steps(agent_inputs(batch), flat[0], goes_on(batch), *flat[1:])


def look_back(state: PpoState, packing: Packing, of: _Of) -> Before:
    """Return what the networks say of all rows as they are now, with advantages and targets."""
    params, n, t = state.params, of.spec.n_agents, packing.episode.shape[1]
    length = of.config.chunk or t
    count, parts = packing.episode.shape[0], -(-t // length)
    flat, hidden = (count, t, n), (count, parts, n, of.config.hidden)

    def read(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        first, found = carry
        now = steps(first, of.group, packing, of)
        memory, logits = _unroll(params.agent, now.seen, now.keep)
        judgement, value = _unroll(params.critic, now.judged, now.keep)
        log_p = of_action(log_policy(logits, now.avail), now.action)
        new = [_by_row(x, n) for x in (log_p, value[..., 0], now.counts, now.valid)]
        new += [_by_row(beginnings(h, length).reshape(parts, -1, h.shape[-1]), n) for h in (memory, judgement)]
        put = lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, first, 0)  # noqa: E731
        return first + of.group, jax.tree.map(put, found, new)

    room = [jnp.zeros(flat), jnp.zeros(flat), jnp.zeros(flat, bool), jnp.zeros(flat, bool), jnp.zeros(hidden),
            jnp.zeros(hidden)]  # fmt: skip
    found = jax.lax.while_loop(lambda c: c[0] < packing.used, read, (jnp.int32(0), room))[1]
    log_p, value, counts, valid, memory, judgement = found
    advantage, target = _advantages(scales.restored(state.scale, value), packing, of)
    advantage = standardised(advantage, counts, LEAST_SPREAD)
    return Before(log_p, value, advantage, target, counts, valid, memory, judgement)


def _advantages(
    value: Float[Array, "r t n"], packing: Packing, of: _Of
) -> tuple[Float[Array, "r t n"], Float[Array, "r t n"]]:
    """Return advantages and targets of all rows, in units of reward."""
    batch = rows(of.episodes, jnp.arange(of.episodes.length.shape[0]), packing, jnp.int32(0), value.shape[0])
    each = lambda x: jnp.broadcast_to(x[..., None], (*x.shape, of.spec.n_agents))  # noqa: E731
    now = jnp.moveaxis(value, 1, 0)
    following = jnp.concatenate((now[1:], jnp.zeros_like(now[:1])))
    discount = of.config.gamma * (1 - batch.terminated.astype(jnp.float32))
    given = each(batch.reward), each(discount), now, following, of.config.gae_lambda, each(batch.valid), each(batch.end)
    advantage, target = gae(*given)
    return jnp.moveaxis(advantage, 0, 1), jnp.moveaxis(target, 0, 1)


def _gradient(
    params: PpoParams, scale: Scale, packing: Packing, before: Before, of: _Of
) -> tuple[PpoParams, dict[str, Array]]:
    """Gradient of the two losses over all rows, summed over groups of them, and the means of what is logged."""
    chosen = jnp.maximum(before.counts.sum(), 1).astype(jnp.float32)
    played = jnp.maximum(before.valid.sum(), 1).astype(jnp.float32)

    def add(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        first, gradient, sums = carry
        now = steps(first, of.group, packing, of)
        then = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, first, of.group), before)
        part, new = jax.grad(_loss, has_aux=True)(params, scale, now, then, chosen, played, of.config)
        return first + of.group, jax.tree.map(jnp.add, gradient, part), jax.tree.map(jnp.add, sums, new)

    zeros = dict.fromkeys(_LOGGED, jnp.float32(0))
    nothing = jnp.int32(0), jax.tree.map(jnp.zeros_like, params), zeros
    _, gradient, sums = jax.lax.while_loop(lambda c: c[0] < packing.used, add, nothing)
    return gradient, sums


def _smoothness(
    key: jax.Array, state: PpoState, packing: Packing, of: _Of
) -> tuple[Recurrent, Float[Array, ""]]:  # fmt: skip
    """Gradient and value of ERNIE's penalty on a few rows of a minibatch."""

    def draw(key: jax.Array) -> Rows:
        first, count = ernie.some_rows(key, packing, of.config)
        return rows(of.episodes, jnp.arange(of.episodes.length.shape[0]), packing, first, count, of.reobserve)

    def scores(agent: Recurrent, inputs: jax.Array, keep: jax.Array) -> jax.Array:
        return _unroll(agent, inputs, keep)[1]

    return ernie.now_and_then(key, state.updates, state.params.agent, scores, draw, of.spec.obs_size, of.config)


_LOGGED = ("loss", "policy_loss", "value_loss", "entropy", "kl", "clipped")


def _loss(
    params: PpoParams, scale: Scale, now: Steps, then: Before, chosen: Float[Array, ""], played: Float[Array, ""],
    config: PpoConfig,
) -> tuple[Float[Array, ""], dict[str, Array]]:  # fmt: skip
    """Return this group's part of the losses of actor and critic together, and of what is logged; ``chosen`` and
    ``played`` are what the means are over."""
    old = [_by_time(x) for x in (then.log_p, then.value, then.advantage, then.target)]
    memory, judgement = (jnp.moveaxis(h, 1, 0).reshape(-1, h.shape[-1]) for h in (then.memory, then.judgement))
    if config.chunk:
        now = Steps(*(pieces(x, config.chunk) for x in now))
        old = [pieces(x, config.chunk) for x in old]
    log_old, value_old, advantage, target = old

    _, logits = recurrent.unroll(params.agent, memory, now.seen, now.keep)
    log_all = log_policy(logits, now.avail)
    difference = jnp.where(now.counts, of_action(log_all, now.action) - log_old, 0.0)
    ratio = jnp.exp(difference)
    _, value = recurrent.unroll(params.critic, judgement, now.judged, now.keep)
    goal = scales.normalised(scale, target)
    off = clipped_value_loss(value[..., 0], value_old, goal, config.clip, config.huber)

    mean = lambda x, over, count: jnp.where(over, x, 0.0).sum() / count  # noqa: E731
    choice = -mean(clipped_gain(ratio, advantage, config.clip), now.counts, chosen)
    spread = mean(entropy(log_all, now.avail), now.counts, chosen)
    worth = mean(off, now.valid, played)
    total = choice - config.entropy * spread + worth
    logged = {
        "loss": total, "policy_loss": choice, "value_loss": worth, "entropy": spread,
        "kl": mean(ratio - 1 - difference, now.counts, chosen),
        "clipped": mean((jnp.abs(ratio - 1) > config.clip).astype(jnp.float32), now.counts, chosen),
    }  # fmt: skip
    return total, logged


def _unroll(
    net: Recurrent, x: Float[Array, "t rn i"], keep: Float[Array, "t rn"]
) -> tuple[Float[Array, "t rn h"], Float[Array, "t rn o"]]:
    """Run a network along whole rows."""
    return recurrent.unroll(net, recurrent.start(net, x.shape[1]), x, keep)


def _by_row(x: Array, n: int) -> Array:
    """[t, r n, …] -> [r, t, n, …]."""
    return jnp.moveaxis(x.reshape(x.shape[0], -1, n, *x.shape[2:]), 1, 0)


def _by_time(x: Array) -> Array:
    """[r, t, n] -> [t, r n]."""
    return jnp.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def _optimiser(lr: float, config: PpoConfig) -> optax.GradientTransformation:
    return optax.chain(clip_norm(config.grad_clip), adam(lr, eps=1e-5))
