"""ERNIE's penalty: its value by hand, the ascent goes up, and training with it makes a team smoother."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibal import make, rng
from ibal.adversaries.base import natural
from ibal.evaluation.scripted import random_policy
from ibal.learners.base import Progress
from ibal.learners.config import PpoConfig, PqnConfig, ValueConfig
from ibal.learners.ernie import penalty, worst_noise
from ibal.learners.ppo.mappo import ppo_learner
from ibal.learners.pqn import pqn_learner
from ibal.learners.value import value_learner
from ibal.nets import agents
from ibal.training.rollout import collect

CONFIG = ValueConfig(smooth=0.1)
T, B, SEEN, A = 6, 3, 4, 3
KEY = rng.root(5)


def world(hidden: int = 8) -> tuple[agents.PyMarlAgent, jax.Array, jax.Array, jax.Array, jax.Array]:
    params = jax.jit(agents.init, static_argnums=(1, 2, 3))(rng.root(1), SEEN + 2, A, hidden)
    inputs = jax.random.normal(rng.root(2), (T, B, SEEN + 2))
    keep = jnp.ones((T, B)).at[3, 0].set(0.0)
    avail = jnp.ones((T, B, A), bool).at[2, 1, 0].set(False)
    counts = jnp.ones((T, B), bool).at[5].set(False)
    return params, inputs, keep, avail, counts


def scores(params: agents.PyMarlAgent, inputs: jax.Array, keep: jax.Array) -> jax.Array:
    return agents.unroll(params, agents.start(params, inputs.shape[1]), inputs, keep)[1]


def by_hand(delta: np.ndarray) -> float:
    """The mean KL over the steps that count, computed step by step."""
    params, inputs, keep, avail, counts = world()
    total, apply = 0.0, jax.jit(agents.apply)
    for b in range(B):
        hidden: list[Any] = [np.zeros((1, 8), np.float32)] * 2
        for t in range(T):
            logs = []
            for side, extra in enumerate((np.zeros(SEEN, np.float32), delta[t, b])):
                x = np.concatenate((np.asarray(inputs[t, b, :SEEN]) + extra, np.asarray(inputs[t, b, SEEN:])))
                hidden[side] = hidden[side] * np.asarray(keep[t, b])
                hidden[side], q = apply(params, jnp.asarray(hidden[side]), jnp.asarray(x[None]))
                legal = np.asarray(q)[0][np.asarray(avail[t, b])]
                logs.append(legal - np.log(np.exp(legal).sum()))
            total += float((np.exp(logs[0]) * (logs[0] - logs[1])).sum()) * bool(counts[t, b])
    return total / int(counts.sum())


def test_the_penalty_is_the_mean_divergence_under_the_noise_found() -> None:
    params, inputs, keep, avail, counts = world()
    found = jax.jit(penalty, static_argnums=(2, 7, 8))(KEY, params, scores, inputs, keep, avail, counts, SEEN, CONFIG)

    @jax.jit
    def penalty_at(delta: jax.Array) -> jax.Array:
        calm, noisy = (_log_policy(params, inputs, keep, avail, d) for d in (jnp.zeros_like(delta), delta))
        each = (jnp.exp(calm) * jnp.where(avail, calm - noisy, 0.0)).sum(-1)
        return jnp.where(counts, each, 0.0).sum() / 15.0

    delta = jax.jit(lambda key: worst_noise(key, penalty_at, (T, B, SEEN), CONFIG))(KEY)
    assert float(jnp.abs(delta).max()) <= 0.1 + 1e-7
    # Both in float32: of logarithms that differ by a hundredth, the difference has four digits.
    assert float(found) == pytest.approx(by_hand(np.asarray(delta)), rel=3e-4)
    begin = CONFIG.smooth_init * jax.random.normal(KEY, delta.shape)
    random = 0.1 * jnp.sign(jax.random.normal(rng.root(8), delta.shape))  # of the same size, without a gradient
    assert float(penalty_at(delta)) > 5 * float(penalty_at(begin))
    assert float(penalty_at(delta)) > 1.5 * float(penalty_at(random))


def _log_policy(params: agents.PyMarlAgent, inputs: jax.Array, keep: jax.Array, avail: jax.Array, delta: jax.Array):
    x = jnp.concatenate((inputs[..., :SEEN] + delta, inputs[..., SEEN:]), axis=-1)
    _, q = agents.unroll(params, agents.start(params, B), x, keep)
    return jax.nn.log_softmax(jnp.where(avail, q, -1e9), axis=-1)


def test_descending_it_makes_the_team_smoother() -> None:
    """How far values move per size of a random change: a local Lipschitz constant, measured without the penalty."""
    params, inputs, keep, avail, counts = world()
    step = optax.adam(1e-2)

    @jax.jit
    def bend(params: agents.PyMarlAgent) -> jax.Array:
        moved = 0.05 * jax.random.normal(rng.root(7), (T, B, SEEN))
        q = [agents.unroll(params, agents.start(params, B), x, keep)[1]
             for x in (inputs, inputs.at[..., :SEEN].add(moved))]  # fmt: skip
        return jnp.linalg.norm(q[1] - q[0]) / jnp.linalg.norm(moved)

    @jax.jit
    def descend(carry: tuple[agents.PyMarlAgent, optax.OptState], index: jax.Array):
        now, moments = carry
        gradient = jax.grad(
            lambda p: penalty(rng.at(KEY, index), p, scores, inputs, keep, avail, counts, SEEN, CONFIG)
        )(now)
        with jax.numpy_dtype_promotion("standard"):
            change, moments = step.update(gradient, moments)
        return (optax.apply_updates(now, change), moments), None

    (after, _), _ = jax.lax.scan(descend, (params, step.init(params)), jnp.arange(60))
    assert float(bend(after)) < 0.5 * float(bend(params))


@pytest.mark.parametrize("kind", [PqnConfig, PpoConfig])
def test_learners_without_a_replay_add_it_to_the_agents_alone(kind: Any) -> None:
    env = make("toy/leak", n_agents=4, noise=1)
    keys = rng.episodes(rng.root(3), 8)
    played = jax.jit(lambda keys: collect(env, random_policy(env.spec), natural(), (), keys).episodes)(keys)
    small = {"hidden": 8, "epochs": 1, "minibatches": 1, "grad_clip": 1e9, "lr": 1e-2, "smooth_rows": 1}
    make_learner = pqn_learner if kind is PqnConfig else ppo_learner
    plain, heavy = (make_learner(env.spec, kind(**small, smooth=w)) for w in (0.0, 1.0))
    state, now = jax.jit(plain.init)(rng.root(0)), Progress(jnp.int32(0), jnp.float32(1))
    louder = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.sin(37 * leaf + 1), state.params.agent)
    state = state._replace(params=state.params._replace(agent=louder))
    heavily = jax.jit(heavy.update)
    (calm, said), (bent, told) = jax.jit(plain.update)(KEY, state, played, now), heavily(KEY, state, played, now)
    assert "smoothness" not in said
    assert float(told["smoothness"]) > 1e-4
    for a, b in zip(*(jax.tree.leaves(one.params[1]) for one in (calm, bent)), strict=True):
        np.testing.assert_array_equal(a, b)  # the mixer or the critic
    agent = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one.params.agent)]) for one in (calm, bent)]
    assert np.abs(agent[0] - agent[1]).max() > 1e-5
    spared = heavily(KEY, state._replace(updates=jnp.int32(1)), played, now)[1]
    assert float(spared["smoothness"]) == 0  # due at every fifth update only
    assert float(spared["grad_norm"]) == pytest.approx(float(said["grad_norm"]), rel=1e-5)
    other = heavily(rng.root(6), state, played, now)[1]
    assert float(other["smoothness"]) != float(told["smoothness"])  # rows and noise are those of the key


def test_the_learner_adds_the_penalty_to_the_agents_and_leaves_the_mixer_alone() -> None:
    env = make("toy/leak", n_agents=4, noise=1)
    keys = rng.episodes(rng.root(3), 8)
    played = jax.jit(lambda keys: collect(env, random_policy(env.spec), natural(), (), keys).episodes)(keys)
    chosen, left = jnp.arange(8), jnp.float32(1)
    small = {"hidden": 8, "batch": 8, "optimiser": "rmsprop", "grad_clip": 1e9}
    plain, smooth, heavy = (value_learner(env.spec, ValueConfig(**small, smooth=w)) for w in (0.0, 1e-9, 1.0))
    state = jax.jit(plain.init)(rng.root(0))
    update, _, heavily = updates = [jax.jit(learner.update) for learner in (plain, smooth, heavy)]
    after = [each(KEY, state, played, chosen, left) for each in updates]
    assert "smoothness" not in after[0][1]
    assert float(after[1][1]["smoothness"]) > 0
    for a, b in zip(jax.tree.leaves(after[0][0].params), jax.tree.leaves(after[1][0].params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # a weight of next to nothing changes nothing
    mixers = [jax.tree.leaves(one[0].params.mixer) for one in after]
    assert all(np.array_equal(a, b) for a, b in zip(mixers[0], mixers[2], strict=True))
    agent = [np.concatenate([np.ravel(leaf) for leaf in one[0].params.agent]) for one in after]
    assert np.abs(agent[0] - agent[2]).max() > 1e-4
    again, other = (heavily(key, state, played, chosen, left)[1]["smoothness"] for key in (KEY, rng.root(6)))
    assert float(again) == float(after[2][1]["smoothness"]) != float(other)  # rows and noise are those of the key
    later = state._replace(updates=jnp.int32(1))  # the penalty is due at every fifth update
    spared, metrics = heavily(KEY, later, played, chosen, left)
    assert float(metrics["smoothness"]) == 0
    for a, b in zip(jax.tree.leaves(update(KEY, later, played, chosen, left)[0].params),
                    jax.tree.leaves(spared.params), strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-6)
