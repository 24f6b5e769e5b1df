"""Playing many episodes at once gives what playing them one by one gives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries.base import Adversary, Threat, adversary
from ibal.evaluation.episodes import EpisodeResults, play
from ibal.evaluation.scripted import random_policy, stop_policy
from ibal.game.keys import team_key, world_key
from ibal.nets.agents import Agent
from ibal.training.rollout import Rollout, collect
from ibal.types import Env, Policy, TimeStep

EPISODES = 23


@pytest.fixture(scope="module")
def drifter(walk: Env) -> Policy:
    """One object for all tests: one compilation."""
    return random_policy(walk.spec)


def one_by_one(env: Env, policy: Policy, keys: jax.Array) -> list[tuple[float, int, bool, float]]:
    """The plain loop that ``play`` must equal."""
    rows = []
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    scores, select = jax.jit(policy.scores), jax.jit(policy.select)
    for key in keys:
        state, seen = reset(world_key(key, 0), env.params)
        carry, total, clock = policy.start(), 0.0, 0
        last = jnp.full(env.spec.n_agents, -1, jnp.int32)
        while not (seen.terminated or clock >= env.spec.horizon):
            carry, values = scores(carry, seen.obs, seen.avail, last)
            last = select(team_key(key, clock), values, seen.avail)
            state, seen = step(world_key(key, clock + 1), state, last, env.params)
            total, clock = total + float(seen.reward), clock + 1
        rows.append((total, clock, bool(seen.metrics["win"]), float(seen.metrics["noise"])))
    return rows


def counting_agent() -> Agent:
    """Plays action ``params``; remembers how often it was asked and whether its last action reached it."""

    def scores(params: jax.Array, carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array):
        wrong = ((carry > 0) & (last != params)).any() | ((carry == 0) & (last != -1)).any()
        values = jnp.where(wrong, 0.0, (jnp.arange(3) == params).astype(jnp.float32))
        return carry + 1, jnp.broadcast_to(values[None], (2, 3))

    def select(key: jax.Array, scores: jax.Array, avail: jax.Array) -> jax.Array:
        return jnp.argmax(scores, axis=1)

    return Agent(lambda: jnp.int32(0), scores, select)


def meddler() -> Adversary:
    """Uses everything an adversary is given: every key, its state, its memory, both views and the victim's policy."""

    def begin(key: jax.Array, state: Any, step: Any) -> Any:
        return {"who": jax.random.randint(key, (), 0, 2), "sum": step.obs.sum()}

    def observe(key: jax.Array, state: Any, memory: Any, view: Any) -> Any:
        seen = view.step.obs + state * jax.random.normal(key, view.step.obs.shape)
        return seen, memory | {"sum": memory["sum"] + seen.sum() + view.time.astype(jnp.float32)}

    def act(key: jax.Array, state: Any, memory: Any, view: Any) -> Any:
        _, clean = view.policy.scores(view.carry, view.step.obs, view.step.avail, view.last_action)
        strikes = jax.random.bernoulli(key, 0.6) & (memory["sum"] > clean[0, 0] + view.obs[0, 1] - 5)
        who = (jnp.arange(2) == memory["who"]) & strikes
        return jnp.where(who, 1, view.actions), memory

    init = lambda key: jnp.float32(0.3)  # noqa: E731
    return adversary(init=init, begin=begin, observe=observe, act=act, threat=Threat(channels=("obs", "act")))


def looking_agent() -> Agent:
    """Chooses by what it sees, by chance, and by what it did before."""

    def scores(params: jax.Array, carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array):
        swing = jnp.sin(params * obs.sum() + carry + last.sum().astype(jnp.float32))
        return 0.5 * carry + swing, swing * jnp.array([[0.0, 1.0, -1.0], [0.5, 0.0, 1.0]])

    def select(key: jax.Array, scores: jax.Array, avail: jax.Array) -> jax.Array:
        return jnp.argmax(jnp.where(avail, scores + jax.random.gumbel(key, scores.shape), -jnp.inf), 1)

    return Agent(lambda: jnp.float32(0), scores, select)


