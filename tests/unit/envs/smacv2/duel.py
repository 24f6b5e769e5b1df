"""A small army, and moments of its games put together by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibal.envs.smac import spawn
from ibal.envs.smac.state import HOLD
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.observe import nobody_tagged
from ibal.envs.smacv2.roster import each
from ibal.envs.smacv2.state import EnvState

RACES = {
    "terran": ("T", ("marine", "marauder", "medivac"), "medivac"),
    "zerg": ("Z", ("zergling", "hydralisk", "baneling"), "baneling"),
    "protoss": ("P", ("stalker", "zealot", "colossus"), ""),
}


def team(race: str, n: int, m: int) -> Army:
    letter, types, exception = RACES[race]
    return Army("own", n, m, letter, types, exception=exception)


def kinds(army: Army, *names: str) -> jax.Array:
    order = [kind.name for kind in army.kinds]
    return jnp.array([order.index(name) for name in names], jnp.int32)


def moment(army: Army, *units: tuple[str, float, float], **values: Any) -> EnvState:
    """The start of a game with these units (name, x, y); enemies are numbered as they come. ``values`` of Units are
    lists with an entry for each unit, None where it is as at the start."""
    n, m = army.n_agents, army.n_enemies
    kind = kinds(army, *(name for name, _, _ in units))
    where = jnp.array([(x, y) for _, x, y in units], jnp.float32)
    fresh = spawn.fresh(where[:, 0], where[:, 1], HOLD, n, lambda value: each(army, kind, value))
    for name, given in values.items():
        old = getattr(fresh, name)
        filled = [o if g is None else g for o, g in zip(old, given, strict=True)]
        fresh = fresh._replace(**{name: jnp.array(filled, old.dtype)})
    life = fresh.health + fresh.shield
    return EnvState(
        units=fresh,
        kind=kind,
        step=jnp.int32(0),
        phase=jnp.int32(0),
        enemy_order=jnp.arange(m, dtype=jnp.int32),
        before=life[n:],
        ally_before=life[:n],
        last_action=jnp.full(n, -1, jnp.int32),
        disabled=jnp.zeros(n, bool),
        present=jnp.ones(n, bool),
        done=jnp.array(False),
        tags=nobody_tagged(army),
        sees=jnp.ones((n, m), bool),
        view=jnp.tile(jnp.array([1.0, 0.0], jnp.float32), (n, 1)),
    )
