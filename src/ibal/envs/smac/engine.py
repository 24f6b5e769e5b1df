"""The game loop. One loop is 1/16 of a game second; an environment step is 8.

Inside, arrays carry the units on the leading axis and the environments on the trailing one, so that a batch of games
runs as wide vector instructions; ``vmap`` over ``advance`` arrives here by a custom batching rule.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float, Key

from ibal.envs.smac import physics, targeting, weapons
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import Units
from ibal.envs.smac.stats import Stats, stats
from ibal.envs.smac.terrain import terrain

_ROWS = Layout(major_to_minor=(0, 1))


class Draws(NamedTuple):
    """Random numbers of one environment step: uniform [0, 1), one per unit (a unit fires at most once in 8 loops)."""

    jitter: Float[Array, "u"]
    priority: Float[Array, "u"]
    luck: Float[Array, "u"]


def draws(key: Key[Array, ""], scenario: Scenario) -> Draws:
    """Draw the random numbers of one environment step."""
    total = scenario.n_agents + scenario.n_enemies
    return Draws(*jax.random.uniform(key, (3, total)))


def tick(units: Units, noise: Draws, loop: Array, scenario: Scenario, rules: Rules, facts: Stats) -> Units:
    """Advance the game by one loop; all arrays [u, e]."""
    n = scenario.n_agents
    medivacs = bool(facts.heals.any())
    units = weapons.upkeep(units, facts, medivacs)
    units = targeting.drop_finished(units)
    units = targeting.engage(units, fresh(noise.luck, loop), facts, rules, n)
    if rules.answer == "holding":
        units = targeting.settle(units)
    units = physics.move(units, facts, rules, terrain(scenario.terrain), n, scenario.march == "agents")
    priority = fresh(noise.priority, loop)
    units = weapons.strike(units, weapons.cooldown_jitter(noise.jitter, rules), priority, facts, rules, n)
    return weapons.heal(units, facts) if medivacs else units


def fresh(uniform: Float[Array, "u e"], loop: Array) -> Float[Array, "u e"]:
    """Other bits of a random number in every loop of a step: uniform again, and as good as new for ordering units."""
    scaled = uniform * jnp.exp2((loop % 8).astype(jnp.float32))
    return scaled - jnp.floor(scaled)


def _run(units: Units, noise: Draws, scenario: Scenario, rules: Rules, loops: int) -> Units:
    facts = stats(scenario, rules.body)
    return lax.fori_loop(0, loops, lambda i, u: tick(u, noise, i, scenario, rules, facts), units)


@cache
def _batched(scenario: Scenario, rules: Rules, loops: int) -> Any:
    """Return ``run(units, noise)`` on [u, e] arrays; its ``vmap`` widens the trailing axis."""

    @jax.custom_batching.custom_vmap
    def run(units: Units, noise: Draws) -> Units:
        return _run(units, noise, scenario, rules, loops)

    @run.def_vmap
    def widen(size: int, batched: Any, units: Units, noise: Draws) -> tuple[Units, Any]:
        def merge(leaf: Array, is_batched: bool) -> Array:
            wide = leaf if is_batched else jnp.broadcast_to(leaf[None], (size, *leaf.shape))
            return with_layout_constraint(jnp.moveaxis(wide, 0, 1).reshape(leaf.shape[-2], -1), _ROWS)

        units, noise = jax.tree.map(merge, (units, noise), tuple(batched))
        result = run(units, noise)

        def split(leaf: Array) -> Array:
            return jnp.moveaxis(leaf.reshape(leaf.shape[0], size, -1), 1, 0)

        return jax.tree.map(split, result), jax.tree.map(lambda _: True, result)

    return run


def advance(units: Units, noise: Draws, scenario: Scenario, rules: Rules, loops: int) -> Units:
    """Run ``loops`` game loops of one environment; every leaf [u]."""
    run = _batched(scenario, rules, loops)
    wide = jax.tree.map(lambda a: a[:, None], (units, noise))
    return jax.tree.map(lambda a: a[:, 0], run(*wide))


def is_on_ground(x: np.ndarray, y: np.ndarray, scenario: Scenario) -> np.ndarray:
    """Whether points lie on the walkable ground of the scenario's map (for checks)."""
    ground = terrain(scenario.terrain).above_cliffs
    return ground[np.clip(y.astype(int), 0, 31), np.clip(x.astype(int), 0, 31)]
