"""A new episode: which units fight, and where they stand. All of it is data: no draw compiles anything.

Source: ``distributions.py`` of oxwhirl/smacv2 (``weighted_teams``, ``surrounded_and_reflect``).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ibal import rng
from ibal.envs.smac.terrain import SIZE
from ibal.envs.smacv2.armies import Army

_ATTEMPTS = 12  # draws of a team; that the rarest is refused every time has a chance below 1e-12
_DIAGONALS = 4
_CORNERS = np.array([(0, 0), (0, 32), (32, 32), (32, 0)], np.float32)
_INNER = np.array([(14, 14), (14, 18), (18, 18), (18, 14)], np.float32)  # where each diagonal ends, near the middle
_GAP = 1.0  # mirrored units begin at least twice this apart
_MIDDLE = SIZE / 2


class Draw(NamedTuple):
    """Both teams in creation order, agents first: kinds, and the points at which the units are asked for."""

    kind: Int[Array, "u"]
    x: Float[Array, "u"]
    y: Float[Array, "u"]


def draw(key: Key[Array, ""], army: Army, weights: Float[Array, "types"], surrounded: Float[Array, ""]) -> Draw:
    """Draw an episode's teams and places; ``weights`` are those of ``army.types``, ``surrounded`` a probability."""
    kind = teams(rng.stream(key, "teams"), army, weights)
    around = jax.random.uniform(rng.stream(key, "start")) < surrounded
    ours, theirs = jax.tree.map(
        lambda a, b: jnp.where(around, a, b),
        surround(rng.stream(key, "groups"), army),
        reflect(rng.stream(key, "places"), army),
    )
    where = jnp.concatenate([ours, theirs])
    return Draw(kind, where[:, 0], where[:, 1])


def teams(key: Key[Array, ""], army: Army, weights: Float[Array, "types"]) -> Int[Array, "u"]:
    """Draw the kinds of all units: the enemies are the agents' types once more, and further ones where they are more.

    The agents, and the further enemies for themselves, are drawn again while all are of the exceptional type.
    """
    n, m = army.n_agents, army.n_enemies
    ours = _drawn(rng.stream(key, "agents"), army, weights, n)
    if m <= n:
        return jnp.concatenate([ours, ours[:m]])
    return jnp.concatenate([ours, ours, _drawn(rng.stream(key, "more"), army, weights, m - n)])


def _drawn(key: Key[Array, ""], army: Army, weights: Float[Array, "types"], count: int) -> Int[Array, "count"]:
    """Draw one team. The further draws, which are rarely asked for, are made where a team is refused only."""
    order = np.array([army.types.index(kind.name) for kind in army.kinds])
    logits = jnp.log(weights)[order]

    def attempts(number: int) -> Int[Array, "number count"]:
        noise = rng.gumbel(key, (number, count, len(order)))  # a number depends on its place, not on how many there are
        return jnp.argmax(noise + logits[None, None], axis=-1).astype(jnp.int32)

    if not army.exception:
        return attempts(1)[0]
    refused = np.int32([kind.name for kind in army.kinds].index(army.exception))

    def again(loop: tuple[Array, Array]) -> tuple[Array, Array]:
        every = attempts(_ATTEMPTS)
        return every[jnp.argmax((every != refused).any(axis=1))], jnp.array(True)

    def wanted(loop: tuple[Array, Array]) -> Array:
        return (loop[0] == refused).all() & ~loop[1]

    return jax.lax.while_loop(wanted, again, (attempts(1)[0], jnp.array(False)))[0]


def reflect(key: Key[Array, ""], army: Army) -> tuple[Float[Array, "n 2"], Float[Array, "m 2"]]:
    """Agents anywhere in the western half, enemy i as the mirror image of agent i, further enemies in the east."""
    n, m = army.n_agents, army.n_enemies
    west = np.array([[_MIDDLE - _GAP, SIZE]], np.float32)
    ours = rng.uniform(rng.stream(key, "agents"), (n, 2)) * west
    mirrored = jnp.stack([SIZE - ours[:m, 0], ours[:m, 1]], axis=1)
    more = rng.uniform(rng.stream(key, "more"), (max(m - n, 0), 2)) * np.array([[_MIDDLE, SIZE]], np.float32)
    return ours, jnp.concatenate([mirrored, more + np.array([[_MIDDLE, 0]], np.float32)])


def surround(key: Key[Array, ""], army: Army) -> tuple[Float[Array, "n 2"], Float[Array, "m 2"]]:
    """Agents in the middle, enemies in 1 to 4 groups, each at a point somewhere on a diagonal of its own.

    Groups may be empty; the units of a group follow each other in the list of enemies.
    """
    n, m = army.n_agents, army.n_enemies
    groups = jax.random.randint(rng.stream(key, "count"), (), 1, _DIAGONALS + 1)
    members = jax.random.randint(rng.stream(key, "members"), (m + -m % 16,), 0, groups)[:m]
    up_to = (members[:, None] <= jnp.arange(_DIAGONALS - 1)[None]).sum(axis=0)  # as many stand in groups up to this one
    mine = (jnp.arange(m)[:, None] >= up_to[None]).sum(axis=1)  # the members, sorted
    diagonal = rng.permutation(rng.stream(key, "diagonals"), _DIAGONALS)
    inward = jax.random.uniform(rng.stream(key, "inward"), (_DIAGONALS,))
    points = on_diagonal(diagonal, inward)
    return jnp.full((n, 2), _MIDDLE, jnp.float32), points[mine]


def on_diagonal(diagonal: Int[Array, "k"], inward: Float[Array, "k"]) -> Float[Array, "k 2"]:
    """The point of a diagonal (0: from the south-west, then clockwise) at a share of the way to its inner end."""
    share = inward[:, None]
    return share * jnp.asarray(_INNER)[diagonal] + (1.0 - share) * jnp.asarray(_CORNERS)[diagonal]
