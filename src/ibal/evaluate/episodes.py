"""Play complete episodes, many at a time, in one compiled program.

    keys = rng.episodes(rng.root(0), 512)
    results = play(env, policy, keys)                        # a Policy: its weights are compiled in
    results = play(env, agent, keys, params)                 # an Agent (weights apart): one compilation for all weights

Episode ``i`` meets the same world under every policy: whatever the environment draws depends on ``keys[i]`` and the
step number only.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ibal import rng
from ibal.nets.agents import Agent
from ibal.types import Env, Policy, TimeStep

SLOTS = 128  # environments that step together; more only costs cache on a CPU


class EpisodeResults(NamedTuple):
    """One entry per episode. ``metrics`` are those of the last step; ``win`` is ``metrics["win"]``, False where the
    environment has none."""

    returns: Float[Array, "b"]
    length: Int[Array, "b"]
    win: Bool[Array, "b"]
    metrics: dict[str, Array]


class _Rows(NamedTuple):
    """What is kept of a finished episode."""

    returns: Float[Array, "b"]
    length: Int[Array, "b"]
    metrics: dict[str, Array]


class _Slots(NamedTuple):
    """The environments that step together; ``episode`` is the row a slot plays, ``b`` when it has nothing left."""

    episode: Int[Array, "e"]
    clock: Int[Array, "e"]
    total: Float[Array, "e"]
    state: Any
    step: TimeStep
    carry: Any
    last_action: Int[Array, "e n"]


def world_key(key: Key[Array, ""], clock: Int[Array, ""] | int) -> Key[Array, ""]:
    """Key of the environment's ``clock``-th call in the episode with this key: 0 is the reset."""
    return rng.at(rng.stream(key, "env"), clock)


def team_key(key: Key[Array, ""], clock: Int[Array, ""] | int) -> Key[Array, ""]:
    """Key of the policy's draw at step ``clock``."""
    return rng.at(rng.stream(key, "policy"), clock)


def play(
    env: Env, policy: Policy | Agent, keys: Key[Array, "b"], params: Any = None, *, env_params: Any = None,
    slots: int = SLOTS,
) -> EpisodeResults:  # fmt: skip
    """Play one episode per key to its end and return what came of it.

    ``params`` are the parameters of an ``Agent`` (ignored for a ``Policy``), ``env_params`` replace ``env.params``.
    Neither recompiles. ``slots`` environments step together; a slot whose episode ends takes up the next one, so
    no step is wasted on waiting for the longest game, and results do not depend on ``slots``.
    """
    if keys.shape[0] == 0:
        raise ValueError("play: no episode asked for (keys is empty)")
    env_params = env.params if env_params is None else env_params
    slots = min(slots, keys.shape[0])
    rows = _play(env.reset, env.step, policy, env.spec.horizon, slots, keys, params, env_params)
    win = rows.metrics.get("win", jnp.zeros_like(rows.length))
    return EpisodeResults(rows.returns, rows.length, win > 0, rows.metrics)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _play(
    reset: Any, step: Any, policy: Policy | Agent, horizon: int, slots: int, keys: Key[Array, "b"], params: Any,
    env_params: Any,
) -> _Rows:  # fmt: skip
    episodes = keys.shape[0]
    scores = partial(policy.scores, params) if isinstance(policy, Agent) else policy.scores

    def begin(key: jax.Array) -> tuple[Any, TimeStep]:
        return reset(world_key(key, 0), env_params)

    def advance(key: jax.Array, slot: _Slots) -> _Slots:
        """One step of one environment."""
        carry, values = scores(slot.carry, slot.step.obs, slot.step.avail, slot.last_action)
        actions = policy.select(team_key(key, slot.clock), values, slot.step.avail)
        state, after = step(world_key(key, slot.clock + 1), slot.state, actions, env_params)
        total = slot.total + after.reward
        return _Slots(slot.episode, slot.clock + 1, total, state, after, carry, actions.astype(jnp.int32))

    # All games are set up before the loop: a reset inside would be computed for every slot at every step.
    fresh = jax.lax.map(begin, keys, batch_size=slots)

    def start(episode: Int[Array, "e"]) -> _Slots:
        state, first = jax.tree.map(lambda pool: pool[jnp.minimum(episode, episodes - 1)], fresh)
        carry = jax.tree.map(lambda c: jnp.broadcast_to(c[None], (slots, *c.shape)), policy.start())
        return _Slots(
            episode, jnp.zeros(slots, jnp.int32), jnp.zeros(slots, jnp.float32), state, first, carry,
            jnp.full((slots, first.avail.shape[1]), -1, jnp.int32),
        )  # fmt: skip

    def body(loop: tuple[_Slots, Int[Array, ""], _Rows]) -> tuple[_Slots, Int[Array, ""], _Rows]:
        slot, queued, rows = loop
        slot = jax.vmap(advance)(keys[jnp.minimum(slot.episode, episodes - 1)], slot)
        over = slot.step.terminated | slot.step.truncated | (slot.clock >= horizon)
        done = over & (slot.episode < episodes)
        row = jnp.where(done, slot.episode, episodes)  # rows beyond the last are dropped
        ended = _Rows(slot.total, slot.clock, slot.step.metrics)
        rows = jax.tree.map(lambda kept, new: kept.at[row].set(new, mode="drop"), rows, ended)
        turn = queued + jnp.cumsum(done.astype(jnp.int32)) - 1
        episode = jnp.where(done, jnp.minimum(turn, episodes), slot.episode)
        slot = jax.tree.map(partial(_where, done), start(episode), slot)
        return slot, jnp.minimum(queued + done.sum(dtype=jnp.int32), episodes), rows

    first = start(jnp.arange(slots, dtype=jnp.int32))
    rows = _Rows(
        jnp.zeros(episodes, jnp.float32),
        jnp.zeros(episodes, jnp.int32),
        jax.tree.map(lambda m: jnp.zeros((episodes, *m.shape[1:]), m.dtype), first.step.metrics),
    )
    loop = (first, jnp.int32(slots), rows)
    return jax.lax.while_loop(lambda c: (c[0].episode < episodes).any(), body, loop)[2]


def _where(mask: Bool[Array, "e"], new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (old.ndim - 1)), new, old)
