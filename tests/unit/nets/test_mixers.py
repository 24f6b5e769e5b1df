"""Mixers: parity with PyTorch, what each can represent, shared interface."""

from __future__ import annotations

import itertools
import json
import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from ibal import rng
from ibal.envs.toy import TWO_STEP_B
from ibal.nets import agents, pymarl
from ibal.nets.mixers import MIXERS, iql, mixer, qmix, qplex, vdn
from ibal.registry import UnknownName

FIXTURES = Path(__file__).parents[2] / "parity" / "fixtures"
KEY = jax.random.key(0)
SMALL = np.load(FIXTURES / "pymarl_small.npz")


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """The inputs that ``tests/parity/make_pymarl_vectors.py`` used."""
    count = int(np.prod(shape))
    return np.sin(0.7 * np.arange(count, dtype=np.float64) ** 1.1 + phase).reshape(shape).astype(np.float32)


def qmix_of(params: qmix.QmixParams, q: jax.Array, state: jax.Array) -> jax.Array:
    """QMIX of many samples; it does not look at the actions."""
    return jax.vmap(qmix.apply, (None, 0, 0, 0, None))(params, q, state, q, jnp.zeros((q.shape[1], 5)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file({k: v for k, v in SMALL.items() if not k.startswith("out_")}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_qmix_equals_pytorch(file: Path) -> None:
    params = pymarl.load_mixer(file)
    q, state = SMALL["out_q"].max(2), wave(6, 6, phase=1.0)
    np.testing.assert_allclose(qmix_of(params, jnp.asarray(q), jnp.asarray(state)), SMALL["out_tot"], atol=1e-5)
    assert (params.state_size, params.n_agents) == (6, 3)


def test_published_mixers_equal_pytorch() -> None:
    folder = os.environ.get("IBAL_POLICIES")
    if not folder:
        pytest.skip("set IBAL_POLICIES to the folder of published policy files")
    for name, row in json.loads((FIXTURES / "pymarl_real.json").read_text()).items():
        if "q_tot" not in row:
            continue
        params, weights = pymarl.load_agent(Path(folder) / name), pymarl.load_mixer(Path(folder) / name)
        xs = jnp.asarray(wave(6, row["n"], params.input_size))
        _, q = agents.unroll(params, agents.start(params, row["n"]), xs)
        state = jnp.asarray(wave(6, row["state_size"], phase=1.0))
        total = qmix_of(weights, q.max(2), state)
        np.testing.assert_allclose(total, row["q_tot"], atol=1e-5, rtol=1e-5, err_msg=name)


def table(name: str, params: Any, values: jax.Array, state: jax.Array) -> np.ndarray:
    """Q_tot of every joint action, [a] * n, where the agents' values are ``values`` [n, a]."""
    n, a = values.shape
    joint = np.array(list(itertools.product(range(a), repeat=n)))
    q = values[jnp.arange(n)[None, :], joint]
    one_hot = jnp.asarray(np.eye(a, dtype=np.float32)[joint])
    return np.asarray(many(name)(params, q, state, values.max(1), one_hot)).reshape((a,) * n)


@cache
def init(name: str) -> Any:
    """One program for every seed."""
    return jax.jit(mixer(name).init, static_argnums=(1, 2, 3))


@cache
def many(name: str) -> Any:
    return jax.jit(jax.vmap(mixer(name).apply, (None, 0, None, None, 0)))


@pytest.mark.parametrize("name", ["vdn", "qmix", "qplex"])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_best_joint_action_is_the_agents_best_actions(name: str, scale: float) -> None:
    """Individual-global-max over all 3^4 joint actions, also with weights far from their start."""
    for seed in range(8):
        key = rng.root(seed)
        params = jax.tree.map(lambda x: scale * np.asarray(x), init(name)(rng.stream(key, "mixer"), 4, 9, 3))
        values = jax.random.normal(rng.stream(key, "values"), (4, 3))
        tot = table(name, params, values, jax.random.normal(rng.stream(key, "state"), (9,)))
        assert tot[tuple(np.asarray(values.argmax(1)))] == tot.max()
        assert tot.max() > tot.min()


def payoff(name: str, target: np.ndarray, steps: int = 1500) -> np.ndarray:
    """Fit per-agent values and a mixer to a payoff matrix; return what they make of it, as table."""
    mix = mixer(name)
    goal = jnp.asarray(target, jnp.float32)
    joint = jnp.array(list(itertools.product(range(goal.shape[0]), repeat=2)))
    one_hot = jax.nn.one_hot(joint, goal.shape[0])
    state = jnp.ones(1)

    def predict(params: Any) -> jax.Array:
        values, weights = params
        q = jnp.stack((values[0][joint[:, 0]], values[1][joint[:, 1]]), axis=1)
        return jax.vmap(mix.apply, (None, 0, None, None, 0))(weights, q, state, values.max(1), one_hot)

    key = rng.root(0)
    values = 0.1 * jax.random.normal(rng.stream(key, "values"), goal.shape)
    params = values, init(name)(rng.stream(key, "mixer"), 2, 1, goal.shape[0])
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.02, momentum=0.9))

    def improve(carry: Any, _: None) -> tuple[Any, None]:
        params, moments = carry
        slope = jax.grad(lambda p: ((predict(p) - goal.ravel()) ** 2).mean())(params)
        change, moments = optimiser.update(slope, moments)
        return (optax.apply_updates(params, change), moments), None

    fit = jax.jit(lambda p: jax.lax.scan(improve, (p, optimiser.init(p)), None, length=steps)[0][0])(params)
    return np.asarray(jax.jit(predict)(fit)).reshape(goal.shape)


def test_two_step_game_needs_more_than_a_sum() -> None:
    """State 2B of the two-step game. The best sum of utilities is known in closed form and undervalues the 8."""
    game = np.array(TWO_STEP_B)
    np.testing.assert_allclose(payoff("vdn", game), [[-1.5, 2.5], [2.5, 6.5]], atol=0.01)
    np.testing.assert_allclose(payoff("qmix", game), game, atol=0.3)
    np.testing.assert_allclose(payoff("qplex", game), game, atol=0.3)


def test_qmix_is_monotone_in_every_agent() -> None:
    params = jax.jit(qmix.init, static_argnums=(1, 2, 3))(jax.random.key(0), 4, 9, 5)
    q, state = (jax.random.normal(jax.random.key(k), (50, size)) for k, size in enumerate((4, 9)))
    slopes = jax.jit(jax.grad(lambda q: qmix_of(params, q, state).sum()))(q)
    assert (slopes >= 0).all()
    assert (slopes > 0).any()


def test_qmix_init_shapes_and_bounds() -> None:
    params = jax.jit(qmix.init, static_argnums=(1, 2, 3))(jax.random.key(1), 5, 120, 11)
    assert (params.state_size, params.n_agents) == (120, 5)
    assert params.w1_out.w.shape == (64, 160)
    assert params.v_out.w.shape == (32, 1)
    assert 0.9 / np.sqrt(120) < float(jnp.abs(params.w1_in.w).max()) <= 1 / np.sqrt(120)


def test_qplex_init_shapes_and_bounds() -> None:
    params = jax.jit(qplex.init, static_argnums=(1, 2, 3))(jax.random.key(1), 5, 120, 11)
    assert (params.state_size, params.n_agents) == (120, 5)
    assert params.key.w.shape == (120, 4)
    assert params.agent.w.shape == (120, 20)
    assert params.act.w.shape == (175, 20)
    assert 0.9 / np.sqrt(175) < float(jnp.abs(params.act.w).max()) <= 1 / np.sqrt(175)
    assert qplex.init(jax.random.key(1), 5, 12, 3, num_kernel=2).key.w.shape == (12, 2)


def test_qplex_at_the_best_action_is_an_affine_sum_and_else_takes_off_advantages() -> None:
    """All weights 0 but biases: w = 2, b = 3, and of one kernel |key| = 4, both sigmoids 1/2, so lambda = 1."""
    shapes = jax.eval_shape(lambda: qplex.init(KEY, 2, 3, 2, num_kernel=1))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    params = zero._replace(
        w_out=zero.w_out._replace(b=jnp.array([-2.0, -2.0])),
        b_out=zero.b_out._replace(b=jnp.array([3.0, 3.0])),
        key=zero.key._replace(b=jnp.array([-4.0])),
    )
    state, actions = jnp.zeros(3), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    best = jnp.array([1.0, 5.0])
    assert float(qplex.apply(params, best, state, best, actions)) == 2 * (1 + 5) + 2 * 3
    q = jnp.array([0.0, 5.0])
    assert float(qplex.apply(params, q, state, best, actions)) == 2 * (0 + 5) + 2 * 3
    # |key| = 12 makes lambda 3: the advantage of -2 counts three times
    params = params._replace(key=params.key._replace(b=jnp.array([12.0])))
    assert float(qplex.apply(params, best, state, best, actions)) == 18
    assert float(qplex.apply(params, q, state, best, actions)) == 18 - 3 * 2
    # but its gradient flows once: the advantage inside is stopped
    np.testing.assert_array_equal(jax.grad(qplex.apply, 1)(params, q, state, best, actions), [2, 2])
    np.testing.assert_array_equal(jax.grad(qplex.apply, 3)(params, q, state, best, actions), [0, 0])


def test_vdn_sums_and_iql_leaves_alone() -> None:
    q, others = jnp.array([1.0, 2.0, 4.0]), (jnp.zeros(2), jnp.zeros(3), jnp.zeros((3, 5)))
    key = jax.random.key(0)
    assert float(vdn.apply(vdn.init(key, 3, 2, 5), q, *others)) == 7.0
    np.testing.assert_array_equal(iql.apply(iql.init(key, 3, 2, 5), q, *others), q)


@pytest.mark.parametrize("name", MIXERS)
def test_shared_interface(name: str) -> None:
    mix = mixer(name)
    params = init(name)(KEY, 3, 7, 5)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    batch = [jax.random.normal(jax.random.key(k), (6, *shape)) for k, shape in enumerate(((3,), (7,), (3,), (3, 5)))]
    together = jax.jit(jax.vmap(mix.apply, (None, 0, 0, 0, 0)))(params, *batch)
    assert together.shape == ((6, 3) if name == "iql" else (6,))
    alone = jax.jit(mix.apply)
    for i in range(6):
        np.testing.assert_allclose(together[i], alone(params, *(x[i] for x in batch)), atol=1e-5)


def test_unknown_mixer_names_the_closest() -> None:
    with pytest.raises(UnknownName, match=r'unknown mixer "qmxi"\. Closest: "qmix"\. Choose one of: iql, vdn'):
        mixer("qmxi")


def test_files_without_or_with_another_mixer(tmp_path: Path, file: Path) -> None:
    pymarl.save_agent(pymarl.load_agent(file), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="holds no QMIX mixer"):
        pymarl.load_mixer(tmp_path / "b.safetensors")
    other = SimpleNamespace(name="toy", n_agents=3, state_size=7)
    with pytest.raises(ValueError, match="takes a state of 6 and 3 agents; toy has 7 and 3"):
        pymarl.load_mixer(file, other)
