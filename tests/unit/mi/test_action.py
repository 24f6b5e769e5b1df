"""The action model learns known conditionals; the counterfactual is what replacing the action by hand gives."""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.mi import action, descent, reference
from ibal.mi.config import ActionConfig
from unit.mi import toys

# Compiled as wholes: operation by operation, most of the time would go into compiling.
init = jax.jit(action.init, static_argnums=(1, 2, 3))
log_probabilities = jax.jit(action.log_probabilities)
counterfactual = jax.jit(action.counterfactual, static_argnums=0, static_argnames="most")
least_informative = jax.jit(action.least_informative, static_argnums=0, static_argnames="most")

CONFIG = ActionConfig(hidden=(32, 32), lr=1e-3, batch=512)
TAUS = ("T1", "T2", "T3", "T4", "T5")
NOTHING = jnp.zeros(0)
EVERYTHING = jnp.ones((3, 3), bool)
ALIVE = jnp.ones(3, bool)


@cache
def on_follow():
    spec, record = toys.spec(n_actions=3), toys.follow()
    params = init(jax.random.key(0), CONFIG, spec)
    run = jax.jit(partial(action.fit, config=CONFIG, spec=spec, most=1, steps=2000))
    params, _, losses = run(
        jax.random.key(1), params=params, opt_state=descent.optimiser(CONFIG).init(params), episodes=record
    )
    return params, np.asarray(losses)


def predicted(actions: list[int], group: list[bool]) -> np.ndarray:
    params, _ = on_follow()
    found = log_probabilities(
        params, NOTHING[None], jnp.array([actions], jnp.int32), jnp.array([group]), EVERYTHING[None]
    )
    return np.exp(np.asarray(found)[0])


def test_the_model_learns_conditionals_and_without_actions_the_marginals() -> None:
    given = toys.follower_given()
    marginal = given.mean(0)
    silent = predicted([0, 0, 0], [False, False, False])
    np.testing.assert_allclose(silent[0], 1 / 3, atol=0.03)
    np.testing.assert_allclose(silent[1], marginal, atol=0.03)
    np.testing.assert_allclose(silent[2], [0.6, 0.3, 0.1], atol=0.03)
    for x in range(3):
        told = predicted([x, 0, 0], [True, False, False])
        np.testing.assert_allclose(told[1], given[x], atol=0.04)
        np.testing.assert_allclose(told[2], [0.6, 0.3, 0.1], atol=0.04)
        back = predicted([0, x, 0], [False, True, False])
        np.testing.assert_allclose(back[0], given[:, x] / given[:, x].sum(), atol=0.04)


def test_what_is_hidden_cannot_be_seen() -> None:
    np.testing.assert_array_equal(
        predicted([2, 0, 0], [False, True, False]), predicted([0, 0, 1], [False, True, False])
    )


def test_the_loss_is_the_cross_entropy() -> None:
    _, losses = on_follow()
    given, loner = toys.follower_given(), reference.entropy(np.array([0.6, 0.3, 0.1]))
    joint = given / 3
    first, second, shared = np.log(3), reference.entropy(joint.sum(0)), reference.information(joint)
    # half of the groups are empty (three targets), a sixth each agent alone (two targets): sums over mean counts
    whole = (
        (first + second + loner) / 2
        + (second - shared + loner) / 6
        + (first - shared + loner) / 6
        + (first + second) / 6
    )
    assert losses[-100:].mean() == pytest.approx(whole / 2.5, abs=0.02)


@pytest.mark.parametrize("marginal", ["M1", "M2", "M3"])
def test_information_of_a_candidate(marginal: str) -> None:
    params, _ = on_follow()
    config = ActionConfig(hidden=(32, 32), marginal=marginal)
    weights = jnp.tile(jnp.array([0.7, 0.2, 0.1]), (3, 1))
    found = counterfactual(
        config, params, NOTHING, jnp.array([1, 0, 2], jnp.int32), EVERYTHING, jnp.array([True, False, False]), ALIVE,
        weights=weights,
    )  # fmt: skip
    given = toys.follower_given()
    compared = np.array([0.7, 0.2, 0.1]) @ given if marginal == "M2" else given.mean(0)
    exact = [reference.divergence(given[x], compared) for x in range(3)]
    np.testing.assert_allclose(found[0], exact, atol=0.06)
    np.testing.assert_array_equal(found[1:], 0.0)


def test_the_least_informative_action_is_the_one_nobody_follows() -> None:
    params, _ = on_follow()
    actions, leader = jnp.array([0, 0, 2], jnp.int32), jnp.array([True, False, False])
    choose = partial(least_informative, CONFIG, params, NOTHING, actions)
    np.testing.assert_array_equal(choose(EVERYTHING, leader, ALIVE), [2, 0, 2])
    np.testing.assert_array_equal(choose(EVERYTHING.at[0, 2].set(False), leader, ALIVE), [1, 0, 2])
    np.testing.assert_array_equal(choose(EVERYTHING, leader, ALIVE.at[0].set(False)), actions)
    np.testing.assert_array_equal(choose(EVERYTHING, ~ALIVE, ALIVE), actions)
    # nobody left to be told anything: a tie, the lowest legal action
    np.testing.assert_array_equal(choose(EVERYTHING.at[0, 0].set(False), leader, leader), [1, 0, 2])


