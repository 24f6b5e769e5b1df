"""Games of JaxMARL as ours: the same games as stepped by hand, with their last observation, masks and ends."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibal
from ibal.types import Env

pytest.importorskip("jaxmarl", reason="jaxmarl is optional: pip install jaxmarl")


def played(env: Env, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """The moments [t+1] of random legal play, and the actions [t, n]."""

    def advance(carry: tuple, key: jax.Array) -> tuple:
        state, step = carry
        draw = jax.random.uniform(jax.random.fold_in(key, 1), step.avail.shape)
        actions = jnp.argmax(jnp.where(step.avail, draw, -1.0), axis=1).astype(jnp.int32)
        state, step = env.step(key, state, actions, env.params)
        return (state, step), (step, actions)

    @jax.jit
    def play(key: jax.Array) -> tuple:
        state, first = env.reset(key, env.params)
        _, (rest, actions) = jax.lax.scan(advance, (state, first), jax.random.split(key, steps))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest), actions

    return jax.tree.map(np.asarray, play(key))


@pytest.fixture(scope="module")
def smax() -> Env:
    return ibal.make("jaxmarl:SMAX/3m", max_steps=12)


def test_smax_is_smax_stepped_by_hand_to_its_last_observation(smax: Env) -> None:
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario

    game: Any = HeuristicEnemySMAX(scenario=map_name_to_scenario("3m"), max_steps=12)
    key = jax.random.key(3)
    rows, actions = played(smax, key, 16)
    end = int(np.argmax(rows.terminated | rows.truncated))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        reset, step = jax.jit(game.reset), jax.jit(game.step_env)
        seen, state = reset(key)
        for t, here in enumerate(jax.random.split(key, 16)[: end + 1]):
            np.testing.assert_array_equal(rows.obs[t], np.stack([seen[name] for name in game.agents]))
            np.testing.assert_array_equal(rows.state[t], seen["world_state"])
            masks = game.get_avail_actions(state)
            np.testing.assert_array_equal(rows.avail[t], np.stack([masks[name] for name in game.agents]) > 0)
            np.testing.assert_array_equal(rows.alive[t], state.state.unit_alive[:3])
            if t == end:
                break
            seen, state, rewards, dones, _ = step(here, state, dict(zip(game.agents, actions[t], strict=True)))
            assert rows.reward[t + 1] == pytest.approx(float(rewards["ally_0"]))
            assert bool(dones["__all__"]) == (t + 1 == end)
    np.testing.assert_array_equal(rows.obs[end:], np.broadcast_to(rows.obs[end], rows.obs[end:].shape))
    assert (rows.reward[end + 1 :] == 0).all()
    assert rows.truncated[end:].all()  # 12 steps are too few for random teams to end it
    assert end == 13  # JaxMARL looks at the clock before it advances it


def test_names_say_what_the_entries_of_smax_are(smax: Env) -> None:
    names = smax.spec.obs_layout.names
    rows, _ = played(smax, jax.random.key(0), 1)
    first = dict(zip(names, rows.obs[0, 0], strict=True))
    assert first["own[0].health"] == first["ally[1].health"] == 1
    units = jax.tree.map(np.asarray, jax.jit(lambda: smax.reset(jax.random.key(0), ())[0].env.state)())
    gap = units.unit_positions[2] - units.unit_positions[0]  # ally[1] of agent 0 is agent 2
    np.testing.assert_allclose([first["ally[1].position_x"], first["ally[1].position_y"]], gap / 9.0, rtol=1e-5)
    state = dict(zip(smax.spec.state_layout.names, rows.state[0], strict=True))
    assert [state["ally[2].team"], state["enemy[0].team"]] == [0, 1]
    assert state["enemy[1].position_x"] == pytest.approx(float(units.unit_positions[4, 0]))


def test_a_win_is_told_and_is_no_truncation() -> None:
    """Enemies that do not shoot are beaten by whoever shoots when he can."""
    env = ibal.make("jaxmarl:SMAX/3m", enemy_shoots=False)
    table = ibal.evaluate("weakest", env=lambda: env, episodes=4, quiet=True)
    assert set(table.rows["win"]) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ["jaxmarl:MPE_simple_spread_v3", "jaxmarl:switch_riddle"])
def test_other_games_keep_the_contract(name: str) -> None:
    assert ibal.check_env(ibal.make(name), episodes=1).name == name


def test_agents_with_fewer_actions_lack_the_others_and_shorter_observations_are_filled_up() -> None:
    env = ibal.make("jaxmarl:MPE_simple_speaker_listener_v4")  # the speaker says one of 3 words, the listener moves
    rows, _ = played(env, jax.random.key(0), 30)
    assert rows.avail[:, 0].sum(axis=1).max() == 3
    assert rows.avail[:, 1].all()
    assert (rows.obs[:, 0, 3:] == 0).all()
    assert rows.truncated[26:].all()
    assert not rows.terminated.any()


def test_hanabi_names_what_is_legal_and_an_attack_without_names_is_refused() -> None:
    env = ibal.make("jaxmarl:MPE_simple_reference_v3", max_steps=5)
    assert env.spec.obs_layout.kinds == ("own",)
    with pytest.raises(ibal.ConfigError):
        ibal.evaluate("random", "occlude-retreat", env=lambda: env, episodes=1, quiet=True)


@pytest.mark.parametrize(("name", "said"), [
    ("jaxmarl:SMAX/3mm", 'SMAX has no map "3mm". Closest: "3m"'),
    ("jaxmarl:MPE_simple_spred_v3", 'JaxMARL has no "MPE_simple_spred_v3". Closest: "MPE_simple_spread_v3"'),
    ("jaxmarl:overcooked/cramped", 'overcooked has no layout "cramped". Closest: "cramped_room"'),
    ("jaxmarl:coin_game", "starts anew inside its own step_env"),
])  # fmt: skip
def test_what_cannot_be_played_is_said_in_one_sentence(name: str, said: str) -> None:
    with pytest.raises(ibal.ConfigError) as error:
        ibal.make(name)
    assert said in str(error.value)
