"""SMACv2 as an ``Env``: SMAC's engine with teams that are drawn anew in every episode. For one environment.

Source: Ellis et al. 2022 ("SMACv2"), oxwhirl/smacv2 at 577ab5a; README.md beside this says what is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng, tree
from ibal.envs.smac import perturb
from ibal.envs.smac.engine import advance, draws
from ibal.envs.smac.layout import FIRST_TARGET, NO_OP, STOP
from ibal.envs.smac.observe import permitted
from ibal.envs.smac.orders import command
from ibal.envs.smac.reward import Outcome, life
from ibal.envs.smac.rules import Rules, changed
from ibal.envs.smac.spawn import enemy_order, fresh
from ibal.envs.smac.state import HOLD, Units
from ibal.envs.smac.units import LOOPS_PER_STEP
from ibal.envs.smacv2 import observe, picture, reward
from ibal.envs.smacv2.armies import Army, army
from ibal.envs.smacv2.draw import Draw, draw
from ibal.envs.smacv2.formation import numbered, places
from ibal.envs.smacv2.layout import env_spec, first_target
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.roster import each, facts
from ibal.envs.smacv2.state import EnvState, Params
from ibal.types import Actions, Env, Frame, PRNGKey, TimeStep

PUBLISHED = Options()


def make(
    name: str | Army, *, options: Options = PUBLISHED, rules: Rules | None = None, version: str = "", **given: Any
) -> Env:
    """Make a scenario of SMACv2, by name (``terran_5_vs_5``) or as an ``Army`` of your own.

    The rules of the engine are those of a ``version``, as "2026-12", or ``rules``; without either those of the newest.
    Further arguments are fields of ``Options``, ``Rules`` or ``Quantities`` by name, which change them:
    ``make("zerg_10_vs_11", state_last_action=True, tagging=False)``.
    An unavailable action is replaced (alive: stop, dead: no-op) and counted in ``metrics["illegal_actions"]``.
    After the end, further steps change nothing, pay nothing and repeat the last flags and metrics.
    """
    options, rules = changed("SMACv2", options, rules, version, given)
    chosen = army(name) if isinstance(name, str) else name
    game = _game(chosen, options, rules.discrete)
    spec = replace(env_spec(chosen, options, rules), scene=picture.scene(chosen))
    return Env(spec, default_params(chosen, rules), game.reset, game.step, game.frame, perturb.perturbed)


def starter(army: Army, options: Options, rules: Rules) -> Callable[..., tuple[EnvState, TimeStep]]:
    """Return ``begin(key, params, drawn)``: the ``reset`` of that environment for teams and places that are given."""
    return _game(army, options, rules.discrete).begin


def default_params(army: Army, rules: Rules) -> Params:
    """Nothing perturbed, teams and places as published; the numbers of ``rules``."""
    plain = perturb.default_params(army, rules)
    return Params(*plain, weights=jnp.array(army.weights, jnp.float32), surrounded=jnp.float32(0.5))


@dataclass(frozen=True)
class _Game:
    """The functions of an ``Env`` for one scenario under fixed options."""

    army: Army
    options: Options
    rules: Rules

    def reset(self, key: PRNGKey, params: Params) -> tuple[EnvState, TimeStep]:
        drawn = draw(rng.stream(key, "army"), self.army, params.weights, params.surrounded)
        return self.begin(key, params, drawn)

    def begin(self, key: PRNGKey, params: Params, drawn: Draw) -> tuple[EnvState, TimeStep]:
        """Start a game with these teams at these points."""
        n, army = self.army.n_agents, self.army
        kind, units = self._units(drawn)
        disabled, absent = perturb.draw(rng.stream(key, "perturbation"), params)
        units = perturb.apply(units, params, absent)
        units = units._replace(burst=units.burst.at[:n].set(absent))  # who is absent has not blown up either
        left = life(units)
        no = jnp.zeros((), bool)
        state = EnvState(
            units=units,
            kind=kind,
            step=jnp.int32(0),
            phase=jax.random.randint(rng.stream(key, "trigger"), (), 0, LOOPS_PER_STEP, jnp.int32),
            enemy_order=enemy_order(rng.stream(key, "enemy_ids"), army, self.rules).astype(jnp.int32),
            before=left[n:],
            ally_before=left[:n],
            last_action=jnp.full(n, -1, jnp.int32),
            disabled=disabled,
            present=~absent,
            done=no,
            tags=observe.nobody_tagged(army),
            sees=jnp.zeros((n, army.n_enemies), bool),
            view=jnp.tile(jnp.array([1.0, 0.0], jnp.float32), (n, 1)),
        )
        # SMACv2 builds the observations once in ``reset`` and again when they are asked for.
        state = self._look(rng.stream(key, "first look"), state)
        state = self._look(rng.stream(key, "look"), state)
        return state, self._show(state, jnp.float32(0.0), Outcome(no, no, no, no), jnp.int32(0))

    def step(self, key: PRNGKey, state: EnvState, actions: Actions, params: Params) -> tuple[EnvState, TimeStep]:
        n, army, options, rules = self.army.n_agents, self.army, self.options, self.rules
        near = self._targets(state)
        avail = permitted(self._available(state, near), state.disabled)
        legal = (avail & (actions[:, None] == jnp.arange(avail.shape[1])[None, :])).any(axis=1)
        if rules.check_actions:
            actions = jnp.where(legal, actions, jnp.where(avail[:, NO_OP], NO_OP, STOP))
        played = actions.astype(jnp.int32)
        units = self._command(state, played, near, params)
        clock = state.step * options.step_mul + (LOOPS_PER_STEP - state.phase)
        noise = draws(key, army)
        units = advance(units, noise, army, rules, options.step_mul, params.quantities, clock, state.kind, facts)
        left, alive = life(units), units.health > 0
        after = state._replace(
            units=units, step=state.step + 1, before=left[n:], ally_before=left[:n], last_action=played,
            tags=observe.forget(state.tags, self._by_number(alive, state), n), view=self._turned(state, played),
        )  # fmt: skip
        after = tree.where(state.done, state, self._look(rng.stream(key, "look"), after))
        result = reward.outcome(after.units.health > 0, after.kind, after.step, army)
        enemies, allies = (state.before, after.before), (state.ally_before, after.ally_before)
        earned = reward.step_reward(enemies, allies, after.kind, result, army, options)
        terminated, truncated = result.ended(options)
        after = after._replace(done=terminated | truncated)
        illegal = jnp.where(state.done, 0, (~legal).sum(dtype=jnp.int32))
        return after, self._show(after, jnp.where(state.done, 0.0, earned), result, illegal)

    def frame(self, state: EnvState, params: Params) -> Frame:
        return picture.frame(state, self.army)

    def _units(self, drawn: Draw) -> tuple[Int[Array, "u"], Units]:
        """Put the teams in their places, and number the agents."""
        army, n = self.army, self.army.n_agents
        x, y = places(army, drawn.kind, drawn.x, drawn.y, self.rules)
        order = jnp.concatenate([numbered(army, drawn.kind, x, y), jnp.arange(n, drawn.kind.shape[0])])
        kind, x, y = drawn.kind[order], x[order], y[order]
        return kind, fresh(x, y, HOLD, n, lambda value: each(army, kind, value))

    def _by_number(self, alive: Bool[Array, "u"], state: EnvState) -> Bool[Array, "u"]:
        n = self.army.n_agents
        return jnp.concatenate([alive[:n], alive[n:][state.enemy_order]])

    def _targets(self, state: EnvState) -> Bool[Array, "n k"]:
        return observe.targets(state.units, state.kind, state.enemy_order, state.view, self.army, self.options)

    def _available(self, state: EnvState, near: Bool[Array, "n k"]) -> Bool[Array, "n a"]:
        return observe.available(state.units, state.kind, state.enemy_order, near, self.army, self.options)

    def _turned(self, state: EnvState, actions: Actions) -> Float[Array, "n 2"]:
        """Where agents look after an action; only those that turn the view change it."""
        if not self.options.conic_fov:
            return state.view
        turn = actions - FIRST_TARGET
        turns = (turn >= 0) & (turn < self.options.turns)
        to = jnp.asarray(observe.directions(self.options))[jnp.clip(turn, 0, self.options.turns - 1)]
        return jnp.where(turns[:, None], to, state.view)

    def _command(self, state: EnvState, actions: Actions, near: Bool[Array, "n k"], params: Params) -> Units:
        """Give orders. One that turns the view is none, and neither is one at a target out of reach."""
        army, first = self.army, first_target(self.options)
        slot = actions - first
        aims = slot >= 0
        reached = jnp.take_along_axis(near, jnp.clip(slot, 0, army.n_targets - 1)[:, None], axis=1)[:, 0]
        keeps = ((actions >= FIRST_TARGET) & ~aims) | (aims & ~reached)
        plain = jnp.where(aims, slot + FIRST_TARGET, jnp.minimum(actions, FIRST_TARGET - 1))
        table = facts(army, state.kind[:, None], self.rules)
        return command(
            state.units, plain, state.enemy_order, army, self.options, params.quantities, table, keeps
        )  # fmt: skip

    def _look(self, key: PRNGKey, state: EnvState) -> EnvState:
        army, n = self.army, self.army.n_agents
        units, foes = state.units, n + state.enemy_order
        near = observe.in_sight(units, state.kind, foes, state.view, army, self.options)
        alive = self._by_number(units.health > 0, state)
        tags, sees = observe.look(key, state.tags, near, alive, self.options)
        return state._replace(tags=tags, sees=sees)

    def _show(self, state: EnvState, earned: Float[Array, ""], result: Outcome, illegal: Int[Array, ""]) -> TimeStep:
        n, army, options = self.army.n_agents, self.army, self.options
        near = self._targets(state)
        avail = self._available(state, near)
        obs = observe.observation(state, avail, near, army, options)
        view = observe.state_vector(state, obs, avail.shape[1], army, options, self.rules)
        alive = state.units.health > 0
        return TimeStep(
            obs, view, permitted(avail, state.disabled), alive[:n], earned, *result.ended(options),
            result.metrics(alive, state.present, illegal),
        )  # fmt: skip


_game = cache(_Game)  # one object per set of options: compiling its functions again finds them compiled
