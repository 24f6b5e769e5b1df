"""What agents see: action masks, discoveries, observations and the global state, index-exact to SMACv2.

Everything is for one environment. Enemies appear by the numbers that agents know them by: what agents call enemy j is
the unit with index ``n + enemy_order[j]``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ibal import rng
from ibal.envs.smac import observe as v1
from ibal.envs.smac.layout import REACH, SIGHT, sees_own_health
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.state import Units
from ibal.envs.smac.terrain import SIZE, terrain
from ibal.envs.smacv2 import armies
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.roster import by_kind, each
from ibal.envs.smacv2.state import EnvState, Tags

CENTRE = SIZE / 2
_UPRIGHT = 1e-6  # what the difference in x of a vertical line counts as


def sights(army: Army, kind: Int[Array, "n"], options: Options) -> Float[Array, "n"]:
    """How far each agent sees."""
    if not options.use_unit_ranges:
        return jnp.full(kind.shape, SIGHT, jnp.float32)
    return each(army, kind, lambda t: armies.SIGHT[t.name])


def reaches(army: Army, kind: Int[Array, "n"], options: Options) -> Float[Array, "n"]:
    """How far each agent's target actions reach."""
    if not options.use_unit_ranges:
        return jnp.full(kind.shape, REACH, jnp.float32)
    return each(army, kind, lambda t: max(armies.REACH[t.name], options.min_attack_range))


def medics(army: Army, kind: Int[Array, "k"]) -> Bool[Array, "k"]:
    """Which units are medivacs: as agents they select agents instead of enemies."""
    return by_kind(np.array([t.name == "medivac" for t in army.kinds]), kind)


def _apart(units: Units, others: Int[Array, "k"], n: int) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    return units.x[others][None, :] - units.x[:n, None], units.y[others][None, :] - units.y[:n, None]


def directions(options: Options) -> np.ndarray:
    """Where the actions that turn an agent's view point: float32[turns, 2]."""
    angles = 2 * np.pi * np.arange(options.num_fov_actions) / options.num_fov_actions
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _in_cone(
    dx: Float[Array, "n k"], dy: Float[Array, "n k"], view: Float[Array, "n 2"], options: Options
) -> Bool[Array, "n k"]:
    """Whether the lines to points and the line of view are less than half a direction's width apart.

    Slopes are compared, the view being given the point's side in x; so a view straight to one side also shows what
    lies straight to the other. Source: ``is_position_in_cone`` of oxwhirl/smacv2.
    """
    if not options.conic_fov:
        return jnp.ones(dx.shape, bool)
    east = dx > 0
    run = jnp.where(east, jnp.maximum(dx, _UPRIGHT), jnp.minimum(dx, -_UPRIGHT))
    aim = jnp.where(east, jnp.maximum(view[:, :1], _UPRIGHT), jnp.minimum(view[:, :1], -_UPRIGHT))
    return jnp.abs(jnp.arctan(dy / run) - jnp.arctan(view[:, 1:] / aim)) < np.pi / options.num_fov_actions


def targets(
    units: Units, kind: Int[Array, "u"], order: Int[Array, "m"], view: Float[Array, "n 2"], army: Army, options: Options
) -> Bool[Array, "n k"]:
    """Return whom each agent can attack, or heal, from where it stands: [n, n_targets].

    Living enemies, for medivacs living agents that are no medivacs, within the reach of the agent's type: up to and
    including it, between centres. Source: ``get_avail_agent_actions`` of oxwhirl/smacv2.
    """
    n, m, k = army.n_agents, army.n_enemies, army.n_targets
    reach = reaches(army, kind[:n], options)[:, None]
    alive = units.health > 0

    def within(others: Int[Array, "k"]) -> Bool[Array, "n k"]:
        dx, dy = _apart(units, others, n)
        return (dx * dx + dy * dy <= reach * reach) & alive[others][None, :] & _in_cone(dx, dy, view, options)

    found = jnp.pad(within(n + order), ((0, 0), (0, k - m)))
    if army.heals:
        medic = medics(army, kind[:n])
        patients = within(jnp.arange(n)) & ~medic[None, :]
        found = jnp.where(medic[:, None], jnp.pad(patients, ((0, 0), (0, max(0, k - n))))[:, :k], found)
    return found & alive[:n, None]


def available(
    units: Units, kind: Int[Array, "u"], order: Int[Array, "m"], near: Bool[Array, "n k"], army: Army, options: Options
) -> Bool[Array, "n a"]:
    """Return the action mask, before any agent is disabled; ``near`` is ``targets``.

    With ``action_mask`` False all living targets are offered, however far.
    """
    n = army.n_agents
    alive = units.health[:n] > 0
    if not options.action_mask:
        foes = (units.health[n + order] > 0)[None, :] & alive[:, None]
        foes = jnp.pad(foes, ((0, 0), (0, army.n_targets - army.n_enemies)))
        near = jnp.where(medics(army, kind[:n])[:, None], near, foes) if army.heals else foes
    grid = terrain(army.terrain).walkable
    moves = v1.can_move(units.x[:n], units.y[:n], options, grid)
    always = jnp.ones((n, 1), bool)
    living = jnp.concatenate([always, moves, jnp.ones((n, options.turns), bool), near], axis=1) & alive[:, None]
    return jnp.concatenate([~alive[:, None], living], axis=1)


