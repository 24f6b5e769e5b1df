"""What a step is worth, and when a game is over. For one environment; order of units as in ``state.Units``."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.layout import METRICS, max_reward
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import Units


class Outcome(NamedTuple):
    """How a game stands after a step: at most one is true. ``timeout`` is the end that nobody decided."""

    won: Bool[Array, ""]
    lost: Bool[Array, ""]
    drawn: Bool[Array, ""]
    timeout: Bool[Array, ""]

    def ended(self, interface: Interface) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
        """Return (terminated, truncated): a time-out is a true end unless ``continuing_episode``."""
        decided = self.won | self.lost | self.drawn
        if interface.continuing_episode:
            return decided, self.timeout
        return decided | self.timeout, jnp.zeros_like(self.timeout)

    def metrics(
        self, alive: Bool[Array, "u"], present: Bool[Array, "n"], illegal: Int[Array, ""]
    ) -> dict[str, Float[Array, ""]]:
        """Return what a step reports beside its reward; agents that were never there have not died."""
        n = present.shape[0]
        values = (self.won, (present & ~alive[:n]).sum(), (~alive[n:]).sum(), self.timeout, illegal)
        return {name: value.astype(jnp.float32) for name, value in zip(METRICS, values, strict=True)}


def life(units: Units) -> Float[Array, "u"]:
    """Health plus shield, 0 for the dead (a unit killed through its shield keeps the rest of it)."""
    return jnp.where(units.health > 0, units.health + units.shield, 0.0)


def outcome(alive: Bool[Array, "u"], step: Int[Array, ""], scenario: Scenario) -> Outcome:
    """Decide whether the game is over after ``step`` steps.

    Tested in this order: defeat (no agent left but some enemy; on the MMM maps also when only medivacs are left, which
    covers the death of everybody), victory (no enemy left; on the MMM maps also when exactly one enemy is left and it
    is a medivac), draw (nobody left), time limit. Source: ``update_units`` of oxwhirl/smac.
    """
    n = scenario.n_agents
    allies, enemies = alive[:n], alive[n:]
    any_ally, any_enemy = allies.any(), enemies.any()
    lost, won = ~any_ally & any_enemy, any_ally & ~any_enemy
    if scenario.heals:
        fighters = np.array([t.name != "medivac" for t in scenario.ally_types])
        medics = np.array([t.name == "medivac" for t in scenario.enemy_types])
        lost |= ~(allies & fighters).any()
        won |= (enemies.sum() == 1) & (enemies & medics).any()
        won &= ~lost
    drawn = ~any_ally & ~any_enemy & ~lost
    timeout = ~(won | lost | drawn) & (step >= scenario.limit)
    return Outcome(won, lost, drawn, timeout)


def battle_reward(
    enemies: tuple[Float[Array, "m"], Float[Array, "m"]],
    allies: tuple[Float[Array, "n"], Float[Array, "n"]],
    interface: Interface,
    rules: Rules,
) -> Float[Array, ""]:
    """Unscaled reward of a step without the final bonus; arguments are pairs of ``life`` (before, after).

    Damage is the netted difference over the step, so healing and regeneration count against it, and overkill does not
    count. With ``reward_only_positive`` SMAC takes the absolute value: an enemy that regenerates pays.
    Source: ``reward_battle`` of oxwhirl/smac.
    """
    damage, deaths = _losses(*enemies)
    gain = damage + interface.reward_death_value * deaths
    if interface.reward_only_positive:
        return jnp.abs(gain) if rules.abs_reward else jnp.maximum(gain, 0.0)
    damage, deaths = _losses(*allies)
    return gain - interface.reward_negative_scale * (damage + interface.reward_death_value * deaths)


def _losses(before: Float[Array, "k"], after: Float[Array, "k"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return (life lost, number of deaths); the dead stay at 0 and add nothing."""
    return (before - after).sum(), ((before > 0) & (after <= 0)).sum(dtype=jnp.float32)


def step_reward(
    enemies: tuple[Float[Array, "m"], Float[Array, "m"]],
    allies: tuple[Float[Array, "n"], Float[Array, "n"]],
    result: Outcome,
    scenario: Scenario,
    interface: Interface,
    rules: Rules,
) -> Float[Array, ""]:
    """Reward of a step: battle and final bonus, or +1 / -1 when sparse; divided by ``max_reward`` / 20 when scaled.

    Source: ``step`` of oxwhirl/smac (the sparse reward is scaled as well).
    """
    return scaled_reward(enemies, allies, result, max_reward(scenario, interface), interface, rules)


def scaled_reward(
    enemies: tuple[Float[Array, "m"], Float[Array, "m"]],
    allies: tuple[Float[Array, "n"], Float[Array, "n"]],
    result: Outcome,
    most: Float[Array, ""] | float,
    interface: Interface,
    rules: Rules,
) -> Float[Array, ""]:
    """Return the reward of a step of a game whose unscaled return is at most ``most``."""
    won, lost = result.won.astype(jnp.float32), result.lost.astype(jnp.float32)
    if interface.reward_sparse:
        reward = won - lost
    else:
        bonus = interface.reward_win * won + interface.reward_defeat * lost
        reward = battle_reward(enemies, allies, interface, rules) + bonus
    return reward / (most / interface.reward_scale_rate) if interface.reward_scale else reward
