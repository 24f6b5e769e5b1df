"""An environment under attack is an environment: what any learner trains in, to be robust against an adversary.

    world = attacked(env, adversary, attacker)              # an Env: what it shows is o~, what it is given is a^

Its episode of a key is the episode that an evaluation under the attack plays with this key (``Env.begin``). Where a
library hands over keys of its own, the reset's is taken for the key of an episode. The state (``TimeStep.state``), the
reward and the flags are those of what was executed, as in training: IBAL, Theorem 4.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.contract import ContractError
from ibal.game import turn
from ibal.game.keys import attack_key, opened
from ibal.game.turn import Game
from ibal.types import Actions, Adversary, Env, Policy, PRNGKey, TimeStep


class AttackedParams(NamedTuple):
    """Parameters of the world, and what the adversary has learned: both can be replaced without compiling."""

    env: Any
    attacker: Any


class AttackedState(NamedTuple):
    """``game`` is the world and what the adversary remembers after it has shown ``seen`` at step ``clock``."""

    game: Game
    key: PRNGKey
    clock: Int[Array, ""]
    seen: Float[Array, "n o"]


def attacked(env: Env, adversary: Adversary, attacker: Any = None, name: str = "attack") -> Env:
    """Return ``env`` under ``adversary``, whose state is ``attacker`` (None: as its ``init`` makes it).

    Whoever plays shows nothing but its actions. Raises ContractError for an attack that must know more of a team than
    that: its scores, their gradient, its weights.
    """
    if needed := [word for word in adversary.threat.knowledge if word != "state"]:
        raise ContractError(
            f'"{name}" knows the {needed[0]} of the team it attacks, and an environment is told nothing but actions; '
            "take an attack that needs none of it (random, interaction)",
            "attack",
        )
    spec = env.spec

    def shown(params: AttackedParams, key: PRNGKey, clock: Int[Array, ""], game: Game) -> tuple[Any, TimeStep]:
        seen, memory = turn.look(spec, SILENT, adversary, params.attacker, key, clock, game)
        return AttackedState(game._replace(memory=memory), key, clock, seen), game.step._replace(obs=seen)

    def reset(key: PRNGKey, params: AttackedParams) -> tuple[AttackedState, TimeStep]:
        state, step = opened(env, key, params.env)
        memory = adversary.begin(attack_key(key, "begin"), params.attacker, step)
        nobody = jnp.full(spec.n_agents, -1, jnp.int32)
        return shown(params, key, jnp.int32(0), Game(state, step, (), nobody, memory))

    def step(key: PRNGKey, state: AttackedState, actions: Actions, params: AttackedParams) -> tuple[Any, TimeStep]:
        game, intended = state.game, actions.astype(jnp.int32)
        chosen = jax.nn.one_hot(intended, spec.n_actions)  # all that is known of the team
        executed, memory = turn.act(
            spec, SILENT, adversary, params.attacker, state.key, state.clock, game, game.memory, state.seen, chosen,
            intended,
        )  # fmt: skip
        world, after = env.step(key, game.state, executed, params.env)
        return shown(params, state.key, state.clock + 1, Game(world, after, (), intended, memory))

    frame, perturb = env.frame, env.perturb
    return Env(
        spec=replace(spec, name=f"{spec.name} under {name}"),
        params=AttackedParams(env.params, adversary.init(rng.root(0)) if attacker is None else attacker),
        reset=reset,
        step=step,
        frame=None if frame is None else lambda state, params: frame(state.game.state, params.env),
        perturb=None if perturb is None else lambda params, what: params._replace(env=perturb(params.env, what)),
        begin=reset,
    )


def _unasked(*args: Any) -> Any:
    raise ContractError("this attack asks the team what it would do otherwise; one in Python is not asked", "attack")


SILENT = Policy(_unasked, _unasked, _unasked, reveals="nothing", kind="nothing")
"""Whom an attack meets whose team cannot be asked."""
