"""Episodes of a batch one after another in a few endless lanes, which are worked on from block to block of time.

A lane has no end, so no room is left over at one; there are as many blocks as the longest lane needs, and the lanes are
as long as each other as far as that saves a block. What is left of padding is mostly the last block's rest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

AGENTS = 20  # side by side at most in one recurrent product: wide enough, and the fewer lanes, the less is padding
SPAN = 8  # steps of a block at least: its arrays stay in the cache of a core, and little is left over at a lane's end
SLOTS = 24  # of a block at least, all lanes together: the mixer's products have as many rows
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
    span = min(max(SPAN, SLOTS // lanes), row)
    worst = (batch - 1) * row // lanes + row  # the shortest lane is no longer than the average when an episode comes
    room = min(worst, ROWS * row)
    waves = -(-batch * row // (lanes * (room - row))) if batch > 1 else 1
    return Plan(lanes, span, -(-room // span) * span, 1 if room == worst else waves)


def lay(sizes: Int[Array, "b"], of: Plan, row: int) -> Lanes:
    """Place the longest episodes first, each in the lane that is shortest then (Graham's rule, 1969); ``_evened`` mends
    what that leaves uneven.

    Needs ``sizes <= row``. As many waves are used as are sure to have room for everything.
    """
    most = of.waves * of.lanes
    waves = -(-sizes.sum() // (of.lanes * (of.room - row))) if of.waves > 1 else jnp.int32(1)
    shut = jnp.arange(most) >= waves * of.lanes
    order = jnp.argsort(-sizes)

    def place(filled: Int[Array, "l"], size: Int[Array, ""]) -> tuple[Int[Array, "l"], jax.Array]:
        lane = jnp.argmin(filled)
        return filled.at[lane].add(size), lane

    filled, lane = jax.lax.scan(place, jnp.where(shut, of.room, 0).astype(sizes.dtype), sizes[order])
    mean = -(-sizes.sum() // (waves * of.lanes))
    lane, filled = _evened(sizes[order], lane, filled, shut, -(-mean // of.span) * of.span)
    filled = jnp.where(shut, 0, filled)
    here = lane[:, None] == jnp.arange(most)[None]
    ends = jnp.cumsum(jnp.where(here, sizes[order][:, None], 0), axis=0)
    offset = jnp.where(here, ends, 0).sum(1) - sizes[order]
    # Every slot looks up the episode that begins last at or before it.
    begins = jnp.full((of.room, most), -1).at[offset, lane].set(order, mode="drop")
    spot = jnp.arange(of.room)[:, None]
    first = jax.lax.cummax(jnp.where(begins >= 0, spot, -1), axis=0)
    episode = jnp.take_along_axis(begins, jnp.maximum(first, 0), axis=0)
    inside = spot < filled[None]
    longest = filled.reshape(of.waves, of.lanes).max(1)
    return Lanes(jnp.where(inside, episode, -1), jnp.where(inside, spot - first, 0), -(-longest // of.span))


def _evened(
    size: Int[Array, "b"], lane: Int[Array, "b"], filled: Int[Array, "l"], shut: Bool[Array, "l"], goal: Int[Array, ""]
) -> tuple[Int[Array, "b"], Int[Array, "l"]]:  # fmt: skip
    """Return which lane each episode stands in and how full they are, after changes that shorten the longest.

    The longest lane gives one episode for a shorter one of another lane, or for nothing: the change after which the
    longer of the two is shortest. It goes on while that helps and the longest lane is longer than ``goal``.
    """
    lanes, count = jnp.arange(filled.shape[0]), size.shape[0]
    got = jnp.concatenate((size, jnp.zeros_like(filled)))  # for an episode, or for nothing from each lane
    more = size[:, None] - got[None]

    def change(now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        lane, filled, _ = now
        longest = jnp.argmax(jnp.where(shut, -1, filled))
        most, partner = filled[longest], jnp.concatenate((lane, lanes))
        able = (lane == longest)[:, None] & (partner != longest)[None] & (more > 0)
        after = jnp.where(able, jnp.maximum(most - more, filled[partner][None] + more), most).reshape(-1)
        best = jnp.argmin(after)
        gives, gets = jnp.divmod(best, got.shape[0])
        helps, other = after[best] < most, partner[gets]
        moved = jnp.where(helps, more.reshape(-1)[best], 0)
        index = jnp.arange(count)
        new = jnp.where(index == gives, other, jnp.where(index == gets, longest, lane))
        return jnp.where(helps, new, lane), filled.at[longest].add(-moved).at[other].add(moved), helps

    def uneven(now: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return now[2] & (jnp.where(shut, -1, now[1]).max() > goal)

    lane, filled, _ = jax.lax.while_loop(uneven, change, (lane, filled, jnp.array(True)))
    return lane, filled
