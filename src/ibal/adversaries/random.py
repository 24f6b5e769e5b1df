"""Attacks without aim: noise on observations, random legal actions. Source: IBAL Appendix D.2 ("Rand")."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, ObsView, Threat, adversary
from ibal.adversaries.config import RandomConfig, among
from ibal.adversaries.groups import draw_members
from ibal.types import Actions, EnvSpec, PRNGKey


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
