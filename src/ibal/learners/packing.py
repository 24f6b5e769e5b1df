"""Whole episodes of different lengths, one after another in rows of one length: little of it is padding.

``pack`` decides where every episode goes, ``rows`` reads the data into place. A recurrent network runs along a row and
forgets where ``start`` says so; nothing else tells an episode in a row from an episode alone, so losses and gradients
equal those of plain padded batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.types import Episodes, Tells

AGENT_ROWS = 32  # agents side by side in one recurrent product: enough to be efficient, few enough to stay in cache
Reobserve = Callable[[Any, jax.Array], jax.Array]
T = TypeVar("T")


class Packing(NamedTuple):
    """Where the episodes of a batch stand: ``episode[r, t]`` is the episode in slot ``t`` of row ``r`` (-1: padding)
    and ``time[r, t]`` the step of it; ``used`` rows hold anything, and they come first."""

    episode: Int[Array, "r t"]
    time: Int[Array, "r t"]
    used: Int[Array, ""]


class Rows(NamedTuple):
    """Rows of a packed batch, time first. ``valid`` marks the transitions to learn from; the slot after the last
    transition of an episode that did not terminate holds what it is bootstrapped from. ``last_action`` is -1 at
    ``start``."""

    obs: Float[Array, "t r n o"]
    state: Float[Array, "t r s"]
    avail: Bool[Array, "t r n a"]
    last_action: Int[Array, "t r n"]
    action: Int[Array, "t r n"]
    reward: Float[Array, "t r"]
    terminated: Bool[Array, "t r"]
    valid: Bool[Array, "t r"]
    start: Bool[Array, "t r"]
    end: Bool[Array, "t r"]


def slots(episodes: Episodes) -> Int[Array, "b"]:
    """Return how many slots each episode takes: its steps, and one to bootstrap from unless it terminated."""
    last = jnp.take_along_axis(episodes.terminated, (episodes.length - 1)[:, None], axis=1)[:, 0]
    return episodes.length + (~last).astype(episodes.length.dtype)


def pack(sizes: Int[Array, "b"], row_length: int) -> Packing:
    """Place the longest episodes first, each in the fullest row that still has room for it (best fit, decreasing).

    Needs ``sizes <= row_length``. There are as many rows as episodes, so everything finds a place.
    """
    count = sizes.shape[0]
    order = jnp.argsort(-sizes)

    def place(filled: Int[Array, "r"], size: Int[Array, ""]) -> tuple[Int[Array, "r"], tuple[jax.Array, jax.Array]]:
        fits = filled + size <= row_length
        row = jnp.argmax(jnp.where(fits, filled, -1))
        return filled.at[row].add(size), (row, filled[row])

    filled, (row, offset) = jax.lax.scan(place, jnp.zeros(count, sizes.dtype), sizes[order])
    # Every slot looks up the episode that begins last at or before it.
    begins = jnp.full((count, row_length), -1).at[row, offset].set(order, mode="drop")
    spot = jnp.arange(row_length)[None, :]
    first = jax.lax.cummax(jnp.where(begins >= 0, spot, -1), axis=1)
    episode = jnp.take_along_axis(begins, jnp.maximum(first, 0), axis=1)
    inside = spot < filled[:, None]
    return Packing(jnp.where(inside, episode, -1), jnp.where(inside, spot - first, 0), (filled > 0).sum())


def rows(
    episodes: Episodes, chosen: Int[Array, "b"], packing: Packing, first: Int[Array, ""], count: int,
    reobserve: Reobserve | None = None,
) -> Rows:  # fmt: skip
    """Read rows ``first .. first + count - 1`` of a packing of ``episodes[chosen]``.

    ``obs`` is what the team saw: as it was stored, or ``reobserve(memory, obs[n, o])`` of the clean observation.
    """
    episode, time = (jax.lax.dynamic_slice_in_dim(a, first, count).T for a in (packing.episode, packing.time))
    return read(episodes, chosen, episode, time, reobserve)


def read(
    episodes: Episodes, chosen: Int[Array, "b"], episode: Int[Array, "t r"], time: Int[Array, "t r"],
    reobserve: Reobserve | None = None, told: Float[Array, "b p"] | None = None,
) -> Rows:  # fmt: skip
    """Read what stands in slots that hold step ``time`` of ``episodes[chosen[episode]]``; -1 is padding. What is
    ``told`` of an episode stands behind its states."""
    inside = episode >= 0
    which = jnp.where(inside, chosen[jnp.maximum(episode, 0)], 0)
    step = jnp.minimum(time, episodes.action.shape[1] - 1)

    seen = (episodes.obs if episodes.seen is None else episodes.seen)[which, time].astype(jnp.float32)
    if reobserve is not None and episodes.seen is None:
        seen = jax.vmap(jax.vmap(reobserve))(jax.tree.map(lambda leaf: leaf[which], episodes.memory), seen)
    state = episodes.state[which, time].astype(jnp.float32)
    if told is not None:
        state = jnp.concatenate((state, told[jnp.maximum(episode, 0)]), axis=-1)
    last = jnp.where((time > 0)[..., None], episodes.action[which, jnp.maximum(time - 1, 0)].astype(jnp.int32), -1)
    length = episodes.length[which]
    return Rows(
        obs=seen,
        state=state,
        avail=episodes.avail[which, time],
        last_action=last,
        action=episodes.action[which, step].astype(jnp.int32),
        reward=episodes.reward[which, step],
        terminated=episodes.terminated[which, step],
        valid=inside & (time < length),
        start=time == 0,
        end=inside & (time == length - 1),
    )


def told_of(tells: Tells | None, episodes: Episodes, chosen: Int[Array, "b"]) -> Float[Array, "b p"] | None:
    """Return what is told of the chosen episodes, if anything is."""
    return None if tells is None else jax.vmap(tells.of)(tree.at(episodes.memory, chosen))


def row_group(n_agents: int, batch: int) -> int:
    """Return how many packed rows are worked on at a time; small on a CPU, because the last group is filled up with
    padding. An accelerator takes them all: it waits for the steps of a recurrence, not for their width."""
    if jax.default_backend() != "cpu":
        return batch
    return max(1, min(batch // 4, AGENT_ROWS // n_agents))


def padded(packing: Packing, group: int) -> Packing:
    """Add empty rows: the last of the groups that are read may reach beyond the last row."""
    spare = -packing.episode.shape[0] % group
    return packing._replace(
        episode=jnp.pad(packing.episode, ((0, spare), (0, 0)), constant_values=-1),
        time=jnp.pad(packing.time, ((0, spare), (0, 0))),
    )


def minibatch(key: jax.Array, index: Int[Array, ""], packing: Packing, of_rows: T, parts: int) -> tuple[Packing, T]:
    """Return the rows of gradient step ``index``, and what there is of each of them (rows first): all of them, or one
    of ``parts`` parts of an order that is drawn anew in every epoch. The number of rows is a multiple of ``parts``."""
    if parts == 1:
        return packing, of_rows
    count = packing.episode.shape[0]
    epoch, part = index // parts, index % parts
    noise = jax.random.uniform(rng.at(key, epoch), (count,))
    order = jnp.argsort(jnp.where(jnp.arange(count) < packing.used, noise, 2.0))  # empty rows stay last
    mine = order.reshape(count // parts, parts)[:, part]
    used = (packing.used - part + parts - 1) // parts
    return Packing(packing.episode[mine], packing.time[mine], used), tree.at(of_rows, mine)


def agent_inputs(batch: Rows) -> Float[Array, "t rn i"]:
    """What the agents see, rows and agents side by side."""
    t, r, n, a = batch.avail.shape
    last = jax.nn.one_hot(batch.last_action, a)
    names = jnp.broadcast_to(jnp.eye(n)[None, None], (t, r, n, n))
    return jnp.concatenate((batch.obs, last, names), axis=-1).reshape(t, r * n, -1)


def goes_on(batch: Rows) -> Float[Array, "t rn"]:
    """Return 0 where an agent's history begins, rows and agents side by side."""
    return jnp.repeat(1 - batch.start.astype(jnp.float32), batch.avail.shape[2], axis=1)
