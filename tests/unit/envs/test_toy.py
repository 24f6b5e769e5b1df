"""The toy games pay what the papers' matrices say, and the answers claimed for them are right."""

from __future__ import annotations

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs import make
from ibal.envs.toy import probe_memory
from ibal.types import Env


def returns(env: Env, key: jax.Array, *joint: tuple[int, int]):
    """Return (rewards, time-steps) of an episode with these joint actions."""
    state, seen = env.reset(key, env.params)
    steps = [seen]
    step = jax.jit(env.step)
    for actions in joint:
        state, seen = step(key, state, jnp.array(actions, jnp.int32), env.params)
        steps.append(seen)
    return [float(s.reward) for s in steps[1:]], steps


KEY = jax.random.key(0)


def test_two_step_pays_the_matrices_of_the_qmix_paper() -> None:
    env = make("toy/two-step")
    for first, second in product(product((0, 1), repeat=2), repeat=2):
        rewards, steps = returns(env, KEY, first, second)
        expected = 7.0 if first[0] == 0 else [[0.0, 1.0], [1.0, 8.0]][second[0]][second[1]]
        assert rewards == [0.0, expected]
        assert [bool(s.terminated) for s in steps] == [False, False, True]
        assert float(steps[-1].metrics["win"]) == (expected == 8.0)
        np.testing.assert_array_equal(steps[0].obs, [[1, 0, 0], [1, 0, 0]])
        np.testing.assert_array_equal(steps[1].obs[0], [0, 1, 0] if first[0] == 0 else [0, 0, 1])


def test_climbing_pays_its_matrix_and_nothing_after_the_end() -> None:
    env = make("toy/climbing")
    matrix = [[11, -30, 0], [-30, 7, 6], [0, 0, 5]]
    found = [[returns(env, KEY, (i, j))[0][0] for j in range(3)] for i in range(3)]
    assert found == matrix
    rewards, steps = returns(env, KEY, (0, 0), (0, 0))
    assert rewards == [11.0, 0.0]
    assert [float(s.metrics["win"]) for s in steps] == [0.0, 1.0, 1.0]


def starts(env: Env) -> dict[int, jax.Array]:
    """Return a key for each of the two starts, by the sign that is shown."""
    keys = [jax.random.key(seed) for seed in range(16)]
    return {int(env.reset(key, env.params)[1].obs[0, 0]): key for key in keys}


def test_value_probes_do_not_depend_on_actions() -> None:
    for actions in product((0, 1), repeat=2):
        assert returns(make("toy/probe-value"), KEY, actions)[0] == [1.0]
        rewards, steps = returns(make("toy/probe-discount"), KEY, actions, actions)
        assert rewards == [0.0, 1.0]
        assert [float(s.obs[0, 0]) for s in steps] == [0.0, 1.0, 2.0]
        env = make("toy/probe-observation")
        for sign, key in starts(env).items():
            assert returns(env, key, actions)[0] == [float(sign)]
    assert set(starts(make("toy/probe-observation"))) == {-1, 1}


def test_action_probes_pay_for_the_right_actions_only() -> None:
    env = make("toy/probe-action")
    assert [returns(env, KEY, a)[0][0] for a in product((0, 1), repeat=2)] == [0.0, 0.5, 0.5, 1.0]
    env = make("toy/probe-joint")
    for sign, key in starts(env).items():
        pay = [returns(env, key, a)[0][0] for a in product((0, 1), repeat=2)]
        assert pay == ([0.0, 0.0, 0.0, 1.0] if sign == 1 else [1.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("delay", [1, 3])
def test_memory_probe_shows_the_sign_once_and_asks_later(delay: int) -> None:
    env = probe_memory(delay)
    assert env.spec.horizon == delay + 1
    for sign, key in starts(env).items():
        right = (sign + 1) // 2
        rewards, steps = returns(env, key, *[(1 - right, 1 - right)] * delay, (right, 1 - right))
        assert rewards == [0.0] * delay + [0.5]
        seen = [np.asarray(s.obs[0]).tolist() for s in steps[: delay + 1]]
        assert seen == [[sign, 0.0], *[[0.0, 0.0]] * (delay - 1), [0.0, 1.0]]
        assert bool(steps[-1].terminated)
    with pytest.raises(ValueError, match="delay is 0"):
        probe_memory(0)


@pytest.mark.parametrize(
    "name", ["two-step", "climbing", "probe-value", "probe-observation", "probe-discount", "probe-action",
             "probe-joint", "probe-memory"],
)  # fmt: skip
def test_the_claimed_best_return_is_the_best(name: str) -> None:
    """Play every sequence of joint actions: "win" marks exactly those with the highest return for that start."""
    env = make(f"toy/{name}")
    a, horizon = env.spec.n_actions, env.spec.horizon
    # In the memory probe only the last joint action is paid, so the waiting actions need not vary.
    free = 1 if name == "probe-memory" else horizon
    tails = np.array(list(product(product(range(a), repeat=2), repeat=free)), np.int32)
    plans = np.concatenate([np.zeros((len(tails), horizon - free, 2), np.int32), tails], axis=1)

    def score(key: jax.Array, plan: jax.Array):
        state, _ = env.reset(key, env.params)
        _, steps = jax.lax.scan(lambda s, x: env.step(key, s, x, env.params), state, plan)
        return steps.reward.sum(), steps.metrics["win"][-1]

    play = jax.jit(jax.vmap(score, (None, 0)))
    for seed in range(4):
        total, win = play(jax.random.key(seed), jnp.asarray(plans))
        np.testing.assert_array_equal(np.asarray(win) == 1.0, np.asarray(total) == np.asarray(total).max())
