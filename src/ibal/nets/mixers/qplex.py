"""QPLEX: duplex duelling mixer; any function of the joint action whose best joint action is that of the agents.

Source: Wang et al. 2021; the authors' ``dmaq`` mixer with weighted_head, is_minus_one, hypernet_embed 64, single-layer
extractors and num_kernel 4 (their SMAC configuration; WALL uses 2).
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

HYPER = 64
KERNELS = 4
TINY = 1e-10  # keeps weights positive where a network's output is zero


class QplexParams(NamedTuple):
    """Hypernetworks of the agents' affine transform, then the extractors of the attention weights of all kernels.

    The extractors of all kernels lie side by side: output ``kernel * n + i`` is agent ``i``. ``act`` sees the state
    first, then the joint action, agent by agent.
    """

    w_in: Linear  # s -> HYPER
    w_out: Linear  # HYPER -> n
    b_in: Linear  # s -> HYPER
    b_out: Linear  # HYPER -> n
    key: Linear  # s -> kernels
    agent: Linear  # s -> kernels * n
    act: Linear  # s + n * a -> kernels * n

    @property
    def state_size(self) -> int:
        return self.w_in.w.shape[0]

    @property
    def n_agents(self) -> int:
        return self.w_out.w.shape[1]


def init(
    key: PRNGKey, n_agents: int, state_size: int, n_actions: int, num_kernel: int = KERNELS, hyper: int = HYPER
) -> QplexParams:
    """Draw all layers from PyTorch's default U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    outputs = num_kernel * n_agents
    sizes = ((state_size, hyper), (hyper, n_agents), (state_size, hyper), (hyper, n_agents), (state_size, num_kernel),
             (state_size, outputs), (state_size + n_agents * n_actions, outputs))  # fmt: skip
    return QplexParams(*draw(key, sizes))


def apply(
    params: QplexParams,
    q: Float[Array, "n"],
    state: Float[Array, "s"],
    best: Float[Array, "n"],
    actions: Float[Array, "n a"],
) -> Float[Array, ""]:
    """Q_tot = sum_i (w_i q_i + b_i) + sum_i (lambda_i - 1) stop_gradient(w_i (q_i - best_i)).

    w(s) and b(s) are hypernetworks, w > 0; lambda_i(s, a) = sum over kernels of
    (|key(s)| + 1e-10) sigmoid(agent_i(s)) sigmoid(act_i(s, a)) > 0: Q_tot is greatest where every q_i is best_i.

    What a learner passes for the value of the stored joint action ``u``: q = Q_i(u_i), best = max Q_i over available
    actions, actions = onehot(u), all of the online network. For the double-Q target, with ``u*`` the online network's
    best available actions at the next state: q = Q_i^target(u*_i), best = max Q_i^target over available actions (the
    target's own maximum, which need not lie at u*), actions = onehot(u*). No gradient reaches ``best``.
    """
    w = jnp.abs(layers.apply((params.w_in, params.w_out), state)) + TINY
    b = layers.apply((params.b_in, params.b_out), state)
    # Not (w q + b) - (w best + b), which rounds the difference away: this is exactly 0 at the best action.
    advantage = jax.lax.stop_gradient(w * (q - best))
    return (w * q + b + (_attention(params, state, actions) - 1) * advantage).sum()


def _attention(params: QplexParams, state: Float[Array, "s"], actions: Float[Array, "n a"]) -> Float[Array, "n"]:
    """lambda_i(s, a): the positive weight of each agent's advantage."""
    kernels = (-1, actions.shape[0])
    key = jnp.abs(linear(state, *params.key)) + TINY
    agent = jax.nn.sigmoid(linear(state, *params.agent)).reshape(kernels)
    act = jax.nn.sigmoid(linear(jnp.concatenate((state, actions.ravel())), *params.act)).reshape(kernels)
    return (key[:, None] * agent * act).sum(0)
