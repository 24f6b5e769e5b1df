"""ATLA: an attacker that learns, by reinforcement, how to bend what one agent sees. PPO on the team's losses.

At every step one random agent sees o + eps clip(delta, -1, 1), delta drawn from a Gaussian whose mean is a network of o
and of the agent's number; the reward is what the team does not get. In training the attacker and the team take turns:
every second iteration is the attacker's, in which the team stays as it is, and none of its steps counts towards the
budget of the team; in the others the attacker stays as it is.

Source: Zhang et al. 2021 ("alternating training with learned adversaries") and its official settings; IBAL Appendix D.2
(one agent per step). Other than there: lessons are ``updates`` minibatches drawn with replacement, the learning rate is
constant, and rewards are divided by the root mean square of the returns so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal.adversaries.atla.lesson import Memory, State, init, lesson, noise_at, perceptron
from ibal.adversaries.atla.options import AtlaOptions
from ibal.adversaries.base import Adversary, Feedback, ObsView, Threat, adversary
from ibal.types import EnvSpec, Episodes, TimeStep


@dataclass(frozen=True)
class AtlaConfig(AtlaOptions):
    """A network that learns by reinforcement how to change what one random agent sees (Zhang et al. 2021)."""

    def build(self, spec: EnvSpec) -> Adversary:
        return atla(self, spec)


def atla(config: AtlaConfig, spec: EnvSpec) -> Adversary:
    """Make the attack for an environment; in evaluation it shows the mean of what it has learned."""
    n = spec.n_agents

    def begin(key: jax.Array, state: State, step: TimeStep) -> Memory:
        return Memory(jax.random.key_data(key))

    def observe(key: jax.Array, state: State, memory: Memory, view: ObsView) -> tuple[jax.Array, Memory]:
        who, noise = noise_at(memory, view.time, spec)
        x = jnp.concatenate((view.step.obs[who], jax.nn.one_hot(who, n)))
        delta = perceptron(state.net.actor, x)
        if state.net.spread is not None:
            delta = delta + jnp.exp(state.net.spread) * noise
        change = config.eps * jnp.clip(delta, -1.0, 1.0)
        touched = (jnp.arange(n) == who) & view.step.alive
        return view.step.obs + jnp.where(touched[:, None], change[None], 0.0), memory

    def due(iteration: jax.Array) -> Bool[Array, ""]:
        return iteration % config.every == config.every - 1

    def update(key: jax.Array, state: State, episodes: Episodes, feedback: Feedback) -> tuple[State, dict[str, Array]]:
        state = jax.lax.cond(due(feedback.now), lambda s: lesson(key, config, spec, s, episodes), lambda s: s, state)
        assert state.net.spread is not None
        return state, {"attacker_spread": jnp.exp(state.net.spread).mean()}

    return adversary(
        threat=Threat(channels=("obs",), agents=1, eps=config.eps),
        init=lambda key: init(key, config, spec),
        begin=begin,
        observe=observe,
        update=None if config.evaluation else update,
        alone=None if config.evaluation or config.every == 1 else due,
    )
