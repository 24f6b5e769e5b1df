"""Where units come to stand that are asked for at points: ``smac.spawn.formation`` for teams that were drawn.

That one works the places of a map out once, in Python; this is the same rule in arrays, for any teams, in every reset.
That units created by a debug command find their places like those that a map's script creates is an inference.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.spawn import GRAIN, body_radius, lattice
from ibal.envs.smac.terrain import PLAYABLE
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.roster import by_kind

_FAR = 1e9
_SAME = 1e-5  # ends that differ by less are equal: float32 tells no more apart


@cache
def _cells(total: int) -> np.ndarray:
    """As much of the lattice as so many units need where a corner of the map leaves them a quarter of it."""
    furthest = 2 + 1.4 * np.sqrt(total)
    return np.array([c for c in lattice() if np.hypot(*c) <= furthest], np.float32)


def bounds(army: Army, kind: Int[Array, "u"], rules: Rules) -> Float[Array, "u"]:
    """How far from the border of the playable rectangle a unit's centre stays: its disc, nothing for flyers."""
    return by_kind([np.float32(0 if t.flies else body_radius(t, rules, rules.body)) for t in army.kinds], kind)


def places(
    army: Army, kind: Int[Array, "u"], x: Float[Array, "u"], y: Float[Array, "u"], rules: Rules
) -> tuple[Float[Array, "u"], Float[Array, "u"]]:
    """Return where units stand that are asked for at (x, y), one after another.

    Points outside the playable rectangle are pulled in. Each unit takes the nearest free cell of a lattice around its
    point whose step is its own diameter; with ``formation="contact"`` cells are first pulled toward the point until
    the unit touches somebody, and the one that ends nearest is taken. Only units of one plane need room from each
    other.
    """
    total, cells = kind.shape[0], _cells(kind.shape[0])
    radius = by_kind([np.float32(body_radius(t, rules, rules.slot)) for t in army.kinds], kind)
    plane = by_kind([np.int32(2 if t.flies else int(t.towers)) for t in army.kinds], kind)
    edge = bounds(army, kind, rules)
    low, high = PLAYABLE[0] + edge, PLAYABLE[1] - edge
    x, y = jnp.clip(x, low, high), jnp.clip(y, low, high)

    def put(stands: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        to_x, to_y = stands
        step = 2 * radius[i]
        cell_x, cell_y = step * cells[:, 0], step * cells[:, 1]
        there_x, there_y = x[i] + cell_x, y[i] + cell_y
        inside = (there_x >= low[i]) & (there_x <= high[i]) & (there_y >= low[i]) & (there_y <= high[i])
        other_x, other_y = to_x - x[i], to_y - y[i]
        blocks = (jnp.arange(total) < i) & (plane == plane[i])
        room = radius[i] + radius
        # Units by cells: over the long axis, which is not reduced, a processor computes many at once.
        dx, dy = cell_x[None] - other_x[:, None], cell_y[None] - other_y[:, None]
        least = jnp.where(blocks, jnp.square(room - 1e-4), -1.0)
        free = inside & (dx * dx + dy * dy > least[:, None]).all(axis=0)
        if rules.formation == "contact":
            at_x, at_y = _pulled(cell_x, cell_y, free, other_x, other_y, room, blocks, 2 * step)
        else:
            first = jnp.argmax(free)
            at_x, at_y = cell_x[first], cell_y[first]
        found = free.any()
        return (
            to_x.at[i].set(x[i] + jnp.where(found, at_x, 0.0)),
            to_y.at[i].set(y[i] + jnp.where(found, at_y, 0.0)),
        ), None

    return lax.scan(put, (x, y), jnp.arange(total))[0]


def _pulled(
    cell_x: Float[Array, "c"], cell_y: Float[Array, "c"], free: Array, other_x: Float[Array, "u"],
    other_y: Float[Array, "u"], room: Float[Array, "u"], blocks: Array, further: Array,
) -> tuple[Float[Array, ""], Float[Array, ""]]:  # fmt: skip
    """Pull every free cell straight to the origin until it touches somebody; return the place that ends nearest.

    Of equal ends the first counts; cells that begin ``further`` out than the best before them ended are not looked at.
    """
    away = jnp.sqrt(cell_x * cell_x + cell_y * cell_y)
    safe = jnp.maximum(away, 1e-6)
    along_x, along_y = cell_x / safe, cell_y / safe
    middle = along_x[None] * other_x[:, None] + along_y[None] * other_y[:, None]
    square = (jnp.square(room) - jnp.square(other_x) - jnp.square(other_y))[:, None] + jnp.square(middle)
    touch = middle + jnp.sqrt(jnp.maximum(square, 0.0))
    stops = blocks[:, None] & (square >= 0) & (touch <= away[None] + 1e-3)
    end = jnp.max(jnp.where(stops, jnp.minimum(touch, away[None]), 0.0), axis=0)
    end = jnp.where(free, jnp.where(away > 0, end, 0.0), _FAR)
    best = lax.cummin(end)
    before = jnp.concatenate([jnp.full(1, _FAR, end.dtype), best[:-1]])
    end = jnp.where(away <= before + further, end, _FAR)  # cells go outward: behind the first that is too far all are
    chosen = jnp.argmax(end <= end.min() + _SAME)
    far, stop = away[chosen], end[chosen]
    whole = stop >= far - _SAME
    x, y = along_x[chosen], along_y[chosen]
    return jnp.where(whole, cell_x[chosen], _along(stop, x)), jnp.where(whole, cell_y[chosen], _along(stop, y))


def _along(length: Float[Array, ""], direction: Float[Array, ""]) -> Float[Array, ""]:
    """A length in one direction, rounded as the game rounds (``smac.spawn``), in whole numbers of its grain."""
    product = jnp.round(length * GRAIN).astype(jnp.int32) * (direction * GRAIN).astype(jnp.int32)
    return jnp.floor_divide(product, GRAIN).astype(jnp.float32) / GRAIN


def numbered(army: Army, kind: Any, x: Any, y: Any) -> Int[Array, "n"]:
    """Number agents: by type (the order of ``army.kinds``), then x, then y. Entry i is who becomes agent i."""
    n = army.n_agents
    return rng.order_of(kind[:n], x[:n], y[:n])