@pytest.fixture(scope="module")
def meddled(walk: Env) -> tuple[Agent, Adversary, Rollout]:
    """An agent, an attack, and their rollout: one compilation for all numbers of slots."""
    agent, attack, keys = looking_agent(), meddler(), rng.episodes(rng.root(2), EPISODES)
    return agent, attack, jax.jit(lambda: collect(walk, agent.bind(jnp.float32(2)), attack, jnp.float32(0.7), keys))()


@pytest.mark.parametrize("slots", [4, EPISODES])
def test_an_attack_does_what_it_does_in_a_rollout(
    walk: Env, meddled: tuple[Agent, Adversary, Rollout], slots: int
) -> None:
    agent, attack, rollout = meddled
    keys, attacker = rng.episodes(rng.root(2), EPISODES), jnp.float32(0.7)
    played = play(walk, agent, keys, jnp.float32(2), slots=slots, adversary=attack, attacker=attacker)
    np.testing.assert_array_equal(played.length, rollout.episodes.length)
    np.testing.assert_allclose(played.returns, rollout.returns, rtol=1e-5, atol=1e-5)
    for name, values in rollout.metrics.items():
        np.testing.assert_allclose(played.metrics[name], values, rtol=1e-5, atol=1e-5)
    inside = np.arange(walk.spec.horizon)[None, :, None] < np.asarray(played.length)[:, None, None]
    replaced = (np.asarray(rollout.episodes.action) != np.asarray(rollout.episodes.executed)) & inside
    shares = replaced.sum((1, 2)) / (2 * np.asarray(played.length))
    np.testing.assert_allclose(played.replaced, shares, rtol=1e-6)
    assert 0.05 < shares.mean() < 0.5
    np.testing.assert_array_equal(played.attacked, np.ones(EPISODES))  # noise on what everybody sees, at every step


