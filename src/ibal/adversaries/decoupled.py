"""IBAL's attack with its two halves drawn apart: who is hidden says nothing of who misbehaves, or how.

IBAL hides the agents of G1 whenever it breaks them, so that hidden comes to mean broken, and whoever can be seen is
trusted: an idle team mate in full sight (Dis-1) is worse for such a team than for one that met random masks
(docs/results). Here each half is there or not by a draw of its own, one side or both lose sight, and what G1 does
instead is the least informative action, nothing, or something random, for as long as the episode lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, ObsView, Tells, adversary
from ibal.adversaries.faults import idle
from ibal.adversaries.interaction.attack import InteractionConfig, Memory, interaction, told
from ibal.adversaries.interaction.options import InteractionOptions, Lessons
from ibal.adversaries.limits import within
from ibal.adversaries.random import coin, legal
from ibal.types import Actions, EnvSpec, Episodes, Feedback, PRNGKey, TimeStep

INFORMATION, IDLE, RANDOM = range(3)  # what G1 does instead
WAYS = 3


@dataclass(frozen=True)
class DecoupledConfig(InteractionOptions):
    """The attack of IBAL, in some episodes only a half of it. The estimators learn from natural episodes."""

    hides: float = 0.7
    """Share of the attacked episodes in which somebody loses sight."""
    misbehaves: float = 0.7
    """Share of the attacked episodes in which actions of G1 are replaced, drawn apart from ``hides``."""
    one_side: float = 0.5
    """Share of the episodes with hiding in which only one side loses sight: G1 or the others, as likely."""
    informed: float = 0.5
    """Share of the episodes with misbehaviour that choose by information; the others idle or act at random, as likely
    (at random, where no action does nothing)."""
    learn_from: Lessons = "natural"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hides", "misbehaves", "one_side", "informed"):
            within(f"DecoupledConfig.{name}", getattr(self, name), 0, 1)

    def build(self, spec: EnvSpec) -> Adversary:
        return decoupled(self, spec)


class Apart(NamedTuple):
    """What G1 does instead, and what the whole attack remembers of the episode: its mask and P are those in force."""

    way: Int[Array, ""]
    inner: Memory


def decoupled(config: DecoupledConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment. Raises ValueError as ``interaction`` does."""
    inner = interaction(InteractionConfig(**{f.name: getattr(config, f.name) for f in fields(InteractionConfig)}), spec)
    sees, acts = ("obs" in inner.threat.channels, "act" in inner.threat.channels)

    def begin(key: PRNGKey, state: Any, step: TimeStep) -> Apart:
        memory, draws = inner.begin(key, state, step), rng.stream(key, "apart")
        sides = one_side(draws, config, memory.group)
        mask = memory.mask & sides[:, None] & coin(draws, "hides", config.hides)
        p = jnp.where(coin(draws, "misbehaves", config.misbehaves), memory.p, 0.0)
        return Apart(way(draws, config, spec), memory._replace(mask=mask, p=p))

    def observe(key: PRNGKey, state: Any, memory: Apart, view: ObsView) -> tuple[jax.Array, Apart]:
        obs, after = inner.observe(key, state, memory.inner, view)
        return obs, memory._replace(inner=after)

    def act(key: PRNGKey, state: Any, memory: Apart, view: ActView) -> tuple[Actions, Apart]:
        # The search for the least informative action is spared where another way is gone.
        mine = memory.inner._replace(p=jnp.where(memory.way == INFORMATION, memory.inner.p, 0.0))
        actions, after = inner.act(key, state, mine, view)
        strikes = jax.random.bernoulli(rng.stream(key, "strike"), memory.inner.p)
        on = ~(view.step.terminated | view.step.truncated)
        who = memory.inner.group & view.step.alive & strikes & on & (memory.way != INFORMATION)
        idles, can = idle(spec, view)
        other = jnp.where((memory.way == IDLE) & can, idles, legal(rng.stream(key, "other"), view.step.avail))
        return jnp.where(who, other, actions), Apart(memory.way, after._replace(p=memory.inner.p))

    def update(key: PRNGKey, state: Any, episodes: Episodes, feedback: Feedback) -> tuple[Any, dict[str, Array]]:
        return inner.update(key, state, episodes._replace(memory=episodes.memory.inner), feedback)

    def tell(memory: Apart) -> Float[Array, "p"]:
        return jnp.concatenate([told(memory.inner), jax.nn.one_hot(memory.way, WAYS)])

    again = inner.reobserve
    return adversary(
        threat=inner.threat,
        init=inner.init,
        begin=begin,
        observe=observe if sees else None,
        act=act if acts else None,
        update=update,
        reobserve=None if again is None else lambda memory, obs: again(memory.inner, obs),
        tells=Tells(2 * spec.n_agents + 1 + WAYS, tell),
    )


def one_side(key: PRNGKey, config: DecoupledConfig, group: Bool[Array, "n"]) -> Bool[Array, "n"]:
    """Draw who may lose sight: everybody, or only G1, or only the others."""
    side = jnp.where(coin(key, "which", 0.5), group, ~group)
    return jnp.where(coin(key, "sides", config.one_side), side, True)


def way(key: PRNGKey, config: DecoupledConfig, spec: EnvSpec) -> Int[Array, ""]:
    """Draw what G1 does instead."""
    other = jnp.where(coin(key, "idles", 0.5 if spec.idle_actions else 0.0), IDLE, RANDOM)
    return jnp.where(coin(key, "informed", config.informed), INFORMATION, other).astype(jnp.int32)
