"""Hold steps of our foraging to recorded ones of lb-foraging 2.0.0 (``make_lbf_vectors.py`` says what is recorded)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ibal.envs.lbf import moves, observe
from ibal.envs.lbf.env import make
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.spawn import spawn
from ibal.envs.lbf.state import State

V3 = {"observation": "vector", "state": "observations", "food_margin": 0}
GAMES = (  # those of the script
    Rules(rows=20, cols=20, players=10, foods=6, sight=3, max_player_level=2, limit=50, **V3),
    Rules(rows=7, cols=7, players=5, foods=3, sight=2, max_player_level=3, limit=25, penalty=0.1, **V3),
    Rules(rows=8, cols=8, players=2, foods=2, sight=8, max_player_level=2, limit=50, force_coop=True, **V3),
)


def comparer(rules: Rules, size: int) -> Callable[[Mapping[str, np.ndarray]], None]:
    """Return a check that raises AssertionError where a step of ours differs; it takes ``size`` rows at a time."""
    env = make(rules)

    @jax.jit
    @jax.vmap
    def step(state: State, action: jax.Array):
        after, shown = env.step(jax.random.key(0), state, action, env.params)
        grid = observe.windows(observe.planes(after, rules), after, rules)
        each = moves.load(state, after.action, after.place, env.params).reward
        return after.place, after.level, after.left, shown, each, grid

    template = jax.eval_shape(lambda key: spawn(key, rules, env.params), jax.random.key(0))

    def compare(part: Mapping[str, np.ndarray]) -> None:
        count = len(part["step"])
        padded = {name: np.concatenate([v, v[:1].repeat(size - count, 0)]) for name, v in part.items()}
        found = step(_states(padded, template), jnp.asarray(padded["action"], jnp.int32))
        place, level, left, shown, each, grid = jax.tree.map(lambda leaf: np.asarray(leaf[:count]), found)
        np.testing.assert_array_equal(place, part["place_after"])
        np.testing.assert_array_equal(left, part["food_after"] > 0)
        np.testing.assert_array_equal(level, part["level"])
        np.testing.assert_allclose(each, part["reward"], rtol=0, atol=2e-7)
        np.testing.assert_allclose(shown.reward, part["reward"].sum(1), rtol=0, atol=5e-7)
        np.testing.assert_array_equal(shown.terminated, part["done"])
        np.testing.assert_array_equal(shown.obs, part["vector"])
        np.testing.assert_array_equal(grid.reshape(part["grid"].shape), part["grid"])
        np.testing.assert_array_equal(shown.state, part["vector"].reshape(count, -1))

    return compare


def _states(rows: Mapping[str, np.ndarray], template: State) -> State:
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
