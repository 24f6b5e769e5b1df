"""EGA beside its formulas worked out in NumPy, archives made by hand, and a game in which two steps of eight count."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng, tree
from ibal.adversaries.base import ActView, Adversary, Feedback
from ibal.adversaries.bundle import adapted
from ibal.adversaries.config import EgaConfig
from ibal.adversaries.ega import archive as ega_archive
from ibal.adversaries.ega import lesson as ega_lesson
from ibal.adversaries.ega.archive import Entry, Member
from ibal.adversaries.ega.attack import Log, Memory, State, ega, scheduled
from ibal.adversaries.ega.lesson import Replay, Steps, budget
from ibal.evaluation.episodes import play
from ibal.experiments.fitting import FitPlan, as_fitted, fit_attacker
from ibal.nets.layers import Linear
from ibal.training.rollout import collect
from ibal.types import Block, Env, EnvSpec, Episodes, ObsLayout, Policy, TimeStep

# Compiled as wholes: operation by operation, most of the time would go into compiling.
probabilities = jax.jit(ega_archive.probabilities, static_argnums=0)
soft_value = jax.jit(ega_archive.soft_value, static_argnums=0)
divergence = jax.jit(ega_archive.divergence)
consider = jax.jit(ega_archive.consider, static_argnums=1)
choose = jax.jit(ega_archive.choose, static_argnums=1)
recorded = jax.jit(ega_lesson.recorded, static_argnums=(0, 1))
targets = jax.jit(ega_lesson.targets, static_argnums=0)
remembered = jax.jit(ega_lesson.remembered)

PLAIN = EgaConfig(delta=0.1, sparsity=0.5, smoothing=0.05)
STEPS, COUNTS = 8, 2


def critical() -> Env:
    """Two agents get 1 at the two steps of eight (drawn anew; the state tells them apart) at which both must do 1."""
    layout = ObsLayout((Block("own", 0, 0, ("constant",)),))
    spec = EnvSpec("critical", 2, 2, 1, 1, STEPS, ("zero", "one"), ("win",), layout, layout)

    def show(marks: jax.Array, t: jax.Array, reward: jax.Array) -> tuple[tuple[jax.Array, jax.Array], TimeStep]:
        now = marks[jnp.minimum(t, STEPS - 1)].astype(jnp.float32)
        step = TimeStep(jnp.ones((2, 1)), now[None], jnp.ones((2, 2), bool), jnp.ones(2, bool), reward,
                        jnp.array(t >= STEPS), jnp.array(False), {"win": reward})  # fmt: skip
        return (marks, t), step

    def reset(key: jax.Array, params: None) -> Any:
        return show(jax.random.permutation(key, jnp.arange(STEPS) < COUNTS), jnp.int32(0), jnp.float32(0))

    def step(key: jax.Array, state: tuple[jax.Array, jax.Array], actions: jax.Array, params: None) -> Any:
        marks, t = state
        return show(marks, t + 1, (marks[t] & (actions == 1).all()).astype(jnp.float32))

    return Env(spec, None, reset, step)


def ones() -> Policy:
    """Does 1, the other action being worse."""

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, jnp.broadcast_to(jnp.array([0.0, 1.0])[None], avail.shape)

    return Policy(lambda: jnp.zeros(()), scores, lambda key, s, avail: jnp.argmax(s, axis=1).astype(jnp.int32))


def constant(*q: float) -> tuple[Linear, ...]:
    """A network whose output does not depend on its (two) inputs."""
    return (Linear(jnp.asarray(np.zeros((2, len(q)), np.float32)), jnp.asarray(np.array(q, np.float32))),)


def member(*q: float) -> Member:
    return Member(constant(*q))


def entry(ones: list[Member], quality: list[float], born: list[int], valid: list[bool] | None = None) -> Entry:
    """Places whose attackers all attacked once, with half of the budget left."""
    n = len(ones)
    points = np.zeros((n, 2, 2), np.float16)
    points[:, 0, 1] = 0.5
    attacked = np.tile([[True, False]], (n, 1))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *ones)
    quality_, born_ = np.array(quality, np.float32), np.array(born, np.int32)
    return Entry(stacked, np.array(valid or [True] * n), quality_, points, attacked, born_)


# The formulas


def test_the_sparse_policy_is_the_closed_form() -> None:
    q = np.array([1.0, 0.4, 0.2])
    weights = np.array([0.05, 0.05, 0.9]) * np.exp(q / 0.5)
    expected = weights / weights.sum() * (1 - 3 * 0.05) + 0.05
    got = probabilities(PLAIN, jnp.array(q, jnp.float32), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    value = soft_value(PLAIN, jnp.array(q, jnp.float32), jnp.array([0.0, 1.0]))
    assert float(value) == pytest.approx(0.5 * math.log(weights.sum()), rel=1e-5)


def test_without_a_budget_nobody_is_attacked() -> None:
    q, spent = jnp.array([5.0, 4.0, 0.25]), jnp.array([0.0, 0.0])
    np.testing.assert_array_equal(probabilities(PLAIN, q, spent), [0, 0, 1])
    assert float(soft_value(PLAIN, q, spent)) == 0.25


def test_large_values_do_not_overflow() -> None:
    default = EgaConfig()
    q = jnp.array([-20.0, 30.0, 0.0])  # exp(30 / 0.04) is beyond any float
    p = probabilities(default, q, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(p, [0.02, 0.96, 0.02], atol=1e-6)
    assert float(soft_value(default, q, jnp.array([0.0, 1.0]))) == pytest.approx(30 + 0.04 * math.log(0.025), rel=1e-4)


def test_divergence_of_known_policies() -> None:
    same = jnp.tile(jnp.array([[0.2, 0.3, 0.5]]), (4, 1))
    assert float(divergence(same)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(jnp.eye(3))) == pytest.approx(math.log(3), rel=1e-5)
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    middle = (p + q) / 2
    jsd = (p * np.log(p / middle)).sum() / 2 + (q * np.log(q / middle)).sum() / 2
    assert float(divergence(jnp.array([p, q], jnp.float32))) == pytest.approx(jsd, rel=1e-4)


def test_targets_of_an_episode_by_hand() -> None:
    config = EgaConfig(budget=2, penalty=0.5, gamma=0.9, delta=0.1, sparsity=0.5)
    spec = critical().spec
    # Three steps played, one of padding: attack agent 1, nobody, attack agent 0; the episode ends with the third.
    log = Log(jnp.array([[1, 2, 0, 0]], jnp.int8), jnp.zeros(1, jnp.int32), jnp.zeros(1, bool))
    episodes = Episodes(
        obs=jnp.zeros((1, 5, 2, 1)), seen=None, state=jnp.zeros((1, 5, 1)), avail=jnp.ones((1, 5, 2, 2), bool),
        action=jnp.zeros((1, 4, 2), jnp.int32), executed=None, reward=jnp.array([[1.0, 2.0, 3.0, 7.0]]),
        terminated=jnp.array([[False, False, True, False]]), length=jnp.array([3]),
        memory=Memory(jnp.zeros(1, jnp.int32), jnp.array([2]), log),
    )  # fmt: skip
    steps = recorded(config, spec, episodes)
    np.testing.assert_array_equal(steps.played, [True, True, True, False, False])
    np.testing.assert_allclose(steps.x[:, 1], [1.0, 0.5, 0.5, 0.0, 0.0])  # what is left of the budget
    np.testing.assert_allclose(steps.reward[:3], [-1.5, -2.0, -3.5])
    q = np.array([0.3, 0.1, 0.2])
    value = 0.5 * math.log((np.array([0.05, 0.05, 0.9]) * np.exp(q / 0.5)).sum())
    y = targets(config, constant(*q), steps, jnp.arange(3))
    np.testing.assert_allclose(y, [-1.5 + 0.9 * value, -2.0 + 0.9 * value, -3.5], rtol=1e-5)


def test_the_replay_keeps_the_last_steps_and_what_each_led_to() -> None:
    def steps(names: list[int], played: list[bool]) -> Steps:
        zeros = jnp.zeros(len(names))
        return Steps(
            jnp.array(names, jnp.float32)[:, None], zeros.astype(jnp.int32), zeros, zeros > 0, jnp.array(played)
        )

    replay = Replay(steps([0] * 6, [False] * 6), jnp.int32(0))
    # Two steps and where they ended, one step and where it ended, and padding.
    replay = remembered(replay, steps([1, 2, 3, 9, 4, 5, 9, 9], [True, True, False, False, True, False, False, False]))
    np.testing.assert_array_equal(replay.steps.x[:, 0], [1, 2, 3, 4, 5, 0])
    np.testing.assert_array_equal(replay.steps.played, [True, True, False, True, False, False])
    replay = remembered(replay, steps([6, 7, 8, 9], [True, True, False, False]))
    np.testing.assert_array_equal(replay.steps.x[:, 0], [7, 8, 3, 4, 5, 6])
    np.testing.assert_array_equal(replay.steps.played, [True, False, False, True, False, True])
    # More than it can hold: the last six.
    replay = remembered(replay, steps(list(range(10, 18)), [True] * 7 + [False]))
    np.testing.assert_array_equal(np.sort(replay.steps.x[:, 0]), range(12, 18))


# The archive


def test_who_is_different_gets_a_place_of_its_own() -> None:
    # KL from the new one: to its like 0.0, to the others more, so the rule looks at the mean; rho 0.9 wants little.
    archive = entry([member(0, 0, 0), member(0, 0, 0), member(0, 0, 0)], [-5, -5, 0], [3, 4, 0], [True, True, False])
    candidate = tree.at(entry([member(9, 0, 0)], [-7], [8]), 0)
    after = consider(rng.root(0), EgaConfig(), archive, candidate, jnp.float32(0.5))
    np.testing.assert_array_equal(after.valid, [True, True, True])
    np.testing.assert_array_equal(after.quality, [-5, -5, -7])
    np.testing.assert_array_equal(after.born, [3, 4, 8])


def test_a_full_archive_drops_the_oldest() -> None:
    archive = entry([member(0, 0, 0)] * 3, [-5, -6, -7], [3, 1, 2])
    candidate = tree.at(entry([member(9, 0, 0)], [-8], [9]), 0)
    after = consider(rng.root(0), EgaConfig(), archive, candidate, jnp.float32(0.5))
    np.testing.assert_array_equal(after.quality, [-5, -8, -7])
    np.testing.assert_array_equal(after.born, [3, 9, 2])


def test_who_is_like_another_competes_with_it() -> None:
    archive = entry([member(9, 0, 0), member(0, 0, 9)], [-15, -4], [0, 1])
    candidate = tree.at(entry([member(0, 0, 9)], [-5], [7]), 0)  # the double of the second
    keys = rng.episodes(rng.root(0), 2000)
    after = jax.vmap(lambda key: consider(key, EgaConfig(), archive, candidate, jnp.float32(0.5)))(keys)
    assert after.quality is not None
    assert after.born is not None
    np.testing.assert_array_equal(after.quality[:, 0], np.full(2000, -15))
    np.testing.assert_array_equal(after.born, np.tile([0, 1], (2000, 1)))  # it takes over the place, age and all
    assert float((after.quality[:, 1] == -5).mean()) == pytest.approx(4 / 9, abs=0.04)  # |q_old| / (|q_new| + |q_old|)


def test_the_first_one_always_gets_in() -> None:
    archive = entry([member(0, 0, 0)] * 2, [0, 0], [0, 0], [False, False])
    candidate = tree.at(entry([member(0, 0, 1)], [-3], [1]), 0)
    after = consider(rng.root(0), EgaConfig(), archive, candidate, jnp.float32(0.5))
    np.testing.assert_array_equal(after.valid, [True, False])


def test_the_strong_are_chosen_more_often() -> None:
    config = EgaConfig(population=2, temperature=1.0)
    archive = entry([member(float(i), 0, 0) for i in range(3)], [-1, -1 - math.log(4), -30], [0, 1, 2])
    fresh = jax.tree.map(lambda *leaves: np.stack(leaves), member(77, 0, 0), member(77, 0, 0))
    keys = rng.episodes(rng.root(0), 2000)
    population, origin = jax.vmap(lambda key: choose(key, config, archive, fresh, jnp.float32(0.25)))(keys)
    share = [float((origin == place).mean()) for place in (0, 1, 2, -1)]
    np.testing.assert_allclose(share, [0.75 * 0.8, 0.75 * 0.2, 0, 0.25], atol=0.03)
    first = population.net[0].b[..., 0]
    np.testing.assert_array_equal(first, np.where(origin < 0, 77, origin))


# Whole games


def collected(env: Env, attack: Adversary, state: Any, count: int) -> Episodes:
    play = jax.jit(lambda state, keys: collect(env, ones(), attack, state, keys).episodes)
    return play(state, rng.episodes(rng.root(1), count))


def test_the_budget_is_kept_and_only_the_worst_action_is_forced() -> None:
    env, config = critical(), EgaConfig(budget=3, smoothing=0.2)
    attack = ega(config, env.spec)
    state = jax.jit(attack.init)(rng.root(0))
    episodes = collected(env, attack, state, 64)
    assert episodes.executed is not None
    replaced = np.asarray(episodes.executed != episodes.action)
    assert replaced.sum((1, 2)).max() == 3
    assert (replaced.sum(2) <= 1).all()
    assert np.asarray(episodes.executed)[replaced].max() == 0
    issued = (np.asarray(episodes.memory.log.choices) < 2).sum(1)
    np.testing.assert_array_equal(issued, episodes.memory.used)
    np.testing.assert_array_equal(issued, replaced.sum((1, 2)))


def test_attacks_on_the_dead_are_issued_without_an_effect() -> None:
    env, config = critical(), EgaConfig(archive=1, budget=2, evaluation=True, smoothing=0.0)
    attack = ega(config, env.spec)
    nets = jax.tree.map(lambda leaf: leaf[None], constant(50.0, 0.0, 0.0))
    state = State(Entry(Member(nets), jnp.array([True])))
    _, step = env.reset(rng.root(0), None)
    for alive, expected in (([True, True], [0, 1]), ([False, True], [1, 1])):
        now, both = step._replace(alive=jnp.array(alive)), jnp.ones(2, jnp.int32)
        scores = jnp.array([[0.0, 1.0], [0.0, 1.0]])
        view = ActView(now, jnp.zeros(()), both, ones(), jnp.int32(0), step.obs, scores, both)
        memory = attack.begin(rng.root(1), state, now)
        executed, memory = attack.act(rng.root(2), state, memory, view)
        np.testing.assert_array_equal(executed, expected)
        assert int(memory.used) == 1


def test_an_action_that_is_not_legal_is_never_the_worst() -> None:
    env = critical()
    attack = ega(EgaConfig(archive=1, evaluation=True, smoothing=0.0), env.spec)
    state = State(Entry(Member(jax.tree.map(lambda leaf: leaf[None], constant(50.0, 0.0, 0.0))), jnp.array([True])))
    _, step = env.reset(rng.root(0), None)
    step = step._replace(avail=jnp.array([[False, True], [True, True]]))
    both, scores = jnp.ones(2, jnp.int32), jnp.array([[0.0, 1.0], [0.0, 1.0]])
    view = ActView(step, jnp.zeros(()), both, ones(), jnp.int32(0), step.obs, scores, both)
    executed, _ = attack.act(rng.root(2), state, attack.begin(rng.root(1), state, step), view)
    np.testing.assert_array_equal(executed, [1, 1])


@pytest.mark.parametrize(("name", "expected"), [("smac/3m", 6), ("smac/8m", 8)])
def test_the_budget_of_a_map(name: str, expected: int) -> None:
    from ibal import make

    assert budget(EgaConfig(), make(name).spec) == expected
    assert budget(EgaConfig(budget=4), make(name).spec) == 4


def test_the_population_learns_to_strike_when_it_counts() -> None:
    env = critical()
    config = EgaConfig(population=2, archive=4, budget=2, hidden=16, lr=2e-3, length=5, generations=12, penalty=0.1,
                       updates=32, minibatch=128, replay=4096, rounds=60, soft=0.05)  # fmt: skip
    fitted = fit_attacker(config, env, ones(), FitPlan(epsilon=0.0))
    attack = as_fitted(config).build(env.spec)
    keys = rng.episodes(rng.root(9), 400)
    learned = float(play(env, ones(), keys, adversary=attack, attacker=fitted).returns.mean())
    # Attacks at two random steps of eight meet each of the two that count with probability 1/4: 1.5 of 2 are left.
    assert learned < 1.0


def test_what_is_not_open_is_not_played() -> None:
    env = critical()
    config = EgaConfig(archive=3, budget=8, evaluation=True, smoothing=0.001)
    attack = ega(config, env.spec)
    always, never = constant(50.0, 0.0, 0.0), constant(0.0, 0.0, 50.0)
    nets = jax.tree.map(lambda *leaves: np.stack(leaves), never, always, never)
    state = State(Entry(Member(nets), jnp.array([False, True, False])))
    episodes = collected(env, attack, state, 32)
    np.testing.assert_array_equal(episodes.memory.member, np.ones(32))
    assert episodes.executed is not None
    assert (np.asarray(episodes.executed)[:, :, 0] == 0).mean() > 0.97


@cache
def romance() -> Any:
    """The training of ROMANCE in miniature: attackers that learn, and one update of it, compiled once."""
    config = EgaConfig(population=2, archive=4, budget=2, hidden=8, length=4, updates=1, minibatch=8, states=4,
                       points=4, replay=64, freeze=0.625)  # fmt: skip
    env = critical()
    attack = ega(config, env.spec)
    state = jax.jit(attack.init)(rng.root(0))
    keys = rng.episodes(rng.root(1), 8)
    episodes = jax.jit(lambda state, keys: collect(env, ones(), attack, state, keys).episodes)(state, keys)
    update = jax.jit(attack.update)

    def after(state: State, iteration: int, part: float | None) -> State:
        zero = jnp.float32(0)
        told = Feedback(zero, zero, zero, jnp.int32(iteration), None if part is None else jnp.float32(part))
        return update(rng.root(2), state, episodes, told)[0]

    return state, after


def moved(before: Any, after: Any) -> bool:
    return any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*map(jax.tree.leaves, (before, after)),
                                                                    strict=True))  # fmt: skip


def test_a_short_training_passes_through_the_whole_schedule() -> None:
    """Four generations or four hundred: nobody learns in the last 37.5 % of the budget, and the archive stays."""
    state, after = romance()
    assert float(state.tally.suppressed) == 0.5
    early = after(state, 3, 0.0625)  # the end of the first generation, half of ``early``
    assert moved(state.population, early.population)
    assert early.archive.valid.any()
    assert float(early.tally.suppressed) == pytest.approx(0.25)
    middle = after(early, 7, 0.62)
    assert moved(early.archive, middle.archive)
    assert float(middle.tally.suppressed) == 0
    late = after(middle, 8, 0.63)  # the third generation: long before 0.625 of any number of them
    assert not moved(middle.population, late.population)
    ended = after(late, 11, 0.99)
    assert not moved(late.archive.member, ended.archive.member)


def test_a_schedule_is_a_share_of_the_training_or_of_so_many_generations() -> None:
    def share(config: EgaConfig, iteration: int, part: float | None) -> float:
        zero = jnp.float32(0)
        told = Feedback(zero, zero, zero, jnp.int32(iteration), None if part is None else jnp.float32(part))
        return float(scheduled(config, told))

    assert share(EgaConfig(), 5, 0.25) == 0.25
    assert share(EgaConfig(), 5, None) == 0
    assert share(EgaConfig(generations=4, length=5), 9, 0.25) == 0.5
    with pytest.raises(ValueError, match="generations is 0; at least 1"):
        EgaConfig(generations=0)


def test_too_much_smoothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"smoothing is 0\.4"):
        ega(EgaConfig(smoothing=0.4), critical().spec)


def test_a_fitted_state_fits_the_evaluated_form() -> None:
    env, config = critical(), EgaConfig(archive=3, hidden=8)
    trained = jax.jit(ega(config, env.spec).init)(rng.root(0))
    kept = adapted(trained, as_fitted(config).build(env.spec).init)
    assert kept.population is None
    np.testing.assert_array_equal(kept.archive.member.net[0].w, trained.archive.member.net[0].w)
