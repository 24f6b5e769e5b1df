"""The body that actor and critic of MAPPO share: normalised inputs, two layers, a recurrent one, a head.

    params = init(key, inputs, outputs, 64, gain=0.01)
    hidden, y = apply(params, start(params, n), x)               # one step, x [n, i] -> y [n, out]
    hiddens, y = unroll(params, start(params, n), xs, keep)      # rows, xs [t, n, i] -> y [t, n, out]

LayerNorm -> (linear, relu, LayerNorm) x 2 -> GRU -> LayerNorm -> linear. Source: Yu et al. 2022, official code.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import rng
from ibal.nets import gru
from ibal.nets.agents import linear
from ibal.nets.gru import GruWeights
from ibal.nets.layers import RELU_GAIN, Linear, Norm, norm, normalise, orthogonal
from ibal.types import PRNGKey


class Recurrent(NamedTuple):
    """Weights of one network."""

    norm_in: Norm
    fc1: Linear
    norm1: Norm
    fc2: Linear
    norm2: Norm
    gru: GruWeights
    norm_out: Norm
    head: Linear

    @property
    def input_size(self) -> int:
        return self.fc1.w.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.fc1.w.shape[1]

    @property
    def n_actions(self) -> int:
        """The number of outputs; of an actor they are its actions."""
        return self.head.w.shape[1]


def init(key: PRNGKey, inputs: int, outputs: int, hidden: int, gain: float) -> Recurrent:
    """Draw orthogonal weights: gain sqrt(2) before a relu, 1 in the GRU (all gates as one matrix), ``gain`` in the
    head; biases are zero."""
    h = hidden
    x_w, x_b = orthogonal(rng.stream(key, "gru_x"), (h, 3 * h), 1.0)
    h_w, h_b = orthogonal(rng.stream(key, "gru_h"), (h, 3 * h), 1.0)
    return Recurrent(
        norm(inputs), orthogonal(rng.stream(key, "fc1"), (inputs, h), RELU_GAIN),
        norm(h), orthogonal(rng.stream(key, "fc2"), (h, h), RELU_GAIN),
        norm(h), GruWeights(x_w, x_b, h_w, h_b),
        norm(h), orthogonal(rng.stream(key, "head"), (h, outputs), gain),
    )  # fmt: skip


def start(params: Recurrent, n: int) -> Float[Array, "n h"]:
    """Hidden state at the beginning of an episode: zeros."""
    return jnp.zeros((n, params.hidden_size), jnp.float32)


def apply(
    params: Recurrent, hidden: Float[Array, "n h"], x: Float[Array, "n i"]
) -> tuple[Float[Array, "n h"], Float[Array, "n o"]]:
    """Advance one step."""
    hidden = gru.step(params.gru, hidden, _before(params, x))
    return hidden, _after(params, hidden)


def unroll(
    params: Recurrent, hidden: Float[Array, "n h"], xs: Float[Array, "t n i"], keep: Float[Array, "t n"]
) -> tuple[Float[Array, "t n h"], Float[Array, "t n o"]]:
    """Run along rows and return the hidden state after every step, and the outputs; ``keep`` is 0 where an episode
    begins."""
    hiddens = gru.sequence(params.gru, hidden, _before(params, xs), keep)
    return hiddens, _after(params, hiddens)


def _before(params: Recurrent, x: Float[Array, "*b i"]) -> Float[Array, "*b h"]:
    x = normalise(params.norm_in, x)
    x = normalise(params.norm1, jax.nn.relu(linear(x, *params.fc1)))
    return normalise(params.norm2, jax.nn.relu(linear(x, *params.fc2)))


def _after(params: Recurrent, hidden: Float[Array, "*b h"]) -> Float[Array, "*b o"]:
    return linear(normalise(params.norm_out, hidden), *params.head)
