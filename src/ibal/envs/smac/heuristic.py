"""SMAC's hand-written team (``heuristic_ai=True``, ``heuristic_rest=False``): a yardstick for the engine alone.

    env = autopilot(make("2s3z", check_actions=False))
    results = play(env, stop_policy(env.spec), keys)          # whatever is played, the team fights by itself

It ignores sight and action masks, so it is not a ``Policy``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ibal.envs.smac.orders import FIRST_TARGET, STOP
from ibal.envs.smac.scenarios import Scenario, scenario
from ibal.envs.smac.state import ATTACK, HEAL, EnvState, Units
from ibal.types import Env, TimeStep


def heuristic_targets(units: Units, scenario: Scenario) -> Int[Array, "n"]:
    """Choose whom every agent attacks or heals: a unit index, -1 = nobody.

    A fighter takes the nearest living enemy at any distance (a marauder skips medivacs) and keeps it until it dies; a
    medivac takes the nearest damaged agent that is no medivac, and keeps it until it is dead or whole. The orders that
    the units carry are the memory.
    Source: ``get_agent_action_heuristic`` of oxwhirl/smac.
    """
    n = scenario.n_agents
    types = (*scenario.ally_types, *scenario.enemy_types)
    enemy = np.arange(len(types)) >= n
    medic = np.array([t.name == "medivac" for t in types])
    marauder = np.array([t.name == "marauder" for t in types])
    full = np.array([t.health for t in types], np.float32)
    fights = enemy[None, :] & ~(marauder[:n, None] & medic[None, :])
    heals = (~enemy & ~medic)[None, :]
    allowed = np.where(medic[:n, None], heals, fights)

    alive = units.health > 0
    wanted = alive & (jnp.asarray(enemy) | (units.health < full))
    distance = jnp.hypot(units.x[:n, None] - units.x[None, :], units.y[:n, None] - units.y[None, :])
    distance = jnp.where(allowed & wanted[None, :], distance, jnp.inf)
    nearest = jnp.where(jnp.isfinite(distance).any(axis=1), jnp.argmin(distance, axis=1), -1)

    current = units.target[:n]
    busy = (units.order[:n] == ATTACK) | (units.order[:n] == HEAL)
    keeps = busy & (current >= 0) & wanted[jnp.maximum(current, 0)]
    return jnp.where(alive[:n], jnp.where(keeps, current, nearest), -1).astype(jnp.int32)


def heuristic_actions(state: EnvState, scenario: Scenario) -> Int[Array, "n"]:
    """Express ``heuristic_targets`` as actions; most are outside the mask, so they need ``check_actions=False``."""
    n = scenario.n_agents
    target = heuristic_targets(state.units, scenario)
    enemy_id = jnp.argsort(state.enemy_order)[jnp.maximum(target - n, 0)]
    slot = jnp.where(target >= n, enemy_id, target)
    actions = jnp.where(target >= 0, FIRST_TARGET + slot, STOP)
    return jnp.where(state.units.health[:n] > 0, actions, 0).astype(jnp.int32)


def autopilot(env: Env) -> Env:
    """Return ``env`` with a team that plays the heuristic and ignores the actions it is given."""
    return env._replace(step=_Autopilot(env.step, scenario(env.spec.name.removeprefix("smac/"))))


@dataclass(frozen=True)
class _Autopilot:
    step: Any
    scenario: Scenario

    def __call__(self, key: jax.Array, state: EnvState, actions: jax.Array, params: Any) -> tuple[EnvState, TimeStep]:
        return self.step(key, state, heuristic_actions(state, self.scenario), params)
