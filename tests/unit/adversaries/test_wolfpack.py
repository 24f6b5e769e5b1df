"""The Wolfpack attack step by step: who is attacked when, its budget, when it starts, and who follows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import learns
from ibal.adversaries.base import ActView, refusal
from ibal.adversaries.config import RandomWolfpackConfig, WolfpackConfig
from ibal.adversaries.wolfpack.attack import alikeness, changes, most, starts, worst
from ibal.evaluation.scripted import random_policy
from ibal.types import Policy, TimeStep

SPEC = make("toy/leak", n_agents=4, noise=1).spec
N, SIZE, A = SPEC.n_agents, SPEC.obs_size, SPEC.n_actions
WEIGHTS = np.asarray(jax.random.normal(rng.root(1), (SIZE, A)))
# Agents 0 and 1 see much alike, and so do 2 and 3; what lies nearest after that is clear too.
PLACES = np.zeros((N, SIZE), np.float32)
PLACES[:, 0] = (0.0, 1.0, 2.5, 3.0)
SCORES = np.tile(np.arange(A, dtype=np.float32), (N, 1))  # action 0 is the worst, the last one the best
BEST = np.full(N, A - 1, np.int32)
AT_ONCE = {"window": 1, "followers": 2, "followup": "near"}  # always a good moment to start


def linear() -> Policy:
    """Q_i = o_i W; the weights are known."""

    def apply(weights: Any, carry: Any, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[Any, jax.Array]:
        return carry, obs @ weights["w"]

    weights = {"w": jnp.asarray(WEIGHTS)}
    return Policy(
        lambda: jnp.zeros(()), lambda *seen: apply(weights, *seen), lambda key, s, avail: jnp.argmax(s, axis=1),
        weights=lambda: weights, apply=apply,
    )  # fmt: skip


def view(
    time: int = 0, obs: Any = PLACES, scores: Any = SCORES, actions: Any = BEST, avail: Any = None, alive: Any = None,
) -> ActView:  # fmt: skip
    legal = jnp.ones((N, A), bool) if avail is None else jnp.asarray(avail)
    there = jnp.ones(N, bool) if alive is None else jnp.asarray(alive)
    none, policy = jnp.array(False), linear()
    step = TimeStep(jnp.asarray(obs), jnp.zeros(SPEC.state_size), legal, there, jnp.float32(0), none, none, {})
    return ActView(
        step, policy.start(), jnp.full(N, -1), policy, jnp.int32(time), jnp.asarray(obs), jnp.asarray(scores),
        jnp.asarray(actions),
    )  # fmt: skip


def run(config: WolfpackConfig, steps: int, seed: int = 0, **shown: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what was done in ``steps`` equal steps [t, n], and ``spent`` and ``last`` after each."""
    attack = config.build(SPEC)
    state = attack.init(rng.root(0))
    memory = attack.begin(rng.root(seed), state, view(**shown).step)

    def step(memory: Any, t: jax.Array) -> tuple[Any, Any]:
        now = view(**shown)._replace(time=t)
        executed, memory = attack.act(rng.at(rng.root(seed), t), state, memory, now)
        return memory, (executed, memory.spent, memory.last)

    _, rows = jax.jit(lambda m: jax.lax.scan(step, m, jnp.arange(steps)))(memory)
    done, spent, last = map(np.asarray, rows)
    return done, spent, last


def nearest(initial: int) -> list[int]:
    far = [(abs(float(PLACES[j, 0] - PLACES[initial, 0])), j) for j in range(N) if j != initial]
    return sorted(j for _, j in sorted(far)[:2])


@pytest.mark.parametrize("seed", range(4))
def test_two_attacks_of_one_and_three_steps_and_then_the_budget_is_spent(seed: int) -> None:
    avail = np.ones((N, A), bool)
    avail[1, 0] = avail[2, 0] = False  # their worst legal action is the next one
    done, spent, last = run(RandomWolfpackConfig(**AT_ONCE, evaluation=True), 12, seed, avail=avail)
    for begin in (0, 4):
        (initial,) = np.flatnonzero(done[begin] != BEST)
        assert done[begin, initial] == (initial in (1, 2))
        for t in range(begin + 1, begin + 4):
            assert np.flatnonzero(done[t] != BEST).tolist() == nearest(initial)
            np.testing.assert_array_equal(done[t][nearest(initial)], np.isin(nearest(initial), (1, 2)))
    assert (done[8:] == BEST).all()
    assert spent.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8]
    assert last.tolist() == [0] * 4 + [4] * 8


