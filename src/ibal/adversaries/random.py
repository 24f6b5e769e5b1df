"""Attacks without aim: noise on observations, random legal actions. Source: IBAL Appendix D.2 ("Rand")."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, ObsView, Threat, adversary
from ibal.adversaries.groups import draw_members
from ibal.adversaries.limits import among, at_least, within
from ibal.types import Actions, EnvSpec, PRNGKey


def coin(key: PRNGKey, name: str, p: float) -> Bool[Array, ""]:
    """Draw whether something of probability ``p`` happens; each name is a draw of its own."""
    return jax.random.bernoulli(rng.stream(key, name), p)


@dataclass(frozen=True)
class RandomConfig:
    """Noise on what one random agent sees at every step, and a random action for one at some (Appendix D.2)."""

    sigma: float = 0.1
    """Standard deviation of the noise on every entry of the observation; 0: none."""
    p: float = 0.3
    """Share of steps on which one random agent's action is replaced by a random legal one; 0: none."""
    agents: int = 1
    """How many agents see noise, and how many have their actions replaced."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        at_least(f"{name}.sigma", self.sigma, 0)
        within(f"{name}.p", self.p, 0, 1)
        at_least(f"{name}.agents", self.agents, 1)

    def build(self, spec: EnvSpec) -> Adversary:
        return random(self, spec)


@dataclass(frozen=True)
class RandomObsConfig(RandomConfig):
    """The noise alone."""

    p: float = 0.0


@dataclass(frozen=True)
class RandomActConfig(RandomConfig):
    """The random actions alone."""

    sigma: float = 0.0


def random(config: RandomConfig, spec: EnvSpec) -> Adversary:
    """At every step ``config.agents`` agents see N(0, sigma^2) more, and with probability p as many others (drawn
    apart) do something random and legal. The dead are drawn too, and left alone. Raises ValueError where there are not
    so many agents."""
    n, agents = spec.n_agents, among(f"{type(config).__name__}.agents", config.agents, spec)
    count = jnp.int32(agents)

    def observe(key: jax.Array, state: tuple[()], memory: tuple[()], view: ObsView) -> tuple[jax.Array, tuple[()]]:
        who = draw_members(rng.stream(key, "who"), n, count) & view.step.alive
        noise = config.sigma * jax.random.normal(rng.stream(key, "noise"), view.step.obs.shape)
        return jnp.where(who[:, None], view.step.obs + noise, view.step.obs), memory

    def act(key: jax.Array, state: tuple[()], memory: tuple[()], view: ActView) -> tuple[jax.Array, tuple[()]]:
        strikes = jax.random.bernoulli(rng.stream(key, "strike"), config.p)
        who = draw_members(rng.stream(key, "who"), n, count) & view.step.alive & strikes
        return jnp.where(who, legal(rng.stream(key, "action"), view.step.avail), view.actions), memory

    channels = ("obs",) * (config.sigma > 0) + ("act",) * (config.p > 0)
    return adversary(
        observe=observe if config.sigma > 0 else None,
        act=act if config.p > 0 else None,
        threat=Threat(channels=channels, agents=agents, p=config.p if config.p > 0 else 1.0),
    )


def legal(key: PRNGKey, avail: Bool[Array, "n a"]) -> Actions:
    """Draw an action for everybody, uniform among the legal ones."""
    return jax.random.categorical(key, jnp.where(avail, 0.0, -jnp.inf), axis=1).astype(jnp.int32)
