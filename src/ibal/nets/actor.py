"""A team that chooses by chance: one recurrent network for all, whose scores are log-probabilities of legal actions.

    agent = actor_agent(env.spec, params.hidden_size)        # greedy; ``sampled`` is how it plays while it learns
    policy = agent.bind(params)

What it sees is what the agents of value learners see: the observation, its own last intended action, its number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.nets import pymarl, recurrent
from ibal.nets.agents import Agent
from ibal.nets.recurrent import Recurrent
from ibal.ops.categorical import log_policy

if TYPE_CHECKING:
    from ibal.types import EnvSpec, PRNGKey

GAIN = 0.01  # of the head: at first all actions are nearly alike


def init(key: PRNGKey, spec: EnvSpec, hidden: int, gain: float = GAIN) -> Recurrent:
    """Draw the network of a team for an environment of size ``spec``."""
    return recurrent.init(key, spec.obs_size + spec.n_actions + spec.n_agents, spec.n_actions, hidden, gain)


def actor_agent(spec: EnvSpec, hidden: int) -> Agent:
    """Return the team that plays its likeliest actions; its weights (``Recurrent``) are left open."""

    def start() -> Float[Array, "n h"]:
        return jnp.zeros((spec.n_agents, hidden), jnp.float32)

    return Agent(start, scores, pymarl.greedy)


def scores(
    params: Recurrent,
    carry: Float[Array, "n h"],
    obs: Float[Array, "n o"],
    avail: Bool[Array, "n a"],
    last_action: Int[Array, "n"],
) -> tuple[Float[Array, "n h"], Float[Array, "n a"]]:
    """Advance one step and return the log-probabilities of all actions, those of illegal ones far below any other."""
    carry, logits = recurrent.apply(params, carry, pymarl.inputs(obs, last_action, avail.shape[1]))
    return carry, log_policy(logits, avail)


def sampled(key: PRNGKey, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
    """Draw everybody's action from the probabilities of the legal ones."""
    return jax.random.categorical(rng.stream(key, "action"), jnp.where(avail, scores, -jnp.inf)).astype(jnp.int32)
