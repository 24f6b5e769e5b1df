"""What is drawn: only real steps, only those who count, each tuple as often as any other."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.mi import samples
from ibal.mi.config import ActionConfig, ClubConfig
from unit.mi import toys

KEY = jax.random.key(3)
# Compiled as wholes: operation by operation, most of the time would go into compiling.
rows = jax.jit(samples.rows, static_argnums=2, static_argnames="ahead")
pairs = jax.jit(samples.pairs, static_argnums=(1, 2, 4))
transitions = jax.jit(samples.transitions, static_argnums=(1, 2, 4))
joint_actions = jax.jit(samples.joint_actions, static_argnums=(1, 2, 4), static_argnames="count")


def marked(length, dead=()) -> toys.Episodes:
    """Observations that tell where they come from: (episode, t, agent); ``dead`` lists (episode, t, agent)."""
    b, t, n = len(length), 4, 3
    where = np.stack(np.meshgrid(range(b), range(t + 1), range(n), indexing="ij"), axis=-1)
    action = where[:, :t].sum(-1) % 4
    avail = np.ones((b, t + 1, n, 4), bool)
    avail[..., 0] = False
    for place in dead:
        avail[place] = [True, False, False, False]
    return toys.episodes(where, action, np.array(length), avail=jnp.asarray(avail), executed=jnp.asarray(3 - action))


def test_rows_are_uniform_over_the_steps_that_exist() -> None:
    episode, t = rows(KEY, jnp.array([2, 0, 3, 1]), 6000)
    counts = Counter(zip(np.asarray(episode).tolist(), np.asarray(t).tolist(), strict=True))
    assert set(counts) == {(0, 0), (0, 1), (2, 0), (2, 1), (2, 2), (3, 0)}
    assert min(counts.values()) > 850  # 1000 expected, deviation 29
    assert max(counts.values()) < 1150
    episode, t = rows(KEY, jnp.array([2, 0, 3, 1]), 600, ahead=1)
    assert set(zip(np.asarray(episode).tolist(), np.asarray(t).tolist(), strict=True)) == {(0, 0), (2, 0), (2, 1)}


def test_pairs_are_aligned_clean_and_executed() -> None:
    spec = toys.spec(obs_size=3, noop=0)
    batch = pairs(KEY, ClubConfig(), spec, marked([4, 2]), 500)
    episode, t, agent = np.asarray(batch.tau).astype(int).T
    np.testing.assert_array_equal(agent, batch.observer)
    np.testing.assert_array_equal(np.asarray(batch.after), np.stack([episode, t + 1, agent], axis=1))
    np.testing.assert_array_equal(batch.mine, 3 - (episode + t + agent) % 4)
    np.testing.assert_array_equal(batch.other, 3 - (episode + t + np.asarray(batch.partner)) % 4)
    assert (np.asarray(batch.observer) != np.asarray(batch.partner)).all()
    np.testing.assert_allclose(batch.weight, 1 / 500)


@pytest.mark.parametrize(
    ("dead", "wanted"),
    [
        # agent 2 dies during step 1 of the first episode, agent 1 during its step 0
        ("exclude", {(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 2, 0), (0, 0, 2, 1), (0, 1, 0, 2)}),
        ("partners", {(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 2, 0), (0, 0, 2, 1), (0, 1, 0, 2), (0, 1, 0, 1)}),
        ("include", {(0, t, i, j) for t in range(2) for i in range(3) for j in range(3) if i != j}),
    ],
)
def test_the_dead_count_as_configured_and_every_tuple_weighs_the_same(dead: str, wanted: set) -> None:
    spec = toys.spec(obs_size=3, noop=0)
    record = marked([2], dead=[(0, 1, 1), (0, 2, 1), (0, 2, 2)])
    batch = pairs(KEY, ClubConfig(dead=dead), spec, record, 8000)
    places = np.column_stack([np.asarray(batch.tau)[:, :2].astype(int), batch.observer, batch.partner])
    share: Counter = Counter()
    for place, weight in zip(places.tolist(), np.asarray(batch.weight), strict=True):
        share[tuple(place)] += weight
    share = Counter({place: weight for place, weight in share.items() if weight > 0})
    assert set(share) == wanted
    np.testing.assert_allclose(list(share.values()), 1 / len(wanted), rtol=0.15)


def test_transitions_say_who_counts() -> None:
    spec = toys.spec(obs_size=3, noop=0)
    record = marked([1], dead=[(0, 1, 1)])
    data = transitions(KEY, ClubConfig(), spec, record, 2)
    np.testing.assert_array_equal(data.observes, [[True, False, True]] * 2)
    np.testing.assert_array_equal(data.partners, [[True] * 3] * 2)
    np.testing.assert_array_equal(data.after[0], [[0, 1, 0], [0, 1, 1], [0, 1, 2]])
    np.testing.assert_array_equal(data.tau[0], [[0, 0, 0], [0, 0, 1], [0, 0, 2]])
    np.testing.assert_array_equal(data.action[0], [3, 2, 1])


def test_other_histories_of_the_observation_model() -> None:
    spec = toys.spec(obs_size=3)
    none = pairs(KEY, ClubConfig(tau="none", residual=False), spec, marked([4]), 50)
    assert none.tau.shape == (50, 0)
    time = pairs(KEY, ClubConfig(tau="time", residual=False), spec, marked([4]), 50)
    np.testing.assert_allclose(time.tau[:, 0], (time.after[:, 1] - 1) / 6, rtol=1e-6)
    assert transitions(KEY, ClubConfig(tau="time", residual=False), spec, marked([4]), 5).tau.shape == (5, 3, 1)


def test_groups_are_uniform_in_size_and_members() -> None:
    group = np.asarray(samples.partition(KEY, 5, 2, 6000))
    np.testing.assert_allclose(np.bincount(group.sum(1), minlength=3) / 6000, [1 / 3] * 3, atol=0.03)
    np.testing.assert_allclose(group.mean(0), 1 / 5, atol=0.02)
    assert not np.asarray(samples.partition(KEY, 5, 0, 10)).any()
    with pytest.raises(ValueError, match="largest group is 6 of 5"):
        samples.partition(KEY, 5, 6, 1)


def test_joint_actions_are_the_intended_ones_of_the_living() -> None:
    spec = toys.spec(obs_size=3, noop=0)
    record = marked([4, 1], dead=[(0, t, 1) for t in range(5)])
    record = record._replace(
        state=jnp.broadcast_to(record.obs[:, :, 0, :1], (2, 5, 5)).at[:, :, 1].set(jnp.arange(5.0))
    )
    batch = joint_actions(KEY, ActionConfig(tau="T3"), spec, record, 2, count=300)
    # the state is (episode, t, [episode, episode: last actions], episode), one step earlier, zeros before the first
    t = 1 + np.asarray(batch.tau)[:, 1]
    assert batch.tau.shape == (300, 3)
    episode = np.asarray(batch.tau)[:, 0]
    later = t > 1
    np.testing.assert_array_equal(batch.action[later, 0], ((episode + t) % 4)[later].astype(int))
    assert (np.asarray(batch.tau)[np.asarray(batch.action)[:, 0] == 0] == 0).all()
    np.testing.assert_array_equal(batch.target, batch.action)
    dead = ~np.asarray(batch.legal)[:, 1, 1]
    np.testing.assert_array_equal(batch.counts, ~np.asarray(batch.group) & ~(dead[:, None] & (np.arange(3) == 1)[None]))
    assert dead.any()
    assert not dead.all()


def test_the_step_ahead_predicts_the_next_actions() -> None:
    spec = toys.spec(obs_size=3, noop=0)
    batch = joint_actions(KEY, ActionConfig(tau="T5"), spec, marked([4, 1]), 1, count=100)
    np.testing.assert_array_equal(batch.target, (np.asarray(batch.action) + 1) % 4)
    assert batch.legal.all()  # and no padding: the second episode has no next step
    assert set(np.asarray(batch.action)[:, 0].tolist()) == {0, 1, 2}


def test_hidden_states_of_now_and_of_one_step_before() -> None:
    spec = toys.spec(obs_size=3)
    record = marked([4])
    hidden = record.obs[:, :4] + 1.0  # (1, t + 1, agent + 1)
    now = joint_actions(KEY, ActionConfig(tau="T1"), spec, record, 1, hidden=hidden, count=50)
    np.testing.assert_array_equal(now.tau[:, 1].astype(int) - 1, now.action[:, 0])
    before = joint_actions(KEY, ActionConfig(tau="T2"), spec, record, 1, hidden=hidden, count=50)
    np.testing.assert_array_equal(before.tau[:, 1].astype(int), before.action[:, 0])
    assert before.tau.shape == (50, 9)
    with pytest.raises(ValueError, match="tau=T1 needs the hidden states"):
        samples.context(ActionConfig(tau="T1"), spec)
    with pytest.raises(ValueError, match="needs the state of one step before"):
        samples.context(ActionConfig(tau="T3"), spec)


def test_sizes_of_the_histories() -> None:
    spec = toys.spec()
    sizes = {tau: samples.context_size(ActionConfig(tau=tau), spec, 64) for tau in ("T1", "T2", "T3", "T4", "T5")}
    assert sizes == {"T1": 192, "T2": 192, "T3": 3, "T4": 0, "T5": 0}
    np.testing.assert_array_equal(samples.context(ActionConfig(tau="T3"), spec, jnp.arange(5.0)), [0.0, 1.0, 4.0])


def test_who_is_alive() -> None:
    avail = jnp.array([[True, False], [True, True], [False, True]])
    np.testing.assert_array_equal(samples.alive(avail, 0), [False, True, True])
    assert samples.alive(avail, None).all()
