"""Recurrent double-Q learning with a mixer: independent Q-learning, VDN, QMIX and QPLEX.

Source: PyMARL ``learners/q_learner.py``; targets TD(lambda) as in Peng & Williams' Q(lambda). What is trained on is the
pair (o~, a^) of ``Episodes``: the attacked observation and the intended action (paper, Theorem 4.2).
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
from ibal.learners.base import BatchLearner, Progress
from ibal.learners.config import ValueConfig
from ibal.learners.packing import Reobserve, Rows, agent_inputs, goes_on, pack, padded, row_group, rows, slots
from ibal.nets import agents, pymarl
from ibal.nets.agents import PyMarlAgent
from ibal.nets.mixers import Mixer, mixer
from ibal.ops.returns import lambda_returns
from ibal.types import EnvSpec, Episodes, Policy

UNAVAILABLE = -1e7  # the value of an action that cannot be chosen (PyMARL: -9999999)


class ValueParams(NamedTuple):
    """Weights of the agents (shared by the team) and of the mixer."""

    agent: PyMarlAgent
    mixer: Any


class ValueState(NamedTuple):
    """Everything the learner knows; ``updates`` counts gradient steps."""

    params: ValueParams
    target: ValueParams
    optimiser: Any
    updates: Int[Array, ""]


def value_learner(
    spec: EnvSpec, config: ValueConfig, reobserve: Reobserve | None = None,
    epsilon: Callable[[Array], Array] = lambda env_steps: jnp.float32(0),
) -> BatchLearner:  # fmt: skip
    """Build the learner of an environment of size ``spec``.

    ``reobserve`` is the training adversary's, if it has one: it turns stored clean observations into those the team
    saw. ``epsilon`` gives the share of random actions after so many environment steps.
    """
    mix = mixer(config.mixer)
    optimiser = optim.make(config)

    def init(key: jax.Array) -> ValueState:
        inputs = spec.obs_size + spec.n_actions + spec.n_agents
        params = ValueParams(
            agents.init(rng.stream(key, "agent"), inputs, spec.n_actions, config.hidden),
            mix.init(rng.stream(key, "mixer"), spec.n_agents, spec.state_size, spec.n_actions),
        )
        # The target starts as a copy: sharing the buffers would forbid to give them away to the next state.
        target = jax.tree.map(jnp.copy, params)
        return ValueState(params, target, optimiser.init(params), jnp.int32(0))

    def policy(state: ValueState, progress: Progress) -> Policy:
        greedy = pymarl.pymarl_agent(spec, config.hidden).bind(state.params.agent)
        return greedy._replace(select=partial(epsilon_greedy, epsilon(progress.env_steps)))

    def update(
        key: jax.Array, state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], left: Float[Array, ""]
    ) -> tuple[ValueState, dict[str, Array]]:
        gradient, metrics = _gradient(state, episodes, chosen, mix, config, reobserve)
        if config.smooth > 0:
            smoothness, metrics["smoothness"] = _now_and_then(key, state, episodes, chosen, spec, config, reobserve)
            added = jax.tree.map(lambda g, s: g + config.smooth * s, gradient.agent, smoothness)
            gradient = gradient._replace(agent=added)
        changes, moments = optimiser.update(gradient, state.optimiser, state.params)
        if config.lr_anneal:  # both optimisers step in proportion to their learning rate
            changes = jax.tree.map(lambda change: change * left, changes)
        params: Any = optax.apply_updates(state.params, changes)
        updates = state.updates + 1
        metrics["grad_norm"] = optax.tree.norm(gradient)
        return ValueState(params, _follow(params, state.target, updates, config), moments, updates), metrics

    return BatchLearner(init, policy, update)


def epsilon_greedy(
    epsilon: Float[Array, ""], key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]
) -> Int[Array, "n"]:
    """Choose the best available action, or with probability ``epsilon`` (drawn per agent) any available one."""
    noise = jax.random.uniform(rng.stream(key, "action"), scores.shape)
    explore = jax.random.uniform(rng.stream(key, "explore"), scores.shape[:1]) < epsilon
    preference = jnp.where(explore[:, None], noise, scores)
    return jnp.argmax(jnp.where(avail, preference, -jnp.inf), axis=1).astype(jnp.int32)


def _gradient(
    state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], mix: Mixer, config: ValueConfig,
    reobserve: Reobserve | None,
) -> tuple[ValueParams, dict[str, Array]]:  # fmt: skip
    """Gradient of the mean squared TD error over all filled steps, summed over groups of packed rows."""
    sizes = slots(episodes)[chosen]
    row_length = episodes.obs.shape[1]
    packing = pack(sizes, row_length)
    group = row_group(episodes.obs.shape[2], chosen.shape[0])
    count = episodes.length[chosen].sum()
    packing = padded(packing, group)

    def add(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        first, gradient, sums = carry
        batch = rows(episodes, chosen, packing, first, group, reobserve)
        part, new = jax.grad(_loss, has_aux=True)(state.params, state.target, batch, mix, config)
        return first + group, jax.tree.map(jnp.add, gradient, part), jax.tree.map(jnp.add, sums, new)

    nothing = jax.tree.map(jnp.zeros_like, state.params)
    zeros = {name: jnp.float32(0) for name in ("loss", "td_error", "q_taken", "target")}
    worked, gradient, sums = jax.lax.while_loop(lambda c: c[0] < packing.used, add, (jnp.int32(0), nothing, zeros))
    steps = count.astype(jnp.float32)
    metrics = {name: value / steps for name, value in sums.items()}
    metrics["padding"] = 1 - steps / (worked * row_length).astype(jnp.float32)
    return jax.tree.map(lambda g: g / steps, gradient), metrics


def _now_and_then(
    key: jax.Array, state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], spec: EnvSpec, config: ValueConfig,
    reobserve: Reobserve | None,
) -> tuple[PyMarlAgent, Float[Array, ""]]:  # fmt: skip
    """Return ``_smoothness`` times ``smooth_every`` at every ``smooth_every``-th update, else 0: the same on average,
    for a part of the cost."""

    def due() -> tuple[PyMarlAgent, Float[Array, ""]]:
        found = _smoothness(key, state, episodes, chosen, spec, config, reobserve)
        return jax.tree.map(lambda x: config.smooth_every * x, found)

    def spared() -> tuple[PyMarlAgent, Float[Array, ""]]:
        return jax.tree.map(jnp.zeros_like, state.params.agent), jnp.float32(0)

    return jax.lax.cond(state.updates % config.smooth_every == 0, due, spared)


def _smoothness(
    key: jax.Array, state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], spec: EnvSpec, config: ValueConfig,
    reobserve: Reobserve | None,
) -> tuple[PyMarlAgent, Float[Array, ""]]:  # fmt: skip
    """Gradient and value of ERNIE's penalty on ``config.smooth_rows`` packed rows, drawn anew at every update."""
    packing = pack(slots(episodes)[chosen], episodes.obs.shape[1])
    count = min(config.smooth_rows, chosen.shape[0])
    key = rng.stream(key, "smooth")
    last = jnp.maximum(packing.used - count, 0)
    first = jax.random.randint(rng.stream(key, "rows"), (), 0, last + 1)
    batch = rows(episodes, chosen, packing, first, count, reobserve)
    keep, avail, choice = _by_agent(batch)
    valid = jnp.repeat(batch.valid, spec.n_agents, axis=1)

    def penalty(agent: PyMarlAgent) -> Float[Array, ""]:
        here = rng.stream(key, "noise")
        return ernie.penalty(here, agent, agent_inputs(batch), keep, avail, valid & choice, spec.obs_size, config)

    value, gradient = jax.value_and_grad(penalty)(state.params.agent)
    return gradient, value


