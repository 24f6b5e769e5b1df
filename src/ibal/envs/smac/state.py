"""The arrays of one game. Units stand on the leading axis ``u``: agents first (in agent-id order), then enemies (in
creation order; the numbers that agents see come from ``enemy_order``)."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.rules import Quantities

# What a unit has been told to do (``Units.order``).
# Enemies only: SCAN is an attack-move toward the goal, HOLD what follows it, guarding the goal that has been reached.
IDLE, MOVE, ATTACK, HEAL, SCAN, HOLD = 0, 1, 2, 3, 4, 5


class Units(NamedTuple):
    """Everything that changes about the units, one entry per unit.

    ``cooldown`` counts down to the next shot (loops, may be slightly negative); ``windup`` counts down to the damage
    point of an attack under way (-1 = none); ``hold`` is the rest of the backswing; ``effect`` counts down to a delayed
    hit on ``effect_target`` (missile, second zealot hit, colossus salvo; -1 = none); ``calm`` counts loops since the
    last damage; ``target`` is a unit index, -1 = none. Dead units have health 0 and keep their last position.
    """

    x: Float[Array, "u"]
    y: Float[Array, "u"]
    health: Float[Array, "u"]
    shield: Float[Array, "u"]
    energy: Float[Array, "u"]
    cooldown: Float[Array, "u"]
    calm: Float[Array, "u"]
    speed: Float[Array, "u"]  # current speed of units that accelerate, units per loop
    order: Int[Array, "u"]
    goal_x: Float[Array, "u"]
    goal_y: Float[Array, "u"]
    target: Int[Array, "u"]
    windup: Float[Array, "u"]
    hold: Float[Array, "u"]
    effect: Float[Array, "u"]
    effect_target: Int[Array, "u"]
    beam_x: Float[Array, "u"]  # direction of a colossus sweep (unit vector across the line of fire)
    beam_y: Float[Array, "u"]
    burst: Bool[Array, "u"]  # baneling that has already exploded
    face_x: Float[Array, "u"]  # where the body (of a colossus: the turret) points, unit vector
    face_y: Float[Array, "u"]
    side: Float[Array, "u"]  # side last taken around an obstacle: +1 left, -1 right
    shot: Float[Array, "u"]  # loops since it last began an attack


def on_guard(order: Int[Array, "..."]) -> Bool[Array, "..."]:
    """Say which units fight whoever comes near and walk to their goal otherwise."""
    return (order == SCAN) | (order == HOLD)


class EnvState(NamedTuple):
    """One game between two steps. ``enemy_order[j]`` is the creation index (0 .. m-1) of the enemy that agents call j;
    ``before`` is health + shield of every enemy (creation order) at the previous step; ``max_reward`` the return that
    scales rewards; ``disabled`` the agents that may only stop in this episode."""

    units: Units
    step: Int[Array, ""]
    enemy_order: Int[Array, "m"]
    before: Float[Array, "m"]
    ally_before: Float[Array, "n"]
    last_action: Int[Array, "n"]  # -1 before the first step
    disabled: Bool[Array, "n"]
    present: Bool[Array, "n"]
    done: Bool[Array, ""]


class EnvParams(NamedTuple):
    """Perturbations of an episode: arrays, so they can be swept or vmapped without recompiling.

    ``disabled`` / ``absent`` name agents (disabled: stands still, can be shot, may only stop; absent: dead from the
    start); ``n_disabled`` / ``n_absent`` ask for that many more, drawn per episode from the reset key among the agents
    not named. ``health_scale`` and ``shield_scale`` scale the agents' initial health and shield (0.9 = HP-10).
    ``quantities`` are the numbers of the engine's rules, each float32[].
    """

    disabled: Bool[Array, "n"]
    absent: Bool[Array, "n"]
    n_disabled: Int[Array, ""]
    n_absent: Int[Array, ""]
    health_scale: Float[Array, "n"]
    shield_scale: Float[Array, "n"]
    quantities: Quantities
