"""The mixture of failures: its weights by hand, one failure at a time, and who learns from what."""

from __future__ import annotations

from functools import cache
from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Adversary, Feedback, Threat
from ibal.adversaries.check import check_adversary
from ibal.adversaries.worst_first import State, WorstFirstConfig, scored, together, weights
from ibal.learners.config import ValueConfig
from ibal.nets.agents import init as agent
from ibal.nets.pymarl import pymarl_agent
from ibal.training.config import TrainConfig
from ibal.training.rollout import collect
from ibal.training.runner import build
from ibal.types import Env, Policy
from unit.viz import skirmish

ENV = skirmish.make()
SPEC = ENV.spec
SOME = WorstFirstConfig(failures=("natural", "stop-1", "noise-10"), calm=3)


def victim() -> Policy:
    return pymarl_agent(SPEC, 8).bind(
        agent(rng.root(0), SPEC.obs_size + SPEC.n_actions + SPEC.n_agents, SPEC.n_actions, 8)
    )


@cache
def some() -> Adversary:
    return SOME.build(SPEC)


def told(success: float) -> Feedback:
    return Feedback(jnp.float32(success), jnp.float32(0), jnp.float32(0), jnp.int32(0))


def state_of(attack: Adversary, which: int) -> State:
    return attack.init(rng.root(0))._replace(which=jnp.int32(which))


def test_the_weights_are_those_that_one_computes_by_hand() -> None:
    config = WorstFirstConfig(failures=("natural", "stop-1", "noise-10"), eta=2.0, floor=0.1)
    # exp(2 debt) is 1, 9, 1: softmax 1/11, 9/11, 1/11; 70 % of that, and 10 % for everybody
    found = np.asarray(weights(config, jnp.array([0.0, log(3), 0.0])))
    np.testing.assert_allclose(found, [0.1 + 0.7 / 11, 0.1 + 6.3 / 11, 0.1 + 0.7 / 11], rtol=1e-5)


def played(config: WorstFirstConfig, which: int, *successes: float) -> State:
    state = state_of(config.build(SPEC), which)
    for success in successes:
        state = scored(config, state, jnp.float32(success))
    return state


def test_debts_against_targets_that_are_known() -> None:
    state = played(WorstFirstConfig(failures=("natural", "stop-1"), targets=(1.0, 0.8), keep=0.5), 1, 0.5, 0.2)
    # .8 - .5, then half of that and .8 - .2
    np.testing.assert_allclose(state.debt, [0.0, 0.5 * 0.3 + 0.6], rtol=1e-6)
    np.testing.assert_array_equal(state.played, [0, 2])


def test_debts_against_the_best_so_far() -> None:
    config = WorstFirstConfig(failures=("natural", "stop-1"), keep=0.5, margin=0.1)
    state = played(config, 1, 0.6, 0.2)
    # the mean is .6, the target .7, the debt .1; then the mean is .4, the best is .6 still: half of .1, and .7 - .2
    np.testing.assert_allclose([state.mean[1], state.best[1], state.debt[1]], [0.4, 0.6, 0.55], rtol=1e-6)
    # What nobody can win owes no more than margin / (1 - keep), however often it is lost; what is always won owes
    # nothing, since no target is above 1.
    assert float(played(config, 1, *[0.0] * 40).debt[1]) == pytest.approx(0.2, rel=1e-4)
    assert float(played(config, 1, *[1.0] * 40).debt[1]) == 0.0