def test_an_attack_on_observations_was_shown_as_attacking_nobody(walk: Env, drifter: Policy) -> None:
    def observe(key: jax.Array, state: Any, memory: Any, view: Any) -> Any:
        hit = (jnp.arange(2) == 1)[:, None] & (view.time % 2 == 0)  # agent 1 of two, at every second step
        return view.step.obs + hit.astype(jnp.float32), memory

    keys = rng.episodes(rng.root(3), 6)
    played = play(walk, drifter, keys, adversary=adversary(observe=observe, threat=Threat(channels=("obs",))))
    length = np.asarray(played.length)
    np.testing.assert_allclose(played.attacked, (length + 1) // 2 / (2 * length), rtol=1e-6)
    np.testing.assert_array_equal(played.replaced, np.zeros(6))


def test_the_attacker_is_an_argument(walk: Env) -> None:
    attack, agent, keys, traced = meddler(), looking_agent(), rng.episodes(rng.root(2), EPISODES), []
    counted = attack._replace(act=lambda *a: (traced.append(1), attack.act(*a))[1])
    results = [play(walk, agent, keys, jnp.float32(2), adversary=counted, attacker=jnp.float32(a)) for a in (0.3, 3)]
    default = play(walk, agent, keys, jnp.float32(2), adversary=counted)
    assert len(traced) <= 2  # one trace for all of them (vmap may look twice)
    assert (results[0].returns != results[1].returns).any()
    jax.tree.map(np.testing.assert_array_equal, default, results[0])  # what the adversary's init gives


def test_an_attack_changes_nothing_that_the_world_draws(walk: Env, drifter: Policy) -> None:
    keys = rng.episodes(rng.root(1), EPISODES)
    calm, attacked = play(walk, drifter, keys, slots=5), play(walk, drifter, keys, slots=5, adversary=meddler())
    np.testing.assert_array_equal(calm.metrics["noise"], attacked.metrics["noise"])
    np.testing.assert_array_equal(calm.attacked, np.zeros(EPISODES))
    assert (calm.returns != attacked.returns).any()


def test_equals_the_plain_loop(walk: Env, drifter: Policy) -> None:
    keys = rng.episodes(rng.root(3), EPISODES)
    got = play(walk, drifter, keys, slots=5)
    rows = one_by_one(walk, drifter, keys)
    np.testing.assert_allclose(got.returns, [r[0] for r in rows], atol=1e-5)
    np.testing.assert_array_equal(got.length, [r[1] for r in rows])
    np.testing.assert_array_equal(got.win, [r[2] for r in rows])
    np.testing.assert_allclose(got.metrics["noise"], [r[3] for r in rows], atol=1e-5)
    assert set(got.length.tolist()) > {5, 12}  # some ended, some were cut at the horizon


@pytest.mark.parametrize("slots", [1, 100])
def test_results_do_not_depend_on_slots(walk: Env, drifter: Policy, slots: int) -> None:
    keys = rng.episodes(rng.root(1), EPISODES)
    one, other = (play(walk, drifter, keys, slots=s) for s in (slots, 5))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_episode_i_meets_the_same_world_under_every_policy(walk: Env, drifter: Policy) -> None:
    keys = rng.episodes(rng.root(1), EPISODES)
    noisy, still = (play(walk, policy, keys, slots=5) for policy in (drifter, stop_policy(walk.spec)))
    np.testing.assert_array_equal(noisy.metrics["noise"], still.metrics["noise"])
    np.testing.assert_array_equal(noisy.length, still.length)
    assert (noisy.returns != still.returns).any()


def test_more_episodes_keep_the_first_ones(walk: Env, drifter: Policy) -> None:
    few, many = (play(walk, drifter, rng.episodes(rng.root(0), n), slots=5) for n in (4, EPISODES))
    np.testing.assert_array_equal(few.returns, many.returns[:4])


def test_agent_gets_params_carry_and_last_action_and_compiles_once(walk: Env) -> None:
    agent, keys = counting_agent(), rng.episodes(rng.root(0), 6)
    traced = []
    counted = agent._replace(scores=lambda *a: (traced.append(1), agent.scores(*a))[1])
    results: list[EpisodeResults] = [play(walk, counted, keys, jnp.int32(a), slots=2) for a in (1, 2)]
    for action, result in zip((1, 2), results, strict=True):
        np.testing.assert_array_equal(result.metrics["played"], np.full(6, 2 * action))
    assert len(traced) <= 2  # one trace for both parameters (vmap may look twice)


def test_env_params_are_an_argument(walk: Env) -> None:
    keys = rng.episodes(rng.root(0), 4)
    still = stop_policy(walk.spec)
    once, twice = (play(walk, still, keys, env_params=jnp.float32(scale)) for scale in (1, 2))
    np.testing.assert_allclose(twice.returns, 2 * once.returns, rtol=1e-6)


def test_no_episode_is_refused(walk: Env) -> None:
    with pytest.raises(ValueError, match="no episode asked for"):
        play(walk, stop_policy(walk.spec), rng.episodes(rng.root(0), 1)[:0])


def test_a_share_of_success_is_no_win(walk: Env, drifter: Policy) -> None:
    def half(result: tuple[Any, TimeStep]) -> tuple[Any, TimeStep]:
        state, step = result
        return state, step._replace(metrics=step.metrics | {"win": 0.5 * step.metrics["win"]})

    world = walk._replace(reset=lambda *given: half(walk.reset(*given)), step=lambda *given: half(walk.step(*given)))
    keys = rng.episodes(rng.root(0), EPISODES)
    whole, got = (play(env, drifter, keys, slots=5) for env in (walk, world))
    assert 0 < float(whole.win.sum()) < EPISODES
    np.testing.assert_array_equal(got.win, 0.5 * whole.win)
