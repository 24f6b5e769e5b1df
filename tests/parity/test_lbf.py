"""A step of our foraging is one of lb-foraging 2.0.0; ``make_lbf_vectors.py`` wrote down what those are.

IBAL_LBF_VECTORS names another file of that script, with more steps.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.lbf import moves, observe
from ibal.envs.lbf.env import make
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.spawn import spawn
from ibal.envs.lbf.state import State

FILE = os.environ.get("IBAL_LBF_VECTORS") or Path(__file__).parent / "fixtures" / "lbf.npz"
V3 = {"observation": "vector", "state": "observations", "food_margin": 0}
GAMES = (  # those of the script
    Rules(rows=20, cols=20, players=10, foods=6, sight=3, max_player_level=2, limit=50, **V3),
    Rules(rows=7, cols=7, players=5, foods=3, sight=2, max_player_level=3, limit=25, penalty=0.1, **V3),
    Rules(rows=8, cols=8, players=2, foods=2, sight=8, max_player_level=2, limit=50, force_coop=True, **V3),
)
CHUNK = 20_000


@pytest.mark.parametrize("game", [0, 1, pytest.param(2, marks=pytest.mark.thorough)])
def test_a_step_is_that_of_lb_foraging(game: int) -> None:
    rules = GAMES[game]
    env = make(rules)
    with np.load(FILE) as held:
        rows = {name.split("/")[1]: held[name] for name in held.files if name.startswith(f"{game}/")}

    @jax.jit
    @jax.vmap
    def step(state: State, action: jax.Array):
        after, shown = env.step(jax.random.key(0), state, action, env.params)
        grid = observe.windows(observe.planes(after, rules), after, rules)
        each = moves.load(state, after.action, after.place, env.params).reward
        return after.place, after.left, shown, each, grid

    template = jax.eval_shape(lambda key: spawn(key, rules, env.params), jax.random.key(0))
    count = len(rows["step"])
    assert count >= 100
    for first in range(0, count, CHUNK):
        part = {name: values[first : first + CHUNK] for name, values in rows.items()}
        size = len(part["step"])
        padded = {name: np.concatenate([v, v[:1].repeat(min(CHUNK, count) - size, 0)]) for name, v in part.items()}
        found = step(state_of(padded, template), jnp.asarray(padded["action"], jnp.int32))
        place, left, shown, each, grid = jax.tree.map(lambda leaf, size=size: np.asarray(leaf[:size]), found)
        np.testing.assert_array_equal(place, part["place_after"])
        np.testing.assert_array_equal(left, part["food_after"] > 0)
        np.testing.assert_allclose(each, part["reward"], rtol=0, atol=2e-7)
        np.testing.assert_allclose(shown.reward, part["reward"].sum(1), rtol=0, atol=5e-7)
        np.testing.assert_array_equal(shown.terminated, part["done"])
        np.testing.assert_array_equal(shown.obs, part["vector"])
        np.testing.assert_array_equal(grid.reshape(part["grid"].shape), part["grid"])
        np.testing.assert_array_equal(shown.state, part["vector"].reshape(size, -1))


def state_of(rows: dict[str, np.ndarray], template: State) -> State:
    """Return the recorded moments as our states; what they do not say plays no part in a step."""
    count = len(rows["step"])
    given = {
        "place": rows["place"],
        "level": rows["level"],
        "food": rows["food"],
        "food_level": rows["food_level"],
        "left": rows["food_level"] > 0,
        "total": rows["total"],
        "step": rows["step"],
        "present": np.ones(rows["level"].shape),
    }
    return State(**{
        name: jnp.asarray(given.get(name, np.zeros((count, *leaf.shape))), leaf.dtype)
        for name, leaf in template._asdict().items()
    })  # fmt: skip
