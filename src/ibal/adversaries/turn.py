"""A game under an adversary, one decision of everybody at a time: what rollouts, evaluation and checks have in common.

The streams "env", "policy" and "attack" of an episode's key are independent: an attack changes nothing that the
environment or the policy draws.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.adversaries import referee
from ibal.adversaries.base import ActView, Adversary, ObsView
from ibal.adversaries.referee import Turn
from ibal.contract import called
from ibal.envs.check import check_kept, result_of
from ibal.types import Env, Policy, TimeStep

__all__ = ["Game", "Turn", "advance", "begin", "look"]


class Game(NamedTuple):
    """One environment, its team and what its adversary remembers, in the middle of an episode."""

    state: Any
    step: TimeStep
    carry: Any
    last_action: Int[Array, "n"]
    memory: Any


def begin(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, env_params: Any
) -> Game:  # fmt: skip
    """Start the episode of ``key``; ``attacker`` is the adversary's state. Raises ContractError for wrong shapes."""
    state, step = result_of("reset", env.spec, env.reset(rng.world_key(key, 0), env_params))
    memory = adversary.begin(rng.attack_key(key, "begin"), attacker, step)
    nobody = jnp.full(step.avail.shape[:1], -1, jnp.int32)
    return Game(state, step, policy.start(), nobody, memory)


def look(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game
) -> tuple[Float[Array, "n o"], Any]:
    """Return what the team sees at time ``t``, and what the adversary remembers then."""
    view = ObsView(game.step, game.carry, game.last_action, policy, t)
    here = rng.at(rng.attack_key(key, "observe"), t)
    seen, memory = called("attack", "observe", adversary.observe, here, attacker, game.memory, view)
    memory = referee.remembered("observe", game.memory, memory)
    return referee.seen_of(env.spec, "observe", seen, game.step.obs), memory


def advance(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game,
    env_params: Any,
) -> tuple[Game, Turn]:  # fmt: skip
    """Attack on observations, policy, attack on actions, world: return the game after step ``t`` and what happened.

    Raises ContractError, while it is traced, for wrong shapes and types of any of them.
    """
    now, spec = game.step, env.spec
    seen, memory = look(env, policy, adversary, attacker, key, t, game)
    carry, scores = called("policy", "policy.scores", policy.scores, game.carry, seen, now.avail, game.last_action)
    referee.check_scores(spec, scores, game.carry, carry)
    intended = referee.actions_of(spec, "policy.select", policy.select(rng.team_key(key, t), scores, now.avail))
    view = ActView(now, game.carry, game.last_action, policy, t, seen, scores, intended)
    here = rng.at(rng.attack_key(key, "act"), t)
    executed, memory = called("attack", "act", adversary.act, here, attacker, memory, view)
    memory = referee.remembered("act", game.memory, memory)
    executed = referee.actions_of(spec, "act", executed)
    state, after = result_of("step", spec, env.step(rng.world_key(key, t + 1), game.state, executed, env_params))
    check_kept("step() changes", "the state", game.state, state)
    # Agents are told what they meant, not what was made of it.
    return Game(state, after, carry, intended.astype(jnp.int32), memory), Turn(seen, intended, executed)
