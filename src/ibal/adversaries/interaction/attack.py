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
from jaxtyping import Array, Bool, Float

from ibal import rng
from ibal.adversaries import groups, masks
from ibal.adversaries.base import ActView, Adversary, ObsView, Tells, Threat, adversary
from ibal.adversaries.fgsm import best_actions, uphill
from ibal.adversaries.groups import GroupConfig
from ibal.adversaries.interaction.hide import block_dims, mask_rule
from ibal.adversaries.interaction.learn import State, fit, init, updater
from ibal.adversaries.interaction.options import InteractionOptions, Lessons, Masks
from ibal.adversaries.random import legal
from ibal.adversaries.retreat import retreat
from ibal.mi import action, samples
from ibal.mi.action import ActionParams
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.ops.compact import sparsely
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
    mask, choose = mask_rule(config, spec, most), _chooser(config, spec, most)
    warmup = config.warmup if config.learns_masks or config.learns_actions else 0
    remembers = config.learns_actions and config.action.tau == "T3"

    def begin(key: jax.Array, state: State, step: TimeStep) -> Memory:
        ready = config.evaluation | ((state.updates >= warmup) & (state.env_steps >= config.quiet))
        by_size, by_members, by_p = (rng.stream(key, name) for name in ("size", "members", "p"))
        size = jnp.where(ready, groups.draw_size(by_size, most, config.evaluation), 0)
        group = groups.draw_members(by_members, spec.n_agents, size)
        p = groups.draw_probability(by_p, config, most, state.schedule)
        return Memory(
            group, jnp.where(size > 0, p, 0.0), mask(rng.stream(key, "mask"), state.scores, group),
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
        update=None if config.evaluation or most == 0 else updater(config, spec, most, warmup),
        reobserve=reobserve if sees and config.fill in ("zero", "mean") else None,
        tells=Tells(2 * spec.n_agents + 1, told),
    )


def told(memory: Memory) -> Float[Array, "p"]:
    """Return what a critic is told of an episode: who is in G1, who loses sight of somebody, and P."""
    hidden = memory.mask.any(1)
    return jnp.concatenate([memory.group.astype(jnp.float32), hidden.astype(jnp.float32), memory.p[None]])


def fixed(config: InteractionConfig, spec: EnvSpec, state: State) -> Adversary:
    """Return the form that is evaluated: ``state`` as it is, K agents in G1, P = 1/K, no updates.

    Source: Appendix D.1 (P), and K because fewer agents cannot give the paper's results.
    """
    return interaction(replace(config, evaluation=True), spec)._replace(init=lambda key: state)


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
            each = int(masks.blocks(spec).sum(1).max()) if cut is None else cut
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
