"""FGSM and PGD against policies whose gradients are known by hand, and against a recurrent network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import build
from ibal.adversaries.base import ObsView, refusal
from ibal.adversaries.config import FgsmConfig, PgdConfig
from ibal.evaluation.scripted import random_policy
from ibal.nets.agents import init
from ibal.nets.pymarl import pymarl_agent
from ibal.ops.categorical import log_policy
from ibal.types import Policy, TimeStep

SPEC = make("toy/leak", n_agents=4, noise=1).spec
N, SIZE, A = SPEC.n_agents, SPEC.obs_size, SPEC.n_actions
SLOPES = np.asarray(jax.random.normal(rng.root(1), (SIZE, A)))  # of a linear policy: Q = o W


def linear() -> Policy:
    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, obs @ SLOPES

    return Policy(lambda: jnp.zeros(()), scores, lambda key, scores, avail: jnp.argmax(scores, axis=1))


def view(policy: Policy, avail: np.ndarray | None = None, alive: np.ndarray | None = None, seed: int = 2) -> ObsView:
    obs = jax.random.normal(rng.root(seed), (N, SIZE))
    legal = jnp.ones((N, A), bool) if avail is None else jnp.asarray(avail)
    there = jnp.ones(N, bool) if alive is None else jnp.asarray(alive)
    none = jnp.array(False)
    step = TimeStep(obs, jnp.zeros(SPEC.state_size), legal, there, jnp.float32(0), none, none, {})
    return ObsView(step, policy.start(), jnp.full(N, -1), policy, jnp.int32(0))


def seen(config: FgsmConfig, shown: ObsView, key: int = 0) -> np.ndarray:
    return np.asarray(config.build(SPEC).observe(rng.root(key), (), (), shown)[0])


def test_the_step_has_the_size_allowed_and_the_value_falls_by_its_gradient() -> None:
    avail = np.ones((N, A), bool)
    clean = np.asarray(view(linear()).step.obs)
    avail[0, np.argmax(clean[0] @ SLOPES)] = False  # the best action of agent 0 is not legal: the next one counts
    attacked = seen(FgsmConfig(eps=0.2, agents=N), view(linear(), avail))
    best = np.argmax(np.where(avail, clean @ SLOPES, -np.inf), axis=1)
    np.testing.assert_allclose(attacked, clean - 0.2 * np.sign(SLOPES[:, best].T), atol=1e-6)
    fall = (clean @ SLOPES)[np.arange(N), best] - (attacked @ SLOPES)[np.arange(N), best]
    np.testing.assert_allclose(fall, 0.2 * np.abs(SLOPES[:, best]).sum(0), rtol=1e-5)


def test_a_network_is_attacked_to_first_order() -> None:
    size = SIZE + A + N
    policy = pymarl_agent(SPEC, 16).bind(init(rng.root(3), size, A, 16))
    shown = view(policy)

    def value(obs: np.ndarray) -> np.ndarray:
        q = np.asarray(policy.scores(shown.carry, jnp.asarray(obs), shown.step.avail, shown.last_action)[1])
        return q[np.arange(N), best]

    clean = np.asarray(shown.step.obs)
    best = np.argmax(np.asarray(policy.scores(shown.carry, shown.step.obs, shown.step.avail, shown.last_action)[1]), 1)
    steep = np.empty((N, SIZE))  # |dQ / do| by differences
    for d in range(SIZE):
        aside = np.zeros((1, SIZE), np.float32)
        aside[0, d] = 1e-2
        steep[:, d] = np.abs(value(clean + aside) - value(clean - aside)) / 2e-2
    eps = 1e-3
    fall = value(clean) - value(seen(FgsmConfig(eps=eps, agents=N), shown))
    np.testing.assert_allclose(fall / eps, steep.sum(1), rtol=0.05)


def test_many_small_steps_find_what_one_large_step_leaps_over() -> None:
    """Q = |o - c| summed, c a quarter of the box away: one step leaps over the valley, ten do not."""
    clean = np.asarray(view(linear()).step.obs)
    bottom = jnp.asarray(clean + 0.05)

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, jnp.abs(obs - bottom).sum(1, keepdims=True) * jnp.ones((1, A))

    shown = view(linear()._replace(scores=scores))
    one, ten = (seen(config, shown) for config in (FgsmConfig(eps=0.2, agents=N), PgdConfig(eps=0.2, agents=N)))
    np.testing.assert_allclose(np.abs(one - bottom), 0.15, atol=1e-5)
    assert np.abs(ten - bottom).max() <= 0.05 + 1e-5  # within one small step of the bottom
    assert np.abs(ten - clean).max() <= 0.2 + 1e-6


def test_one_agent_that_lives_is_touched_and_each_in_its_turn() -> None:
    alive = np.array([True] * (N - 1) + [False])
    touched = np.zeros(N)
    for key in range(80):
        changed = (seen(FgsmConfig(), view(linear(), alive=alive), key) != np.asarray(view(linear()).step.obs)).any(1)
        assert changed.sum() <= 1
        touched += changed
    assert touched[-1] == 0  # drawn, but dead
    assert (touched[:-1] > 80 / N / 2).all()


def test_options_and_victims_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"PgdConfig.steps is 0; at least 1"):
        PgdConfig(steps=0)
    threat = FgsmConfig().build(SPEC).threat
    assert refusal(threat, linear()) is None
    assert refusal(threat, linear()._replace(reveals="scores")) == "scores that have a gradient"
    assert refusal(threat, random_policy(SPEC)) == "scores that have a gradient"


def by_chance(slope: float) -> Policy:
    """log-probabilities of logits that are ``slope`` times what is seen, as far as it goes."""

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, log_policy(slope * obs[:, :A], avail)

    return Policy(lambda: jnp.zeros(()), scores, lambda key, s, avail: jnp.argmax(s, axis=1), kind="logit")


def test_a_team_that_chooses_by_chance_is_attacked_in_its_probabilities() -> None:
    """Raising the logit of another action counts as much as lowering that of the best one; a raw logit's gradient would
    leave the others alone. Of p = 1 / (1 + e^-1) = 0.73106 a step of 0.1 leaves 1 / (1 + e^-0.8) = 0.68997."""
    avail = np.zeros((N, A), bool)
    avail[:, :2] = True
    avail[1, 1] = False  # no choice: nothing to attack
    shown = view(by_chance(1.0), avail)
    obs = jnp.zeros((N, SIZE)).at[:, 0].set(1.0)
    for policy, size in ((by_chance(1.0), 1.0), (by_chance(1.0), 60.0), (by_chance(60.0), 1.0)):
        now = shown._replace(policy=policy, step=shown.step._replace(obs=size * obs))
        moved = seen(FgsmConfig(agents=N), now) - size * np.asarray(obs)
        np.testing.assert_allclose(moved[[0, 2], :2], [[-0.1, 0.1]] * 2, atol=1e-5)  # also where p is 1
        assert (moved[1] == 0).all()
        assert (moved[:, 2:] == 0).all()
    left = policy_of(seen(FgsmConfig(agents=N), shown._replace(step=shown.step._replace(obs=obs))), avail)
    np.testing.assert_allclose(left[0, 0], 0.68997, atol=1e-5)


def policy_of(obs: np.ndarray, avail: np.ndarray) -> np.ndarray:
    return np.exp(np.asarray(log_policy(jnp.asarray(obs[:, :A]), jnp.asarray(avail))))


def test_who_needs_values_is_refused_probabilities() -> None:
    team = by_chance(1.0)
    for name in ("ega", "wolfpack", "wolfpack-random"):
        assert refusal(build(name, SPEC).threat, team) == "values of its actions, not probabilities"
        assert refusal(build(name, SPEC).threat, linear()._replace(weights=tuple, apply=team.scores)) is None
    for name in ("random", "fgsm", "pgd", "atla", "interaction", "random-group"):
        assert refusal(build(name, SPEC).threat, team) is None
