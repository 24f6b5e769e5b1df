"""A game under an adversary in a compiled world, one decision of everybody at a time: what rollouts, evaluation,
recordings and checks have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.contract import called
from ibal.envs.check import check_kept, result_of
from ibal.game import referee
from ibal.game.decide import Decision, Turn, decide
from ibal.game.keys import attack_key, opened, team_key, world_key
from ibal.types import ActView, Adversary, Env, EnvSpec, ObsView, Policy, TimeStep

__all__ = ["Game", "Turn", "act", "advance", "begin", "decision", "look"]


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
    state, step = result_of("reset", env.spec, opened(env, key, env_params))
    memory = adversary.begin(attack_key(key, "begin"), attacker, step)
    nobody = jnp.full(step.avail.shape[:1], -1, jnp.int32)
    return Game(state, step, policy.start(), nobody, memory)


def look(
    spec: EnvSpec, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game
) -> tuple[Float[Array, "n o"], Any]:
    """Return what the team sees at time ``t``, and what the adversary remembers then."""
    view = ObsView(game.step, game.carry, game.last_action, policy, t)
    here = rng.at(attack_key(key, "observe"), t)
    seen, memory = called("attack", "observe", adversary.observe, here, attacker, game.memory, view)
    memory = referee.remembered("observe", game.memory, memory)
    return referee.seen_of(spec, "observe", seen, game.step.obs), memory


def act(
    spec: EnvSpec, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game,
    memory: Any, seen: Float[Array, "n o"], scores: Float[Array, "n a"], intended: Int[Array, "n"],
) -> tuple[Int[Array, "n"], Any]:  # fmt: skip
    """Return what is done at time ``t`` instead of what was meant, and what the adversary remembers then."""
    view = ActView(game.step, game.carry, game.last_action, policy, t, seen, scores, intended)
    here = rng.at(attack_key(key, "act"), t)
    executed, memory = called("attack", "act", adversary.act, here, attacker, memory, view)
    memory = referee.remembered("act", game.memory, memory)
    return referee.actions_of(spec, "act", executed), memory


def decision(
    spec: EnvSpec, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game
) -> Decision:
    """Return what is seen, meant and done at time ``t``. Of ``game`` the world's state is not looked at.

    Raises ContractError, while it is traced, for wrong shapes and types of policy and adversary.
    """
    now = game.step

    def scores(seen: jax.Array) -> tuple[Any, jax.Array]:
        carry, scores = called("policy", "policy.scores", policy.scores, game.carry, seen, now.avail, game.last_action)
        referee.check_scores(spec, scores, game.carry, carry)
        return carry, scores

    def select(scores: jax.Array) -> jax.Array:
        return referee.actions_of(spec, "policy.select", policy.select(team_key(key, t), scores, now.avail))

    def replace(memory: Any, seen: jax.Array, scores: jax.Array, intended: jax.Array) -> tuple[jax.Array, Any]:
        return act(spec, policy, adversary, attacker, key, t, game, memory, seen, scores, intended)

    return decide(lambda: look(spec, policy, adversary, attacker, key, t, game), scores, select, replace)


def advance(
    env: Env, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: Int[Array, ""], game: Game,
    env_params: Any,
) -> tuple[Game, Turn]:  # fmt: skip
    """Attack on observations, policy, attack on actions, world: return the game after step ``t`` and what happened.

    Raises ContractError, while it is traced, for wrong shapes and types of any of them.
    """
    done, carry, memory = decision(env.spec, policy, adversary, attacker, key, t, game)
    world = env.step(world_key(key, t + 1), game.state, done.executed, env_params)
    state, after = result_of("step", env.spec, world)
    check_kept("step() changes", "the state", game.state, state)
    # Agents are told what they meant, not what was made of it.
    return Game(state, after, carry, done.intended.astype(jnp.int32), memory), done
