"""Our environments as JaxMARL's: compiled, resetting by themselves, the same episodes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal import rng
from ibal.adversaries.random import RandomConfig
from ibal.game.keys import world_key
from seeing import seeing

pytest.importorskip("jaxmarl", reason="jaxmarl is optional: pip install jaxmarl")
from ibal.compat.jaxmarl import JaxMARLGame

ATTACK = RandomConfig(sigma=0.5, p=0.5)


@pytest.fixture(scope="module")
def attacked() -> JaxMARLGame:
    return JaxMARLGame("toy/leak", ATTACK)


@pytest.mark.parametrize("attack", ["natural", ATTACK], ids=["natural", "attacked"])
def test_its_episodes_are_those_of_an_evaluation(attack: object) -> None:
    game = JaxMARLGame("toy/leak", attack)
    team = seeing(game.env.spec)
    key = rng.episode(rng.root(3), 4)

    def step(carry: tuple, clock: jax.Array) -> tuple:
        obs, state, total = carry
        seen = jnp.stack([obs[name] for name in game.agents])
        masks = game.get_avail_actions(state)
        legal = jnp.stack([masks[name] for name in game.agents]).astype(bool)
        actions = team.select(rng.root(0), team.scores((), seen, legal, legal[:, 0])[1], legal)
        chosen = {name: actions[i] for i, name in enumerate(game.agents)}
        obs, state, rewards, dones, _ = game.step_env(world_key(key, clock), state, chosen)
        return (obs, state, total + rewards["agent_0"]), dones["__all__"]

    begin = (*game.reset(key), jnp.float32(0))
    (_, _, total), ends = jax.lax.scan(step, begin, 1 + jnp.arange(game.max_steps))
    table = ibal.evaluate(seeing, attack, env="toy/leak", episodes=5, seed=3, quiet=True)
    assert float(total) == pytest.approx(table.rows["return"][4])
    assert int(np.argmax(ends)) + 1 == table.rows["length"][4]


def test_a_batch_of_games_goes_on_after_its_end_with_keys_of_the_old_form(attacked: JaxMARLGame) -> None:
    from jaxmarl.wrappers.baselines import CTRolloutManager, LogWrapper

    game = LogWrapper(attacked)
    n, horizon = attacked.num_agents, attacked.max_steps

    def step(carry: tuple, key: jax.Array) -> tuple:
        obs, state = carry
        actions = {name: jnp.zeros((), jnp.int32) for name in game.agents}
        obs, state, _, dones, infos = game.step(key, state, actions)
        return (obs, state), (dones["__all__"], infos["returned_episode_lengths"], infos["truncated"])

    def play(key: jax.Array) -> tuple:
        return jax.lax.scan(step, game.reset(key), jax.random.split(key, 2 * horizon))[1]

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # JaxMARL's own code needs both
        ends, lengths, truncated = jax.jit(jax.vmap(play))(jax.random.split(jax.random.PRNGKey(0), 3))
        obs, _ = CTRolloutManager(attacked, batch_size=2).batch_reset(jax.random.PRNGKey(1))
    np.testing.assert_array_equal(np.argwhere(ends[0]).ravel(), [horizon - 1, 2 * horizon - 1])
    assert lengths.shape == (3, 2 * horizon, n)
    assert set(np.asarray(lengths[:, -1]).ravel()) == {horizon}
    assert truncated.shape == lengths.shape

    assert obs["__all__"].shape == (2, n * attacked.obs_size)
