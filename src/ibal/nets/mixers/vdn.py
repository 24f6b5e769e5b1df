"""VDN: the team's value is the sum of the agents' values. Source: Sunehag et al. 2018."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float

from ibal.types import PRNGKey


class VdnParams(NamedTuple):
    """Nothing to learn."""


def init(key: PRNGKey, n_agents: int, state_size: int, n_actions: int) -> VdnParams:
    """Return the empty parameters; the arguments are those of every mixer."""
    del key, n_agents, state_size, n_actions
    return VdnParams()


def apply(
    params: VdnParams,
    q: Float[Array, "n"],
    state: Float[Array, "s"],
    best: Float[Array, "n"],
    actions: Float[Array, "n a"],
) -> Float[Array, ""]:
    """Q_tot = sum_i q_i."""
    del params, state, best, actions
    return q.sum()
