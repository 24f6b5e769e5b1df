"""QMIX: a two-layer mixing network whose non-negative weights are produced from the state.

Source: Rashid et al. 2018; PyMARL ``modules/mixers/qmix.py`` with hypernet_layers 2, hypernet_embed 64,
mixing_embed_dim 32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal.nets import layers
from ibal.nets.agents import linear
from ibal.nets.layers import Linear, draw
from ibal.types import PRNGKey

EMBED = 32
HYPER = 64


class QmixParams(NamedTuple):
    """Hypernetworks; the field names are PyMARL's (``hyper_w_1.0`` is ``w1_in``, ``hyper_w_1.2`` is ``w1_out`` ...)."""

    w1_in: Linear  # s -> HYPER
    w1_out: Linear  # HYPER -> n * EMBED
    b1: Linear  # s -> EMBED
    w2_in: Linear  # s -> HYPER
    w2_out: Linear  # HYPER -> EMBED
    v_in: Linear  # s -> EMBED
    v_out: Linear  # EMBED -> 1

    @property
    def state_size(self) -> int:
        return self.b1.w.shape[0]

    @property
    def n_agents(self) -> int:
        return self.w1_out.w.shape[1] // self.b1.w.shape[1]


def init(
    key: PRNGKey, n_agents: int, state_size: int, n_actions: int, embed: int = EMBED, hyper: int = HYPER
) -> QmixParams:
    """Draw all layers from PyTorch's default U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    del n_actions
    sizes = ((state_size, hyper), (hyper, n_agents * embed), (state_size, embed), (state_size, hyper), (hyper, embed),
             (state_size, embed), (embed, 1))  # fmt: skip
    return QmixParams(*draw(key, sizes))


def apply(
    params: QmixParams,
    q: Float[Array, "n"],
    state: Float[Array, "s"],
    best: Float[Array, "n"],
    actions: Float[Array, "n a"],
) -> Float[Array, ""]:
    """Q_tot = ELU(q |W1(s)| + b1(s)) |W2(s)| + v(s); monotone in every q_i because of the absolute values."""
    del best, actions
    w1 = jnp.abs(layers.apply((params.w1_in, params.w1_out), state)).reshape(q.shape[0], -1)
    w2 = jnp.abs(layers.apply((params.w2_in, params.w2_out), state))
    # Multiply-and-sum, not @: under vmap every sample has its own matrix, and XLA fuses this better than tiny products;
    # but not into the product that makes w1, which then takes five times as long.
    w1 = jax.lax.optimization_barrier(w1)
    hidden = jax.nn.elu((q[:, None] * w1).sum(0) + linear(state, *params.b1))
    return (hidden * w2).sum() + layers.apply((params.v_in, params.v_out), state)[0]
