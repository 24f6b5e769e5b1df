"""Games of Jumanji as ours: masks out of the observation, time-outs out of the discount."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal

pytest.importorskip("jumanji", reason="jumanji is optional: pip install jumanji")
FORAGING = "jumanji:LevelBasedForaging-v0"


def test_foraging_is_jumanjis_stepped_by_hand() -> None:
    import jumanji

    env, key = ibal.make(FORAGING, time_limit=15), jax.random.key(2)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        game: Any = jumanji.make("LevelBasedForaging-v0", time_limit=15)
        reset, step = jax.jit(game.reset), jax.jit(game.step)
        theirs, shown = reset(key)
        ours, now = jax.jit(env.reset)(key, ())
        advance, draw = jax.jit(env.step), np.random.default_rng(0)
        for t in range(15):
            np.testing.assert_array_equal(now.obs[:, :-1], shown.observation.agents_view)
            np.testing.assert_array_equal(now.obs[:, -1], t)
            np.testing.assert_array_equal(now.avail, shown.observation.action_mask)
            actions = np.argmax(np.where(now.avail, draw.random(now.avail.shape), -1), axis=1).astype(np.int32)
            theirs, shown = step(theirs, jnp.asarray(actions))
            ours, now = advance(key, ours, jnp.asarray(actions), ())
            assert float(now.reward) == pytest.approx(float(shown.reward.sum()))
            assert bool(now.terminated | now.truncated) == bool(shown.last())
            if now.terminated:
                break
    assert bool(now.truncated) == (float(shown.discount.max()) > 0)
    np.testing.assert_array_equal(now.obs[:, :-1], shown.observation.agents_view)  # the last one, too


def test_names_of_foraging_are_those_of_food_oneself_and_the_others() -> None:
    spec = ibal.make(FORAGING, num_agents=3, num_food=2, grid_size=8, fov=3).spec
    assert (spec.n_agents, spec.obs_size, spec.horizon) == (3, 3 * (2 + 3) + 1, 100)
    assert spec.obs_layout.names[:4] == ("food[0].row", "food[0].col", "food[0].level", "food[1].row")
    assert spec.obs_layout.mask("own").nonzero()[0].tolist() == [6, 7, 8]
    assert spec.obs_layout.kinds == ("food", "own", "ally", "time")


def test_it_keeps_the_contract() -> None:
    assert ibal.check_env(ibal.make(FORAGING, time_limit=20), episodes=1).name == FORAGING


@pytest.mark.parametrize(("name", "said"), [
    ("jumanji:Cleaner-v1", 'Jumanji has no "Cleaner-v1". Closest: "Cleaner-v0"'),
    ("jumanji:Snake-v1", "is not played by a team"),
    ("jumanji:SearchAndRescue-v0", "is not played by a team"),
])  # fmt: skip
def test_what_cannot_be_played_is_said_in_one_sentence(name: str, said: str) -> None:
    with pytest.raises(ibal.ConfigError) as error:
        ibal.make(name)
    assert said in str(error.value)
