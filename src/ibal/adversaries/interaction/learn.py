"""What the interaction-breaking attack learns: the two estimators, S, and when it learns them while a team trains.

state = jax.jit(lambda episodes: fit(key, config, env.spec, episodes, 600))(episodes)    # from natural episodes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.adversaries import groups
from ibal.adversaries.base import Feedback
from ibal.adversaries.groups import Schedule
from ibal.adversaries.interaction.options import InteractionOptions
from ibal.mi import action, club, descent, samples
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import EnvSpec, Episodes, PRNGKey


class Model(NamedTuple):
    """What an estimator has learned, and its optimiser's state."""

    params: Any  # ClubParams or ActionParams
    opt: optax.OptState


class State(NamedTuple):
    """What lasts: ``theta`` and ``phi`` are None where they are not needed; ``scores`` is S; ``mean`` what an entry of
    an observation is on average; ``updates`` counts iterations, ``refreshes`` the estimates in ``scores``."""

    theta: Model | None
    phi: Model | None
    scores: Float[Array, "n n o"]
    mean: Float[Array, "n o"]
    schedule: Schedule
    updates: Int[Array, ""]
    refreshes: Int[Array, ""]
    env_steps: Float[Array, ""]


def init(key: PRNGKey, config: InteractionOptions, spec: EnvSpec) -> State:
    """Draw the models; nothing is known yet."""
    theta = phi = None
    if config.learns_masks:
        theta = _model(config.club, club.init(rng.stream(key, "theta"), config.club, spec))
    if config.learns_actions:
        phi = _model(config.action, action.init(rng.stream(key, "phi"), config.action, spec))
    n, o = spec.n_agents, spec.obs_size
    schedule = groups.start(config, groups.largest(config, spec))
    nothing = jnp.int32(0)
    return State(
        theta, phi, jnp.zeros((n, n, o)), jnp.zeros((n, o)), schedule, nothing, nothing, jnp.float32(0)
    )  # fmt: skip


def _model(config: ClubConfig | ActionConfig, params: Any) -> Model:
    return Model(params, descent.optimiser(config).init(params))


def fit(
    key: PRNGKey, config: InteractionOptions, spec: EnvSpec, episodes: Episodes, steps: int, estimates: int = 4
) -> State:
    """Learn from episodes that nobody attacked: ``steps`` gradient steps of each model, then S as the mean of
    ``estimates`` estimates of ``config.rows`` transitions each. The attack that begins with this state is ready."""
    state = init(rng.stream(key, "init"), config, spec)
    state, _ = _learn(rng.stream(key, "steps"), config, spec, groups.largest(config, spec), state, episodes, steps)
    state = replace_scores(state, *_average(rng.stream(key, "scores"), config, spec, state, episodes, estimates))
    return state._replace(updates=jnp.int32(config.warmup), env_steps=jnp.float32(config.quiet))


def replace_scores(state: State, scores: Float[Array, "n n o"], mean: Float[Array, "n o"]) -> State:
    """Put new scores and means in the place of the old ones."""
    return state._replace(scores=scores, mean=mean, refreshes=state.refreshes + 1)


