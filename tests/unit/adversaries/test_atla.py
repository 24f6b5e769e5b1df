"""ATLA on a game whose best attack is known: flip the sign of what is seen, if it is small enough."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.atla import State, lesson
from ibal.adversaries.base import Adversary
from ibal.adversaries.bundle import adapted
from ibal.adversaries.check import check_adversary
from ibal.adversaries.config import AtlaConfig
from ibal.evaluation.episodes import play
from ibal.evaluation.scripted import random_policy
from ibal.experiments.fitting import FitPlan, fit_attacker
from ibal.nets.layers import Linear
from ibal.training.rollout import collect
from ibal.types import Block, Env, EnvSpec, Episodes, ObsLayout, Policy, TimeStep

LEAK = make("toy/leak", n_agents=4, noise=1)
SMALL = AtlaConfig(hidden=16, every=1, updates=32, minibatch=64, lr=3e-3, rounds=120)
STEPS, SIGNAL = 5, 0.08
# Compiled as wholes: operation by operation, most of the time would go into compiling.
_samples = jax.jit(lesson.samples_of, static_argnums=(0, 1))
_loss = jax.jit(lesson.loss, static_argnums=2)
_init = jax.jit(lesson.init, static_argnums=(1, 2))
perceptron = jax.jit(lesson.perceptron)


def signals() -> Env:
    """Two agents see a sign of size ``SIGNAL``, drawn anew at every step, among noise; they earn 1/2 each for naming
    it. An attack of eps 0.1 on one agent can hide it completely: at best 1/2 a step is left."""
    layout = ObsLayout((Block("own", 0, 0, ("sign", "noise", "noise2")),))
    spec = EnvSpec("signals", 2, 2, 3, 2, STEPS, ("minus", "plus"), ("win",), layout, layout)

    def show(key: jax.Array, t: jax.Array, reward: jax.Array) -> tuple[tuple[jax.Array, jax.Array], TimeStep]:
        sign = jax.random.bernoulli(rng.stream(key, "sign"), 0.5, (2,)).astype(jnp.int32)
        noise = 0.1 * jax.random.normal(rng.stream(key, "noise"), (2, 2))
        obs = jnp.concatenate((SIGNAL * (2 * sign - 1)[:, None].astype(jnp.float32), noise), axis=1)
        over = jnp.array(t >= STEPS)
        step = TimeStep(obs, sign.astype(jnp.float32), jnp.ones((2, 2), bool), jnp.ones(2, bool), reward, over,
                        jnp.array(False), {"win": over.astype(jnp.float32)})  # fmt: skip
        return (t, sign), step

    def step(key: jax.Array, state: tuple[jax.Array, jax.Array], actions: jax.Array, params: None):
        t, sign = state
        return show(key, t + 1, (actions == sign).mean(dtype=jnp.float32))

    return Env(spec, None, lambda key, params: show(key, jnp.int32(0), jnp.float32(0)), step)


def reader() -> Policy:
    """Names the sign it sees."""

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, jnp.stack((-obs[:, 0], obs[:, 0]), axis=1)

    return Policy(lambda: jnp.zeros(()), scores, lambda key, s, avail: jnp.argmax(s, axis=1).astype(jnp.int32))


def begun(attack: Adversary, seed: int) -> State:
    return jax.jit(attack.init)(rng.root(seed))


def collected(attack: Adversary, state: State, count: int) -> Episodes:
    play = jax.jit(lambda state, keys: collect(signals(), reader(), attack, state, keys).episodes)
    return play(state, rng.episodes(rng.root(2), count))


def earned(env: Env, config: AtlaConfig, state: State) -> float:
    attack = config.build(env.spec)
    return float(play(env, reader(), rng.episodes(rng.root(9), 400), adversary=attack, attacker=state).returns.mean())


def test_it_learns_to_hide_what_random_noise_of_its_size_does_not() -> None:
    env = signals()
    evaluated = AtlaConfig(hidden=16, evaluation=True)
    fitted = fit_attacker(SMALL, env, reader(), FitPlan(epsilon=0.0))
    assert fitted.opt is None  # only what plays is kept
    # An untrained attacker of large spread is random noise within the same bounds.
    random = _init(rng.root(0), SMALL, env.spec)
    random = random._replace(net=random.net._replace(spread=jnp.full(3, 5.0)))
    with_noise = earned(env, SMALL, random)
    assert with_noise == pytest.approx(STEPS * 0.75, abs=0.1)  # noise of full size has the wrong sign half of the time
    assert earned(env, evaluated, fitted) < STEPS * 0.55  # 0.5: the attacked agent never names the sign


def test_what_the_update_draws_again_is_what_was_seen() -> None:
    env = signals()
    attack = SMALL.build(env.spec)
    state = begun(attack, 1)
    episodes = collected(attack, state, 6)
    samples, played, _ = _samples(SMALL, env.spec, state, episodes)
    assert played.all()
    assert episodes.seen is not None
    difference = np.asarray(episodes.seen - episodes.obs, np.float32)[:, :-1]  # [b, t, 2, 3]
    who = np.asarray(samples.x[:, 3:]).argmax(1).reshape(6, STEPS)
    change = 0.1 * np.clip(np.asarray(samples.delta), -1, 1).reshape(6, STEPS, 3)
    np.testing.assert_allclose(np.take_along_axis(difference, who[..., None, None], 2)[:, :, 0], change, atol=2e-4)
    np.testing.assert_allclose(np.take_along_axis(difference, 1 - who[..., None, None], 2), 0, atol=1e-6)


def test_advantages_and_targets_by_hand() -> None:
    """A value of 2 everywhere, rewards 0 but the last: gamma and lambda 1/2."""
    env = signals()
    config = AtlaConfig(hidden=4, gamma=0.5, gae_lambda=0.5)
    state = begun(config.build(env.spec), 1)
    assert state.net.critic is not None
    flat = tuple(Linear(jnp.zeros_like(w), jnp.zeros_like(b)) for w, b in state.net.critic[:-1])
    critic = (*flat, Linear(jnp.zeros((4, 1)), jnp.full(1, 2.0)))
    state = state._replace(net=state.net._replace(critic=critic), square=jnp.float32(4.0))
    episodes = collected(config.build(env.spec), state, 1)
    reward = jnp.zeros((1, STEPS)).at[0, 2].set(-6.0).at[0, 3:].set(99.0)
    ended = jnp.zeros((1, STEPS), bool).at[0, 2].set(True)
    episodes = episodes._replace(reward=reward, terminated=ended, length=jnp.array([3]))
    samples, played, square = _samples(config, env.spec, state, episodes)
    assert played.tolist() == [True, True, True, False, False]
    returns = np.array([1.5, 3.0, 6.0])
    assert float(square) == pytest.approx(0.95 * 4 + 0.05 * (returns**2).mean(), rel=1e-6)
    scaled = 6.0 / np.sqrt(float(square))
    second = 0.5 * (0.5 * 2 + 0.5 * scaled)
    targets = np.array([0.5 * (0.5 * 2 + 0.5 * second), second, scaled])
    np.testing.assert_allclose(samples.target[:3], targets, rtol=1e-5)
    ahead = targets - 2
    expected = (ahead - ahead.mean()) / (ahead.std() + 1e-5)
    np.testing.assert_allclose(samples.advantage[:3], expected, rtol=1e-4, atol=1e-5)


def test_the_loss_of_an_unchanged_attacker_is_that_of_its_value_alone_and_ratios_are_clipped() -> None:
    env = signals()
    state = begun(SMALL.build(env.spec), 1)
    episodes = collected(SMALL.build(env.spec), state, 8)
    samples, _, _ = _samples(SMALL, env.spec, state, episodes)
    assert state.net.critic is not None
    value = 0.5 * ((perceptron(state.net.critic, samples.x)[:, 0] - samples.target) ** 2).mean()
    assert float(_loss(state.net, samples, SMALL)) == pytest.approx(float(value), abs=1e-4)  # advantages have mean 0
    # Twice as likely as before: gains are cut at 1.2, losses are not.
    bolder = samples._replace(logp=samples.logp - jnp.log(2.0))
    gain = np.where(np.asarray(samples.advantage) > 0, 1.2, 2.0) * np.asarray(samples.advantage)
    assert float(_loss(state.net, bolder, SMALL)) == pytest.approx(float(value) - gain.mean(), abs=1e-3)


def test_both_forms_keep_their_threat_and_the_evaluated_one_needs_less() -> None:
    trained = AtlaConfig(eps=0.2, hidden=8)
    state = begun(trained.build(LEAK.spec), 0)
    fixed = AtlaConfig(eps=0.2, hidden=8, evaluation=True).build(LEAK.spec)
    wide = [Linear(w * 100, b) for w, b in state.net.actor]  # what is learned is not small
    kept = adapted(state._replace(net=state.net._replace(actor=tuple(wide))), fixed.init)
    for attack, learned in ((trained.build(LEAK.spec), state), (fixed, kept)):
        assert check_adversary(attack, LEAK, random_policy(LEAK.spec), state=learned).seen_otherwise > 0
