"""What agents are told to do: actions become persistent orders."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ibal.envs.smac.rules import Interface, Quantities
from ibal.envs.smac.scenarios import Game, Scenario
from ibal.envs.smac.state import ATTACK, HEAL, IDLE, MOVE, Units
from ibal.envs.smac.stats import Stats, stats

STOP, NORTH, SOUTH, EAST, WEST, FIRST_TARGET = 1, 2, 3, 4, 5, 6


def command(
    units: Units,
    actions: Int[Array, "n"],
    enemy_order: Int[Array, "m"],
    scenario: Game,
    interface: Interface,
    numbers: Quantities = Quantities(),
    facts: Stats | None = None,
    keeps: Bool[Array, "n"] | None = None,
) -> Units:
    """Give every living agent its order. Actions are assumed legal.

    Moves go to a point ``move_amount`` away from where the agent stands now. An attack on a unit that the weapon cannot
    hit is refused: the previous order stays. An order equal to the current one changes nothing (but see
    ``numbers.recut``); any other cuts the attack under way before its damage point, its backswing, and the second hit
    of a zealot's swing. ``facts`` [u, 1] are the units of a team that was drawn; agents that ``keeps`` names are sent
    no order.
    """
    n = scenario.n_agents
    if facts is None:
        assert isinstance(scenario, Scenario)
        facts = stats(scenario)
    x, y = units.x[:n], units.y[:n]
    slot = jnp.clip(actions - FIRST_TARGET, 0, scenario.n_enemies - 1)
    healer = jnp.asarray(facts.heals[:n, 0]) & scenario.heals
    target = jnp.where(healer, jnp.clip(actions - FIRST_TARGET, 0, n - 1), n + enemy_order[slot])
    agents = jnp.arange(n)
    hittable = jnp.asarray(facts.can_hit[..., 0])[agents, target]
    aims = (actions >= FIRST_TARGET) & (hittable | healer)
    moves = (actions >= NORTH) & (actions <= WEST)
    refused = (actions >= FIRST_TARGET) & ~aims
    if keeps is not None:
        aims, moves, refused = aims & ~keeps, moves & ~keeps, refused | keeps
    alive = units.health[:n] > 0

    order = jnp.where(aims, jnp.where(healer, HEAL, ATTACK), jnp.where(moves, MOVE, IDLE))
    order = jnp.where(refused | ~alive, units.order[:n], order)
    new_target = jnp.where(aims, target, jnp.where(refused, units.target[:n], -1))
    step = interface.move_amount
    east = jnp.where(actions == EAST, step, 0.0) - jnp.where(actions == WEST, step, 0.0)
    north = jnp.where(actions == NORTH, step, 0.0) - jnp.where(actions == SOUTH, step, 0.0)
    changed = (order != units.order[:n]) | (new_target != units.target[:n]) | moves
    second_hit = jnp.asarray(facts.second_hit[:n, 0] > 0) & (jnp.asarray(numbers.second_kept) <= 0)
    again = changed | (aims & (jnp.asarray(numbers.recut) > 0))
    fresh = aims & (new_target != units.target[:n]) & (jnp.asarray(numbers.order_delay) > 0)
    cooldown = jnp.where(fresh, jnp.maximum(units.cooldown[:n], numbers.order_delay), units.cooldown[:n])

    def put(field: Array, value: Array) -> Array:
        return field.at[:n].set(value.astype(field.dtype))

    return units._replace(
        order=put(units.order, order),
        target=put(units.target, new_target),
        goal_x=put(units.goal_x, jnp.where(refused, units.goal_x[:n], x + east)),
        goal_y=put(units.goal_y, jnp.where(refused, units.goal_y[:n], y + north)),
        windup=put(units.windup, jnp.where(changed, -1.0, units.windup[:n])),
        hold=put(units.hold, jnp.where(again, 0.0, units.hold[:n])),
        cooldown=put(units.cooldown, cooldown),
        effect=put(units.effect, jnp.where(changed & second_hit, -1.0, units.effect[:n])),
    )