def nobody_tagged(army: Army) -> Tags:
    """Return the discoveries of a new game: none."""
    return Tags(jnp.full(army.n_enemies, -1, jnp.int32), jnp.zeros((army.n_enemies, army.n_agents), bool))


def look(
    key: Key[Array, ""], tags: Tags, near: Bool[Array, "n m"], alive: Bool[Array, "u"], options: Options
) -> tuple[Tags, Bool[Array, "n m"]]:
    """Let all agents look once; return (discoveries, the enemies that each is shown). Enemies by the agents' numbers.

    ``near`` says whose sight reaches where an enemy stands, or fell. Agents look one after another. An enemy that
    nobody has discovered is tagged by the first that it is near to, and from then on the others are shown it, too, if
    it is near (each with ``prob_obs_enemy``). An enemy that is not shown to an agent also hides all those with lower
    numbers from it: that is how oxwhirl/smacv2 builds a row, and what its policies were trained on.

    In arrays: an agent may be shown what was tagged before, and what agents up to it in the order discover now.
    """
    n, m = near.shape
    if not options.tagging:
        return tags, near & alive[n:][None, :]
    turn = rng.permutation(rng.stream(key, "order"), n)
    luck = jnp.full((m, n), options.prob_obs_enemy == 1.0)
    if 0.0 < options.prob_obs_enemy < 1.0:
        luck = jax.random.bernoulli(rng.stream(key, "shown"), options.prob_obs_enemy, (m, n))
    finds = near.T & alive[None, :n] & (tags.owner < 0)[:, None]  # [m, n]
    when = jnp.where(finds, turn[None, :], n)
    first, owner = when.min(axis=1), jnp.argmin(when, axis=1)
    found = first < n
    told = found[:, None] & (luck | (jnp.arange(n)[None, :] == owner[:, None]))
    now = told if options.tag_order == "together" else told & (first[:, None] <= turn[None, :])
    shown = tags.shown | now
    behind = jnp.flip(jnp.cumsum(jnp.flip(~shown, axis=0), axis=0), axis=0) == 0  # nothing hidden from here on
    after = Tags(jnp.where(found, owner, tags.owner).astype(jnp.int32), tags.shown | told)
    return after, near & behind.T & alive[n:][None, :]


def forget(tags: Tags, alive: Bool[Array, "u"], n: int) -> Tags:
    """Drop the discoveries of agents that have died, and those of enemies that have; a corpse may be tagged again."""
    holder = alive[:n][jnp.maximum(tags.owner, 0)] | (tags.owner < 0)
    stays = holder & alive[n:]
    return Tags(jnp.where(stays, tags.owner, -1), tags.shown & stays[:, None])


def in_sight(
    units: Units, kind: Int[Array, "u"], others: Int[Array, "k"], view: Float[Array, "n 2"], army: Army,
    options: Options,
) -> Bool[Array, "n k"]:  # fmt: skip
    """Whether each unit's place, also of the dead, is closer than the sight of an agent's type."""
    n = army.n_agents
    if options.fully_observable:
        return jnp.ones((n, others.shape[0]), bool)
    dx, dy = _apart(units, others, n)
    sight = sights(army, kind[:n], options)[:, None]
    return (dx * dx + dy * dy < sight * sight) & _in_cone(dx, dy, view, options)


def observation(
    state: EnvState, avail: Bool[Array, "n a"], near: Bool[Array, "n k"], army: Army, options: Options
) -> Float[Array, "n o"]:
    """Return every agent's observation, ``state.sees`` being the enemies that it shows.

    ``avail`` is the mask before anybody is disabled, ``near`` are ``targets``: the first entry of an enemy row, which
    tells the truth also where the mask does not. Source: ``get_obs_agent`` of oxwhirl/smacv2.
    """
    n, m, units = army.n_agents, army.n_enemies, state.units
    body = _bodies(state, army, options.obs_all_health)
    ally = body[:n]
    if options.obs_last_action:
        ally = jnp.concatenate([ally, v1.one_hot(state.last_action, avail.shape[1])], axis=1)
    sight = sights(army, state.kind[:n], options)[:, None]
    everybody, foes = jnp.arange(n), n + state.enemy_order
    visible = in_sight(units, state.kind, everybody, state.view, army, options) & (units.health[:n] > 0)[None, :]
    enemy_rows = _rows(units, foes, near[:, :m], state.sees, body[foes], sight)
    ally_rows = _rows(units, everybody, jnp.ones((n, n), bool), visible, ally, sight)
    parts = [v1.surroundings(units, avail, n, army.terrain, options, terrain(army.terrain).walkable)]
    parts += [enemy_rows.reshape(n, -1), v1.without_self(ally_rows).reshape(n, -1), _own(state, army, options)]
    seen = jnp.where(units.health[:n, None] > 0, jnp.concatenate(parts, axis=1), 0.0)
    if options.obs_timestep_number:
        seen = jnp.concatenate([seen, jnp.broadcast_to(_elapsed(state, army), (n, 1))], axis=1)
    return seen


