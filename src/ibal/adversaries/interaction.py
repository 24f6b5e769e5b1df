"""Interaction-breaking attack: the two groups stop seeing each other, and G1 does what tells the others least.

    adversary = InteractionConfig().build(env.spec)                                  # learns while a team trains
    state = jax.jit(lambda episodes: fit(key, config, env.spec, episodes, 600))(episodes)    # from natural episodes
    attack = fixed(config, env.spec, state)                                          # the form it is evaluated in

Source: IBAL Definitions 4.4 (observations) and 4.5 (actions), Algorithm 1, Appendix B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.adversaries import budget, groups
from ibal.adversaries.base import ActView, Adversary, Feedback, ObsView, Threat, adversary
from ibal.adversaries.fgsm import best_actions, uphill
from ibal.adversaries.groups import GroupConfig, Schedule
from ibal.adversaries.interaction_options import InteractionOptions, Lessons, Masks
from ibal.adversaries.occlude import retreat
from ibal.adversaries.random import legal
from ibal.adversaries.sparse import sparsely
from ibal.mi import action, club, descent, samples
from ibal.mi.action import ActionParams
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import Actions, EnvSpec, Episodes, PRNGKey, TimeStep


@dataclass(frozen=True)
class InteractionConfig(InteractionOptions):
    """Break the interaction of G1 with the others: hide from each other what tells most, do what tells least.

    Source: IBAL Definitions 4.4 and 4.5, Algorithm 1, Appendix B.
    """

    def build(self, spec: EnvSpec) -> Adversary:
        return interaction(self, spec)

    def fit(self, key: PRNGKey, spec: EnvSpec, episodes: Episodes, steps: int) -> Any:
        """Learn from natural episodes of a victim, in ``steps`` gradient steps; return the adversary's state."""
        return fit(key, self, spec, episodes, steps)


@dataclass(frozen=True)
class LiteralInteractionConfig(InteractionConfig):
    """The same as the paper says it: single entries are hidden, and both estimators are the paper's."""

    masks: Masks = "dimension"
    club: ClubConfig = field(default_factory=ClubConfig.literal)
    action: ActionConfig = field(default_factory=ActionConfig.literal)
    learn_from: Lessons = "all"


@dataclass(frozen=True)
class OccludeRetreatConfig(GroupConfig):
    """The control that estimates nothing: the groups do not see each other, and G1 retreats from the enemy."""

    def interaction(self) -> InteractionConfig:
        """The same attack as options of the one that learns."""
        return InteractionConfig(**_group_fields(self), masks="truth", actions="retreat")

    def build(self, spec: EnvSpec) -> Adversary:
        return self.interaction().build(spec)


@dataclass(frozen=True)
class RandomGroupConfig(GroupConfig):
    """The control of the action attack: G1 does something random and legal, as often as the attack would strike."""

    def interaction(self) -> InteractionConfig:
        """The same attack as options of the one that learns."""
        return InteractionConfig(**_group_fields(self), masks="off", actions="random")

    def build(self, spec: EnvSpec) -> Adversary:
        return self.interaction().build(spec)


def _group_fields(config: GroupConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in GroupConfig.__dataclass_fields__}


TEMPERATURE = 0.1  # of the policy's probabilities that the marginal M2 weights with


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


class Memory(NamedTuple):
    """What is drawn for an episode: G1, the probability P, who loses sight of what. ``fill`` stands in hidden entries
    (None: zeros or noise), ``past`` is the history of the action model (None: it has none)."""

    group: Bool[Array, "n"]
    p: Float[Array, ""]
    mask: Bool[Array, "n o"]
    fill: Float[Array, "n o"] | None
    past: Float[Array, "w"] | None


class _Moment(NamedTuple):
    """What the search for the least informative actions needs to know of one environment."""

    past: Float[Array, "w"] | None
    actions: Actions
    avail: Bool[Array, "n a"]
    group: Bool[Array, "n"]
    alive: Bool[Array, "n"]
    weights: Float[Array, "n a"] | None


