"""SMAC v1 as an ``Env``: glue of engine, orders, observation and reward. For one environment; batch with vmap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ibal import rng
from ibal.envs.smac import perturb, picture, reward
from ibal.envs.smac.engine import advance, draws
from ibal.envs.smac.layout import NO_OP, STOP, env_spec
from ibal.envs.smac.observe import available, observation, permitted, state_vector
from ibal.envs.smac.orders import command
from ibal.envs.smac.rules import Interface, Rules, changed
from ibal.envs.smac.scenarios import Scenario, scenario
from ibal.envs.smac.spawn import enemy_order, initial_units, march_goal, marches_straight, walk
from ibal.envs.smac.state import EnvParams, EnvState
from ibal.envs.smac.terrain import terrain
from ibal.types import Env, Frame, TimeStep

SMAC = Interface()  # the defaults of StarCraft2Env


def make(
    map_name: str | Scenario, *, interface: Interface = SMAC, rules: Rules | None = None, version: str = "",
    **options: Any,
) -> Env:  # fmt: skip
    """Make a SMAC map, by name or as a ``Scenario`` of your own.

    The rules are those of a ``version``, as "2026-11", or ``rules``; without either those of the newest. ``options``
    are fields of ``Interface``, ``Rules`` or ``Quantities`` by name, which change them:
    ``make("3m", obs_last_action=True, head_start=0, push=0.1)``.
    An unavailable action is replaced (alive: stop, dead: no-op) and counted in ``metrics["illegal_actions"]``.
    After the end, further steps change nothing, pay nothing and repeat the last flags and metrics.
    """
    interface, rules = changed("SMAC", interface, rules, version, options)
    chosen = scenario(map_name) if isinstance(map_name, str) else map_name
    game = _game(chosen, interface, rules.discrete)
    spec = replace(env_spec(chosen, interface, rules), scene=picture.scene(chosen))
    params = perturb.default_params(chosen, rules)
    return Env(spec, params, game.reset, game.step, game.frame, perturb.perturbed)


@dataclass(frozen=True)
class _Game:
    """The functions of an ``Env`` for one map under fixed options."""

    scenario: Scenario
    interface: Interface
    rules: Rules

    def reset(self, key: Key[Array, ""], params: EnvParams) -> tuple[EnvState, TimeStep]:
        n, scenario, rules = self.scenario.n_agents, self.scenario, self.rules
        disabled, absent = perturb.draw(rng.stream(key, "perturbation"), params)
        units = perturb.apply(initial_units(scenario, rules), params, absent)
        goal_x, goal_y = march_goal(rng.stream(key, "goal"), scenario, rules)
        units = units._replace(goal_x=units.goal_x.at[n:].set(goal_x), goal_y=units.goal_y.at[n:].set(goal_y))
        if rules.head_start and marches_straight(scenario):
            units = walk(units, n, rules.head_start)
        elif rules.head_start:
            noise = draws(rng.stream(key, "start"), scenario)
            units = advance(units, noise, scenario, rules, rules.head_start, params.quantities)
        order = enemy_order(rng.stream(key, "enemy_ids"), scenario, rules)
        life, nobody = reward.life(units), jnp.full(n, -1, jnp.int32)
        no = jnp.zeros((), bool)
        state = EnvState(units, jnp.int32(0), order, life[n:], life[:n], nobody, disabled, ~absent, no)
        return state, self._show(state, jnp.float32(0.0), reward.Outcome(no, no, no, no), jnp.int32(0))

    def step(
        self, key: Key[Array, ""], state: EnvState, actions: Int[Array, "n"], params: EnvParams
    ) -> tuple[EnvState, TimeStep]:
        n, scenario, interface, rules = self.scenario.n_agents, self.scenario, self.interface, self.rules
        avail = permitted(available(state.units, state.enemy_order, scenario, interface, self._grid), state.disabled)
        legal = (avail & (actions[:, None] == jnp.arange(scenario.n_actions)[None, :])).any(axis=1)
        if rules.check_actions:
            actions = jnp.where(legal, actions, jnp.where(avail[:, NO_OP], NO_OP, STOP))
        units = command(state.units, actions, state.enemy_order, scenario, interface, params.quantities)
        clock = state.step * interface.step_mul
        units = advance(units, draws(key, scenario), scenario, rules, interface.step_mul, params.quantities, clock)
        life, played = reward.life(units), actions.astype(jnp.int32)
        after = state._replace(
            units=units, step=state.step + 1, before=life[n:], ally_before=life[:n], last_action=played
        )
        after = jax.tree.map(lambda old, new: jnp.where(state.done, old, new), state, after)
        result = reward.outcome(after.units.health > 0, after.step, scenario)
        enemies, allies = (state.before, after.before), (state.ally_before, after.ally_before)
        earned = reward.step_reward(enemies, allies, result, scenario, interface, rules)
        terminated, truncated = result.ended(interface)
        after = after._replace(done=terminated | truncated)
        illegal = jnp.where(state.done, 0, (~legal).sum(dtype=jnp.int32))
        return after, self._show(after, jnp.where(state.done, 0.0, earned), result, illegal)

    def frame(self, state: EnvState, params: EnvParams) -> Frame:
        return picture.frame(state.units, self.scenario)

    @property
    def _grid(self) -> np.ndarray:
        return terrain(self.scenario.terrain).walkable

    def _show(
        self, state: EnvState, earned: Float[Array, ""], result: reward.Outcome, illegal: Int[Array, ""]
    ) -> TimeStep:
        n, scenario, interface, rules = self.scenario.n_agents, self.scenario, self.interface, self.rules
        avail = available(state.units, state.enemy_order, scenario, interface, self._grid)
        obs = observation(state, avail, scenario, interface, rules, self._grid)
        view = state_vector(state, obs, scenario, interface, rules)
        alive = state.units.health > 0
        return TimeStep(
            obs, view, permitted(avail, state.disabled), alive[:n], earned, *result.ended(interface),
            result.metrics(alive, state.present, illegal),
        )  # fmt: skip


_game = cache(_Game)  # one object per set of options: compiling its functions again finds them compiled
