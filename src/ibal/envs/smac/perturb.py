"""Perturbations of an episode that no adversary makes: agents out of order or missing, less health.

All are functions ``EnvParams -> EnvParams``; parameters are arrays, so sweeping them recompiles nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.envs.crew import disable, draw, remove
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import EnvParams, Units

__all__ = ["apply", "default_params", "disable", "draw", "perturbed", "remove", "weaken"]


def default_params(scenario: Scenario, rules: Rules = Rules()) -> EnvParams:
    """Nothing perturbed; the numbers of ``rules``."""
    n = scenario.n_agents
    none, full = jnp.zeros(n, bool), jnp.ones(n, jnp.float32)
    return EnvParams(none, none, jnp.int32(0), jnp.int32(0), full, full, jax.tree.map(jnp.float32, rules.quantities))


def weaken(params: EnvParams, percent: float, *, shields: bool = True) -> EnvParams:
    """Start all agents with ``percent`` less health (HP-h), and less shield unless ``shields`` is False.

    Observations show health over the unit's normal maximum, and healing goes up to it.
    """
    if not 0 <= percent < 100:
        raise ValueError(f"health can be lowered by 0 .. 100 percent (exclusive), not by {percent}")
    scale = jnp.full_like(params.health_scale, 1.0 - percent / 100.0)
    return params._replace(health_scale=scale, shield_scale=scale if shields else params.shield_scale)


def perturbed(params: EnvParams, name: str) -> EnvParams:
    """Apply a perturbation by its name in tables: "dis-2" (2 disabled), "abs-1" (1 absent), "hp-15" (15 % less)."""
    kind, _, amount = name.lower().partition("-")
    if not amount.isdigit() or kind not in ("dis", "abs", "hp"):
        raise ValueError(f'unknown perturbation "{name}". Write dis-<agents>, abs-<agents> or hp-<percent>, like hp-15')
    if kind == "hp":
        return weaken(params, int(amount))
    return disable(params, int(amount)) if kind == "dis" else remove(params, int(amount))


def apply(units: Units, params: EnvParams, absent: Bool[Array, "n"]) -> Units:
    """Change the units at reset accordingly."""
    n = absent.shape[0]

    def scaled(value: Float[Array, "u"], scale: Float[Array, "n"]) -> Float[Array, "u"]:
        return jnp.concatenate([jnp.where(absent, 0.0, value[:n] * scale), value[n:]])

    return units._replace(
        health=scaled(units.health, params.health_scale), shield=scaled(units.shield, params.shield_scale)
    )