def _bodies(state: EnvState, army: Army, with_health: bool) -> Float[Array, "u f"]:
    """Health and shield as shares, then the type bits."""
    columns = _shares(state, army) if with_health else []
    return jnp.concatenate([*(column[:, None] for column in columns), _bits(army, state.kind)], axis=1)


def _shares(state: EnvState, army: Army) -> list[Float[Array, "u"]]:
    health = state.units.health / each(army, state.kind, lambda t: t.health)
    if not army.shields:
        return [health]
    return [health, state.units.shield / each(army, state.kind, lambda t: t.shield)]


def _bits(army: Army, kind: Int[Array, "k"]) -> Float[Array, "k bits"]:
    bit = by_kind(np.array(army.bits, np.int32), kind)
    return (bit[:, None] == jnp.arange(len(army.types))[None, :]).astype(jnp.float32)


def _own(state: EnvState, army: Army, options: Options) -> Float[Array, "n f"]:
    n, units = army.n_agents, state.units
    columns = [share[:n] for share in _shares(state, army)] if sees_own_health(options) else []
    if options.obs_own_pos:
        columns += [units.x[:n] / SIZE, units.y[:n] / SIZE]
    if options.conic_fov:
        columns += [state.view[:, 0], state.view[:, 1]]
    return jnp.concatenate([*(column[:, None] for column in columns), _bits(army, state.kind[:n])], axis=1)


def _rows(
    units: Units, others: Int[Array, "k"], flag: Bool[Array, "n k"], visible: Bool[Array, "n k"],
    body: Float[Array, "k f"], sight: Float[Array, "n 1"],
) -> Float[Array, "n k g"]:  # fmt: skip
    """Rows [flag, distance, dx, dy, body...] of ``others`` as each agent sees them, zero where it does not."""
    n, k = flag.shape
    dx, dy = _apart(units, others, n)
    distance = jnp.sqrt(dx * dx + dy * dy)
    relative = jnp.stack([flag.astype(jnp.float32), distance / sight, dx / sight, dy / sight], axis=-1)
    rows = jnp.concatenate([relative, jnp.broadcast_to(body[None], (n, k, body.shape[1]))], axis=-1)
    return jnp.where(visible[..., None], rows, 0.0)


def _elapsed(state: EnvState, army: Army) -> Float[Array, ""]:
    return state.step.astype(jnp.float32) / army.limit


def state_vector(
    state: EnvState, obs: Float[Array, "n o"], n_actions: int, army: Army, options: Options, rules: Rules
) -> Float[Array, "s"]:
    """Return the global state; ``obs`` is only used with ``obs_instead_of_state``.

    Rows of dead units are zero; nothing is hidden. Positions are relative to the middle of the map, over
    ``rules.state_extent``. Source: ``get_state_dict`` of oxwhirl/smacv2.
    """
    if options.obs_instead_of_state:
        return obs.reshape(-1)
    n, units = army.n_agents, state.units
    health, *shield = _shares(state, army)
    x, y = (units.x - CENTRE) / rules.state_extent, (units.y - CENTRE) / rules.state_extent
    ready = jnp.maximum(units.cooldown[:n], 0.0)
    if army.heals:
        ready = jnp.where(medics(army, state.kind[:n]), units.energy[:n], ready)
    weapon = ready / each(army, state.kind[:n], lambda t: t.cooldown_scale)
    view = [state.view[:, 0], state.view[:, 1]] if options.conic_fov else []
    bits, alive = _bits(army, state.kind), (units.health > 0)[:, None]
    ally = jnp.stack([health[:n], weapon, x[:n], y[:n], *(s[:n] for s in shield), *view], axis=1)
    enemy = jnp.stack([health[n:], x[n:], y[n:], *(s[n:] for s in shield)], axis=1)
    ally = jnp.where(alive[:n], jnp.concatenate([ally, bits[:n]], axis=1), 0.0)
    enemy = jnp.where(alive[n:], jnp.concatenate([enemy, bits[n:]], axis=1), 0.0)[state.enemy_order]
    parts = [ally.reshape(-1), enemy.reshape(-1)]
    if options.state_last_action:
        parts.append(v1.one_hot(state.last_action, n_actions).reshape(-1))
    if options.state_timestep_number:
        parts.append(_elapsed(state, army)[None])
    return jnp.concatenate(parts)
