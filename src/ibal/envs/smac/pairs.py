"""Pair arithmetic on arrays whose unit axis leads and whose environment axis trails, [u, e].

Two forms of the same sum. With few units the second unit of a pair is an unrolled loop: every round adds one [u, e]
slab, which stays in registers, and the compiler fuses the whole. With many units that program would take too long to
compile, and the pairs become an array [u, u, e] that is reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

FAR = 1e9
UNROLLED = 20  # up to so many units the loop over the second unit is unrolled

Term = Callable[[Any, Any, Any], Array]  # (values of unit i, values of unit j, table entries of the pair) -> its term


def at(value: Array, index: Int[Array, "k e"]) -> Array:
    """Value [u, e] of the unit that ``index`` names; that of unit 0 where it is -1."""
    return jnp.take_along_axis(value, jnp.maximum(index, 0), axis=0, mode="clip")


def some(table: Any) -> bool:
    """Whether any unit (or pair) of the unit table has it; of what is only known in a game: yes."""
    return bool(table.any()) if isinstance(table, np.ndarray) else True


def which(table: Any) -> np.ndarray:
    """The units that have it, by a column of the unit table; of what is only known in a game: all."""
    return np.flatnonzero(table) if isinstance(table, np.ndarray) else np.arange(table.shape[0])


def library(*tables: Any) -> Any:
    """NumPy for tables that are constants of the program, jax.numpy where one is of a game."""
    return np if all(isinstance(table, np.ndarray) for table in tables) else jnp


def constant_at(table: Any, index: Int[Array, "k e"]) -> Float[Array, "k e"]:
    """The same for a column of the unit table [u, 1]; where all units have one value, that value and no work."""
    if not isinstance(table, np.ndarray):
        return at(table, index)
    if np.ptp(table) == 0:
        return jnp.full(index.shape, table.flat[0], jnp.float32)
    return jnp.asarray(table[:, 0]).at[jnp.maximum(index, 0)].get(mode="clip")


def pair_at(table: Any, index: Int[Array, "u e"]) -> Float[Array, "u e"]:
    """Entries of a pair table [u, v, 1] for (unit, the unit that ``index`` names)."""
    if not isinstance(table, np.ndarray):
        return jnp.take_along_axis(table, jnp.maximum(index, 0)[:, None], axis=1, mode="clip")[:, 0].astype(jnp.float32)
    if (table == table.flat[0]).all():
        return jnp.full(index.shape, table.flat[0], jnp.float32)
    row = np.arange(table.shape[0])[:, None]
    return jnp.asarray(table[..., 0], jnp.float32).at[row, jnp.maximum(index, 0)].get(mode="clip")


def columns(numbers: Any) -> Any:
    """Give the numbers of a tree the two axes of all other values: [1, e], or [1, 1] where they are common."""
    return jax.tree.map(lambda a: jnp.reshape(jnp.asarray(a, jnp.float32), (1, -1)), numbers)


def worked_out(needed: Bool[Array, ""], work: Callable[[], Any]) -> Any:
    """Return ``work()``, or zeros without doing it where no game of the batch needs it.

    A branch is also what the compiler does not look through: what follows reads the result instead of working it out
    again in every place that uses it.
    """
    shapes = jax.eval_shape(work)
    return lax.cond(needed, work, lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))


def total(term: Term, mine: Sequence[Any], theirs: Sequence[Any], tables: Sequence[Any] = ()) -> Array:
    """Sum over the units j of ``term(mine, theirs, tables)``: [k, e].

    ``mine`` are values [k, e] or [k, 1] of the units i, ``theirs`` values [l, e] or [l, 1] of the units j, ``tables``
    constants [k, l, 1] of the pairs. The term sees them in shapes that broadcast against each other.
    """
    return _over(lax.add, np.float32(0), term, mine, theirs, tables)


def union(term: Term, mine: Sequence[Any], theirs: Sequence[Any], tables: Sequence[Any] = ()) -> Array:
    """Bitwise or over the units j of an int32 ``term``, in the same way."""
    return _over(lax.bitwise_or, np.int32(0), term, mine, theirs, tables)


def first_smallest(
    term: Term, mine: Sequence[Any], theirs: Sequence[Any], tables: Sequence[Any] = ()
) -> Int[Array, "k e"]:
    """Index j of the smallest ``term``, the first of equals; -1 if none is below ``FAR``. Arguments as of ``total``."""
    count = theirs[0].shape[0]
    if count <= UNROLLED:
        best = term(mine, _rows(theirs, 0), _columns(tables, 0))
        first = jnp.zeros(best.shape, jnp.int32)
        for j in range(1, count):
            key = term(mine, _rows(theirs, j), _columns(tables, j))
            best, first = jnp.minimum(best, key), jnp.where(key < best, j, first)
    else:
        key = _wide(term, mine, theirs, tables)
        best = jnp.min(key, axis=1)
        index = jnp.arange(count, dtype=jnp.int32)[None, :, None]
        first = jnp.min(jnp.where(key <= best[:, None], index, count), axis=1)
    return jnp.where(best < FAR / 2, first, -1)


def _over(combine: Any, zero: Any, term: Term, mine: Any, theirs: Any, tables: Any) -> Array:
    count = theirs[0].shape[0]
    if count > UNROLLED:
        return lax.reduce(_wide(term, mine, theirs, tables), zero, combine, (1,))
    result = term(mine, _rows(theirs, 0), _columns(tables, 0))
    for j in range(1, count):
        result = combine(result, term(mine, _rows(theirs, j), _columns(tables, j)))
    return result


def _rows(values: Sequence[Any], j: int) -> tuple[Any, ...]:
    return tuple(value[j : j + 1] for value in values)


def _columns(tables: Sequence[Any], j: int) -> tuple[Any, ...]:
    return tuple(table[:, j] for table in tables)


def _wide(term: Term, mine: Any, theirs: Any, tables: Any) -> Array:
    """All terms at once: [k, l, e]."""
    return term(tuple(m[:, None] for m in mine), tuple(t[None] for t in theirs), tuple(tables))
