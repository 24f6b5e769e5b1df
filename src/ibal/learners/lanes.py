"""Episodes of a batch one after another in a few endless lanes, which are worked on from block to block of time.

A lane has no end, so no room is left over at one; there are as many blocks as the longest lane needs, and the lanes are
nearly as long as each other. What is left of padding is the difference between them and the last block's rest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

AGENTS = 40  # agents side by side at most in one recurrent product: wide enough by far, and few enough for the cache
SPAN = 12  # steps of a block: its arrays stay in the cache of a core
ROWS = 5  # of one horizon each: what is kept of a lane for the way back


class Plan(NamedTuple):
    """Sizes, all known before anything is compiled: lanes side by side, steps of a block, steps of a lane that there is
    room for, and how many times over (``waves``) the lanes may have to be filled."""

    lanes: int
    span: int
    room: int
    waves: int


class Lanes(NamedTuple):
    """Where the episodes stand: ``episode[t, l]`` is the one in slot ``t`` of lane ``l`` (-1: padding), ``time[t, l]``
    the step of it; the lanes ``w * lanes`` and on are those of wave ``w``, which has ``blocks[w]`` blocks."""

    episode: Int[Array, "t l"]
    time: Int[Array, "t l"]
    blocks: Int[Array, "w"]


def plan(n_agents: int, batch: int, row: int) -> Plan:
    """Return the sizes for a batch of episodes of at most ``row`` slots.

    An accelerator has a lane for every episode and one block: it waits for the steps of a recurrence, not for width.
    """
    if jax.default_backend() != "cpu":
        return Plan(batch, row, row, 1)
    # At least four episodes in each, and as many as in the others: else some lanes are longer by a whole one.
    lanes = max(k for k in range(1, batch + 1) if batch % k == 0 and k <= max(1, min(AGENTS // n_agents, batch // 4)))
    span = min(SPAN, row)
    worst = (batch - 1) * row // lanes + row  # the shortest lane is no longer than the average when an episode comes
    room = min(worst, ROWS * row)
    waves = -(-batch * row // (lanes * (room - row))) if batch > 1 else 1
    return Plan(lanes, span, -(-room // span) * span, 1 if room == worst else waves)


def lay(sizes: Int[Array, "b"], of: Plan, row: int) -> Lanes:
    """Place the longest episodes first, each in the lane that is shortest then (Graham's rule, 1969).

    Needs ``sizes <= row``. As many waves are used as are sure to have room for everything.
    """
    most = of.waves * of.lanes
    waves = -(-sizes.sum() // (of.lanes * (of.room - row))) if of.waves > 1 else jnp.int32(1)
    closed = jnp.where(jnp.arange(most) < waves * of.lanes, 0, of.room).astype(sizes.dtype)
    order = jnp.argsort(-sizes)

    def place(filled: Int[Array, "l"], size: Int[Array, ""]) -> tuple[Int[Array, "l"], tuple[jax.Array, jax.Array]]:
        lane = jnp.argmin(filled)
        return filled.at[lane].add(size), (lane, filled[lane])

    filled, (lane, offset) = jax.lax.scan(place, closed, sizes[order])
    filled -= closed
    # Every slot looks up the episode that begins last at or before it.
    begins = jnp.full((of.room, most), -1).at[offset, lane].set(order, mode="drop")
    spot = jnp.arange(of.room)[:, None]
    first = jax.lax.cummax(jnp.where(begins >= 0, spot, -1), axis=0)
    episode = jnp.take_along_axis(begins, jnp.maximum(first, 0), axis=0)
    inside = spot < filled[None]
    longest = filled.reshape(of.waves, of.lanes).max(1)
    return Lanes(jnp.where(inside, episode, -1), jnp.where(inside, spot - first, 0), -(-longest // of.span))
