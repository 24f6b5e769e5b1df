"""Independent Q-learning: no mixing, every agent learns its own value from the team's reward. Source: Tan 1993."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float

from ibal.types import PRNGKey


class IqlParams(NamedTuple):
    """Nothing to learn."""


def init(key: PRNGKey, n_agents: int, state_size: int, n_actions: int) -> IqlParams:
    """Return the empty parameters; the arguments are those of every mixer."""
    del key, n_agents, state_size, n_actions
    return IqlParams()


def apply(
    params: IqlParams,
    q: Float[Array, "n"],
    state: Float[Array, "s"],
    best: Float[Array, "n"],
    actions: Float[Array, "n a"],
) -> Float[Array, "n"]:
    """Return ``q`` as it is: one value per agent, not one per team.

    The caller's targets then have an axis ``n`` too, and its loss is the mean over agents as well as over steps
    (PyMARL ``q_learner.py`` without a mixer expands the mask over the agents before it counts).
    """
    del params, state, best, actions
    return q
