"""Recording: the episode that was counted is the episode that is shown."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import TABLE
from ibal.adversaries.base import Threat, adversary
from ibal.adversaries.base import natural as natural_adversary
from ibal.adversaries.combine import Sometimes, chain, during, with_probability
from ibal.adversaries.config import RandomConfig
from ibal.evaluation.bank import as_evaluated
from ibal.evaluation.episodes import play
from ibal.evaluation.scripted import nearest, random_policy
from ibal.types import Policy
from ibal.viz import Trajectory, record
from ibal.viz.record import _enemy_units, remembered
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


@pytest.mark.slow
def test_replay_shows_the_episode_that_play_counts():
    env, policy = skirmish.make(), random_policy(skirmish.SPEC)
    for attack in (None, RandomConfig().build(skirmish.SPEC)):
        check_counted(env, policy, rng.episodes(rng.root(3), 3), attack)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["interaction", pytest.param("random", marks=pytest.mark.thorough)])
def test_replay_shows_the_episode_that_play_counts_under_attack_on_smac(name):
    env = make("smac/3m")
    attack = as_evaluated(TABLE.make(name)).build(env.spec)
    shown = check_counted(env, nearest(env.spec), rng.episodes(rng.root(5), 3), attack, attack.init(rng.root(4)))
    assert any((one.intended != one.executed).any() for one in shown)
    assert all(one.overlay.masked.any() for one in shown)
    if name == "interaction":
        sizes = [[(one.overlay.groups == group).sum(axis=1) for group in (0, 1, 2)] for one in shown]
        assert all((zero == 0).all() and (one == 1).all() and (two == 2).all() for zero, one, two in sizes)


def check_counted(env, policy, keys, attack, attacker=None) -> list[Trajectory]:
    counted = play(env, policy, keys, adversary=attack, attacker=attacker)
    shown = [record(env, policy, key, adversary=attack, attacker=attacker) for key in keys]
    assert [s.length for s in shown] == counted.length.tolist()
    assert [s.win for s in shown] == counted.win.tolist()
    np.testing.assert_allclose([s.episode_return for s in shown], counted.returns, rtol=1e-5)
    return shown


def test_an_adversary_that_does_nothing_changes_nothing():
    env, policy, key = skirmish.make(), random_policy(skirmish.SPEC), rng.root(5)
    plain, watched = record(env, policy, key), record(env, policy, key, adversary=natural_adversary())
    np.testing.assert_array_equal(plain.executed, watched.executed)
    np.testing.assert_array_equal(plain.steps.obs, watched.steps.obs)
    np.testing.assert_array_equal(watched.overlay.seen, watched.steps.obs[:-1])
    assert not watched.overlay.masked.any()
    assert not watched.overlay.groups.any()
    assert plain.overlay.seen is None


def test_intended_and_executed_actions_differ_only_where_the_attack_struck(jammed, natural):
    np.testing.assert_array_equal(natural.intended, natural.executed)
    swapped = jammed.intended != jammed.executed
    assert swapped[:, 0].any()
    assert not swapped[:, 1:].any()
    assert (jammed.executed[swapped] == 1).all()


def test_the_policy_sees_what_the_attack_shows_and_is_told_what_it_chose():
    """A policy that answers with what it was given: action 2 when it saw zeros, else one more than it remembers."""

    def scores(carry, obs, avail, last):
        blind = (obs == 0).all(axis=1)
        wanted = jnp.where(blind, 2, jnp.where(last < 0, 3, 7 - last))  # 3, 4, 3, 4, ...
        return last, (wanted[:, None] == jnp.arange(9)[None]).astype(jnp.float32)

    policy = Policy(lambda: jnp.zeros(3, jnp.int32), scores, lambda key, s, avail: jnp.argmax(s, axis=1))
    attack = adversary(
        threat=Threat(channels=("obs", "act")),
        observe=lambda key, state, memory, view: (view.step.obs.at[0].set(0.0), memory),
        act=lambda key, state, memory, view: (jnp.ones_like(view.actions), memory),
    )
    trajectory = record(skirmish.make(), policy, rng.root(0), adversary=attack, max_steps=3)
    np.testing.assert_array_equal(trajectory.intended, [[2, 3, 3], [2, 4, 4], [2, 3, 3]])
    np.testing.assert_array_equal(trajectory.executed, 1)


def test_hidden_zeros_count_as_masked_but_not_those_of_the_dead(jammed):
    blind = skirmish.LAYOUT.mask("ally")
    alive = np.asarray(jammed.steps.alive)[:-1, 1]
    assert (np.asarray(jammed.steps.obs)[:-1, 1][:, blind] == 0).any()  # an ally out of sight, or dead
    np.testing.assert_array_equal(jammed.overlay.masked[:, 1], alive[:, None] & blind[None])
    assert not jammed.overlay.masked[:, [0, 2]].any()
    np.testing.assert_array_equal(jammed.overlay.groups, np.tile([1, 1, 2], (jammed.length, 1)))


def test_an_attack_is_shown_only_while_it_is_on():
    def watch(attack):
        return record(skirmish.make(), skirmish.brawler(), rng.root(0), adversary=attack, max_steps=4).overlay

    blind = skirmish.LAYOUT.mask("ally")
    absent = watch(with_probability(0.0, skirmish.jammer()))
    assert not absent.groups.any()
    assert not absent.masked.any()
    late = watch(during(chain(natural_adversary(), with_probability(1.0, skirmish.jammer())), first=2))
    np.testing.assert_array_equal(late.masked[:, 1], [blind & False, blind & False, blind, blind])
    np.testing.assert_array_equal(late.groups[0], [1, 1, 2])


def test_what_is_remembered_is_found_in_chains_and_gates():
    two, none = jnp.array([True, True, False]), jnp.zeros(3, bool)
    jam = skirmish.Jam(two, jnp.zeros((3, 4), bool), jnp.asarray(0))
    other = jam._replace(group=~two)
    assert remembered((), "group", (3,)) is None
    assert remembered(jam, "mask", (3, 5)) is None  # of another shape: something else
    assert remembered(jam, "asked", ()) is None  # not a yes or no
    for memory, wanted in (
        (jam, two), (((), jam), two), ((jam, other), two | ~two), (Sometimes(jnp.asarray(False), jam), none),
        ((Sometimes(jnp.asarray(False), jam), Sometimes(jnp.asarray(True), (other, ()))), ~two),
    ):  # fmt: skip
        found = remembered(memory, "group", (3,))
        assert found is not None
        np.testing.assert_array_equal(found, wanted)


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
