"""A game under an adversary, one decision of everybody at a time: what rollouts, evaluation and checks have in common.

The streams "env", "policy" and "attack" of an episode's key are independent: an attack changes nothing that the
environment or the policy draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, ObsView
from ibal.types import Policy, TimeStep


class Game(NamedTuple):
    """One environment, its team and what its adversary remembers, in the middle of an episode."""

    state: Any
    step: TimeStep
    carry: Any
    last_action: Int[Array, "n"]
    memory: Any


class Turn(NamedTuple):
    """What was seen, meant and done."""

    seen: Float[Array, "n o"]
    intended: Int[Array, "n"]
    executed: Int[Array, "n"]


def begin(
    reset: Callable[[jax.Array, Any], tuple[Any, TimeStep]], policy: Policy, adversary: Adversary, attacker: Any,
    key: jax.Array, env_params: Any,
) -> Game:  # fmt: skip
    """Start the episode of ``key``; ``attacker`` is the adversary's state."""
    state, step = reset(rng.world_key(key, 0), env_params)
    memory = adversary.begin(rng.attack_key(key, "begin"), attacker, step)
    nobody = jnp.full(step.avail.shape[:1], -1, jnp.int32)
    return Game(state, step, policy.start(), nobody, memory)


def look(
    policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game
) -> tuple[Float[Array, "n o"], Any]:
    """Return what the team sees at time ``t``, and what the adversary remembers then."""
    view = ObsView(game.step, game.carry, game.last_action, policy, t)
    return adversary.observe(rng.at(rng.attack_key(key, "observe"), t), attacker, game.memory, view)


def advance(
    step: Callable[[jax.Array, Any, jax.Array, Any], tuple[Any, TimeStep]], policy: Policy, adversary: Adversary,
    attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game, env_params: Any,
) -> tuple[Game, Turn]:  # fmt: skip
    """Attack on observations, policy, attack on actions, world: return the game after step ``t`` and what happened."""
    now = game.step
    seen, memory = look(policy, adversary, attacker, key, t, game)
    carry, scores = policy.scores(game.carry, seen, now.avail, game.last_action)
    intended = policy.select(rng.team_key(key, t), scores, now.avail)
    view = ActView(now, game.carry, game.last_action, policy, t, seen, scores, intended)
    executed, memory = adversary.act(rng.at(rng.attack_key(key, "act"), t), attacker, memory, view)
    state, after = step(rng.world_key(key, t + 1), game.state, executed, env_params)
    # Agents are told what they meant, not what was made of it.
    return Game(state, after, carry, intended.astype(jnp.int32), memory), Turn(seen, intended, executed)
