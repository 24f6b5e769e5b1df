"""Named streams of randomness.

A key is never split in a chain: every consumer takes a stream by its name and then folds its step or index in. So
turning one consumer on or off (an attack, say) changes nothing that another one (the environment, the policy) draws,
and episode ``i`` is the same episode under every policy and every attack.

    key = rng.root(seed)
    episode = rng.episode(key, 7)                       # the same whatever is evaluated on it
    world = rng.at(rng.stream(episode, "env"), t)       # step t of its environment
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ibal.options import check_seed


def root(seed: int) -> Key[Array, ""]:
    """Make the typed key of a (run, seed). Raises ValueError for a seed that is not in 0 .. 2^32 - 1: a key is made of
    32 bits, and two seeds that differ beyond them would be one."""
    return jax.random.key(check_seed("seed", seed))


def stream(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """Return the stream ``name`` of ``key``: ``"env"``, ``"policy"``, ``"attack"``, ``"learner"``, ``"eval"``, …

    The name is hashed with CRC-32, so a stream is the same in every process, Python version and release. Streams nest;
    two that shall be independent need two names under one parent.
    """
    _require_typed(key)
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def at(key: Key[Array, ""], index: int | Array) -> Key[Array, ""]:
    """Return the key of one step, update or slot of a stream."""
    _require_typed(key)
    return jax.random.fold_in(key, index)


def episode(key: Key[Array, ""], index: int | Array) -> Key[Array, ""]:
    """Return the key of evaluation episode ``index``; it depends on nothing else (common random numbers)."""
    return at(stream(key, "episode"), index)


@partial(jax.jit, static_argnums=(1, 2))  # as a whole: one program for a count, not eight
def episodes(key: Key[Array, ""], count: int, first: int = 0) -> Key[Array, "b"]:
    """Return the keys of episodes ``first .. first + count - 1``; chunks of any size give the same keys."""
    return jax.vmap(lambda i: episode(key, i))(jnp.arange(first, first + count))


def uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Draw what ``jax.random.uniform(key, shape)`` draws, in a program that compiles in a third of the time.

    A number depends on the key and its place only, so a row may be drawn longer than it is used. Rows of a multiple of
    16 become vector instructions; of ten, say, the compiler unrolls every round of the hash for every number.
    """
    return _in_rows(jax.random.uniform, key, shape)


def gumbel(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Draw what ``jax.random.gumbel(key, shape)`` draws, as ``uniform`` does."""
    return _in_rows(jax.random.gumbel, key, shape)


def permutation(key: Key[Array, ""], n: int) -> Int[Array, "n"]:
    """Draw what ``jax.random.permutation(key, n)`` draws, for n <= 1000, by comparing all with all: for the few that a
    game has, a processor sorts more slowly (and a sort takes long to compile)."""
    if n > 1000:
        raise ValueError(f"n is {n}; at most 1000 was expected")
    if n < 2:
        return jnp.zeros(n, jnp.int32)
    return order_of(_in_rows(jax.random.bits, jax.random.split(key)[1], (n,)))


def order_of(*columns: Array) -> Int[Array, "n"]:
    """Return the indices that sort by the first column, then by the second, …; of equals the first comes first. What
    ``jnp.lexsort(columns[::-1])`` returns, by comparing all with all."""
    count = columns[0].shape[0]
    before, same = jnp.zeros((count, count), bool), jnp.ones((count, count), bool)  # [who, than whom]
    for column in columns:
        before |= same & (column[:, None] < column[None, :])
        same &= column[:, None] == column[None, :]
    index = jnp.arange(count, dtype=jnp.int32)
    before |= same & (index[:, None] < index[None, :])
    rank = before.sum(axis=0, dtype=jnp.int32)
    return jnp.where(rank[None, :] == index[:, None], index[None, :], 0).sum(axis=1, dtype=jnp.int32)


def _in_rows(draw: Callable[..., Array], key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
    if not getattr(
        jax.config, "jax_threefry_partitionable", True
    ):  # the old generator: a number depends on how many are drawn
        return draw(key, shape)
    count = math.prod(shape)
    return draw(key, (count + -count % 16,))[:count].reshape(shape)


def _require_typed(key: Array) -> None:
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(f"expected a typed key from jax.random.key(seed), got an array of {key.dtype}{list(key.shape)}")