def interaction(config: InteractionConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment.

    Raises ValueError for options that the environment has no room for, or does not declare enough for.
    """
    most = groups.largest(config, spec)
    masks, choose = _masks(config, spec, most), _chooser(config, spec, most)
    warmup = config.warmup if config.learns_masks or config.learns_actions else 0
    remembers = config.learns_actions and config.action.tau == "T3"

    def begin(key: jax.Array, state: State, step: TimeStep) -> Memory:
        ready = config.evaluation | ((state.updates >= warmup) & (state.env_steps >= config.quiet))
        by_size, by_members, by_p = (rng.stream(key, name) for name in ("size", "members", "p"))
        size = jnp.where(ready, groups.draw_size(by_size, most, config.evaluation), 0)
        group = groups.draw_members(by_members, spec.n_agents, size)
        p = groups.draw_probability(by_p, config, most, state.schedule)
        return Memory(
            group, jnp.where(size > 0, p, 0.0), masks(rng.stream(key, "mask"), state.scores, group),
            state.mean if config.fill == "mean" else None,
            jnp.zeros(samples.context_size(config.action, spec)) if remembers else None,
        )  # fmt: skip

    def observe(key: jax.Array, state: State, memory: Memory, view: ObsView) -> tuple[jax.Array, Memory]:
        if config.fill in ("zero", "mean"):
            return reobserve(memory, view.step.obs), memory
        if config.fill == "fgsm":
            changed = view.step.obs - config.eps * uphill(view, view.step.obs, best_actions(view))
        else:
            changed = view.step.obs + config.sigma * jax.random.normal(key, view.step.obs.shape)
        return jnp.where(memory.mask & view.step.alive[:, None], changed, view.step.obs), memory

    def act(key: jax.Array, state: State, memory: Memory, view: ActView) -> tuple[jax.Array, Memory]:
        strikes = jax.random.bernoulli(rng.stream(key, "strike"), memory.p)  # one draw for the whole group
        on = ~(view.step.terminated | view.step.truncated)  # a finished game goes on being computed
        who = memory.group & view.step.alive & strikes & on
        actions = view.actions.astype(jnp.int32)
        replaced = jnp.where(who, choose(rng.stream(key, "action"), state, memory, who, view), actions)
        if remembers:
            memory = memory._replace(past=samples.context(config.action, spec, view.step.state))
        return replaced, memory

    def reobserve(memory: Memory, obs: Float[Array, "n o"]) -> Float[Array, "n o"]:
        fill = jnp.zeros_like(obs) if memory.fill is None else memory.fill.astype(obs.dtype)
        return jnp.where(memory.mask, fill, obs)

    sees, acts = config.masks != "off" and most > 0, config.actions != "off" and most > 0
    return adversary(
        threat=_threat(config, spec, most),
        init=lambda key: init(key, config, spec),
        begin=begin,
        observe=observe if sees else None,
        act=act if acts else None,
        update=None if config.evaluation or most == 0 else _updater(config, spec, most, warmup),
        reobserve=reobserve if sees and config.fill in ("zero", "mean") else None,
    )


def fixed(config: InteractionConfig, spec: EnvSpec, state: State) -> Adversary:
    """Return the form that is evaluated: ``state`` as it is, K agents in G1, P = 1/K, no updates.

    Source: Appendix D.1 (P), and K because fewer agents cannot give the paper's results.
    """
    return interaction(replace(config, evaluation=True), spec)._replace(init=lambda key: state)


def init(key: PRNGKey, config: InteractionConfig, spec: EnvSpec) -> State:
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
    key: PRNGKey, config: InteractionConfig, spec: EnvSpec, episodes: Episodes, steps: int, estimates: int = 4
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


def _updater(config: InteractionConfig, spec: EnvSpec, most: int, warmup: int) -> Any:
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
    spared = ~episodes.memory.group.any(1)
    length = jnp.where(spared, episodes.length, 0)
    return episodes._replace(length=length), spared.any()


def _learn(
    key: PRNGKey, config: InteractionConfig, spec: EnvSpec, most: int, state: State, episodes: Episodes, steps: int
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
    key: PRNGKey, config: InteractionConfig, spec: EnvSpec, state: State, episodes: Episodes, estimates: int
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


def _masks(
    config: InteractionConfig, spec: EnvSpec, most: int
) -> Callable[[PRNGKey, Float[Array, "n n o"], Bool[Array, "n"]], Bool[Array, "n o"]]:
    """Return ``mask(key, scores, group) -> [n, o]``."""
    n, o = spec.n_agents, spec.obs_size
    both = config.sides == "both"
    if config.masks == "off" or most == 0:
        return lambda key, scores, group: jnp.zeros((n, o), bool)
    if config.masks in ("block", "truth"):
        members = budget.blocks(spec)
        widest = int(members.sum(1).max())
        if config.dims is not None and config.dims > widest:
            raise ValueError(
                f'dims is {config.dims}, but the blocks of other agents that masks="{config.masks}" hides have '
                f'{widest} entries on "{spec.name}"; use a smaller dims, or masks="dimension"'
            )
        dims = block_dims(config, spec)
        if config.masks == "block":
            return lambda key, scores, group: budget.by_block(scores, budget.others(group, both), members, dims)

        def exact(key: PRNGKey, scores: Array, group: Array) -> Array:
            apart = budget.others(group, both)
            mask = budget.truth(spec.obs_layout, apart)
            return mask if dims is None else mask & budget.highest(mask.astype(jnp.float32), members, dims)

        return exact

    dims = groups.sizes(spec).dims if config.dims is None else config.dims
    if config.dims is None and dims == 0:
        raise ValueError(
            f'"{spec.name}" names no block of another agent, so dims has no default for masks="{config.masks}"; give '
            "dims, the number of entries an agent loses per agent of the other group"
        )

    def ranked(key: PRNGKey, scores: Array, group: Array) -> Array:
        apart = budget.others(group, both)
        score = jax.random.uniform(key, (n, o)) if config.masks == "random" else budget.summed(scores, apart)
        return budget.by_dimension(score, apart, dims)

    return ranked


def block_dims(config: InteractionConfig, spec: EnvSpec) -> int | None:
    """Return how many entries of a block "block" and "truth" may hide; None: all of them."""
    if config.dims is not None or not config.cut:
        return config.dims
    return min(groups.sizes(spec).dims, int(budget.blocks(spec).sum(1).max()))


def _chooser(
    config: InteractionConfig, spec: EnvSpec, most: int
) -> Callable[[PRNGKey, State, Memory, Bool[Array, "n"], ActView], Actions]:
    """Return ``choose(key, state, memory, who, view) -> actions``; only those of ``who`` are used."""
    if config.actions == "random":
        return lambda key, state, memory, who, view: legal(key, view.step.avail)
    if config.actions == "retreat":
        away = retreat(spec)
        return lambda key, state, memory, who, view: away(
            view.step.obs, view.step.avail, view.actions.astype(jnp.int32)
        )

    def search(params: ActionParams, moment: _Moment) -> Actions:
        past = jnp.zeros((0,)) if moment.past is None else moment.past
        return action.least_informative(
            config.action, params, past, moment.actions, moment.avail, moment.group, moment.alive,
            weights=moment.weights, most=most,
        )  # fmt: skip

    found = sparsely(search)

    def least(key: PRNGKey, state: State, memory: Memory, who: Array, view: ActView) -> Actions:
        assert state.phi is not None
        weights = None
        if config.action.marginal == "M2":
            heat = 1.0 if view.policy.kind == "logit" else TEMPERATURE  # log-probabilities say it themselves
            weights = jax.nn.softmax(jnp.where(view.step.avail, view.scores / heat, -jnp.inf), axis=1)
        step, actions = view.step, view.actions.astype(jnp.int32)
        moment = _Moment(memory.past, actions, step.avail, memory.group, step.alive, weights)
        return found(who.any(), state.phi.params, moment)

    return least


def _threat(config: InteractionConfig, spec: EnvSpec, most: int) -> Threat:
    sees, acts = config.masks != "off" and most > 0, config.actions != "off" and most > 0
    channels = ("obs",) * sees + ("act",) * acts
    learned = acts and config.learns_actions
    needs = {
        "scores": learned and config.action.marginal == "M2",
        "gradient": sees and config.fill == "fgsm",
        "state": learned and config.action.tau == "T3",
    }
    dims, excess = None, 0
    if sees:
        allowed = groups.sizes(spec).dims
        if config.masks in ("block", "truth"):
            cut = block_dims(config, spec)
            each = int(budget.blocks(spec).sum(1).max()) if cut is None else cut
        else:
            each = allowed if config.dims is None else config.dims
        dims, paper = (min(c * (spec.n_agents - 1), spec.obs_size) for c in (each, allowed))
        excess = max(0, dims - paper) if spec.name in groups.PAPER else 0
    eps = config.eps if sees and config.fill == "fgsm" else None
    everybody = sees and config.sides == "both"
    return Threat(
        knowledge=tuple(name for name, needed in needs.items() if needed),
        channels=channels,
        agents=None if everybody else most,
        eps=eps,
        dims=dims,
        p=groups.greatest_probability(config, most),
        excess=excess,
    )