@pytest.mark.parametrize(("options", "steps"), [({}, 12), ({"evaluation": True}, 8), ({"budget": 6}, 6)])
def test_the_budget_counts_steps_and_may_end_an_attack(options: dict[str, Any], steps: int) -> None:
    done, spent, _ = run(RandomWolfpackConfig(**AT_ONCE, **options), 20)
    assert (done != BEST).any(1).tolist() == [True] * steps + [False] * (20 - steps)
    assert spent[-1] == steps


def test_following_steps_count_even_if_nothing_changes() -> None:
    """Agent 0 alone does not do its worst: only on it does an attack start, and its followers change nothing."""
    actions = np.array([A - 1, 0, 0, 0], np.int32)
    done, spent, _ = run(RandomWolfpackConfig(**AT_ONCE, evaluation=True), 60, actions=actions)
    changed = (done != actions).any(1)
    assert changed.sum() == 2
    first, second = np.flatnonzero(changed)
    assert second - first >= 4
    assert done[first, 0] == done[second, 0] == 0
    assert spent[first : first + 4].tolist() == [1, 2, 3, 4]
    assert spent[second - 1] == 4
    assert spent[-1] == 8


def test_no_attack_starts_on_the_dead_or_where_the_worst_is_done_anyway_and_the_dead_never_follow() -> None:
    nobody = np.zeros(N, bool)
    for shown in ({"alive": nobody}, {"actions": np.zeros(N, np.int32)}):
        done, spent, _ = run(RandomWolfpackConfig(**AT_ONCE), 20, **shown)
        assert (done == shown.get("actions", BEST)).all()
        assert spent[-1] == 0
    alive = np.array([True, False, False, True])
    done, _, last = run(RandomWolfpackConfig(**AT_ONCE, budget=100), 40, alive=alive)
    assert (done[:, 1:3] == A - 1).all()
    began = np.flatnonzero(np.diff(last) > 0) + 1
    assert len(began) > 3
    for t in began[:-1]:  # one of the living begins, the other one follows
        assert done[t, [0, 3]].tolist() == done[t + 1, [0, 3]].tolist()[::-1] != [A - 1] * 2


def test_random_starts_are_uniform_within_a_window_of_the_last() -> None:
    config = RandomWolfpackConfig(window=5, followers=0, follow_steps=0, budget=100)
    width, runs = min(5, SPEC.horizon), 300
    attack = config.build(SPEC)

    def episode(key: jax.Array) -> jax.Array:
        def step(memory: Any, t: jax.Array) -> tuple[Any, jax.Array]:
            executed, memory = attack.act(rng.at(key, t), (), memory, view()._replace(time=t))
            return memory, (executed != BEST).any()

        return jax.lax.scan(step, attack.begin(key, (), view().step), jnp.arange(16))[1]

    struck = np.asarray(jax.jit(jax.vmap(episode))(rng.episodes(rng.root(5), runs)))
    first = np.bincount(struck.argmax(1), minlength=width)
    assert first.shape == (width,)  # never later
    np.testing.assert_allclose(first / runs, 1 / width, atol=4 * np.sqrt(0.2 * 0.8 / runs))
    for row in struck:
        at = np.flatnonzero(row)
        assert (np.diff(at) < width).all()
        assert at[-1] > 16 - width


def test_starts_are_drawn_from_the_guesses_that_are_left() -> None:
    guess, keys = jnp.log(jnp.array([1.0, 3.0, 4.0])), rng.episodes(rng.root(6), 2000)
    share = lambda since: float(jax.vmap(lambda k: starts(k, guess, jnp.int32(since)))(keys).mean())  # noqa: E731
    assert share(0) == pytest.approx(1 / 8, abs=0.03)
    assert share(1) == pytest.approx(1 / 4, abs=0.04)
    assert share(2) == share(3) == share(50) == 1


