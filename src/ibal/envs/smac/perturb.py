"""Perturbations of an episode that no adversary makes: agents out of order or missing, less health.

All are functions ``EnvParams -> EnvParams``; parameters are arrays, so sweeping them recompiles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.state import EnvParams, Units


def default_params(scenario: Scenario) -> EnvParams:
    """Nothing perturbed."""
    n = scenario.n_agents
    none, full = jnp.zeros(n, bool), jnp.ones(n, jnp.float32)
    return EnvParams(none, none, jnp.int32(0), jnp.int32(0), full, full)


def disable(params: EnvParams, agents: int | Sequence[int]) -> EnvParams:
    """Let agents stand still for the whole episode: visible, mortal, but only able to stop (Dis-l).

    ``agents`` is how many, drawn anew in every episode, or a sequence naming them.
    """
    named, drawn = _who(params, agents)
    return params._replace(disabled=named, n_disabled=drawn)


def remove(params: EnvParams, agents: int | Sequence[int]) -> EnvParams:
    """Let agents be dead from the start; ``agents`` as in ``disable``."""
    named, drawn = _who(params, agents)
    return params._replace(absent=named, n_absent=drawn)


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


def _who(params: EnvParams, agents: int | Sequence[int]) -> tuple[Bool[Array, "n"], Array]:
    n = params.disabled.shape[0]
    named = np.zeros(n, bool)
    if isinstance(agents, int):
        if not 0 <= agents <= n:
            raise ValueError(f"the team has {n} agents, not {agents}")
        return jnp.asarray(named), jnp.int32(agents)
    wrong = [i for i in agents if not 0 <= i < n]
    if wrong:
        raise ValueError(f"there is no agent {wrong[0]}; agents are 0 .. {n - 1}")
    named[list(agents)] = True
    return jnp.asarray(named), jnp.int32(0)


def draw(key: Key[Array, ""], params: EnvParams) -> tuple[Bool[Array, "n"], Bool[Array, "n"]]:
    """Return (disabled, absent) of one episode: the agents named, plus the wanted numbers among the others."""
    free = ~(params.disabled | params.absent)
    ticket = jnp.where(free, jax.random.uniform(key, free.shape), 2.0)
    place = (ticket[None, :] < ticket[:, None]).sum(axis=1, dtype=jnp.int32)  # 0 = first drawn
    gone = free & (place < params.n_absent)
    off = free & (place >= params.n_absent) & (place < params.n_absent + params.n_disabled)
    absent = params.absent | gone
    return (params.disabled | off) & ~absent, absent


def apply(units: Units, params: EnvParams, absent: Bool[Array, "n"]) -> Units:
    """Change the units at reset accordingly."""
    n = absent.shape[0]

    def scaled(value: Float[Array, "u"], scale: Float[Array, "n"]) -> Float[Array, "u"]:
        return jnp.concatenate([jnp.where(absent, 0.0, value[:n] * scale), value[n:]])

    return units._replace(
        health=scaled(units.health, params.health_scale), shield=scaled(units.shield, params.shield_scale)
    )
