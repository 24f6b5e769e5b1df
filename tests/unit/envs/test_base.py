"""Wrappers: what they add, and that they change nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.base import renewing, with_agent_ids, with_auto_reset, with_last_action, with_time_limit
from ibal.envs.check import check_env
from ibal.envs.toy import climbing
from ibal.types import Env

KEY = jax.random.key(0)
GONE, STAY, LEFT, RIGHT = range(4)


def play(env: Env, *joint: tuple[int, int]):
    """Return all time-steps and states of an episode with these joint actions."""
    state, step = env.reset(KEY, env.params)
    states, steps = [state], [step]
    for t, actions in enumerate(joint):
        state, step = env.step(jax.random.fold_in(KEY, t), state, jnp.array(actions, jnp.int32), env.params)
        states, steps = [*states, state], [*steps, step]
    return states, steps


def test_agent_ids_are_appended_and_named(ledge: Env) -> None:
    env = with_agent_ids(ledge)
    assert env.spec.obs_size == 4
    assert env.spec.obs_layout.names == ("ally[0].place", "own[0].place", "id[0].agent_0", "id[0].agent_1")
    _, (first, second) = play(env, (STAY, RIGHT))
    np.testing.assert_array_equal(first.obs[:, 2:], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(second.obs[:, 2:], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(second.obs[:, :2], play(ledge, (STAY, RIGHT))[1][1].obs)


def test_last_action_is_zero_first_then_one_hot(ledge: Env) -> None:
    env = with_last_action(ledge)
    assert env.spec.obs_layout.names[2:] == tuple(f"last_action[0].{a}" for a in ("gone", "stay", "left", "right"))
    _, (first, second, third) = play(env, (STAY, RIGHT), (LEFT, STAY))
    np.testing.assert_array_equal(first.obs[:, 2:], np.zeros((2, 4)))
    np.testing.assert_array_equal(second.obs[:, 2:], [[0, 1, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(third.obs[:, 2:], [[0, 0, 1, 0], [0, 1, 0, 0]])


def test_a_block_is_not_appended_twice(ledge: Env) -> None:
    with pytest.raises(ValueError, match='"ledge" already has a block "id"'):
        with_agent_ids(with_agent_ids(ledge))


def test_time_limit_truncates_but_not_what_has_terminated(ledge: Env) -> None:
    env = with_time_limit(ledge, 2)
    assert env.spec.horizon == 2
    _, steps = play(env, (STAY, STAY), (STAY, STAY), (STAY, STAY))
    assert [bool(s.truncated) for s in steps] == [False, False, True, True]
    assert not any(bool(s.terminated) for s in steps)
    _, steps = play(with_time_limit(climbing(), 1), (0, 0))
    assert bool(steps[1].terminated)
    assert not bool(steps[1].truncated)
    assert with_time_limit(ledge, 99).spec.horizon == 6
    with pytest.raises(ValueError, match="limit is 0"):
        with_time_limit(ledge, 0)


def test_auto_reset_shows_the_new_episode_and_pays_for_the_old(ledge: Env) -> None:
    env = with_auto_reset(with_time_limit(ledge, 3))
    states, steps = play(env, (STAY, RIGHT), (STAY, RIGHT), (STAY, LEFT), (STAY, LEFT))
    # agent 1 walks 3, 4, falls; the third step ends the episode, and shows agent 1 at its start again
    assert [float(s.reward) for s in steps] == [0.0, 0.0, -1.0, 0.0, 0.0]
    assert [bool(s.truncated) for s in steps] == [False, False, False, True, False]
    assert [float(s.obs[1, 1]) for s in steps] == [3.0, 4.0, 5.0, 3.0, 2.0]
    assert bool(steps[3].alive[1])
    np.testing.assert_array_equal(steps[3].metrics["fallen"], 1.0)
    np.testing.assert_array_equal(steps[4].metrics["fallen"], 0.0)
    assert float(states[3].final.obs[1, 1]) == 5.0  # the last moment of the old episode is kept
    assert float(states[4].final.obs[1, 1]) == 5.0


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_in_a_batch_only_games_that_are_over_begin_anew_and_each_with_its_own_key(share: float) -> None:
    """Of 37 games, two groups of 16 and a rest; also under a second axis, and with parameters of their own."""
    draw = np.random.default_rng(0)
    over, keys = jnp.asarray(draw.random((2, 37)) < share), jax.random.split(KEY, (2, 37))
    kept, scale = jnp.asarray(draw.normal(size=(2, 37, 3)), jnp.float32), jnp.arange(1.0, 3.0)

    def begin(key: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        return params * jax.random.normal(key, (3,)), jax.random.bits(key)

    renew = renewing(begin)
    both = (kept, jnp.zeros((2, 37), jnp.uint32))
    found = jax.jit(jax.vmap(jax.vmap(renew, (0, 0, None, 0)), (0, 0, 0, 0)))(over, keys, scale, both)
    new = jax.vmap(jax.vmap(begin, (0, None)), (0, 0))(keys, scale)
    for mine, fresh, old in zip(found, new, both, strict=True):
        chosen = over.reshape(over.shape + (1,) * (old.ndim - 2))
        np.testing.assert_array_equal(mine, jnp.where(chosen, fresh, old))
    alone = renew(jnp.array(True), keys[0, 0], scale[0], (kept[0, 0], jnp.uint32(0)))
    np.testing.assert_array_equal(alone[0], new[0][0, 0])


def test_wrapped_worlds_keep_the_contract_and_the_picture(ledge: Env) -> None:
    env = with_agent_ids(with_last_action(with_time_limit(ledge, 4)))
    report = check_env(env, KEY)
    assert report.episode_length is not None
    assert report.episode_length <= 4
    assert env.frame is not None
    state, _ = env.reset(KEY, env.params)
    assert float(env.frame(state, env.params).position[1, 0]) == 3.0
