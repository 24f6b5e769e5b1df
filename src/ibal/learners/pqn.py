"""PQN for teams: Q-learning from the episodes just played, without a replay and without a target network.

What keeps it stable is normalisation (``nets.valued``: each input of its own, no statistics of a batch) and targets
that look far ahead. Targets are Q(lambda) returns over whole episodes, from the network as it played; they are computed
once, then learned from in ``epochs`` passes of ``minibatches`` gradient steps. As every learner it is told what the
team saw (o~) and what it intended (a^); rewards and the next state come from what was done (paper, Theorem 4.2).

Source: Gallici et al. 2024 ("Simplifying deep temporal difference learning"), PQN-VDN; Q(lambda) of Peng & Williams.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.learners import ernie, optim
from ibal.learners.base import Learner, Progress, update_of
from ibal.learners.config import PqnConfig
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
from ibal.learners.td import UNAVAILABLE, first_greatest, goals, mixed, squares
from ibal.learners.value import epsilon_greedy, shared
from ibal.nets import valued
from ibal.nets.mixers import Mixer, mixer
from ibal.nets.valued import ValueNet
from ibal.ops.adam import adam, radam
from ibal.types import EnvSpec, Episodes, Policy

_LOGGED = ("loss", "td_error", "q_taken", "target")


class PqnParams(NamedTuple):
    """Weights of the agents (shared by the team) and of the mixer."""

    agent: ValueNet
    mixer: Any


class PqnState(NamedTuple):
    """Everything the learner knows; ``updates`` counts gradient steps."""

    params: PqnParams
    optimiser: Any
    updates: Int[Array, ""]


class Before(NamedTuple):
    """What is trained towards, from the network as it played; rows first."""

    goal: Float[Array, "r t *n"]
    valid: Bool[Array, "r t *n"]


class _Of(NamedTuple):
    """What does not change during an update: how rows are read, and in how large groups. ``axis`` is that over which
    the caller vmaps, if any."""

    config: PqnConfig
    mix: Mixer
    episodes: Episodes
    reobserve: Reobserve | None
    group: int
    axis: str | None


def pqn_learner(
    spec: EnvSpec, config: PqnConfig, reobserve: Reobserve | None = None,
    epsilon: Callable[[Array], Array] = lambda env_steps: jnp.float32(0), axis: str | None = None,
    part: str | None = None,
) -> Learner:  # fmt: skip
    """Build the learner of an environment of size ``spec``; the arguments are those of ``value.value_learner``."""
    mix, agent = mixer(config.mixer), valued.valued_agent(spec, config.hidden)
    step = radam if config.rectified else adam
    optimiser = optax.chain(optim.clip(config.grad_clip), step(config.lr, eps=1e-5))

    def init(key: jax.Array) -> PqnState:
        params = PqnParams(
            valued.init(rng.stream(key, "agent"), spec, config.hidden),
            mix.init(rng.stream(key, "mixer"), spec.n_agents, spec.state_size, spec.n_actions),
        )
        return PqnState(params, optimiser.init(params), jnp.int32(0))

    def policy(state: PqnState, progress: Progress) -> Policy:
        greedy = agent.bind(state.params.agent)
        return greedy._replace(select=partial(epsilon_greedy, epsilon(progress.env_steps)))

    def learn(
        key: jax.Array, state: PqnState, episodes: Episodes, left: Float[Array, ""]
    ) -> tuple[PqnState, dict[str, Array]]:
        packing, of = layout(spec, config, episodes, reobserve, axis)
        before = look_back(state.params, packing, of)

        def step(index: jax.Array, carry: tuple[PqnState, Any]) -> tuple[PqnState, Any]:
            state, logged = carry
            mine, towards = minibatch(rng.stream(key, "order"), index, packing, before, config.minibatches)
            found, sums = gradient(state.params, mine, towards, of)
            if part is not None:
                found, sums = shared(found, sums, part)
            steps, worked = jnp.maximum(sums.pop("steps"), 1.0), sums.pop("worked")
            found = jax.tree.map(lambda g: g / steps, found)
            new = {name: value / steps for name, value in sums.items()}
            if config.smooth > 0:
                smoothness = _smoothness(rng.at(key, index), state, mine, of, spec.obs_size)
                found, new["smoothness"] = ernie.added(found, smoothness, config.smooth, part)
            changes, moments = optimiser.update(found, state.optimiser, state.params)
            if config.lr_anneal:  # both optimisers step in proportion to their learning rate
                changes = jax.tree.map(lambda change: change * left, changes)
            params: Any = optax.apply_updates(state.params, changes)
            new |= {"padding": 1 - steps / jnp.maximum(worked, steps), "grad_norm": optax.tree.norm(found)}
            return PqnState(params, moments, state.updates + 1), jax.tree.map(jnp.add, logged, new)

        count = config.epochs * config.minibatches
        more = ("padding", "grad_norm", *(("smoothness",) if config.smooth > 0 else ()))
        nothing = dict.fromkeys((*_LOGGED, *more), jnp.float32(0))
        state, logged = jax.lax.fori_loop(0, count, step, (state, nothing))
        return state, {name: total / count for name, total in logged.items()} | {"updates": jnp.int32(count)}

    return Learner(init, policy, update_of(learn))


def group_of(n_agents: int, episodes: int, minibatches: int) -> int:
    """Return how many packed rows are worked on at a time. Rows hold a few episodes each, so a minibatch of short games
    needs fewer than half as many rows as it has episodes."""
    most = max(1, episodes // minibatches)
    return max(1, min(most, row_group(n_agents, 2 * most)))


def layout(
    spec: EnvSpec, config: PqnConfig, episodes: Episodes, reobserve: Reobserve | None = None, axis: str | None = None
) -> tuple[Packing, _Of]:
    """Place the episodes in rows, as many as can be divided into minibatches and groups of rows read at a time."""
    group = group_of(spec.n_agents, episodes.length.shape[0], config.minibatches)
    packing = padded(pack(slots(episodes), episodes.obs.shape[1]), group * config.minibatches)
    return packing, _Of(config, mixer(config.mixer), episodes, reobserve, group, axis)


def look_back(params: PqnParams, packing: Packing, of: _Of) -> Before:
    """Return the targets of all rows, from the values of the greedy actions as the network is now."""

    def targets(first: Int[Array, ""]) -> Before:
        batch = _read(first, packing, of)
        q = _values(params.agent, batch)
        value = mixed(of.mix, params.mixer, q, first_greatest(q), batch)
        nothing = jnp.zeros_like(value[0])  # a row holds whole episodes: nothing comes after it
        goal, valid = goals(of.config, batch, value, (nothing, nothing))
        return Before(jnp.moveaxis(goal, 1, 0), jnp.moveaxis(valid, 1, 0))

    def read(carry: tuple[Any, Before]) -> tuple[Any, Before]:
        first, found = carry
        put = lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, first, 0)  # noqa: E731
        return first + of.group, jax.tree.map(put, found, targets(first))

    one = jax.eval_shape(targets, jnp.int32(0))
    room = jax.tree.map(lambda leaf: jnp.zeros((packing.episode.shape[0], *leaf.shape[1:]), leaf.dtype), one)
    used = tree.common(packing.used, of.axis)
    return jax.lax.while_loop(lambda c: c[0] < used, read, (jnp.int32(0), room))[1]


def gradient(
    params: PqnParams, packing: Packing, before: Before, of: _Of
) -> tuple[PqnParams, dict[str, Array]]:  # fmt: skip
    """Return the gradient of the sum of squared errors over the rows, and sums of what is logged: "steps" and "worked"
    count the steps learned from and all slots that were worked on."""

    def loss(params: PqnParams, batch: Rows, towards: Before) -> tuple[Float[Array, ""], dict[str, Array]]:
        taken = mixed(of.mix, params.mixer, _values(params.agent, batch), batch.action, batch)
        return squares(taken, jnp.moveaxis(towards.goal, 0, 1), jnp.moveaxis(towards.valid, 0, 1), batch)

    def add(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        first, found, sums = carry
        batch = _read(first, packing, of)
        towards = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, first, of.group), before)
        new, logged = jax.grad(loss, has_aux=True)(params, batch, towards)
        logged["steps"] = batch.valid.sum().astype(jnp.float32)
        return first + of.group, jax.tree.map(jnp.add, found, new), jax.tree.map(jnp.add, sums, logged)

    nothing = jnp.int32(0), jax.tree.map(jnp.zeros_like, params), dict.fromkeys((*_LOGGED, "steps"), jnp.float32(0))
    used = tree.common(packing.used, of.axis)
    _, found, sums = jax.lax.while_loop(lambda c: c[0] < used, add, nothing)
    groups = -(-packing.used // of.group)
    return found, sums | {"worked": (groups * of.group * packing.episode.shape[1]).astype(jnp.float32)}


def _smoothness(
    key: jax.Array, state: PqnState, packing: Packing, of: _Of, obs_size: int
) -> tuple[ValueNet, Float[Array, ""]]:
    """Gradient and value of ERNIE's penalty on a few rows of a minibatch."""

    def draw(key: jax.Array) -> Rows:
        first, count = ernie.some_rows(key, packing, of.config)
        return _read(first, packing, of._replace(group=count))

    return ernie.now_and_then(key, state.updates, state.params.agent, valued.values, draw, obs_size, of.config)


def _read(first: Int[Array, ""], packing: Packing, of: _Of) -> Rows:
    """Read the rows of a group."""
    everyone = jnp.arange(of.episodes.length.shape[0])
    return rows(of.episodes, everyone, packing, first, of.group, of.reobserve)


def _values(agent: ValueNet, batch: Rows) -> Float[Array, "t r n a"]:
    """Values of all actions at every slot; unavailable ones count ``UNAVAILABLE``."""
    q = valued.values(agent, agent_inputs(batch), goes_on(batch))
    return jnp.where(batch.avail, q.reshape(batch.avail.shape), UNAVAILABLE)
