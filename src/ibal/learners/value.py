"""Recurrent double-Q learning with a mixer: independent Q-learning, VDN, QMIX and QPLEX.

Source: PyMARL ``learners/q_learner.py``; targets TD(lambda) as in Peng & Williams' Q(lambda). What is trained on is the
pair (o~, a^) of ``Episodes``: the attacked observation and the intended action (paper, Theorem 4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.learners import ernie, optim, td
from ibal.learners.base import BatchLearner, Progress
from ibal.learners.config import ValueConfig
from ibal.learners.packing import Reobserve, Rows, pack, rows, slots
from ibal.learners.td import ValueParams
from ibal.nets import agents, pymarl
from ibal.nets.agents import PyMarlAgent
from ibal.nets.mixers import mixer
from ibal.types import EnvSpec, Episodes, Policy, Tells

T = TypeVar("T")


class ValueState(NamedTuple):
    """Everything the learner knows; ``updates`` counts gradient steps."""

    params: ValueParams
    target: ValueParams
    optimiser: Any
    updates: Int[Array, ""]


def value_learner(
    spec: EnvSpec, config: ValueConfig, reobserve: Reobserve | None = None,
    epsilon: Callable[[Array], Array] = lambda env_steps: jnp.float32(0), axis: str | None = None,
    part: str | None = None, tells: Tells | None = None,
) -> BatchLearner:  # fmt: skip
    """Build the learner of an environment of size ``spec``.

    ``reobserve`` is the training adversary's, if it has one: it turns stored clean observations into those the team
    saw. ``epsilon`` gives the share of random actions after so many environment steps. ``axis`` names the axis that
    the caller vmaps over, if any, and ``part`` that of devices that each have a part of every batch. ``tells``: what
    the mixer is told of an episode besides the state (``ValueConfig.privileged``).
    """
    mix = mixer(config.mixer)
    optimiser = optim.make(config)

    def init(key: jax.Array) -> ValueState:
        inputs = spec.obs_size + spec.n_actions + spec.n_agents
        params = ValueParams(
            agents.init(rng.stream(key, "agent"), inputs, spec.n_actions, config.hidden),
            mix.init(rng.stream(key, "mixer"), spec.n_agents, td.seen_by(spec.state_size, tells), spec.n_actions),
        )
        # The target starts as a copy: sharing the buffers would forbid to give them away to the next state.
        target = jax.tree.map(jnp.copy, params)
        return ValueState(params, target, optimiser.init(params), jnp.int32(0))

    def policy(state: ValueState, progress: Progress) -> Policy:
        greedy = pymarl.pymarl_agent(spec, config.hidden).bind(state.params.agent)
        return greedy._replace(select=partial(epsilon_greedy, epsilon(progress.env_steps)))

    def work(state: ValueState, episodes: Episodes, count: int) -> td.Work:
        return td.work_for(state.params, episodes, count, mix, tells)

    def update(
        key: jax.Array, state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], left: Float[Array, ""],
        work: td.Work,
    ) -> tuple[ValueState, dict[str, Array], td.Work]:  # fmt: skip
        found, sums, work = td.gradient(
            state.params, state.target, episodes, chosen, work, mix, config, reobserve, axis, tells
        )  # fmt: skip
        if part is not None:
            found, sums = shared(found, sums, part)
        steps, worked = sums.pop("steps"), sums.pop("worked")
        gradient = jax.tree.map(lambda g: g / steps, found)
        metrics = {name: value / steps for name, value in sums.items()} | {"padding": 1 - steps / worked}
        if config.smooth > 0:
            found = _smoothness(key, state, episodes, chosen, spec, config, reobserve)
            gradient, metrics["smoothness"] = ernie.added(gradient, found, config.smooth, part)
        changes, moments = optimiser.update(gradient, state.optimiser, state.params)
        if config.lr_anneal:  # both optimisers step in proportion to their learning rate
            changes = jax.tree.map(lambda change: change * left, changes)
        params: Any = optax.apply_updates(state.params, changes)
        updates = state.updates + 1
        metrics["grad_norm"] = optax.tree.norm(gradient)
        return ValueState(params, _follow(params, state.target, updates, config), moments, updates), metrics, work

    def alone(key: jax.Array, state: ValueState, episodes: Episodes, chosen: jax.Array, left: jax.Array) -> Any:
        return update(key, state, episodes, chosen, left, work(state, episodes, chosen.shape[0]))[:2]

    return BatchLearner(init, policy, alone, work, update)


def shared(found: T, sums: dict[str, Array], part: str) -> tuple[T, dict[str, Array]]:
    """Add up what the devices found, in one exchange: one that did not wait for all of a device's work could hold up
    the core that the other needs. The one who has the most to do decides how long all work."""
    worked = jnp.zeros(jax.lax.axis_size(part)).at[jax.lax.axis_index(part)].set(sums["worked"])
    flat, unravel = ravel_pytree((found, sums, worked))
    found, sums, worked = unravel(jax.lax.psum(flat, part))
    return found, sums | {"worked": worked.max() * worked.size}


def epsilon_greedy(
    epsilon: Float[Array, ""], key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]
) -> Int[Array, "n"]:
    """Choose the best available action, or with probability ``epsilon`` (drawn per agent) any available one."""
    noise = jax.random.uniform(rng.stream(key, "action"), scores.shape)
    explore = jax.random.uniform(rng.stream(key, "explore"), scores.shape[:1]) < epsilon
    preference = jnp.where(explore[:, None], noise, scores)
    return jnp.argmax(jnp.where(avail, preference, -jnp.inf), axis=1).astype(jnp.int32)


def _smoothness(
    key: jax.Array, state: ValueState, episodes: Episodes, chosen: Int[Array, "b"], spec: EnvSpec, config: ValueConfig,
    reobserve: Reobserve | None,
) -> tuple[PyMarlAgent, Float[Array, ""]]:  # fmt: skip
    """Gradient and value of ERNIE's penalty on a few packed rows of a batch."""

    def draw(key: jax.Array) -> Rows:
        packing = pack(slots(episodes)[chosen], episodes.obs.shape[1])
        return rows(episodes, chosen, packing, *ernie.some_rows(key, packing, config), reobserve)

    def values(agent: PyMarlAgent, inputs: jax.Array, keep: jax.Array) -> jax.Array:
        return agents.unroll(agent, agents.start(agent, inputs.shape[1]), inputs, keep)[1]

    return ernie.now_and_then(key, state.updates, state.params.agent, values, draw, spec.obs_size, config)


def _follow(params: ValueParams, target: ValueParams, updates: Int[Array, ""], config: ValueConfig) -> ValueParams:
    """Move the target networks: a copy now and then, or a little at every update."""
    if config.target == "ema":
        return jax.tree.map(lambda old, new: old + config.ema_tau * (new - old), target, params)
    return tree.where(updates % config.target_every == 0, params, target)
