"""Whom units engage: agents what they were told, enemies what StarCraft's automatic targeting gives them."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal.envs.smac.pairs import FAR, Pairs, chosen, first_smallest, pick
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.state import ATTACK, HEAL, IDLE, Units
from ibal.envs.smac.stats import Stats
from ibal.envs.smac.units import HEAL_MINIMUM_ENERGY, HEAL_SEARCH_RADIUS

_ATTACKER_BONUS = 100.0  # larger than any distance


def drop_finished(units: Units) -> Units:
    """Agents whose target is dead, or healed to the full, fall idle; enemies forget dead targets."""
    alive = units.health > 0
    theirs = chosen(units.target, units.x.shape[0])
    target_alive = jnp.any(theirs & alive[None], axis=1)
    gone = (units.target >= 0) & ~target_alive
    stop = gone & ((units.order == ATTACK) | (units.order == HEAL))
    return units._replace(target=jnp.where(gone | ~alive, -1, units.target), order=jnp.where(stop, IDLE, units.order))


def acquire(
    units: Units, pairs: Pairs, luck: Float[Array, "u e"], stats: Stats, rules: Rules, n: int
) -> Int[Array, "m e"]:
    """Choose the target of every enemy for this loop, -1 for none.

    A target is kept until it dies or leaves the scan range (``rules.sticky``). Otherwise one of the agents in scan
    range that the weapon can hit is taken: at random (``luck``, uniform per unit), or the nearest by edge distance; on
    request first one that is hitting the searcher. All SMAC units are of one threat class, medivacs included.
    """
    alive = units.health > 0
    distance = pairs.distance[n:, :n]
    edge = distance - stats.radius[n:, None] - stats.radius[None, :n]
    valid = stats.can_hit[n:, :n] & alive[None, :n] & alive[n:, None]

    mine = units.target[n:, None] == jnp.arange(n, dtype=jnp.int32)[None, :, None]
    within = {"scan": edge <= stats.scan[n:, None], "weapon": edge <= stats.range[n:, None], "death": True}
    keep = valid & mine & (within[rules.sticky] | (units.windup >= 0)[n:, None])

    key = edge
    if rules.acquire == "random":
        # Multiples of one uniform number: each agent's key is uniform, and the order of the keys differs every time.
        multiples = luck[n:, None] * (97.0 + 61.0 * jnp.arange(n, dtype=jnp.float32))[None, :, None]
        key = multiples - jnp.floor(multiples)
    if rules.prefer_attackers:
        # Distances are symmetric, so the agent's range test can be made from the enemy's side.
        searcher = jnp.arange(n, units.x.shape[0], dtype=jnp.int32)[:, None, None]
        hitting = (units.target[None, :n] == searcher) & (edge <= stats.range[None, :n])
        key = key - jnp.where(hitting, _ATTACKER_BONUS, 0.0)
    measures = {"edge-edge": edge, "centre-edge": distance - stats.radius[None, :n], "centre-centre": distance}
    key = jnp.where(valid & (measures[rules.scan_measure] <= stats.scan[n:, None]), key, FAR)
    return first_smallest(jnp.where(keep, -FAR, key))[0]


def heal_targets(units: Units, pairs: Pairs, stats: Stats, n: int) -> Int[Array, "u e"]:
    """Choose whom the enemy's medivacs heal: the lowest life fraction within reach, kept until it is full."""
    alive, size = units.health > 0, units.x.shape[0]
    edge = pairs.distance - stats.radius[:, None] - stats.radius[None]
    hurt = alive & (units.health < stats.max_health)
    valid = stats.can_heal & hurt[None] & alive[:, None] & (edge <= HEAL_SEARCH_RADIUS)
    mine = chosen(units.target, size)
    ready = (units.energy >= HEAL_MINIMUM_ENERGY)[:, None] | (mine & (units.energy > 0)[:, None])
    fraction = units.health / stats.max_health
    key = jnp.where(valid & ready, fraction[None] + 1e-4 * edge, FAR)
    key = jnp.where(valid & ready & mine, -FAR, key)
    return first_smallest(key)[0]


def engage(
    units: Units, pairs: Pairs, luck: Float[Array, "u e"], stats: Stats, rules: Rules, n: int, has_medivac: bool
) -> Units:
    """Update the targets of all enemies; agents keep theirs."""
    theirs = acquire(units, pairs, luck, stats, rules, n)
    target = jnp.concatenate([units.target[:n], theirs])
    if has_medivac:
        healing = heal_targets(units, pairs, stats, n)
        target = jnp.where(stats.heals & ~stats.ally, healing, target)
        full = pick(chosen(target, units.x.shape[0]), jnp.where(units.health >= stats.max_health, 1.0, 0.0)) > 0
        idle = stats.heals & stats.ally & (units.order == HEAL) & full
        return units._replace(target=jnp.where(idle, -1, target), order=jnp.where(idle, IDLE, units.order))
    return units._replace(target=target)
