"""The episodes a learner may go back to: a ring on the device, the oldest overwritten first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ibal import tree
from ibal.types import Episodes


class Replay(NamedTuple):
    """``episodes`` has room for ``capacity`` episodes, of which the first ``filled`` are real; ``position`` is where
    the next ones go."""

    episodes: Episodes
    position: Int[Array, ""]
    filled: Int[Array, ""]

    @property
    def capacity(self) -> int:
        return self.episodes.length.shape[0]


def init(example: Episodes, capacity: int) -> Replay:
    """Make an empty replay for episodes like ``example`` (its arrays may be abstract); ``capacity`` is rounded up to a
    multiple of what is added at a time."""
    added = example.length.shape[0]
    capacity = -(-capacity // added) * added
    room = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), example)
    return Replay(room, jnp.int32(0), jnp.int32(0))


def add(replay: Replay, new: Episodes, axis: str | None = None) -> Replay:
    """Store episodes, as many as the replay was made for. ``axis``: the axis that the caller vmaps over, if any; the
    position must be the same along it."""
    size = replay.capacity
    position = tree.common(replay.position, axis)  # a slice, where one per seed would be a scatter
    put = lambda room, leaf: jax.lax.dynamic_update_slice_in_dim(room, leaf, position, 0)  # noqa: E731
    count = new.length.shape[0]
    return Replay(
        jax.tree.map(put, replay.episodes, new),
        (replay.position + count) % size,
        jnp.minimum(replay.filled + count, size),
    )


def forgotten(before: Replay, after: Replay, when: Bool[Array, ""]) -> Replay:
    """Return ``after``, or where ``when`` holds what is as good as ``before``: the episodes that were added count as
    never stored, and the next ones are written over them. Nothing is copied, so nothing may be drawn in between."""
    position = jnp.where(when, before.position, after.position)
    return Replay(after.episodes, position, jnp.where(when, before.filled, after.filled))


def newest(replay: Replay, count: int) -> Replay:
    """Return a replay of capacity ``count`` that holds the newest episodes."""
    kept = jnp.minimum(replay.filled, count)
    index = (replay.position - kept + jnp.arange(count)) % replay.capacity
    return Replay(tree.at(replay.episodes, index), kept % max(count, 1), kept)


def grown(replay: Replay, capacity: int) -> Replay:
    """Return a replay of a larger ``capacity`` with the same episodes, given that the oldest stands first (as
    ``newest`` leaves them)."""
    more = capacity - replay.capacity
    pad = lambda leaf: jnp.concatenate((leaf, jnp.zeros((more, *leaf.shape[1:]), leaf.dtype)))  # noqa: E731
    return Replay(jax.tree.map(pad, replay.episodes), replay.filled % capacity, replay.filled)


def in_parts(change: Callable[[Replay], Replay], replay: Replay, parts: int) -> Replay:
    """Apply ``change`` to each of the ``parts`` that devices keep of a replay; they are filled alike."""
    apart = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), replay.episodes)
    changed = jax.vmap(lambda episodes: change(Replay(episodes, replay.position, replay.filled)))(apart)
    whole = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), changed.episodes)
    return Replay(whole, changed.position[0], changed.filled[0])


def sample(key: jax.Array, replay: Replay, count: int) -> Int[Array, "b"]:
    """Draw ``count`` different episodes uniformly; needs ``count <= filled``."""
    # The smallest of independent random numbers: without replacement, and no sort of the whole replay.
    noise = jax.random.uniform(key, (replay.capacity,))
    return jax.lax.top_k(jnp.where(jnp.arange(replay.capacity) < replay.filled, noise, -1.0), count)[1]


def nbytes(example: Episodes, capacity: int) -> dict[str, int]:
    """Return the bytes of each array of a replay of this capacity (nothing is allocated)."""
    one: dict[str, Any] = {name: getattr(example, name) for name in Episodes._fields}
    return {name: tree.nbytes(part) // example.length.shape[0] * capacity for name, part in one.items()}
