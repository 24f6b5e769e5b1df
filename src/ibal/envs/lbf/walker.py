"""A scripted team: the yardstick that a trained one must beat.

    results = play(env, walker(env.spec), keys)          # of a game with observation="grid"

Each player walks to the nearest food that it sees and loads until that is gone. Without food in sight it keeps its
direction, turns where the border is in sight, and now and then for no reason. Players neither talk nor wait.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal.envs.lbf.state import ACTIONS, EAST, LOAD, MOVES, NORTH
from ibal.types import EnvSpec, Policy

TURN = 0.05  # the chance of a turn for no reason
_NEVER = 1e-9
_FAR = 10_000


def walker(spec: EnvSpec) -> Policy:
    """Return the team for a game whose observation is the grid. Raises ValueError for another."""
    width = round((spec.obs_size / 3) ** 0.5)
    if spec.action_names != ACTIONS or 3 * width**2 != spec.obs_size or "access" not in spec.obs_layout.kinds:
        raise ValueError(f'{spec.name} shows no grid of cells; make foraging with observation="grid"')

    def scores(
        carry: tuple[()], obs: Float[Array, "n o"], avail: Bool[Array, "n a"], last: Int[Array, "n"]
    ) -> tuple[tuple[()], Float[Array, "n a"]]:
        return carry, jnp.log(jax.vmap(lambda seen, before: _wanted(seen, before, width))(obs, last) + _NEVER)

    def select(key: jax.Array, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
        return jax.random.categorical(key, jnp.where(avail, scores, -jnp.inf), axis=1).astype(jnp.int32)

    return Policy(lambda: (), scores, select, reveals="nothing", kind="nothing")


def _wanted(obs: Float[Array, "o"], last: Int[Array, ""], width: int) -> Float[Array, "a"]:
    """Return the weight of every action for one player: they are chosen in proportion."""
    _, food, access = obs.reshape(3, width, width) > 0
    sight = width // 2
    offset = np.stack(np.meshgrid(np.arange(width), np.arange(width), indexing="ij"), -1).reshape(-1, 2) - sight
    far = jnp.where(food.reshape(-1), jnp.asarray(np.abs(offset).sum(1)), _FAR)
    row, col = jnp.asarray(offset)[jnp.argmin(far)]
    free = jnp.stack([access[sight + row, sight + col] for row, col in MOVES[NORTH : EAST + 1]])
    nearer = jnp.stack([row < 0, row > 0, col < 0, col > 0])
    walk = jnp.where((nearer & free).any(), nearer & free, free).astype(jnp.float32)
    # Where a whole side of what is seen is barred, it lies outside: there is nothing to see that way.
    worth = jnp.stack([access[0].any(), access[-1].any(), access[:, 0].any(), access[:, -1].any()]).astype(jnp.float32)
    ahead = jnp.where(np.arange(NORTH, EAST + 1) == last, worth, 0.0)
    turn = worth / jnp.maximum(worth.sum(), 1.0)
    wander = jnp.where((ahead > 0).any(), (1 - TURN) * ahead + TURN * turn, turn)
    moves = jnp.where(food.any(), walk, wander)
    load = jnp.zeros(len(ACTIONS)).at[LOAD].set(1.0)
    return jnp.where(far.min() == 1, load, jnp.zeros(len(ACTIONS)).at[NORTH : EAST + 1].set(moves))
