"""The two transformers of the Wolfpack planner (``planner``): what they are made of and what they compute.

Source: Lee et al. 2025 (WALL); what differs from its code is said in ``planner``.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.nets.agents import linear
from ibal.nets.layers import Linear, draw
from ibal.types import PRNGKey


class Norm(NamedTuple):
    """Scale and shift after normalising to mean 0 and deviation 1."""

    scale: Float[Array, "h"]
    shift: Float[Array, "h"]


class Block(NamedTuple):
    """One head of attention and two layers, each with what came in added and normalised. With one head, the matrices of
    query and key are one product, and so are those of value and output."""

    look: Linear
    take: Linear
    rest: Norm
    wide: Linear
    narrow: Linear
    end: Norm


class Falls(NamedTuple):
    """The first transformer: embedding of a state and of its time, a block, an output per agent and step ahead."""

    state: Linear
    time: Float[Array, "t h"]
    begin: Norm
    block: Block
    head: Linear


class Plan(NamedTuple):
    """The second one: embeddings of state, scores, executed actions and time, a block, changes of state and scores."""

    state: Linear
    scores: Linear
    actions: Linear
    time: Float[Array, "t h"]
    block: Block
    head: Linear


class Moment(NamedTuple):
    """What is true at a step, recorded or imagined; ``scores`` in units."""

    state: Float[Array, "s"]
    scores: Float[Array, "n a"]


def new_falls(key: PRNGKey, state_size: int, hidden: int, times: int, outputs: int) -> Falls:
    """Draw a first transformer, for episodes of ``times`` steps; it expects the same of every moment."""
    (state,) = draw(rng.stream(key, "state"), [(state_size, hidden)])
    return Falls(state, _times(key, times, hidden), _norm(hidden), _block(key, hidden), _blank(hidden, outputs))


def new_plan(key: PRNGKey, state_size: int, scores: int, hidden: int, times: int) -> Plan:
    """Draw a second transformer, for states and that many scores of all agents; it expects everything to stay."""
    sizes = [(state_size, hidden), (scores, hidden), (scores, hidden)]
    state, values, actions = draw(rng.stream(key, "embed"), sizes)
    blank = _blank(hidden, state_size + scores)
    return Plan(state, values, actions, _times(key, times, hidden), _block(key, hidden), blank)


def through(
    net: Block, x: Float[Array, "q h"], context: Float[Array, "w h"], visible: Bool[Array, "q w"]
) -> Float[Array, "q h"]:
    """Return what a block makes of ``x``, which may look at the ``visible`` rows of ``context``."""
    closeness = linear(x, *net.look) @ context.T / context.shape[1] ** 0.5
    attention = jax.nn.softmax(jnp.where(visible, closeness, -1e9), axis=1)
    x = _normal(net.rest, x + linear(attention @ context, *net.take))
    return _normal(net.end, x + linear(jax.nn.gelu(linear(x, *net.wide)), *net.narrow))


def embed_steps(net: Plan, moment: Moment, actions: Int[Array, "w n"], time: Int[Array, "w"]) -> Float[Array, "w h"]:
    """Embed states, scores, executed actions and times for the second transformer."""
    rows, a = time.shape[0], moment.scores.shape[-1]
    parts = (
        linear(moment.state, *net.state), linear(moment.scores.reshape(rows, -1), *net.scores),
        linear(jax.nn.one_hot(actions, a).reshape(rows, -1), *net.actions),
    )  # fmt: skip
    return sum(map(jax.nn.relu, parts), net.time[time])


def onward(
    net: Plan, now: Moment, tokens: Float[Array, "q h"], context: Float[Array, "w h"], visible: Bool[Array, "q w"]
) -> Moment:
    """Return what follows the steps ``now``."""
    change = linear(through(net.block, tokens, context, visible), *net.head)
    size = now.state.shape[1]
    return Moment(now.state + change[:, :size], now.scores + change[:, size:].reshape(now.scores.shape))


def embed_states(net: Falls, state: Float[Array, "w s"], time: Int[Array, "w"]) -> Float[Array, "w h"]:
    """Embed states and their times for the first transformer."""
    return _normal(net.begin, linear(state, *net.state) + net.time[time])


def causal(valid: Bool[Array, "w"]) -> Bool[Array, "w w"]:
    """Say which rows a row may look at: the valid ones up to itself."""
    return jnp.tril(jnp.ones((valid.shape[0],) * 2, bool)) & valid[None, :]


def _normal(net: Norm, x: Float[Array, "w h"]) -> Float[Array, "w h"]:
    off = x - x.mean(1, keepdims=True)
    return off * jax.lax.rsqrt((off**2).mean(1, keepdims=True) + 1e-5) * net.scale[None] + net.shift[None]


def _block(key: PRNGKey, h: int) -> Block:
    look, take, wide, narrow = draw(rng.stream(key, "block"), [(h, h), (h, h), (h, 4 * h), (4 * h, h)])
    return Block(look, take, _norm(h), wide, narrow, _norm(h))


def _norm(h: int) -> Norm:
    return Norm(jnp.ones(h), jnp.zeros(h))


def _times(key: PRNGKey, steps: int, h: int) -> Float[Array, "t h"]:
    return 0.02 * jax.random.normal(rng.stream(key, "time"), (steps, h))


def _blank(hidden: int, outputs: int) -> Linear:
    return Linear(jnp.zeros((hidden, outputs)), jnp.zeros(outputs))
