"""The critic of MAPPO and IPPO: what an agent's future is worth, seen from above or from where it stands.

The central critic sees the world's state, the agent's own clean observation and its number; that of IPPO the
observation and the number. Of a dead agent it sees the number only ("death masking"): its value is then that of a team
that goes on without it, which is what the value before its death is bootstrapped from.

Source: Yu et al. 2022, section 5 (agent-specific global state, death masking).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.nets import recurrent
from ibal.nets.recurrent import Recurrent

if TYPE_CHECKING:
    from ibal.types import EnvSpec, PRNGKey

Sees = Literal["state", "own"]


def init(key: PRNGKey, spec: EnvSpec, hidden: int, sees: Sees) -> Recurrent:
    """Draw the critic of an environment of size ``spec``."""
    size = spec.obs_size + spec.n_agents + (spec.state_size if sees == "state" else 0)
    return recurrent.init(key, size, 1, hidden, 1.0)


def inputs(
    sees: Sees, state: Float[Array, "*b s"], obs: Float[Array, "*b n o"], alive: Bool[Array, "*b n"]
) -> Float[Array, "*b n i"]:
    """Return what the critic sees of every agent."""
    n = obs.shape[-2]
    if sees == "state":
        shared = jnp.broadcast_to(state[..., None, :], (*state.shape[:-1], n, state.shape[-1]))
        obs = jnp.concatenate((shared, obs), axis=-1)
    names = jnp.broadcast_to(jnp.eye(n).reshape((1,) * (obs.ndim - 2) + (n, n)), (*obs.shape[:-1], n))
    return jnp.concatenate((jnp.where(alive[..., None], obs, 0.0), names), axis=-1)


def alive_of(avail: Bool[Array, "*b a"], spec: EnvSpec) -> Bool[Array, "*b"]:
    """Return who is in the game, read off the legal actions: where doing nothing is one of them, an agent is out.
    Environments without such an action have nobody leave."""
    if spec.noop_action is None:
        return jnp.ones(avail.shape[:-1], bool)
    return ~avail[..., spec.noop_action]
