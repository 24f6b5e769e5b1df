"""Playing many episodes at once gives what playing them one by one gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.evaluate.episodes import EpisodeResults, play, team_key, world_key
from ibal.evaluate.scripted import random_policy, stop_policy
from ibal.nets.agents import Agent
from ibal.types import Env, Policy

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
    few, many = (play(walk, drifter, rng.episodes(rng.root(0), n), slots=4) for n in (4, EPISODES))
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
