"""The game loop. One loop is 1/16 of a game second; an environment step is 8.

Inside, arrays carry the units on the leading axis and the environments on the trailing one, so that a batch of games
runs as wide vector instructions; ``vmap`` over ``advance`` arrives here by a custom batching rule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float, Key

from ibal import rng
from ibal.envs.smac import physics, targeting, weapons
from ibal.envs.smac.pairs import some
from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.scenarios import Game, Scenario
from ibal.envs.smac.state import Units
from ibal.envs.smac.stats import Stats, stats
from ibal.envs.smac.terrain import terrain
from ibal.envs.smac.units import LOOPS_PER_STEP

_ROWS = Layout(major_to_minor=(0, 1))


# What the units of a scenario are, given their kinds int32[u, e]: of teams that are drawn.
Table = Callable[[Any, Array, Rules], Stats]


class Draws(NamedTuple):
    """Random numbers of one environment step: uniform [0, 1), one per unit (a unit fires at most once in 8 loops)."""

    jitter: Float[Array, "u"]
    priority: Float[Array, "u"]
    luck: Float[Array, "u"]


def draws(key: Key[Array, ""], scenario: Game) -> Draws:
    """Draw the random numbers of one environment step."""
    total = scenario.n_agents + scenario.n_enemies
    return Draws(*rng.uniform(key, (3, total)))


def tick(
    units: Units,
    noise: Draws,
    numbers: Quantities,
    clock: Array,
    loop: Array,
    scenario: Game,
    rules: Rules,
    facts: Stats,
) -> Units:
    """Advance the game by one loop; all arrays [u, e], the numbers [1, e] or [1, 1], the clock int32[1, e]."""
    n = scenario.n_agents
    medivacs, hunts = some(facts.heals), scenario.march == "trigger"
    units = weapons.upkeep(units, facts, medivacs)
    units = targeting.drop_finished(units)
    if hunts:
        units = targeting.rest(units, n)
    sent = units
    alone = rules.turrets and some(facts.colossus & facts.ally)
    if alone:
        units = targeting.by_itself(units, facts, n)
    luck = fresh(noise.luck, loop)
    units = targeting.engage(units, luck, clock + loop, facts, numbers, n, hunts, rules)
    if hunts:
        units = targeting.hunt(units, (clock + loop) % LOOPS_PER_STEP == 0, facts, n)
    units = targeting.settle(targeting.obedient(units, sent, facts) if alone else units)
    units = physics.move(units, facts, rules, numbers, terrain(scenario.terrain), n, scenario.march == "agents")
    priority = fresh(noise.priority, loop)
    if alone:
        units = targeting.by_itself(units, facts, n)
    units = weapons.strike(units, weapons.cooldown_jitter(noise.jitter, rules), priority, facts, rules, numbers, n)
    if alone:
        units = targeting.obedient(units, sent, facts)
    return weapons.heal(units, facts) if medivacs else units


def fresh(uniform: Float[Array, "u e"], loop: Array) -> Float[Array, "u e"]:
    """Other bits of a random number in every loop of a step: uniform again, and as good as new for ordering units."""
    scaled = uniform * jnp.exp2((loop % 8).astype(jnp.float32))
    return scaled - jnp.floor(scaled)


@cache
def _batched(scenario: Game, rules: Rules, loops: int, table: Table | None) -> Any:
    """Return ``run(units, noise, clock, numbers, kind)`` on [u, e] arrays; its ``vmap`` widens the trailing axis.

    Numbers [1, 1] are common to all games; those that a ``vmap`` gave an axis become [1, e].
    """

    @jax.custom_batching.custom_vmap
    def run(units: Units, noise: Draws, clock: Array, numbers: Quantities, kind: Any) -> Units:
        facts = table(scenario, kind, rules) if table else stats(cast("Scenario", scenario), rules)

        def loop(i: Array, units: Units) -> Units:
            return tick(units, noise, numbers, clock, i, scenario, rules, facts)

        return lax.fori_loop(0, loops, loop, units)

    @run.def_vmap
    def widen(
        size: int, batched: Any, units: Units, noise: Draws, clock: Array, numbers: Quantities, kind: Any
    ) -> tuple[Units, Any]:
        games = units.x.shape[-1]

        def merge(leaf: Array, is_batched: bool) -> Array:
            wide = leaf if is_batched else jnp.broadcast_to(leaf[None], (size, *leaf.shape))
            return with_layout_constraint(jnp.moveaxis(wide, 0, 1).reshape(leaf.shape[-2], -1), _ROWS)

        def merge_number(leaf: Array, is_batched: bool) -> Array:
            if not is_batched and leaf.shape[-1] == 1:
                return leaf
            shape = (size, 1, games)
            return jnp.broadcast_to(leaf if is_batched else leaf[None], shape).reshape(1, -1)

        units, noise, clock = jax.tree.map(merge, (units, noise, clock), tuple(batched[:3]))
        kind = jax.tree.map(merge, kind, batched[4])
        # A leaf that this axis does not touch may be common to all games, or have an entry for each of an inner axis.
        units = run(units, noise, clock, jax.tree.map(merge_number, numbers, batched[3]), kind)

        def split(leaf: Array) -> Array:
            return jnp.moveaxis(leaf.reshape(leaf.shape[0], size, -1), 1, 0)

        return jax.tree.map(split, units), jax.tree.map(lambda _: True, units)

    return run


def advance(
    units: Units,
    noise: Draws,
    scenario: Game,
    rules: Rules,
    loops: int,
    numbers: Quantities | None = None,
    clock: Array | int = 0,
    kind: Any = (),
    table: Table | None = None,
) -> Units:
    """Run ``loops`` game loops of one environment; every leaf [u], numbers [] (default: those of ``rules``).

    ``clock`` counts the loops played before (of a scenario that hunts: since the trigger last went off). ``kind``
    int32[u] says what the units are where teams are drawn, ``table`` what that means.
    """
    numbers = rules.quantities if numbers is None else numbers
    run = _batched(scenario, rules.discrete, loops, table)
    wide = jax.tree.map(lambda a: a[:, None], (units, noise))
    kind = jax.tree.map(lambda a: a[:, None], kind)
    scalars = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32).reshape(1, 1), numbers)
    return jax.tree.map(lambda a: a[:, 0], run(*wide, jnp.asarray(clock, jnp.int32).reshape(1, 1), scalars, kind))


def is_on_ground(x: np.ndarray, y: np.ndarray, scenario: Scenario) -> np.ndarray:
    """Whether points lie on the walkable ground of the scenario's map (for checks)."""
    ground = terrain(scenario.terrain).above_cliffs
    return ground[np.clip(y.astype(int), 0, 31), np.clip(x.astype(int), 0, 31)]