def updater(config: InteractionOptions, spec: EnvSpec, most: int, warmup: int) -> Any:
    """Return what happens between two rollouts; ``lax.cond`` keeps iterations without lessons free of cost."""
    learns = config.learns_masks or config.learns_actions
    lessons = natural_only if config.learn_from == "natural" else lambda episodes: (episodes, jnp.array(True))
    estimates = config.learns_masks or config.fill == "mean"

    def update(key: jax.Array, state: State, episodes: Episodes, feedback: Feedback) -> tuple[State, Any]:
        # The loop's own count is the same for all seeds that train together; one of a seed's own would turn the
        # conditions below into computing both sides.
        now = state.updates if feedback.iteration is None else feedback.iteration
        ready = (state.updates >= warmup) & (state.env_steps >= config.quiet)
        losses = {}
        taught, any_taught = lessons(episodes)

        def lesson(steps: int) -> Callable[[State], tuple[State, dict[str, Array]]]:
            return lambda s: _learn(rng.stream(key, "steps"), config, spec, most, s, taught, steps)

        if learns:
            missed = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan), jax.eval_shape(lesson(1), state)[1])
            which = jnp.where(now < warmup, 2, jnp.where(now % config.every == 0, 1, 0))
            branches = (lambda s: (s, missed), lesson(config.steps), lesson(config.warmup_steps))
            learned = jax.lax.switch(which, branches, state)
            state, losses = tree.where(any_taught, learned, (state, missed))
        if estimates:
            due = (now + 1 == warmup) | ((now >= warmup) & ((now - warmup + 1) % config.refresh == 0))
            due = due | (now == 0) if warmup == 0 else due

            def renew(s: State) -> State:
                scores, mean = _average(rng.stream(key, "scores"), config, spec, s, taught, 1)
                keep = jnp.where(s.refreshes > 0, config.keep, 0.0)
                return replace_scores(s, keep * s.scores + (1 - keep) * scores, keep * s.mean + (1 - keep) * mean)

            state = tree.where(any_taught, jax.lax.cond(due, renew, lambda s: s, state), state)

        signal = feedback.success if config.signal == "success" else feedback.returns
        advanced = groups.advance(config, state.schedule, signal, episodes.length.shape[0], feedback.env_steps)
        waiting = state.schedule._replace(checked=feedback.env_steps)
        schedule = jax.tree.map(lambda yes, no: jnp.where(ready, yes, no), advanced, waiting)
        state = state._replace(schedule=schedule, updates=state.updates + 1, env_steps=feedback.env_steps)
        return state, {"p_max": schedule.p_max, "attacked": episodes.memory.group.any(1).mean(), **losses}

    return update


def natural_only(episodes: Episodes) -> tuple[Episodes, Bool[Array, ""]]:
    """Leave no step of the episodes in which somebody was attacked, and say whether any are left."""
    spared = ~jnp.asarray(episodes.memory.group).any(1)
    length = jnp.where(spared, episodes.length, 0)
    return episodes._replace(length=length), spared.any()


def _learn(
    key: PRNGKey, config: InteractionOptions, spec: EnvSpec, most: int, state: State, episodes: Episodes, steps: int
) -> tuple[State, dict[str, Array]]:
    """Take gradient steps: theta on clean observations and executed actions, phi on what the team intended."""
    losses = {}
    if state.theta is not None:
        params, opt, loss = club.fit(
            rng.stream(key, "theta"), config.club, spec, state.theta.params, state.theta.opt, episodes, steps
        )
        state, losses = state._replace(theta=Model(params, opt)), {"theta_loss": loss[-1]}
    if state.phi is not None:
        params, opt, loss = action.fit(
            rng.stream(key, "phi"), config.action, spec, state.phi.params, state.phi.opt, episodes, most, steps
        )
        state, losses = state._replace(phi=Model(params, opt)), {**losses, "phi_loss": loss[-1]}
    return state, losses


def _average(
    key: PRNGKey, config: InteractionOptions, spec: EnvSpec, state: State, episodes: Episodes, estimates: int
) -> tuple[Float[Array, "n n o"], Float[Array, "n o"]]:
    """Estimate S, and the mean of every entry of the observation, ``estimates`` times; return the means."""

    def one(index: Array) -> tuple[Array, Array]:
        here = rng.at(key, index)
        rows = samples.transitions(rng.stream(here, "rows"), config.club, spec, episodes, config.rows)
        seen = jnp.where(rows.observes[..., None], rows.after, 0.0).sum(0)
        mean = seen / jnp.maximum(rows.observes.sum(0), 1).astype(jnp.float32)[:, None]
        if state.theta is None:
            return state.scores, mean
        return club.scores(rng.stream(here, "drawn"), config.club, spec, state.theta.params, rows), mean

    found = jax.lax.map(one, jnp.arange(estimates))
    return found[0].mean(0), found[1].mean(0)
