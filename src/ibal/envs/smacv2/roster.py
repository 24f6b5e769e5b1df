"""What units are, worked out from their kinds: the unit table where teams are drawn.

A quantity that all types of a race share stays a constant of the compiled program; of any other one, every unit's value
is chosen by its kind, so a new draw compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.stats import Stats, stats
from ibal.envs.smac.units import UnitType
from ibal.envs.smacv2.armies import Army


def by_kind(values: Sequence[Any] | np.ndarray, kind: Int[Array, "..."]) -> Array:
    """Choose every unit's value by its kind: a few selections, which a compiler fuses, where a table is looked up."""
    values = np.asarray(values)
    chosen = jnp.full(kind.shape, values[0])
    for k in range(1, len(values)):
        chosen = jnp.where(kind == k, values[k], chosen)
    return chosen


def each(army: Army, kind: Int[Array, "..."], value: Callable[[UnitType], float]) -> Array:
    """A number of every unit, float32."""
    return by_kind(np.array([value(t) for t in army.kinds], np.float32), kind)


@cache
def _table(army: Army, rules: Rules) -> Stats:
    """One agent and one enemy of every kind: all the values there are."""
    groups = tuple(Group(t.name, 1, (16.0, 16.0)) for t in army.kinds)
    return stats(Scenario(army.name, army.limit, groups, groups, terrain=army.terrain, heals=army.heals), rules)


def facts(army: Army, kind: Int[Array, "u e"], rules: Rules) -> Stats:
    """Build the engine's unit table for units of these kinds, agents first."""
    table, t, total = _table(army, rules), len(army.kinds), kind.shape[0]
    ally = np.arange(total)[:, None] < army.n_agents
    foes = ally[:, None] != ally[None]
    other = ~np.eye(total, dtype=bool)[..., None]

    def column(values: np.ndarray) -> Any:
        return np.full((total, 1), values[0]) if (values == values[0]).all() else by_kind(values, kind)

    def pair(values: np.ndarray, among: np.ndarray) -> Any:
        """Values [kind, kind] for all pairs, nothing for those not ``among`` the possible ones."""
        nothing = np.zeros((), values.dtype)
        if (values == values[0, 0]).all():
            return np.where(among, values[0, 0], nothing)
        chosen = _along_row(values[0], kind)
        for k in range(1, t):
            if (values[k] != values[0]).any():
                chosen = jnp.where(kind[:, None] == k, _along_row(values[k], kind), chosen)
        return jnp.where(among, chosen, nothing)

    def value(name: str, leaf: np.ndarray) -> Any:
        if name == "ally":
            return ally
        if leaf.ndim == 2:
            return column(leaf[:t, 0])
        if name == "can_heal":
            return pair(leaf[:t, :t, 0], ~foes & other)
        return pair(leaf[:t, t:, 0], other if name == "bodies" else foes)

    return Stats(**{name: value(name, leaf) for name, leaf in table._asdict().items()})


def _along_row(values: np.ndarray, kind: Int[Array, "u e"]) -> Array:
    """The values of one kind with all units, [1, u, e]."""
    same = (values == values[0]).all()
    return (jnp.full(kind.shape, values[0]) if same else by_kind(values, kind))[None]
