"""MAPPO's update against the same formulas written down episode by episode, step by step, without rows or groups.

The episodes are stored as a rollout stores them (float16), with two agents of whom one dies, masks that the learner
rebuilds, replaced actions, and rubbish behind every end.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.learners.config import PpoConfig
from ibal.learners.packing import minibatch
from ibal.learners.ppo import mappo
from ibal.learners.ppo.mappo import Before, PpoParams, PpoState, layout, look_back, ppo_learner, steps
from ibal.nets import actor, critic, recurrent
from ibal.ops import scale as scales
from ibal.ops.categorical import entropy
from ibal.ops.ppo import clipped_gain, clipped_value_loss
from ibal.types import Block, EnvSpec, Episodes, ObsLayout

N, A, OBS, STATE, TIME = 2, 3, 4, 3, 5
LENGTHS = (3, TIME, 2, TIME)
DIES = (1, 2)  # in the second episode, agent 0 is dead from step 2 on
SPEC = EnvSpec(
    name="made-up", n_agents=N, n_actions=A, obs_size=OBS, state_size=STATE, horizon=TIME,
    action_names=("no-op", "b", "c"), metric_names=(), obs_layout=ObsLayout((Block("own", 0, 0, ("x",) * OBS),)),
    state_layout=ObsLayout((Block("own", 0, 0, ("x",) * STATE),)), noop_action=0,
)  # fmt: skip
CONFIG = PpoConfig(hidden=4, chunk=0, gain=1.0)


def hidden_from(memory: Any, obs: jax.Array) -> jax.Array:
    return jnp.where(memory, 0.0, obs)


@cache
def episodes() -> Episodes:
    """Short and terminated, full and terminated, short and cut off, full and cut off."""
    draw = np.random.default_rng(0)
    length = np.array(LENGTHS)
    terminated = np.zeros((4, TIME), bool)
    terminated[0, 2] = terminated[1, TIME - 1] = True
    avail = draw.random((4, TIME + 1, N, A)) < 0.7
    avail[..., 0], avail[..., 1] = False, True
    avail[DIES[0], DIES[1] :, 0] = [True, False, False]
    action = (draw.random((4, TIME, N, A)) * avail[:, :TIME]).argmax(-1)
    executed = np.where(draw.random(action.shape) < 0.3, 1, action)
    executed[DIES[0], DIES[1] :, 0] = 0
    obs, state = draw.normal(size=(4, TIME + 1, N, OBS)), draw.normal(size=(4, TIME + 1, STATE))
    reward = draw.normal(size=(4, TIME))
    for episode, last in enumerate(length):
        reward[episode, last:], obs[episode, last + 1 :] = 1e6, 1e3
    mask = draw.random((4, N, OBS)) < 0.3
    return Episodes(
        jnp.asarray(obs, jnp.float16), None, jnp.asarray(state, jnp.float16), jnp.asarray(avail),
        jnp.asarray(action, jnp.uint8), jnp.asarray(executed, jnp.uint8), jnp.asarray(reward, jnp.float32),
        jnp.asarray(terminated), jnp.asarray(length, jnp.int32), jnp.asarray(mask),
    )  # fmt: skip


@cache
def begun() -> PpoState:
    state = jax.jit(ppo_learner(SPEC, CONFIG).init)(rng.root(0))
    known = scales.Scale(jnp.float32(0.5), jnp.float32(4.0), jnp.float32(1e-5))
    return state._replace(scale=known)


@cache
def moved() -> PpoParams:
    """Other weights than those that played, so that ratios and values are clipped here and there."""
    return jax.tree.map(lambda leaf: leaf + 0.3 * jnp.sin(37 * leaf + 1), begun().params)


@partial(jax.jit, static_argnums=0)
def looked_back(config: PpoConfig, state: PpoState, given: Episodes) -> Before:
    return look_back(state, *layout(SPEC, config, given, hidden_from))


@partial(jax.jit, static_argnums=0)
def gradient(config: PpoConfig, params: PpoParams, given: Episodes, before: Before) -> Any:
    packing, of = layout(SPEC, config, given, hidden_from)
    return mappo._gradient(params, begun().scale, packing, before, of)


def one_by_one(params: PpoParams, given: Episodes, which: int) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities [t, n, a] and values [t+1, n] (in the critic's units) of an episode, as it was played."""
    seen = jnp.where(given.memory[which], 0.0, given.obs[which].astype(jnp.float32))
    last = jnp.concatenate((jnp.full((1, N), -1), given.action[which].astype(jnp.int32)))
    judged = critic.inputs("state", given.state[which].astype(jnp.float32), given.obs[which].astype(jnp.float32),
                           ~given.avail[which][..., 0])  # fmt: skip

    def step(carry: Any, now: Any) -> Any:
        memory, judgement = carry
        obs, avail, action, judge = now
        memory, log_p = actor.scores(params.agent, memory, obs, avail, action)
        judgement, value = recurrent.apply(params.critic, judgement, judge)
        return (memory, judgement), (log_p, value[:, 0])

    begin = (jnp.zeros((N, CONFIG.hidden)), jnp.zeros((N, CONFIG.hidden)))
    _, (log_p, value) = jax.lax.scan(step, begin, (seen, given.avail[which], last, judged))
    return log_p[:-1], value


