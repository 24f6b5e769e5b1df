"""Long rows as short pieces: a recurrent network then runs a few steps of many sequences instead of many steps of few.

A piece begins with the hidden state that the network had there when the batch was played, which the updates since then
have made a little stale. Source: Yu et al. 2022, official code (pieces of 10 steps).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def pieces(x: Shaped[Array, "t r *b"], length: int) -> Shaped[Array, "l cr *b"]:
    """Cut every row into consecutive pieces of ``length`` steps, which stand side by side: those of one time together.

    Time is filled up with zeros (False) to a multiple of ``length``.
    """
    spare = -x.shape[0] % length
    x = jnp.pad(x, ((0, spare),) + ((0, 0),) * (x.ndim - 1))
    count = x.shape[0] // length
    cut = x.reshape(count, length, *x.shape[1:])
    return jnp.moveaxis(cut, 1, 0).reshape(length, count * x.shape[1], *x.shape[2:])


def beginnings(hiddens: Float[Array, "t r h"], length: int) -> Float[Array, "cr h"]:
    """Return the hidden state before the first step of every piece; ``hiddens`` are those after every step of a row.

    Of rows that begin with an episode: there it is zero.
    """
    before = jnp.concatenate((jnp.zeros_like(hiddens[:1]), hiddens[:-1]))
    return before[::length].reshape(-1, hiddens.shape[-1])
