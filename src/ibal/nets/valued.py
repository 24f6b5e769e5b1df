"""A team whose scores are values, from the normalised recurrent network that ``nets.actor`` has too.

    agent = valued_agent(env.spec, params.hidden_size)       # greedy
    policy = agent.bind(params)

Every layer is normalised over the features of one input, never over a batch: an attack, which shifts what is seen,
shifts no statistics that are kept. What it sees is what all teams see: the observation, the own last intended action,
the own number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.nets import actor, pymarl, recurrent
from ibal.nets.agents import Agent
from ibal.nets.recurrent import Recurrent

if TYPE_CHECKING:
    from pathlib import Path

    from ibal.types import EnvSpec, PRNGKey

GAIN = 0.01  # of the head: at first no action is worth anything
_Q = "q."  # in front of every name in a file


class ValueNet(NamedTuple):
    """Weights of the team: the same as an actor's, but what comes out are values."""

    q: Recurrent

    @property
    def input_size(self) -> int:
        return self.q.input_size

    @property
    def hidden_size(self) -> int:
        return self.q.hidden_size

    @property
    def n_actions(self) -> int:
        return self.q.n_actions


def init(key: PRNGKey, spec: EnvSpec, hidden: int) -> ValueNet:
    """Draw the network of a team for an environment of size ``spec``."""
    return ValueNet(actor.init(key, spec, hidden, GAIN))


def valued_agent(spec: EnvSpec, hidden: int) -> Agent:
    """Return the team that does what is worth most to it; its weights (``ValueNet``) are left open."""

    def start() -> Float[Array, "n h"]:
        return jnp.zeros((spec.n_agents, hidden), jnp.float32)

    return Agent(start, scores, pymarl.greedy)


def scores(
    params: ValueNet,
    carry: Float[Array, "n h"],
    obs: Float[Array, "n o"],
    avail: Bool[Array, "n a"],
    last_action: Int[Array, "n"],
) -> tuple[Float[Array, "n h"], Float[Array, "n a"]]:
    """Advance one step and return the values of all actions."""
    return recurrent.apply(params.q, carry, pymarl.inputs(obs, last_action, avail.shape[1]))


def values(params: ValueNet, xs: Float[Array, "t rn i"], keep: Float[Array, "t rn"]) -> Float[Array, "t rn a"]:
    """Return the values along whole rows; ``keep`` is 0 where an episode begins."""
    return recurrent.unroll(params.q, recurrent.start(params.q, xs.shape[1]), xs, keep)[1]


def is_valued(held: Mapping[str, np.ndarray]) -> bool:
    """Say whether a file of arrays holds such a network."""
    return f"{_Q}norm_in.scale" in held


def from_tensors(path: Path, held: Mapping[str, np.ndarray]) -> ValueNet:
    """Put a network together. Raises ValueError as ``actor.from_tensors`` does."""
    return ValueNet(actor.from_tensors(path, {name.removeprefix(_Q): array for name, array in held.items()}))
