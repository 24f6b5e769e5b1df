"""Recording: the episode that was counted is the episode that is shown."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.evaluate.episodes import play
from ibal.evaluate.scripted import random_policy
from ibal.types import Policy
from ibal.viz import Tamper, record
from ibal.viz.record import _enemy_units
from unit.viz import skirmish


def test_shapes_and_end(natural):
    t = natural.length
    assert 1 < t < skirmish.HORIZON
    assert natural.executed.shape == (t, skirmish.N)
    assert natural.steps.obs.shape == (t + 1, skirmish.N, skirmish.SPEC.obs_size)
    assert natural.frames.position.shape == (t + 1, skirmish.U, 2)
    assert natural.steps.terminated.tolist() == [False] * t + [True]
    assert natural.outcome == "LOSS"
    assert natural.win is False
    assert natural.rewards.shape == (t,)


def test_replay_shows_the_episode_that_play_counts():
    env, policy = skirmish.make(), random_policy(skirmish.SPEC)
    keys = rng.episodes(rng.root(3), 3)
    counted = play(env, policy, keys)
    shown = [record(env, policy, key) for key in keys]
    assert [s.length for s in shown] == counted.length.tolist()
    np.testing.assert_allclose([s.episode_return for s in shown], counted.returns, rtol=1e-5)


def test_a_tamper_that_does_nothing_changes_nothing():
    env, policy, key = skirmish.make(), random_policy(skirmish.SPEC), rng.root(5)
    plain, watched = record(env, policy, key), record(env, policy, key, tamper=Tamper())
    np.testing.assert_array_equal(plain.executed, watched.executed)
    np.testing.assert_array_equal(plain.steps.obs, watched.steps.obs)
    np.testing.assert_array_equal(watched.overlay.seen, watched.steps.obs[:-1])
    assert plain.overlay.seen is None


def test_intended_and_executed_actions_differ_only_where_the_tamper_struck(jammed, natural):
    np.testing.assert_array_equal(natural.intended, natural.executed)
    swapped = jammed.intended != jammed.executed
    assert swapped[:, 0].any()
    assert not swapped[:, 1:].any()
    assert (jammed.executed[swapped] == 1).all()


def test_the_policy_sees_what_the_tamper_shows_and_is_told_what_it_chose():
    """A policy that answers with what it was given: action 2 when it saw zeros, and the last action it remembers."""

    def scores(carry, obs, avail, last):
        blind = (obs == 0).all(axis=1)
        return last, jnp.where(blind[:, None], jnp.arange(9)[None] == 2, jnp.arange(9)[None] == 3).astype(jnp.float32)

    policy = Policy(lambda: jnp.zeros(3, jnp.int32), scores, lambda key, s, avail: jnp.argmax(s, axis=1))
    tamper = Tamper(
        observe=lambda key, memory, step, carry: (step.obs.at[0].set(0.0), carry),
        act=lambda key, memory, step, s, actions: (jnp.ones_like(actions), memory),
        begin=lambda key: jnp.zeros(3, jnp.int32),
        overlay=lambda memory: {"groups": memory},
    )
    trajectory = record(skirmish.make(), policy, rng.root(0), tamper=tamper, max_steps=4)
    told = trajectory.overlay.groups  # the carry at time t is what the policy was told at time t - 1
    np.testing.assert_array_equal(trajectory.intended, [[2, 3, 3]] * 4)
    np.testing.assert_array_equal(trajectory.executed, 1)
    np.testing.assert_array_equal(told[1:], [[-1, -1, -1], [2, 3, 3], [2, 3, 3]])


def test_max_steps_cuts_and_win_is_unknown_without_the_metric():
    trajectory = record(skirmish.make(), skirmish.brawler(), rng.root(0), max_steps=2)
    assert trajectory.length == 2
    assert trajectory.outcome == "CUT"
    assert skirmish.blank().win is None


@pytest.mark.parametrize(
    ("metrics", "terminated", "truncated", "word"),
    [
        ({"win": 1.0}, True, False, "WIN"),
        ({"win": 0.0}, True, False, "LOSS"),
        ({"win": 0.0, "timeout": 1.0}, True, False, "TIME UP"),  # SMAC terminates at its limit and says so in a metric
        ({"win": 0.0}, False, True, "TIME UP"),
        ({}, True, False, "END"),
        ({}, False, False, "CUT"),
    ],
)
def test_outcome_in_a_word(metrics, terminated, truncated, word):
    trajectory = skirmish.blank()
    steps = trajectory.steps._replace(
        metrics={name: np.full(4, value) for name, value in metrics.items()},
        terminated=np.array([False, False, False, terminated]),
        truncated=np.array([False, False, False, truncated]),
    )
    assert trajectory._replace(steps=steps).outcome == word


def test_an_environment_without_a_picture_is_refused():
    with pytest.raises(ValueError, match="cannot be drawn"):
        record(skirmish.make()._replace(frame=None), skirmish.brawler(), jax.random.key(0))


@pytest.mark.parametrize("steps", [0, -1])
def test_an_episode_needs_a_step(steps):
    with pytest.raises(ValueError, match="max_steps"):
        record(skirmish.make(), skirmish.brawler(), jax.random.key(0), max_steps=steps)


def test_enemy_numbers_are_read_from_the_state():
    assert _enemy_units(SimpleNamespace(enemy_order=jnp.array([2, 0, 1])), 4).tolist() == [6, 4, 5]
    assert _enemy_units({"position": 0}, 4) is None