def test_one_failure_is_there_at_a_time() -> None:
    attack = some()
    for which in range(3):
        state = state_of(attack, which)
        report = check_adversary(attack, ENV, victim(), state=state, key=rng.root(3), episodes=3)
        assert (report.replaced > 0) == (which == 1)
        assert (report.seen_otherwise > report.steps // 2) == (which == 2)
        memory = attack.begin(rng.root(1), state, jax.jit(ENV.reset)(rng.root(0), ENV.params)[1])
        assert int(memory.which) == which
        assert bool(memory.parts[1].who.any()) == (which == 1)  # of those that are not there nothing is remembered
        assert bool(memory.parts[2].who.any()) == (which == 2)


def updated(attack: Adversary, state: State, success: float = 0.5, seed: int = 0) -> State:
    return updates(attack)(rng.root(seed), state, recorded(attack, int(state.which)), told(success))[0]


@cache
def updates(attack: Adversary) -> Any:
    return jax.jit(attack.update)


@cache
def playing(attack: Adversary) -> Any:
    keys = rng.episodes(rng.root(5), 4)
    return jax.jit(lambda state: collect(ENV, victim(), attack, state, keys).episodes)


def recorded(attack: Adversary, which: int) -> Any:
    return playing(attack)(state_of(attack, which))


def test_the_beginning_is_calm_and_then_the_worst_comes_most() -> None:
    attack = some()
    state = attack.init(rng.root(0))
    for _ in range(2):
        state = updated(attack, state, 1.0)
        assert int(state.which) == 0
    owing = state._replace(debt=jnp.array([0.0, 3.0, 0.0]))
    update = jax.jit(jax.vmap(attack.update, (0, None, None, None)))
    after, said = update(jax.random.split(rng.root(9), 2000), owing, recorded(attack, 0), told(1.0))
    share = float(said["share/stop-1"][0])
    assert share == pytest.approx(float(weights(SOME, jnp.array([0.0, 3.0, 0.0]))[1]), rel=1e-5)
    assert float((after.which == 1).mean()) == pytest.approx(share, abs=0.03)
    assert {int(k) for k in after.which} == {0, 1, 2}


def moved(before: Any, after: Any) -> bool:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


def test_an_attack_learns_from_natural_games_and_its_own() -> None:
    attack = WorstFirstConfig(failures=("natural", "interaction", "noise-10")).build(SPEC)
    for which, learns in ((0, True), (1, True), (2, False)):
        state = state_of(attack, which)
        after = updated(attack, state)
        assert moved(state.parts[1].theta, after.parts[1].theta) == learns, which
        assert [int(k) for k in after.lessons] == [0, int(learns), 0]


def test_what_the_world_does_is_a_failure_too() -> None:
    def perturb(params: jax.Array, name: str) -> jax.Array:
        kind, _, amount = name.partition("-")
        assert kind == "hp"
        return params * (1 - int(amount) / 100)

    world = ENV._replace(params=jnp.float32(2.0), perturb=perturb)
    attack = WorstFirstConfig(failures=("natural", "hp-25", "hp-50+noise-10")).build(SPEC)
    assert attack.world is not None
    found = [float(attack.world(state_of(attack, k), world)) for k in range(3)]
    assert found == [2.0, 1.5, 1.0]
    with pytest.raises(ValueError, match='cannot follow "hp-25"'):
        attack.world(state_of(attack, 0), ENV)
    assert some().world is None


def test_a_rollout_is_played_in_the_world_of_the_failure() -> None:
    """The reward of a step is the parameter."""

    def step(key: jax.Array, state: Any, actions: jax.Array, params: jax.Array) -> Any:
        state, after = ENV.step(key, state, actions, ())
        return state, after._replace(reward=params)

    world: Env = ENV._replace(
        params=jnp.float32(1.0), reset=lambda key, params: ENV.reset(key, ()), step=step,
        perturb=lambda params, name: params / 4,
    )  # fmt: skip
    attack = WorstFirstConfig(failures=("natural", "hp-25")).build(SPEC)
    for which, reward in ((0, 1.0), (1, 0.25)):
        rollout = collect(world, victim(), attack, state_of(attack, which), rng.episodes(rng.root(1), 2))
        np.testing.assert_allclose(rollout.returns, reward * rollout.episodes.length.astype(jnp.float32), rtol=1e-5)


def test_a_team_trains_against_it_several_seeds_in_one_program() -> None:
    learner = ValueConfig(hidden=8, batch=8, optimiser="adam", privileged=True)
    train = TrainConfig(steps=10_000, envs=8, replay=64, learn_from=8, chunk=6, updates_per_episode=0.25)
    made = build(ENV, learner, train, 2, some())
    state, metrics = made.chunk(made.init(jnp.stack([rng.root(0), rng.root(1)])))
    shares = sum(metrics[f"share/{name}"] for name in SOME.failures)
    np.testing.assert_allclose(shares, np.ones((2, 6)), rtol=1e-5)
    np.testing.assert_array_equal(state.attacker.played.sum(1), [6, 6])
    assert np.isfinite(metrics["learning"]["loss"][:, -1]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"failures": ("stop-1", "natural")}, 'must be "natural" and at least one more'),
        ({"failures": ("natural", "stop-1", "stop-1")}, "each once"),
        ({"failures": ("natural", "ega")}, "learns by playing"), ({"failures": ("natural", "atla")}, "by playing"),
        ({"failures": ("natural", "stopp-1")}, 'Closest: "stop"'),
        ({"failures": ("natural", "stop-1"), "targets": (1.0,)}, "1 numbers, but there are 2 failures"),
        ({"failures": ("natural", "stop-1"), "targets": (1.0, 1.5)}, "targets"),
        ({"floor": 0.3}, "floor"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        WorstFirstConfig(**options).build(SPEC)
    assert "\n" not in str(error.value)


def test_where_nothing_can_be_won_nothing_says_what_is_worst() -> None:
    with pytest.raises(ValueError, match="cannot be won"):
        SOME.build(make("toy/leak").spec)


def test_a_threat_is_that_of_the_greatest() -> None:
    found = together([
        Threat(), Threat(("scores",), ("act",), agents=1), Threat(("gradient",), ("obs",), agents=2, eps=0.1, dims=3),
        Threat((), ("obs", "act"), agents=None, eps=None, dims=9),
    ])  # fmt: skip
    assert found == Threat(("scores", "gradient"), ("obs", "act"), agents=None, eps=None, dims=9)