all_one_by_one = jax.jit(lambda params, given: [one_by_one(params, given, which) for which in range(4)])


def targets(value: np.ndarray, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Advantages and targets of an episode from its last step backwards; ``value`` [t+1, n] in units of reward."""
    given, advantage = episodes(), np.zeros((TIME, N))
    for t in reversed(range(LENGTHS[which])):
        on = 0.99 * (1 - float(given.terminated[which, t]))
        later = 0 if t == LENGTHS[which] - 1 else advantage[t + 1]
        advantage[t] = float(given.reward[which, t]) + on * value[t + 1] - value[t] + on * 0.95 * later
    return advantage, advantage + value[:-1]


def slots(before: jax.Array, which: int, length: int) -> np.ndarray:
    """Return what stands in the rows for an episode."""
    packing, _ = layout(SPEC, CONFIG, episodes(), hidden_from)
    row, at = np.nonzero(np.asarray(packing.episode) == which)
    return np.asarray(before)[row, at][:length]


def test_probabilities_and_values_are_those_of_the_team_that_played() -> None:
    before = looked_back(CONFIG, begun(), episodes())
    for which, (log_p, value) in enumerate(all_one_by_one(begun().params, episodes())):
        length = LENGTHS[which]
        action = np.asarray(episodes().action[which], int)[..., None]
        chosen = np.take_along_axis(np.asarray(log_p), action, 2)[..., 0]
        np.testing.assert_allclose(slots(before.log_p, which, length), chosen[:length], atol=1e-5)
        np.testing.assert_allclose(slots(before.value, which, length), value[:length], atol=1e-5)
        _, target = targets(2 * np.asarray(value) + 0.5, which)
        np.testing.assert_allclose(slots(before.target, which, length), target[:length], atol=1e-4)
        counts = np.ones((length, N), bool)
        if which == DIES[0]:
            counts[DIES[1] :, 0] = False
        np.testing.assert_array_equal(slots(before.counts, which, length), counts)
    standard = np.asarray(before.advantage)[np.asarray(before.counts)]
    assert standard.mean() == pytest.approx(0, abs=1e-5)
    assert standard.std() == pytest.approx(1, abs=1e-4)
    assert (np.asarray(before.log_p)[np.asarray(before.valid) & ~np.asarray(before.counts)] == 0).all()  # only no-op


def plain_loss(params: PpoParams, before: Any) -> jax.Array:
    """The loss as it stands in the books. ``before``: per episode log-probabilities, values, advantages, targets."""
    gain, spread, worth, living, played = jnp.zeros(5)
    for which in range(4):
        log_old, value_old, advantage, target = (jnp.asarray(x[which]) for x in before)
        log_p, value = one_by_one(params, episodes(), which)
        avail = episodes().avail[which, :-1]
        steps = (jnp.arange(TIME) < LENGTHS[which])[:, None]
        alive = steps & ~avail[..., 0]
        taken = jnp.take_along_axis(log_p, episodes().action[which].astype(jnp.int32)[..., None], 2)[..., 0]
        ratio = jnp.exp(jnp.where(alive, taken - log_old, 0.0))
        off = clipped_value_loss(value[:-1], value_old, (target - 0.5) / 2, 0.2, 10.0)
        gain += jnp.where(alive, clipped_gain(ratio, advantage, 0.2), 0.0).sum()
        spread += jnp.where(alive, entropy(log_p, avail), 0.0).sum()
        worth += jnp.where(steps, off, 0.0).sum()
        living, played = living + alive.sum(dtype=jnp.float32), played + N * steps.sum(dtype=jnp.float32)
    return -gain / living - 0.01 * spread / living + worth / played


def by_episode(before: Before) -> list[np.ndarray]:
    out = [np.zeros((4, TIME, N), np.float32) for _ in range(4)]
    for x, name in zip(out, ("log_p", "value", "advantage", "target"), strict=True):
        for which, length in enumerate(LENGTHS):
            x[which, :length] = slots(getattr(before, name), which, length)
    return out


def test_the_gradient_is_that_of_the_books() -> None:
    before = looked_back(CONFIG, begun(), episodes())
    found, metrics = gradient(CONFIG, moved(), episodes(), before)
    loss, wanted = jax.jit(jax.value_and_grad(plain_loss))(moved(), by_episode(before))
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert 0 < float(metrics["clipped"]) < 1
    assert float(metrics["kl"]) > 0
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("chunk", [0, 2])
def test_the_first_ratio_is_one(chunk: int) -> None:
    """Whole rows and pieces begin from the same memories, so nothing differs before the first step."""
    config = replace(CONFIG, chunk=chunk)
    before = looked_back(config, begun(), episodes())
    _, metrics = gradient(config, begun().params, episodes(), before)
    assert float(metrics["clipped"]) == 0
    assert float(metrics["kl"]) == pytest.approx(0, abs=1e-9)  # about (ratio - 1)^2 / 2
    assert float(metrics["policy_loss"]) == pytest.approx(0, abs=1e-6)  # advantages are standardised


def test_the_dead_teach_the_critic_only() -> None:
    before = looked_back(CONFIG, begun(), episodes())
    dead = before.valid & ~before.counts
    assert int(dead.sum()) == TIME - DIES[1]
    other = before._replace(
        advantage=jnp.where(dead, 7.0, before.advantage), target=jnp.where(dead, 9.0, before.target)
    )
    (one, _), (two, _) = (gradient(CONFIG, begun().params, episodes(), b) for b in (before, other))
    jax.tree.map(np.testing.assert_array_equal, one.agent, two.agent)
    assert (np.asarray(one.critic.head.b) != np.asarray(two.critic.head.b)).any()


def test_of_the_dead_the_critic_of_ippo_and_mappo_see_the_number_only() -> None:
    for name, size in (("mappo", STATE + OBS + N), ("ippo", OBS + N)):
        packing, of = layout(SPEC, replace(CONFIG, name=name), episodes(), hidden_from)
        other = of._replace(episodes=episodes()._replace(state=episodes().state + 1))
        now, changed = (steps(jnp.int32(0), packing.episode.shape[0], packing, o) for o in (of, other))
        dead = np.asarray(now.valid & ~now.counts)
        np.testing.assert_array_equal(np.asarray(now.judged)[dead], [[0.0] * (size - N) + [1, 0]] * dead.sum())
        assert (np.asarray(now.judged) == np.asarray(changed.judged)).all() == (name == "ippo")
        # The critic sees clean observations, the team those that are left of them.
        own = slice(size - N - OBS, size - N)
        hidden = np.asarray(now.judged)[..., own] != np.asarray(now.seen)[..., :OBS]
        assert hidden[np.asarray(now.counts)].any()


def test_choices_that_were_replaced_can_be_left_out() -> None:
    packing, of = layout(SPEC, replace(CONFIG, mask_replaced=True), episodes(), hidden_from)
    _, literal = layout(SPEC, CONFIG, episodes(), hidden_from)
    now, all_of = (steps(jnp.int32(0), packing.episode.shape[0], packing, o) for o in (of, literal))
    inside = np.arange(TIME) < np.array(LENGTHS)[:, None]
    alive = inside[..., None] & ~np.asarray(episodes().avail)[:, :-1, :, 0]
    own = np.asarray(episodes().executed == episodes().action)
    assert int(all_of.counts.sum()) == alive.sum()
    assert int(now.counts.sum()) == (alive & own).sum() < alive.sum()
    np.testing.assert_array_equal(now.action, all_of.action)  # what is learned is what was meant


def test_an_epoch_of_minibatches_is_every_row_once() -> None:
    config = replace(CONFIG, minibatches=2)
    packing, _ = layout(SPEC, config, episodes(), hidden_from)
    before = looked_back(CONFIG, begun(), episodes())
    count = packing.episode.shape[0]
    before = jax.tree.map(lambda x: jnp.pad(x, ((0, count - x.shape[0]),) + ((0, 0),) * (x.ndim - 1)), before)
    part = jax.jit(lambda index: minibatch(rng.root(3), index, packing, before, config.minibatches)[0])
    for epoch in (0, 1):
        parts = [part(jnp.int32(2 * epoch + k)) for k in (0, 1)]
        there = [np.unique(p.episode[: int(p.used)]) for p in parts]
        assert sorted(x for p in there for x in p if x >= 0) == [0, 1, 2, 3]
        assert all((np.asarray(p.episode[int(p.used) :]) == -1).all() for p in parts)


# The intended action, not the executed one (Theorem 4.2): one state, two actions, an attacker that always swaps them.

ONE = EnvSpec(
    name="swap", n_agents=1, n_actions=2, obs_size=1, state_size=1, horizon=1, action_names=("a", "b"),
    metric_names=(), obs_layout=ObsLayout((Block("own", 0, 0, ("x",)),)),
    state_layout=ObsLayout((Block("own", 0, 0, ("x",)),)),
)  # fmt: skip


@partial(jax.jit, static_argnums=2)
def push(meant: jax.Array, done: jax.Array, mask_replaced: bool = False) -> jax.Array:
    """Where a gradient step pushes the two logits, 1/2 each, when these intentions and actions [e] were played, an
    episode each; 1 is paid for executing 1, and the advantage is the reward: no baseline."""
    count = meant.shape[0]
    one = jnp.ones((count, 2, 1), jnp.float16)
    shaped = lambda x: x[:, None, None].astype(jnp.uint8)  # noqa: E731
    given = Episodes(
        one[..., None], None, one, jnp.ones((count, 2, 1, 2), bool), shaped(meant), shaped(done),
        (done == 1)[:, None].astype(jnp.float32), jnp.ones((count, 1), bool), jnp.ones(count, jnp.int32),
    )  # fmt: skip
    config = replace(CONFIG, entropy=0.0, mask_replaced=mask_replaced)
    state = ppo_learner(ONE, config).init(rng.root(0))
    even = state.params.agent.head._replace(w=jnp.zeros((config.hidden, 2)))
    state = state._replace(params=state.params._replace(agent=state.params.agent._replace(head=even)))
    packing, of = layout(ONE, config, given, None)
    before = look_back(state, packing, of)
    before = before._replace(advantage=before.target)
    return -mappo._gradient(state.params, state.scale, packing, before, of)[0].agent.head.b


def test_what_was_meant_is_learned_and_not_what_was_done() -> None:
    meant, done = jnp.tile(jnp.array([0, 1]), 4), jnp.tile(jnp.array([1, 0]), 4)
    # Of pi = (1/2, 1/2): 1/2 x 1 x (1 - 1/2) towards the intention that led to the reward, 0.
    np.testing.assert_allclose(push(meant, done), [0.25, -0.25], atol=1e-6)
    np.testing.assert_allclose(push(done, done), [-0.25, 0.25], atol=1e-6)


def test_nothing_is_learned_where_chance_decides() -> None:
    np.testing.assert_allclose(push(*jnp.array([[0, 0, 1, 1] * 2, [0, 1, 0, 1] * 2])), [0, 0], atol=1e-6)


def test_leaving_replaced_choices_out_gives_the_undisturbed_gradient_and_less_noise() -> None:
    # Every second action is replaced by one of the two at random: three of four are as they were meant.
    meant = jnp.array([0, 0, 0, 0, 1, 1, 1, 1])
    done = jnp.array([0, 0, 0, 1, 1, 1, 1, 0])
    natural = [-0.25, 0.25]
    np.testing.assert_allclose(push(meant, meant), natural, atol=1e-6)
    np.testing.assert_allclose(push(meant, done, mask_replaced=True), natural, atol=1e-6)
    np.testing.assert_allclose(push(meant, done), [-0.125, 0.125], atol=1e-6)  # the other half teaches nothing

    draw = np.random.default_rng(0)
    batches, size, half = 2_000, 8, 0.5
    meant, other = draw.integers(0, 2, (2, batches, size))
    done = jnp.asarray(np.where(draw.random((batches, size)) < half, other, meant))
    left_out, literal = (np.asarray(jax.vmap(partial(push, mask_replaced=m))(jnp.asarray(meant), done))[:, 1]
                         for m in (True, False))  # fmt: skip
    error = left_out.std() / batches**0.5
    assert abs(left_out.mean() - 0.25) < 4 * error
    assert abs(literal.mean() - 0.125) < 4 * error
    assert left_out.var() < 0.7 * (literal / half).var()  # of the same signal
