"""The leak game: its closed-form mutual information is what its observations carry."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs import make
from ibal.envs.leak import Leak, channel_information, leak_information

GAME = Leak(n_agents=3, n_actions=4, flips=(0.0, 0.5, 1.0), noise=2)


def plug_in_information(x: np.ndarray, y: np.ndarray) -> float:
    """Estimate I(x; y) in nats from counts; continuous ``x`` is cut into 4 equally filled bins."""
    if len(np.unique(x)) > 8:
        x = np.searchsorted(np.quantile(x, [0.25, 0.5, 0.75]), x)
    _, x = np.unique(x, return_inverse=True)
    table = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(table, (x, y), 1.0)
    joint = table / table.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(np.sum(joint[joint > 0] * np.log(joint[joint > 0] / independent[joint > 0])))


def test_a_symmetric_channel_by_hand() -> None:
    assert channel_information(4, 0.0) == pytest.approx(math.log(4))
    assert channel_information(4, 1.0) == pytest.approx(0.0, abs=1e-12)
    # two symbols, redrawn half the time: right with 3/4, so 1 - h(1/4) bits = 1 - 0.8112781 bits = 0.1308121 nats
    assert channel_information(2, 0.5) == pytest.approx(0.1308121, abs=1e-6)


def test_dimensions_are_named_and_belong_to_the_right_agent() -> None:
    layout = GAME.obs_layout
    assert layout.names[:5] == tuple(f"ally[0].{f}" for f in ("noise_0", "leak_0", "noise_1", "leak_1", "leak_2"))
    assert layout.names[-2:] == ("own[0].cue", "own[0].action")
    exact = leak_information(GAME)
    assert exact.shape == (3, 3, 12)
    # agent 2's slot 0 is about agent 0, its slot 1 about agent 1; leak_0 is at 1 and 6
    np.testing.assert_allclose(exact[2, 0], np.eye(12)[1] * math.log(4) + np.eye(12)[3] * channel_information(4, 0.5))
    assert exact[2, 1, 6] == pytest.approx(math.log(4))
    assert exact[2, 2, 11] == pytest.approx(math.log(4))
    assert np.count_nonzero(exact > 1e-9) == 3 * (2 * 2 + 1)


def test_the_closed_form_is_what_random_play_shows() -> None:
    env = make("toy/leak", n_agents=3, n_actions=4, flips=(0.0, 0.5, 1.0), noise=2, horizon=40)

    def episode(key: jax.Array):
        state, _ = env.reset(key, env.params)
        actions = jax.random.randint(jax.random.fold_in(key, 1), (40, 3), 0, 4)

        def step(state, x):
            state, seen = env.step(jax.random.fold_in(key, 2 + x[0]), state, x[1], env.params)
            return state, seen.obs

        return actions, jax.lax.scan(step, state, (jnp.arange(40), actions))[1]

    actions, obs = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 500))
    actions, obs = np.asarray(actions).reshape(-1, 3), np.asarray(obs).reshape(-1, 3, 12)
    found = [
        [[plug_in_information(obs[:, i, d], actions[:, j]) for d in range(12)] for j in range(3)] for i in range(3)
    ]
    # The plug-in estimate is too high by about (4-1)(4-1)/(2*20000) = 0.0002 and varies by less than 0.01.
    np.testing.assert_allclose(found, leak_information(GAME), atol=0.01)


def test_rewards_are_for_the_leader_on_its_cue_and_the_followers_on_the_leader() -> None:
    env = make("toy/leak", flips=(0.0,), noise=1, horizon=2)
    state, first = env.reset(jax.random.key(4), env.params)
    levels = [-1.0, -1 / 3, 1 / 3, 1.0]
    before, cue = int(state.last[0]), int(state.cue[0])
    leak = env.spec.obs_layout.names.index("ally[0].leak_0")
    assert float(first.obs[1, leak]) == pytest.approx(levels[before])  # the followers are shown what the leader did
    assert float(first.obs[0, -2]) == pytest.approx(levels[cue])
    state, second = env.step(jax.random.key(5), state, jnp.array([cue, before, (before + 1) % 4]), env.params)
    assert float(second.reward) == pytest.approx(2 / 3)
    assert float(second.metrics["led"]) == 1.0
    assert float(second.metrics["followed"]) == 0.5
    wrong = (int(state.cue[0]) + 1) % 4
    state, third = env.step(jax.random.key(6), state, jnp.array([wrong, cue, cue]), env.params)
    assert float(third.reward) == pytest.approx(2 / 3)
    assert bool(third.terminated)
    _, fourth = env.step(jax.random.key(7), state, jnp.array([int(state.cue[0]), wrong, wrong]), env.params)
    assert float(fourth.reward) == 0.0


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"flips are probabilities, got \(1\.5,\)"):
        Leak(flips=(1.5,))
    with pytest.raises(ValueError, match="n_agents >= 2"):
        Leak(n_agents=1)
    with pytest.raises(TypeError, match="flip"):
        make("toy/leak", flip=(0.5,))
