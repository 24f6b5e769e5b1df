"""A gated recurrent unit over a sequence, with a backward pass written by hand.

Automatic differentiation of a scan forms the weight gradients step by step, from products of a few rows, and carries
their sums through the loop. Here the loop back through time only multiplies by stored factors and by one matrix; the
weight gradients are products over the whole sequence after it. Cells are PyTorch's: gates in the order reset, update,
candidate, and a bias of its own for the candidate's recurrent part.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class GruWeights(NamedTuple):
    """Weights of one cell; the three gates lie side by side."""

    x_w: Float[Array, "i 3*h"]
    x_b: Float[Array, "3*h"]
    h_w: Float[Array, "h 3*h"]
    h_b: Float[Array, "3*h"]


def step(weights: GruWeights, hidden: Float[Array, "r h"], x: Float[Array, "r i"]) -> Float[Array, "r h"]:
    """Advance one step: r = s(x_r + h_r), z = s(x_z + h_z), c = tanh(x_c + r h_c), h' = (1 - z) c + z h."""
    return _step(weights, hidden, x)[0]


@jax.custom_vjp
def sequence(
    weights: GruWeights, hidden: Float[Array, "r h"], xs: Float[Array, "t r i"], keep: Float[Array, "t r"]
) -> Float[Array, "t r h"]:
    """Run over a sequence and return the hidden state after every step.

    ``keep[t]`` multiplies the hidden state before step ``t``: 0 where a new episode begins, 1 elsewhere.
    ``keep`` is a constant (its gradient is zero).
    """

    def advance(h: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, kept = now
        h = step(weights, h * kept[:, None], x)
        return h, h

    return jax.lax.scan(advance, hidden, (xs, keep))[1]


def cell(
    h_w: Float[Array, "*k h 3*h"], h_b: Float[Array, "*k 1 3*h"], hidden: Float[Array, "*k r h"],
    given: Float[Array, "*k r 3*h"],
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """Advance one step or, with a leading axis, several networks by one; ``given`` is ``x x_w + x_b``.

    Returns the state after it, the gates (reset and update side by side), the candidate and its recurrent part.
    """
    size = hidden.shape[-1]
    recurrent = hidden @ h_w + h_b
    gates = jax.nn.sigmoid(given[..., : 2 * size] + recurrent[..., : 2 * size])
    candidate = jnp.tanh(given[..., 2 * size :] + gates[..., :size] * recurrent[..., 2 * size :])
    return candidate + gates[..., size:] * (hidden - candidate), gates, candidate, recurrent[..., 2 * size :]


def factors(
    before: Float[Array, "*t h"], gates: Float[Array, "*t 2*h"], candidate: Float[Array, "*t h"],
    recurrent: Float[Array, "*t h"],
) -> tuple[Float[Array, "*t 3*h"], Float[Array, "*t h"]]:  # fmt: skip
    """Return what a change of the state after a step is multiplied with to give those of the recurrent pre-activations
    (reset, update, candidate), and that of the candidate's whole one."""
    size = before.shape[-1]
    reset, update = gates[..., :size], gates[..., size:]
    to_candidate = (1 - update) * (1 - candidate**2)
    to_update = (before - candidate) * update * (1 - update)
    to_reset = to_candidate * recurrent * reset * (1 - reset)
    return jnp.concatenate((to_reset, to_update, to_candidate * reset), axis=-1), to_candidate


def _step(weights: GruWeights, hidden: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    return cell(weights.h_w, weights.h_b[None, :], hidden, x @ weights.x_w + weights.x_b[None, :])


def _forward(
    weights: GruWeights, hidden: jax.Array, xs: jax.Array, keep: jax.Array
) -> tuple[jax.Array, tuple[Any, ...]]:
    def advance(h: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        x, kept = now
        before = h * kept[:, None]
        after, *saved = _step(weights, before, x)
        return after, (after, before, *saved)

    _, (hiddens, *saved) = jax.lax.scan(advance, hidden, (xs, keep))
    return hiddens, (weights, xs, keep, *saved)


def _backward(saved: tuple[Any, ...], out: Float[Array, "t r h"]) -> tuple[GruWeights, jax.Array, jax.Array, jax.Array]:
    weights, xs, keep, before, gates, candidate, recurrent = saved
    size = out.shape[-1]
    update = gates[..., size:]
    factor, to_candidate = factors(before, gates, candidate, recurrent)

    def back(carried: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        arriving, factor, z, kept = now
        dh = arriving + carried
        through_gates = (jnp.concatenate((dh, dh, dh), axis=-1) * factor) @ weights.h_w.T
        return (dh * z + through_gates) * kept[:, None], dh

    d_hidden, dh = jax.lax.scan(back, jnp.zeros_like(out[0]), (out, factor, update, keep), reverse=True)

    d_recurrent = jnp.concatenate((dh, dh, dh), axis=-1) * factor
    d_given = jnp.concatenate((d_recurrent[..., : 2 * size], dh * to_candidate), axis=-1)
    flat = lambda a: a.reshape(-1, a.shape[-1])  # noqa: E731
    d_weights = GruWeights(
        flat(xs).T @ flat(d_given), flat(d_given).sum(0), flat(before).T @ flat(d_recurrent), flat(d_recurrent).sum(0)
    )
    return d_weights, d_hidden, d_given @ weights.x_w.T, jnp.zeros_like(keep)


sequence.defvjp(_forward, _backward)