def by_hand(config, params, tau, actions, avail, group, alive, weights) -> np.ndarray:
    """I[i, x] from whole forward passes on inputs that are built one at a time."""
    n, a = avail.shape
    legal = np.ones_like(avail) if config.tau == "T5" else np.asarray(avail)

    def ask(actions, group):
        found = log_probabilities(
            params, tau[None], jnp.asarray(actions)[None], jnp.asarray(group)[None], jnp.asarray(legal)[None]
        )
        return np.exp(np.asarray(found, np.float64)[0])

    told = np.zeros((n, a))
    for i in np.flatnonzero(np.asarray(group & alive)):
        answers = np.stack([ask(np.where(np.arange(n) == i, x, actions).astype(np.int32), group) for x in range(a)])
        weight = np.asarray(weights if config.marginal == "M2" else jnp.ones((n, a)))[i] * np.asarray(avail)[i]
        mixed = np.einsum("x,xja->ja", weight / weight.sum(), answers)
        marginal = ask(np.asarray(actions), np.zeros(n, bool)) if config.marginal == "M1" else mixed
        for j in np.flatnonzero(np.asarray(~group & alive)):
            for x in range(a):
                p, q = answers[x, j], marginal[j]
                told[i, x] += (p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()
    return told


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("marginal", ["M1", "M2", "M3"])
def test_the_fast_way_equals_brute_force(marginal: str, tau: str) -> None:
    n, a, hidden_size = 5, 4, 3
    config, spec = ActionConfig(hidden=(16, 8), marginal=marginal, tau=tau), toys.spec(n_agents=5)
    params = init(jax.random.key(3), config, spec, hidden_size)
    params = jax.tree.map(lambda w: 3 * w, params)  # well away from uniform answers
    draw = np.random.default_rng(0)
    avail = jnp.asarray(draw.random((n, a)) < 0.7).at[:, 1:3].set(True)
    vector = jnp.asarray(draw.normal(size={"T1": 15, "T2": 15, "T3": 3}.get(tau, 0)), jnp.float32)
    actions = jnp.argmax(avail, axis=1).astype(jnp.int32)
    group, alive = jnp.array([False, True, False, True, False]), jnp.array([True, True, True, True, False])
    weights = jax.nn.softmax(jnp.asarray(draw.normal(size=(n, a)), jnp.float32))
    arguments = (config, params, vector, actions, avail, group, alive)
    exact = by_hand(*arguments, weights)
    legal = np.asarray(avail)
    for most in (None, 2, 3):
        found = np.asarray(action.counterfactual(*arguments, weights=weights, most=most))
        np.testing.assert_allclose(found[legal], exact[legal], atol=1e-5)
        chosen = np.asarray(action.least_informative(*arguments, weights=weights, most=most))
        for i in range(n):
            wanted = np.where(legal[i], exact[i], np.inf).argmin() if group[i] and alive[i] else actions[i]
            assert chosen[i] == wanted
    assert exact[legal].max() > 1e-2


def test_it_can_be_batched_over_environments() -> None:
    params, _ = on_follow()
    rows = jnp.array([[0, 0, 2], [1, 1, 0]], jnp.int32)
    leader = jnp.array([[True, False, False], [False, True, False]])

    def one(actions, group):
        return least_informative(CONFIG, params, NOTHING, actions, EVERYTHING, group, ALIVE, most=1)

    both = jax.jit(jax.vmap(one))(rows, leader)
    np.testing.assert_array_equal(both, [one(*pair) for pair in zip(rows, leader, strict=True)])


def test_illegal_actions_have_no_probability() -> None:
    params, _ = on_follow()
    legal = EVERYTHING.at[1, 2].set(False)
    found = np.exp(log_probabilities(params, NOTHING[None], jnp.zeros((1, 3), jnp.int32), ~ALIVE[None], legal[None])[0])
    assert found[1, 2] == 0.0
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)


def test_missing_inputs_are_named() -> None:
    params, _ = on_follow()
    with pytest.raises(ValueError, match="M2 needs weights"):
        action.counterfactual(
            ActionConfig(marginal="M2"), params, NOTHING, jnp.zeros(3, jnp.int32), EVERYTHING, ~ALIVE, ALIVE
        )
    with pytest.raises(ValueError, match="tau=T2 needs hidden_size"):
        action.init(jax.random.key(0), ActionConfig(tau="T2"), toys.spec())


def test_operations_are_those_of_the_compiled_program() -> None:
    """What a row more costs: the first layer's row, the counted ones, and a softmax that is small beside them."""
    config, spec = ActionConfig(hidden=(64, 32)), toys.spec()
    params = action.init(jax.random.key(0), config, spec)

    def cost(rows: int) -> float:
        given = (jnp.zeros((rows, 0)), jnp.zeros((rows, 3), jnp.int32), jnp.zeros((rows, 3), bool))
        legal = jnp.ones((rows, 3, toys.ACTIONS), bool)
        program = jax.jit(action.log_probabilities).lower(params, *given, legal).compile()
        return program.cost_analysis()["flops"]

    first = 2 * (3 * toys.ACTIONS + 3) * 64  # one-hots and group bits
    assert (cost(512) - cost(256)) / 256 == pytest.approx(first + action.flops(config, spec), rel=0.1)
