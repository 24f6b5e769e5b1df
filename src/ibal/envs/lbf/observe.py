"""What players see, and the state.

Source: ``_make_obs`` and ``_make_gym_obs`` of lb-foraging 2.0.0; the state of planes: ``lbf_env.py`` of MASIA.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import State

NOTHING = (-1, -1, 0)  # row, column and level of an empty slot


def views(state: State, rules: Rules) -> tuple[Float[Array, "n o"], Float[Array, "s"]]:
    """Return the observations and the state."""
    wants_planes = "grid" in (rules.observation, rules.state)
    whole = planes(state, rules) if wants_planes else None
    if rules.observation == "grid":
        assert whole is not None
        obs = windows(whole, state, rules)
    else:
        obs = lists(state, rules)
    if rules.state == "observations":
        return obs, obs.reshape(-1)
    assert whole is not None
    return obs, whole.reshape(-1)


def planes(state: State, rules: Rules) -> Float[Array, "3 r c"]:
    """Return the field with a border as wide as the sight: levels of players, levels of food, and 1 where nothing
    stands. Of several players on one cell the last one shows."""
    later = np.triu(np.ones((rules.players, rules.players), bool), 1)
    hidden = ((state.place[:, None] == state.place[None]).all(axis=2) & later).any(axis=1)
    shown = state.level if rules.observe_levels else state.present.astype(jnp.int32)
    players = _spread(state.place, jnp.where(hidden, 0, shown), rules)
    food = _spread(state.food, jnp.where(state.left, state.food_level, 0), rules)
    occupied = _spread(state.place, state.present & ~hidden, rules) + _spread(state.food, state.left, rules)
    inside = np.pad(np.ones((rules.rows, rules.cols), bool), rules.sight)
    free = jnp.asarray(inside) & (occupied == 0)
    return jnp.stack([players, food, free.astype(jnp.float32)])


def _spread(place: Int[Array, "u 2"], value: Array, rules: Rules) -> Float[Array, "r c"]:
    """Put values on the cells of the field with its border; what is away is nowhere."""
    rows, cols = rules.padded
    in_row = place[:, 0, None] + rules.sight == np.arange(rows, dtype=np.int32)[None]
    in_col = place[:, 1, None] + rules.sight == np.arange(cols, dtype=np.int32)[None]
    weight = in_row.astype(jnp.float32) * value.astype(jnp.float32)[:, None]
    return jnp.matmul(weight.T, in_col.astype(jnp.float32), precision="highest")


def windows(whole: Float[Array, "3 r c"], state: State, rules: Rules) -> Float[Array, "n o"]:
    """Cut out of the planes what is around each player; who is absent sees nothing."""

    def cut(place: Int[Array, "2"]) -> Float[Array, "3 w w"]:
        return jax.lax.dynamic_slice(whole, (0, place[0], place[1]), (3, rules.window, rules.window))

    seen = jax.vmap(cut)(state.place).reshape(rules.players, -1)
    return jnp.where(state.present[:, None], seen, 0.0)


def lists(state: State, rules: Rules) -> Float[Array, "n o"]:
    """List what is in sight: food, oneself, the other players, each as (row, column, level); empty slots come last.

    Rows and columns count from the corner of what is in sight, which is cut off at the north and west border. Unless
    ``strict_sight``, players are seen to the end of a whole window from there: further than food, near these borders.
    """
    n = rules.players
    corner = jnp.maximum(state.place - rules.sight, 0)
    food = jnp.concatenate([_from(corner, state.food), _to_all(state.food_level, n)], axis=2)
    food = _packed(food, _within(state.place, state.food, rules.sight) & state.left[None])
    team = jnp.concatenate([_from(corner, state.place), _to_all(state.level, n)], axis=2)
    own = jnp.take_along_axis(team, np.arange(n)[:, None, None], axis=1)
    others = np.array([[j for j in range(n) if j != i] for i in range(n)], np.int32).reshape(n, n - 1)
    team = jnp.take_along_axis(team, others[:, :, None], axis=1)
    if rules.strict_sight:
        near = _within(state.place, state.place, rules.sight)
        near = jnp.take_along_axis(near, others, axis=1)
    else:
        near = ((team[:, :, :2] >= 0) & (team[:, :, :2] <= 2 * rules.sight)).all(axis=2)
    team = jnp.concatenate([own, _packed(team, near)], axis=1)
    if not rules.observe_levels:
        team = team[:, :, :2]
    parts = [food.reshape(n, -1), team.reshape(n, -1)]
    blank = np.array([*NOTHING * rules.foods, *NOTHING[: team.shape[2]] * n], np.int32)
    seen = jnp.where(state.present[:, None], jnp.concatenate(parts, axis=1), blank[None])
    return seen.astype(jnp.float32)


def _from(corner: Int[Array, "n 2"], place: Int[Array, "k 2"]) -> Int[Array, "n k 2"]:
    return place[None] - corner[:, None]


def _to_all(level: Int[Array, "k"], n: int) -> Int[Array, "n k 1"]:
    return jnp.broadcast_to(level[None, :, None], (n, level.shape[0], 1))


def _within(place: Int[Array, "n 2"], other: Int[Array, "k 2"], sight: int) -> Bool[Array, "n k"]:
    return (jnp.abs(other[None] - place[:, None]) <= sight).all(axis=2)


def _packed(entry: Int[Array, "n k 3"], seen: Bool[Array, "n k"]) -> Int[Array, "n k 3"]:
    """Move what is seen to the front, in its order, and empty the other slots."""
    count = entry.shape[1]
    slot = jnp.where(seen, jnp.cumsum(seen, axis=1) - 1, count)
    here = slot[:, None, :] == np.arange(count)[None, :, None]  # [n, slot, entry]
    found = jnp.where(here[..., None], entry[:, None], 0).sum(axis=2)
    return jnp.where(here.any(axis=2)[..., None], found, np.array(NOTHING, np.int32)[None, None])