def by_hand(obs: np.ndarray, avail: np.ndarray, done: np.ndarray, meant: np.ndarray, nudge: float) -> np.ndarray:
    """The change of everybody's preferences, for the linear policy, in double precision."""
    w, gradient = WEIGHTS.astype(float), np.zeros((SIZE, A))
    q = obs.astype(float) @ w
    error = q[np.arange(N), done].sum() - q[np.arange(N), meant].sum()
    for i in range(N):
        gradient[:, done[i]] += 2 * error * obs[i]
    after = obs.astype(float) @ (w - nudge * np.sign(gradient))

    def preference(q: np.ndarray) -> np.ndarray:
        e = np.exp((q - q.mean()) / q.std())
        return e / e.sum()

    found = np.zeros(N)
    for i in range(N):
        p, r = preference(q[i][avail[i]]), preference(after[i][avail[i]])
        found[i] = (p * np.log(p / r)).sum()
    return found


def test_who_follows_is_whose_values_change_most_after_a_step_of_adam() -> None:
    obs = np.asarray(jax.random.normal(rng.root(2), (6, N, SIZE)))
    avail = np.ones((N, A), bool)
    avail[3, 1] = False
    meant = np.argmax(np.where(avail, obs @ WEIGHTS, -np.inf), axis=2).astype(np.int32)
    lowest = np.argmin(np.where(avail, obs @ WEIGHTS, np.inf), axis=2).astype(np.int32)
    initial = np.array([0, 1, 2, 3, 0, 1])
    done = np.where(np.arange(N) == initial[:, None], lowest, meant)
    needed = np.array([True, False, True, True, False, True])

    def one(needed: jax.Array, obs: jax.Array, meant: jax.Array, done: jax.Array) -> jax.Array:
        return changes(needed, view(obs=obs, actions=meant, avail=avail), done, 0.05)

    found = np.asarray(jax.jit(jax.vmap(one))(needed, obs, jnp.asarray(meant), jnp.asarray(done)))
    for k in np.flatnonzero(needed):
        expected = by_hand(obs[k], avail, done[k], meant[k], 0.05)
        np.testing.assert_allclose(found[k], expected, rtol=2e-3, atol=1e-6)
        others = np.arange(N) != initial[k]
        wanted = sorted(np.argsort(-np.where(others, expected, -1))[:2].tolist())
        assert np.flatnonzero(most(jnp.asarray(found[k]), jnp.asarray(others), 2)).tolist() == wanted


def test_the_attack_takes_those_followers() -> None:
    obs = np.asarray(jax.random.normal(rng.root(7), (N, SIZE)))
    q = obs @ WEIGHTS
    meant, lowest = q.argmax(1).astype(np.int32), q.argmin(1).astype(np.int32)
    config = RandomWolfpackConfig(window=1, followers=1, nudge=0.05)
    for seed in range(3):
        done, _, _ = run(config, 2, seed, obs=obs, scores=q, actions=meant)
        (initial,) = np.flatnonzero(done[0] != meant)
        expected = by_hand(obs, np.ones((N, A), bool), done[0], meant, 0.05)
        expected[initial] = -1
        assert np.flatnonzero(done[1] != meant).tolist() == [int(expected.argmax())]
        assert done[1, expected.argmax()] == lowest[expected.argmax()]


def test_near_is_near_and_worst_is_legal() -> None:
    np.testing.assert_allclose(alikeness(view(), jnp.int32(2)), [-6.25, -2.25, 0, -0.25], atol=1e-6)
    avail = jnp.ones((N, A), bool).at[0, 0].set(False)
    assert worst(jnp.asarray(SCORES), avail).tolist() == [1, 0, 0, 0]


def test_what_it_must_know_and_whether_it_learns() -> None:
    blind = random_policy(SPEC)
    assert refusal(RandomWolfpackConfig().build(SPEC).threat, blind) is not None
    known = linear()
    assert refusal(WolfpackConfig().build(SPEC).threat, known) is None
    nameless = known._replace(weights=None)
    assert refusal(RandomWolfpackConfig().build(SPEC).threat, nameless) is not None
    assert refusal(RandomWolfpackConfig(followup="near").build(SPEC).threat, nameless) is None
    assert learns(WolfpackConfig())
    assert learns(RandomWolfpackConfig(initial="planner"))
    assert not learns(RandomWolfpackConfig())
    with pytest.raises(ValueError, match="at most 3 can follow"):
        WolfpackConfig(followers=4).build(SPEC)
    with pytest.raises(ValueError, match="temperature"):
        WolfpackConfig(temperature=0.0)
