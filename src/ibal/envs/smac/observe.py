"""What agents see: action masks, observations and the global state, index-exact to SMAC v1.

Everything is for one environment. Enemies appear in enemy-id order: what agents call enemy j is the unit with index
``n + enemy_order[j]``. Fused arrays only ([n, m, f] rows, then reshaped): this runs once per environment step.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.layout import AROUND, FIRST_MOVE, FIRST_TARGET, REACH, SIGHT, STOP, enemy_bits, sees_own_health
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import EnvState, Units
from ibal.envs.smac.terrain import SIZE
from ibal.envs.smac.units import UnitType

CENTRE = SIZE / 2

# Height of the ground as SMAC shows it: the byte 127 + 8 z over 255, z = 8 on cliff level 1 and 10 on level 2.
# Inferred. Current builds of the game make SMAC show it mirrored in y, which is not repeated here.
_LOW, _HIGH, _RAMP = 191 / 255, 207 / 255, (193 / 255, 197 / 255, 201 / 255)


class _Roster(NamedTuple):
    """Constants of a scenario: full values per unit (1 where there is no shield) and type bits."""

    max_health: np.ndarray  # [u]
    max_shield: np.ndarray  # [u]
    weapon_scale: np.ndarray  # [n]
    ally_bits: np.ndarray  # [n, bits]
    enemy_bits: np.ndarray  # [m, bits], creation order


@cache
def _roster(scenario: Scenario, rules: Rules) -> _Roster:
    allies, enemies = scenario.ally_types, scenario.enemy_types

    def one_hot(types: tuple[UnitType, ...], bits: tuple[str, ...]) -> np.ndarray:
        return np.array([[t.name == bit for bit in bits] for t in types], np.float32).reshape(len(types), len(bits))

    return _Roster(
        max_health=np.array([t.health for t in (*allies, *enemies)], np.float32),
        max_shield=np.array([t.shield or 1.0 for t in (*allies, *enemies)], np.float32),
        weapon_scale=np.array([t.cooldown_scale for t in allies], np.float32),
        ally_bits=one_hot(allies, scenario.ally_bits),
        enemy_bits=one_hot(enemies, enemy_bits(scenario, rules)),
    )


@cache
def _medics(scenario: Scenario) -> np.ndarray:
    """Which agents select agents instead of enemies: bool[n], medivacs of the MMM maps."""
    return np.array([scenario.heals and t.name == "medivac" for t in scenario.ally_types])


@cache
def _heights(terrain_name: str) -> np.ndarray:
    """Ground height per cell, float32[32, 32] indexed [y, x]; flat but for the plateau (ramps on both its sides)."""
    grid = np.full((SIZE, SIZE), _LOW, np.float32)
    if terrain_name == "plateau":
        grid[14:, 7:25] = _HIGH
        for column, height in enumerate(_RAMP):
            grid[14:, 4 + column] = grid[14:, 27 - column] = height
    return grid


def available(
    units: Units,
    enemy_order: Int[Array, "m"],
    scenario: Scenario,
    interface: Interface,
    walkable: Bool[np.ndarray, "32 32"],
) -> Bool[Array, "n a"]:
    """Return SMAC's action mask, before any agent is disabled.

    Living agents: stop; moves whose test cell, half a move ahead, is walkable (units are ignored); living targets up to
    6 away. A medivac on the MMM maps selects agents instead of enemies: living non-medivacs, damaged or not; agents
    beyond the number of enemies have no action. The dead may only choose no-op. ``walkable`` is indexed [y, x] and
    already cut to the playable rectangle.
    Source: ``get_avail_agent_actions`` of oxwhirl/smac.
    """
    n, m = scenario.n_agents, scenario.n_enemies
    alive = units.health[:n] > 0
    foes = n + enemy_order
    targets = _within_reach(units, units.x[foes], units.y[foes], n) & (units.health[foes] > 0)[None, :]
    medic = _medics(scenario)
    if medic.any():
        patients = _within_reach(units, units.x[:n], units.y[:n], n) & (alive & ~medic)[None, :]
        patients = jnp.pad(patients, ((0, 0), (0, max(0, m - n))))[:, :m]
        targets = jnp.where(medic[:, None], patients, targets)
    moves = can_move(units.x[:n], units.y[:n], interface, walkable)
    living = jnp.concatenate([jnp.ones((n, 1), bool), moves, targets], axis=1) & alive[:, None]
    return jnp.concatenate([~alive[:, None], living], axis=1)


def _within_reach(units: Units, x: Float[Array, "k"], y: Float[Array, "k"], n: int) -> Bool[Array, "n k"]:
    dx, dy = x[None, :] - units.x[:n, None], y[None, :] - units.y[:n, None]
    return dx * dx + dy * dy <= REACH**2


def can_move(
    x: Float[Array, "n"], y: Float[Array, "n"], interface: Interface, walkable: Bool[np.ndarray, "32 32"]
) -> Bool[Array, "n 4"]:
    """North, south, east, west: is the cell half a move ahead walkable? (Coordinates are truncated toward zero.)"""
    half = interface.move_amount / 2
    cell_x = (x[:, None] + np.array([[0, 0, half, -half]], np.float32)).astype(jnp.int32)
    cell_y = (y[:, None] + np.array([[half, -half, 0, 0]], np.float32)).astype(jnp.int32)
    rows, columns = np.flatnonzero(walkable.any(1)), np.flatnonzero(walkable.any(0))
    if walkable.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1):  # one rectangle: comparing beats looking up
        in_rows = (cell_y >= int(rows[0])) & (cell_y <= int(rows[-1]))
        return in_rows & (cell_x >= int(columns[0])) & (cell_x <= int(columns[-1]))
    return _look_up(walkable, cell_x, cell_y, False)


def _look_up(grid: np.ndarray, cell_x: Int[Array, "n k"], cell_y: Int[Array, "n k"], outside: bool | float) -> Array:
    """Values of ``grid`` [y, x] at cells, ``outside`` beyond its edge."""
    inside = (cell_x >= 0) & (cell_x < SIZE) & (cell_y >= 0) & (cell_y < SIZE)
    return jnp.where(inside, jnp.asarray(grid).at[cell_y, cell_x].get(mode="clip"), outside)


def permitted(avail: Bool[Array, "n a"], disabled: Bool[Array, "n"]) -> Bool[Array, "n a"]:
    """Cut the mask of disabled agents to stop (no-op once dead).

    Only the mask: observations keep the features of the full mask, so that neither the disabled agent's network nor its
    team mates see that anything is different.
    """
    only_stop = (jnp.arange(avail.shape[1]) == STOP)[None, :] & ~avail[:, :1]
    return jnp.where(disabled[:, None] & ~avail[:, :1], only_stop, avail)


def observation(
    state: EnvState,
    avail: Bool[Array, "n a"],
    scenario: Scenario,
    interface: Interface,
    rules: Rules,
    walkable: Bool[np.ndarray, "32 32"],
) -> Float[Array, "n o"]:
    """Return every agent's observation; ``avail`` is the natural mask (``available``, not ``permitted``).

    Rows of units that are dead or not closer than 9 are zero, and so is all that a dead agent sees (but for the time,
    which SMAC appends last). The first entry of an enemy row is the agent's mask of action 6 + j, hence for a medivac
    on the MMM maps "agent j can be healed". Positions are relative, over the sight range.
    Source: ``get_obs_agent`` of oxwhirl/smac.
    """
    n = scenario.n_agents
    units, static = state.units, _roster(scenario, rules)
    health, shield = units.health / static.max_health, units.shield / static.max_shield
    health_seen, shield_seen = interface.obs_all_health, interface.obs_all_health
    ally = _columns(
        (health_seen, health[:n]), (shield_seen and scenario.ally_race == "P", shield[:n]), bits=static.ally_bits
    )
    enemy = _columns(
        (health_seen, health[n:]), (shield_seen and scenario.enemy_race == "P", shield[n:]), bits=static.enemy_bits
    )
    own_seen = sees_own_health(interface)
    own = _columns((own_seen, health[:n]), (own_seen and scenario.ally_race == "P", shield[:n]), bits=static.ally_bits)
    if interface.obs_last_action:
        ally = jnp.concatenate([ally, one_hot(state.last_action, scenario.n_actions)], axis=1)

    enemy_rows = _rows(units, n + state.enemy_order, avail[:, FIRST_TARGET:], enemy[state.enemy_order])
    ally_rows = _rows(units, jnp.arange(n), jnp.ones((n, n), bool), ally)
    parts = [surroundings(units, avail, n, scenario.terrain, interface, walkable)]
    parts += [enemy_rows.reshape(n, -1), without_self(ally_rows).reshape(n, -1), own]
    seen = jnp.where(units.health[:n, None] > 0, jnp.concatenate(parts, axis=1), 0.0)
    if interface.obs_timestep_number:
        seen = jnp.concatenate([seen, jnp.broadcast_to(_elapsed(state, scenario), (n, 1))], axis=1)
    return seen


def _columns(*optional: tuple[bool, Float[Array, "k"]], bits: np.ndarray) -> Float[Array, "k f"]:
    """Put the wanted columns before the type bits."""
    return jnp.concatenate([*(column[:, None] for wanted, column in optional if wanted), jnp.asarray(bits)], axis=1)


def _rows(
    units: Units, others: Int[Array, "k"], flag: Bool[Array, "n k"], body: Float[Array, "k f"]
) -> Float[Array, "n k g"]:
    """Rows [flag, distance, dx, dy, body...] of ``others`` as each agent sees them, zero where it does not."""
    n, k = flag.shape
    dx, dy = units.x[others][None, :] - units.x[:n, None], units.y[others][None, :] - units.y[:n, None]
    square = dx * dx + dy * dy
    visible = (square < SIGHT**2) & (units.health[others] > 0)[None, :]
    relative = jnp.stack([flag.astype(jnp.float32), jnp.sqrt(square) / SIGHT, dx / SIGHT, dy / SIGHT], axis=-1)
    rows = jnp.concatenate([relative, jnp.broadcast_to(body[None], (n, k, body.shape[1]))], axis=-1)
    return jnp.where(visible[..., None], rows, 0.0)


def without_self(rows: Float[Array, "n n f"]) -> Float[Array, "n n-1 f"]:
    """Drop the diagonal: row i keeps the agents other than i, ascending."""
    n, _, width = rows.shape
    flat = rows.reshape(n * n, width)[1:]
    return flat.reshape(n - 1, n + 1, width)[:, :-1].reshape(n, n - 1, width)


def surroundings(
    units: Units, avail: Bool[Array, "n a"], n: int, ground: str, interface: Interface, walkable: np.ndarray
) -> Float[Array, "n k"]:
    """Move flags, then on request the walkability of 8 cells around, then the height of these and the own cell."""
    parts = [avail[:, FIRST_MOVE:FIRST_TARGET].astype(jnp.float32)]
    around = np.array((*AROUND, (0, 0)), np.float32) * interface.move_amount
    cell_x = units.x[:n, None].astype(jnp.int32) + around[None, :, 0].astype(np.int32)
    cell_y = units.y[:n, None].astype(jnp.int32) + around[None, :, 1].astype(np.int32)
    if interface.obs_pathing_grid:
        parts.append(_look_up(walkable.astype(np.float32), cell_x[:, :-1], cell_y[:, :-1], 1.0))
    if interface.obs_terrain_height:
        parts.append(_look_up(_heights(ground), cell_x, cell_y, 1.0))
    return jnp.concatenate(parts, axis=1)


def one_hot(actions: Int[Array, "n"], n_actions: int) -> Float[Array, "n a"]:
    """Zero where the action is -1 (none yet)."""
    return (actions[:, None] == jnp.arange(n_actions)[None, :]).astype(jnp.float32)


def _elapsed(state: EnvState, scenario: Scenario) -> Float[Array, ""]:
    return state.step.astype(jnp.float32) / scenario.limit


def state_vector(
    state: EnvState, obs: Float[Array, "n o"], scenario: Scenario, interface: Interface, rules: Rules
) -> Float[Array, "s"]:
    """Return the global state; ``obs`` is only used with ``obs_instead_of_state``.

    Rows of dead units are zero; nothing is hidden by distance. Positions are relative to the middle of the map, over
    ``rules.state_extent`` (the playable extent). An agent's second entry is its cooldown over a table of SMAC that does
    not match the true periods (so it can exceed 1), or energy / 200 for a medivac on the MMM maps.
    Source: ``get_state_dict`` of oxwhirl/smac.
    """
    if interface.obs_instead_of_state:
        return obs.reshape(-1)
    n, units, static = scenario.n_agents, state.units, _roster(scenario, rules)
    health, shield = units.health / static.max_health, units.shield / static.max_shield
    x, y = (units.x - CENTRE) / rules.state_extent, (units.y - CENTRE) / rules.state_extent
    weapon = jnp.where(_medics(scenario), units.energy[:n], jnp.maximum(units.cooldown[:n], 0.0)) / static.weapon_scale
    ally = _columns(
        (True, health[:n]), (True, weapon), (True, x[:n]), (True, y[:n]), (scenario.ally_race == "P", shield[:n]),
        bits=static.ally_bits,
    )  # fmt: skip
    enemy = _columns(
        (True, health[n:]), (True, x[n:]), (True, y[n:]), (scenario.enemy_race == "P", shield[n:]),
        bits=static.enemy_bits,
    )  # fmt: skip
    alive = (units.health > 0)[:, None]
    enemy = jnp.where(alive[n:], enemy, 0.0)[state.enemy_order]
    parts = [jnp.where(alive[:n], ally, 0.0).reshape(-1), enemy.reshape(-1)]
    if interface.state_last_action:
        parts.append(one_hot(state.last_action, scenario.n_actions).reshape(-1))
    if interface.state_timestep_number:
        parts.append(_elapsed(state, scenario)[None])
    return jnp.concatenate(parts)
