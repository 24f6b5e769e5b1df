"""Policies that need no learning: yardsticks for environments and victims for quick attacks.

    results = play(env, nearest(env.spec), keys)

``random_policy`` and ``stop_policy`` fit every environment; ``nearest`` and ``weakest`` read SMAC's observation: they
stand still until a target is in the mask. SMAC's own heuristic, which ignores masks, is ``envs.smac.heuristic``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.types import Block, EnvSpec, Policy

_NEVER, _WAIT = -1e6, -1e3  # scores below every target: what is not wanted, and waiting when there is no target


def random_policy(spec: EnvSpec) -> Policy:
    """Choose uniformly among the available actions, independently for every agent."""
    del spec

    def scores(carry: tuple[()], obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[tuple[()], jax.Array]:
        return carry, jnp.where(avail, 0.0, -jnp.inf)

    def select(key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
        return jax.random.categorical(key, jnp.where(avail, scores, -jnp.inf), axis=1).astype(jnp.int32)

    return Policy(_no_memory, scores, select, reveals="nothing", kind="nothing")


def stop_policy(spec: EnvSpec) -> Policy:
    """Do nothing, always: one of ``spec.idle_actions``."""
    if not spec.idle_actions:
        raise ValueError(f"{spec.name} has no action that does nothing (EnvSpec.idle_actions is empty)")
    wanted = np.where(np.isin(np.arange(spec.n_actions), spec.idle_actions), 0.0, _NEVER).astype(np.float32)

    def scores(carry: tuple[()], obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[tuple[()], jax.Array]:
        return carry, jnp.broadcast_to(jnp.asarray(wanted)[None], avail.shape)

    return Policy(_no_memory, scores, _best, reveals="nothing", kind="nothing")


def nearest(spec: EnvSpec) -> Policy:
    """Attack the nearest enemy in the mask, else stop; a medivac heals the nearest damaged agent in the mask."""
    return _targeting(spec, lambda seen: seen.distance)


def weakest(spec: EnvSpec) -> Policy:
    """Attack the enemy in the mask with the least health and shield (as fractions), else stop; a medivac heals the
    agent in the mask with the least."""
    return _targeting(spec, lambda seen: seen.health + seen.shield)


class _Seen(NamedTuple):
    """What an agent sees of the unit behind each of its target actions; 0 where there is nothing."""

    distance: Float[Array, "n m"]
    health: Float[Array, "n m"]
    shield: Float[Array, "n m"]


def _targeting(spec: EnvSpec, cost: Callable[[_Seen], jax.Array]) -> Policy:
    """Choose the target of least ``cost``."""
    targets = [i for i, name in enumerate(spec.action_names) if name.startswith("attack[")]
    enemies = [b for b in spec.obs_layout.blocks if b.kind == "enemy"]
    if not targets or len(targets) != len(enemies):
        raise ValueError(
            f"{spec.name} has {len(targets)} attack actions and {len(enemies)} enemy blocks in its observation; "
            "scripted targeting needs one block per attack[j] (SMAC). Use random_policy or stop_policy"
        )
    columns = [_columns(spec, enemies, len(targets), feature) for feature in _Seen._fields]
    medic = np.flatnonzero([name == "own[0].is_medivac" for name in spec.obs_layout.names])
    first = targets[0]

    def scores(carry: tuple[()], obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[tuple[()], jax.Array]:
        heals = obs[:, medic].any(axis=1, keepdims=True)
        seen = _Seen(*(jnp.where(heals, _pick(obs, heal), _pick(obs, fight)) for fight, heal in columns))
        unwanted = heals & (seen.health >= 1)
        values = jnp.where(unwanted, _NEVER, -cost(seen))
        waiting = jnp.full((obs.shape[0], first), _NEVER).at[:, jnp.array(spec.idle_actions)].set(_WAIT)
        return carry, jnp.concatenate((waiting, values), axis=1)

    return Policy(_no_memory, scores, _best, reveals="nothing", kind="nothing")


def _columns(spec: EnvSpec, enemies: list[Block], m: int, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """Observation columns int[n, m] of ``feature`` of (enemy j, agent j) for every agent and target action j; -1: none.

    Ally slots leave the observer out: agent j is slot j below the observer's own id and slot j - 1 above it.
    """
    n = spec.n_agents
    allies = [b for b in spec.obs_layout.blocks if b.kind == "ally"]

    def column(block: Block) -> int:
        return block.start + block.features.index(feature) if feature in block.features else -1

    fight = np.tile(np.array([column(b) for b in enemies]), (n, 1))
    heal = np.full((n, m), -1)
    for i in range(n):
        for j in range(min(n, m)):
            slot = j - (j > i)
            if j != i and slot < len(allies):
                heal[i, j] = column(allies[slot])
    return fight, heal


def _pick(obs: Float[Array, "n o"], columns: np.ndarray) -> Float[Array, "n m"]:
    return jnp.where(columns >= 0, jnp.take_along_axis(obs, jnp.maximum(columns, 0), axis=1), 0.0)


def _no_memory() -> tuple[()]:
    return ()


def _best(key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
    del key
    return jnp.argmax(jnp.where(avail, scores, -jnp.inf), axis=1).astype(jnp.int32)
