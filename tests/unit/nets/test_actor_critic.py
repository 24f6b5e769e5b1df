"""The networks of MAPPO: normalisation, orthogonal weights, rows of episodes, what a critic sees of the dead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.nets import actor, critic, layers, recurrent

ENV = make("toy/two-step")
NET = recurrent.init(rng.root(0), 3, 2, 4, 1.0)
XS = jnp.cos(jnp.arange(5 * 1 * 3, dtype=jnp.float32)).reshape(5, 1, 3)


def test_inputs_are_normalised_one_by_one() -> None:
    x = layers.normalise(layers.norm(3), jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 30.0]]))
    np.testing.assert_allclose(x, [[-1.22474, 0, 1.22474], [-0.70711, -0.70711, 1.41421]], atol=2e-5)
    moved = layers.normalise(layers.Norm(jnp.full(3, 2.0), jnp.full(3, 1.0)), jnp.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(moved, [[-1.44948, 1, 3.44948]], atol=2e-5)


@pytest.mark.parametrize(("size", "gain"), [((6, 3), 2**0.5), ((3, 6), 0.01)])
def test_weights_are_orthogonal(size: tuple[int, int], gain: float) -> None:
    w, b = layers.orthogonal(rng.root(1), size, gain)
    short = w.T @ w if size[0] > size[1] else w @ w.T
    np.testing.assert_allclose(short / gain**2, np.eye(min(size)), atol=1e-5)
    assert not b.any()


def test_the_recurrent_weights_are_orthogonal_as_one_matrix() -> None:
    np.testing.assert_allclose(NET.gru.h_w @ NET.gru.h_w.T, np.eye(4), atol=1e-5)


def test_two_episodes_in_a_row_are_two_episodes() -> None:
    """What a row gives after a start flag does not depend on what stands before it."""
    keep = jnp.array([[0.0], [1.0], [0.0], [1.0], [1.0]])
    _, whole = recurrent.unroll(NET, recurrent.start(NET, 1), XS, keep)
    first = recurrent.unroll(NET, recurrent.start(NET, 1), XS[:2], jnp.ones((2, 1)))[1]
    second = recurrent.unroll(NET, recurrent.start(NET, 1), XS[2:], jnp.ones((3, 1)))[1]
    np.testing.assert_allclose(whole, jnp.concatenate((first, second)), atol=1e-6)


def test_steps_equal_rows() -> None:
    hidden, outputs = recurrent.start(NET, 1), []
    for x in XS:
        hidden, y = recurrent.apply(NET, hidden, x)
        outputs.append(y)
    _, rows = recurrent.unroll(NET, recurrent.start(NET, 1), XS, jnp.ones((5, 1)))
    np.testing.assert_allclose(jnp.stack(outputs), rows, atol=1e-6)


def test_illegal_actions_are_never_played() -> None:
    params = actor.init(rng.root(0), ENV.spec, 4)
    agent = actor.actor_agent(ENV.spec, 4)
    avail = jnp.array([[True, False], [False, True]])
    _, scores = agent.scores(params, agent.start(), jnp.ones((2, 3)), avail, jnp.full(2, -1))
    np.testing.assert_allclose(jnp.exp(scores), [[1, 0], [0, 1]], atol=1e-6)
    drawn = jax.vmap(lambda key: actor.sampled(key, scores, avail))(rng.episodes(rng.root(1), 100))
    assert (drawn == jnp.array([[0, 1]])).all()


def test_actions_are_drawn_as_likely_as_they_are_said_to_be() -> None:
    scores = jnp.log(jnp.array([[0.2, 0.8], [0.5, 0.5]]))
    drawn = jax.vmap(lambda key: actor.sampled(key, scores, jnp.ones((2, 2), bool)))(rng.episodes(rng.root(1), 4000))
    np.testing.assert_allclose(drawn.astype(jnp.float32).mean(0), [0.8, 0.5], atol=0.03)  # 4 standard errors


def test_what_the_critic_sees() -> None:
    state, obs = jnp.array([7.0, 8.0]), jnp.array([[1.0], [2.0]])
    alive = jnp.array([True, False])
    np.testing.assert_array_equal(critic.inputs("state", state, obs, alive), [[7, 8, 1, 1, 0], [0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(critic.inputs("own", state, obs, alive), [[1, 1, 0], [0, 0, 1]])


def test_who_can_do_nothing_is_out() -> None:
    avail = jnp.array([[True, False], [False, True]])
    assert critic.alive_of(avail, ENV.spec).all()  # nobody leaves that game
    assert critic.alive_of(avail, make("smac/3m").spec).tolist() == [False, True]
