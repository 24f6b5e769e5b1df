"""Perturbations of an episode that no adversary makes: agents out of order or missing, less health.

All are functions of ``EnvParams``, or of another record with its fields (SMACv2's); parameters are arrays, so sweeping
them recompiles nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.envs.crew import disable, draw, remove
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Game
from ibal.envs.smac.state import EnvParams, Units

Params = TypeVar("Params")  # EnvParams, or another record with its fields, as SMACv2's is

__all__ = ["apply", "default_params", "disable", "draw", "perturbed", "remove", "weaken"]


def default_params(scenario: Game, rules: Rules = Rules()) -> EnvParams:
    """Nothing perturbed; the numbers of ``rules``."""
    n = scenario.n_agents
    none, full = jnp.zeros(n, bool), jnp.ones(n, jnp.float32)
    return EnvParams(none, none, jnp.int32(0), jnp.int32(0), full, full, jax.tree.map(jnp.float32, rules.quantities))


def weaken(params: Params, percent: float, *, shields: bool = True) -> Params:
    """Start all agents with ``percent`` less health (HP-h), and less shield unless ``shields`` is False.

    Observations show health over the unit's normal maximum, and healing goes up to it.
    """
    if not 0 <= percent < 100:
        raise ValueError(f"health can be lowered by 0 .. 100 percent (exclusive), not by {percent}")
    given = cast("Any", params)
    scale = jnp.full_like(given.health_scale, 1.0 - percent / 100.0)
    return given._replace(health_scale=scale, shield_scale=scale if shields else given.shield_scale)


def perturbed(params: Params, name: str) -> Params:
    """Apply a perturbation by its name in tables: "dis-2" (2 disabled), "abs-1" (1 absent), "hp-15" (15 % less)."""
    kind, _, amount = name.lower().partition("-")
    if not amount.isdigit() or kind not in ("dis", "abs", "hp"):
        raise ValueError(f'unknown perturbation "{name}". Write dis-<agents>, abs-<agents> or hp-<percent>, like hp-15')
    if kind == "hp":
        return weaken(params, int(amount))
    return disable(params, int(amount)) if kind == "dis" else remove(params, int(amount))


def apply(units: Units, params: Any, absent: Bool[Array, "n"]) -> Units:
    """Change the units at reset accordingly."""
    n = absent.shape[0]

    def scaled(value: Float[Array, "u"], scale: Float[Array, "n"]) -> Float[Array, "u"]:
        return jnp.concatenate([jnp.where(absent, 0.0, value[:n] * scale), value[n:]])

    return units._replace(
        health=scaled(units.health, params.health_scale), shield=scaled(units.shield, params.shield_scale)
    )