def _by_agent(batch: Rows) -> tuple[Float[Array, "t rn"], Bool[Array, "t rn a"], Bool[Array, "t rn"]]:
    """Return, for rows and agents side by side, where histories go on, what is legal, and who has a choice (the dead
    have none)."""
    t, r, n, a = batch.avail.shape
    avail = batch.avail.reshape(t, r * n, a)
    return goes_on(batch), avail, avail.sum(-1) > 1


def _loss(
    params: ValueParams, target: ValueParams, batch: Rows, mix: Mixer, config: ValueConfig
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Sum of squared TD errors over the valid slots, and the sums of what is logged."""
    mixed = partial(_mixed, mix.apply)
    inputs = agent_inputs(batch)
    q = _values(params.agent, inputs, batch)
    taken = mixed(params.mixer, q, batch.action, batch)

    best = _first_greatest(q)  # double Q: the online network chooses, the target network judges
    value = mixed(target.mixer, _values(target.agent, inputs, batch), best, batch)
    following = jnp.concatenate((value[1:], jnp.zeros_like(value[:1])))
    each = (1,) * (value.ndim - 2)  # independent learners have one value per agent
    spread = lambda a: jnp.broadcast_to(a.reshape(a.shape + each), value.shape)  # noqa: E731
    discount = config.gamma * (1 - batch.terminated.astype(jnp.float32))
    returns = lambda_returns
    for _ in value.shape[1:]:
        returns = jax.vmap(returns, (1, 1, 1, None, 1, 1), 1)
    valid, end = spread(batch.valid), spread(batch.end)
    goal = returns(spread(batch.reward), spread(discount), following, config.td_lambda, valid, end)
    error = jnp.where(valid, taken - jax.lax.stop_gradient(goal), 0.0)
    share = batch.valid.size / error.size  # independent learners: the mean over agents
    sums = {
        "loss": (error**2).sum() * share,
        "td_error": jnp.abs(error).sum() * share,
        "q_taken": jnp.where(valid, taken, 0.0).sum() * share,
        "target": jnp.where(valid, goal, 0.0).sum() * share,
    }
    return sums["loss"], sums


def _values(agent: PyMarlAgent, inputs: Float[Array, "t rn i"], batch: Rows) -> Float[Array, "t r n a"]:
    """Values of all actions at every slot; unavailable ones count ``UNAVAILABLE``."""
    t, r, n, a = batch.avail.shape
    _, q = agents.unroll(agent, agents.start(agent, r * n), inputs, goes_on(batch))
    return jnp.where(batch.avail, q.reshape(t, r, n, a), UNAVAILABLE)


def _first_greatest(q: Float[Array, "*b a"]) -> Int[Array, "*b"]:
    """Return the argmax over the last axis from two plain reductions: XLA's own does not vectorise on a CPU."""
    index = jnp.arange(q.shape[-1]).reshape((1,) * (q.ndim - 1) + (-1,))
    return jnp.where(q == q.max(-1, keepdims=True), index, q.shape[-1]).min(-1)


def _mixed(
    apply: Any, params: Any, q: Float[Array, "t r n a"], action: Int[Array, "t r n"], batch: Rows
) -> Float[Array, "t r *n"]:
    """The team's value of the given actions at every slot."""
    t, r, _, a = q.shape
    one_hot = jax.nn.one_hot(action, a)
    chosen = jnp.where(one_hot > 0, q, 0.0).sum(-1)
    flat = [x.reshape(t * r, *x.shape[2:]) for x in (chosen, batch.state, q.max(-1), one_hot)]
    total = jax.vmap(apply, (None, 0, 0, 0, 0))(params, *flat)
    return total.reshape(t, r, *total.shape[1:])


def _follow(params: ValueParams, target: ValueParams, updates: Int[Array, ""], config: ValueConfig) -> ValueParams:
    """Move the target networks: a copy now and then, or a little at every update."""
    if config.target == "ema":
        return jax.tree.map(lambda old, new: old + config.ema_tau * (new - old), target, params)
    return tree.where(updates % config.target_every == 0, params, target)
