"""What an attack on observations may change: masks of L entries, what is put in their place, and projections.

All for one environment: ``group`` [n] is G1, ``scores`` [n, n, o] is S, how much entry d of agent i tells about j.

Source: IBAL Definition 4.4. The paper gives L = c |G2| for the agents of G1; here L_i = c x (size of the other group)
for everybody, which is the same on G1 and hides the groups from each other alike.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ibal.types import EnvSpec, ObsLayout


def others(group: Bool[Array, "n"], both: bool = True) -> Bool[Array, "n n"]:
    """Tell which agents j are in the other group than i; with ``both`` False only for i in G1. Nobody is for an empty
    G1."""
    apart = group[:, None] != group[None, :]
    return apart if both else apart & group[:, None]


def by_dimension(score: Float[Array, "n o"], apart: Bool[Array, "n n"], dims: int) -> Bool[Array, "n o"]:
    """Mask the ``dims`` x (size of the other group) entries of highest score; ties: the lowest index."""
    rank = jnp.argsort(jnp.argsort(-score, axis=1, stable=True), axis=1)
    return rank < dims * apart.sum(1, keepdims=True)


def summed(scores: Float[Array, "n n o"], apart: Bool[Array, "n n"]) -> Float[Array, "n o"]:
    """Add up what an entry tells about each agent of the other group."""
    return jnp.where(apart[..., None], scores, 0.0).sum(1)


def blocks(spec: EnvSpec) -> np.ndarray:
    """Return bool[s, o]: the entries of each block that describes another agent.

    Raises ValueError where the layout names none.
    """
    found = [b for b in spec.obs_layout.blocks if b.kind == "ally"]
    if not found:
        raise ValueError(
            f'"{spec.name}" names no block of kind "ally" in its observation (EnvSpec.obs_layout), so blocks of other '
            'agents cannot be hidden; use masks="dimension" or "random" with dims given, or masks="off"'
        )
    index = np.arange(spec.obs_size)
    return np.array([(index >= b.start) & (index < b.stop) for b in found])


def by_block(
    scores: Float[Array, "n n o"], apart: Bool[Array, "n n"], members: np.ndarray, dims: int | None = None
) -> Bool[Array, "n o"]:
    """For every j of the other group, mask the block of i with the largest sum of S[i, j, d]; at most L entries.

    ``members`` as from ``blocks``. Two j may share a block. ``dims``: only so many entries of a block, those of the
    highest summed score.
    """
    of_block = jnp.einsum("ijd,sd->ijs", scores, jnp.asarray(members, jnp.float32))
    chosen = jnp.argmax(of_block, axis=2)[..., None] == jnp.arange(members.shape[0])[None, None]
    hidden = (chosen & apart[..., None]).any(1)  # [n, s]
    mask = (hidden[..., None] & jnp.asarray(members)[None]).any(1)
    return mask if dims is None else mask & highest(summed(scores, apart), members, dims)


def highest(score: Float[Array, "n o"], members: np.ndarray, dims: int) -> Bool[Array, "n o"]:
    """Tell which entries are among the ``dims`` of highest score of their block; ties: the lowest index."""
    index = np.arange(score.shape[1])
    together = np.any(members[:, :, None] & members[:, None, :], axis=0)[None]
    mine, theirs = score[:, :, None], score[:, None, :]
    before = (theirs > mine) | ((theirs == mine) & (index[None, None, :] < index[None, :, None]))
    return (before & together).sum(2) < dims


def truth(layout: ObsLayout, apart: Bool[Array, "n n"]) -> Bool[Array, "n o"]:
    """Mask exactly what describes agents of the other group."""
    owner = layout.agents(apart.shape[0])
    return jnp.take_along_axis(apart, jnp.asarray(np.maximum(owner, 0)), axis=1) & jnp.asarray(owner >= 0)


def within_box(
    obs: Float[Array, "n o"], clean: Float[Array, "n o"], eps: float | Float[Array, ""]
) -> Float[Array, "n o"]:
    """Project onto |obs - clean| <= eps, entry by entry."""
    return clean + jnp.clip(obs - clean, -eps, eps)


def within_ball(
    obs: Float[Array, "n o"], clean: Float[Array, "n o"], eps: float | Float[Array, ""]
) -> Float[Array, "n o"]:
    """Project each agent's change onto the ball of Euclidean norm eps."""
    change = obs - clean
    length = jnp.sqrt((change**2).sum(1, keepdims=True))
    return clean + change * jnp.minimum(1.0, eps / jnp.maximum(length, 1e-12))
