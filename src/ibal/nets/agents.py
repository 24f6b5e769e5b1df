"""Recurrent agent of PyMARL: ``fc1 -> relu -> GRU -> fc2``, one set of weights for the whole team.

Parameters are a NamedTuple and every function is pure, so an agent can be vmapped over environments, over seeds and
over weight files. Weights are stored ``[in, out]`` (PyTorch stores ``[out, in]``; ``nets.pymarl`` converts).

    params = init(key, input_size, n_actions)
    hidden, q = apply(params, start(params, n_agents), x)          # one step,  x [n, i] -> q [n, a]
    hidden, q = unroll(params, start(params, n_agents), xs)        # an episode, xs [t, n, i] -> q [t, n, a]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal.nets import gru
from ibal.nets.gru import GruWeights
from ibal.types import Policy, PRNGKey

HIDDEN = 64


class PyMarlAgent(NamedTuple):
    """Weights of one agent network; the three gates lie side by side in PyTorch's order reset, update, candidate."""

    fc1_w: Float[Array, "i h"]
    fc1_b: Float[Array, "h"]
    gru_x_w: Float[Array, "h 3*h"]
    gru_x_b: Float[Array, "3*h"]
    gru_h_w: Float[Array, "h 3*h"]
    gru_h_b: Float[Array, "3*h"]
    fc2_w: Float[Array, "h a"]
    fc2_b: Float[Array, "a"]

    @property
    def gru(self) -> GruWeights:
        return GruWeights(self.gru_x_w, self.gru_x_b, self.gru_h_w, self.gru_h_b)

    @property
    def input_size(self) -> int:
        return self.fc1_w.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.fc1_w.shape[1]

    @property
    def n_actions(self) -> int:
        return self.fc2_w.shape[1]


class Agent(NamedTuple):
    """A ``Policy`` whose parameters are an argument: many weights share one compiled program.

    ``start() -> carry``; ``scores(params, carry, obs[n, o], avail[n, a], last_action[n]) -> (carry, scores[n, a])``;
    ``select(key, scores, avail) -> actions[n]``; ``kind`` is that of the policy's scores.
    """

    start: Callable[[], Any]
    scores: Callable[[Any, Any, jax.Array, jax.Array, jax.Array], tuple[Any, jax.Array]]
    select: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    kind: str = "value"

    def bind(self, params: Any) -> Policy:
        """Return the policy that plays with ``params``."""
        scores = partial(self.scores, params)
        return Policy(
            self.start, scores, self.select, weights=lambda: params, apply=self.scores, kind=self.kind
        )  # fmt: skip


def init(key: PRNGKey, input_size: int, n_actions: int, hidden: int = HIDDEN) -> PyMarlAgent:
    """Draw weights as PyTorch does: U(-1/sqrt(fan_in), 1/sqrt(fan_in)); every GRU tensor U(-1/sqrt(h), 1/sqrt(h)).

    Source: defaults of torch.nn.Linear and torch.nn.GRUCell; PyMARL sets nothing else. Flax's defaults behave
    differently at PyMARL's learning rate.
    """
    shapes = ((input_size, hidden), (hidden,), *2 * ((hidden, 3 * hidden), (3 * hidden,)), (hidden, n_actions),
              (n_actions,))  # fmt: skip
    fan_in = 2 * (input_size,) + 6 * (hidden,)
    return PyMarlAgent(*uniform(key, shapes, fan_in))


def uniform(key: PRNGKey, shapes: Sequence[tuple[int, ...]], fan_in: Sequence[int]) -> list[jax.Array]:
    """Draw arrays from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), cut from one long draw: many small ones compile slowly."""
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    pieces = jnp.split(jax.random.uniform(key, (ends[-1],), minval=-1.0), ends[:-1])
    return [p.reshape(shape) / math.sqrt(fan) for p, shape, fan in zip(pieces, shapes, fan_in, strict=True)]


def start(params: PyMarlAgent, n_agents: int) -> Float[Array, "n h"]:
    """Hidden state at the beginning of an episode: zeros."""
    return jnp.zeros((n_agents, params.hidden_size), params.fc1_w.dtype)


def apply(
    params: PyMarlAgent, hidden: Float[Array, "n h"], x: Float[Array, "n i"]
) -> tuple[Float[Array, "n h"], Float[Array, "n a"]]:
    """Advance one step: new hidden state and one value per action."""
    hidden = gru.step(params.gru, hidden, jax.nn.relu(linear(x, params.fc1_w, params.fc1_b)))
    return hidden, linear(hidden, params.fc2_w, params.fc2_b)


def unroll(
    params: PyMarlAgent, hidden: Float[Array, "n h"], xs: Float[Array, "t n i"], keep: Float[Array, "t n"] | None = None
) -> tuple[Float[Array, "n h"], Float[Array, "t n a"]]:
    """Run over a sequence. Equal to ``apply`` repeated, but the layers before and after the recurrence see all time
    steps at once, and so do the weight gradients (``nets.gru``). ``keep`` [t, n] is 0 where an agent starts afresh."""
    keep = jnp.ones(xs.shape[:2], xs.dtype) if keep is None else keep
    hiddens = gru.sequence(params.gru, hidden, jax.nn.relu(linear(xs, params.fc1_w, params.fc1_b)), keep)
    return hiddens[-1], linear(hiddens, params.fc2_w, params.fc2_b)


def linear(x: Float[Array, "*b i"], w: Float[Array, "i o"], b: Float[Array, "o"]) -> Float[Array, "*b o"]:
    """``x w + b`` for any number of leading axes (the explicit reshape keeps ``jax_numpy_rank_promotion=raise``)."""
    y = x @ w
    return y + b.reshape((1,) * (y.ndim - 1) + b.shape)
