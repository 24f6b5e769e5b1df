"""The scores are what CLUB gives in closed form, above the true information, and find the dimensions that leak."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.leak import Leak, leak, leak_information
from ibal.mi import club as module
from ibal.mi import descent, reference, samples
from ibal.mi.config import ClubConfig
from ibal.nets import layers
from ibal.types import EnvSpec, Episodes
from unit.mi import toys

# Compiled as wholes: operation by operation, most of the time would go into compiling.
club = SimpleNamespace(
    init=jax.jit(module.init, static_argnums=(1, 2)),
    scores=jax.jit(module.scores, static_argnums=(1, 2)),
    loss=jax.jit(module.loss, static_argnums=0),
    gradient=jax.jit(jax.grad(module.loss, 1), static_argnums=0),
)
pairs = jax.jit(samples.pairs, static_argnums=(1, 2, 4))

EVEN = np.full(toys.ACTIONS, 1 / toys.ACTIONS)
LEVEL_VARIANCE = float(np.var(toys.LEVELS))
SMALL = ClubConfig(hidden=(64, 64), lr=3e-3, batch=512)
BY_HAND = ClubConfig((1,), "none", False, "one-hot", negatives=0, negative="batch", log_variance=(-1.0, 1.0))


def gaussian_entropy(variances) -> float:
    return float(0.5 * np.log(2 * np.pi * np.e * np.asarray(variances)).sum())


def fitted(config: ClubConfig, spec: EnvSpec, episodes: Episodes, steps: int):
    params = club.init(jax.random.key(0), config, spec)
    opt_state = descent.optimiser(config).init(params)
    run = jax.jit(partial(module.fit, config=config, spec=spec, steps=steps))
    return run(jax.random.key(1), params=params, opt_state=opt_state, episodes=episodes)


def scored(config: ClubConfig, spec: EnvSpec, params, episodes: Episodes, count: int, seed: int = 2) -> np.ndarray:
    def run(key, params, episodes):
        data = samples.transitions(jax.random.fold_in(key, 1), config, spec, episodes, count)
        return module.scores(key, config, spec, params, data)

    return np.asarray(jax.jit(run)(jax.random.key(seed), params, episodes))


@cache
def on_channels():
    spec, record = toys.spec(), toys.channels()
    params, _, losses = fitted(SMALL, spec, record, 600)
    return spec, record, params, np.asarray(losses)


def test_the_model_learns_the_noise_that_is_there() -> None:
    _, _, _, losses = on_channels()
    # Half of the tuples name the agent that is seen; for the others its action is noise in dimensions 0 and 1.
    known, drift = [toys.NOISE**2] * 3, toys.NOISE**2
    unknown = toys.NOISE**2 + toys.GAINS**2 * LEVEL_VARIANCE
    wanted = [gaussian_entropy([*seen, toys.OWN_NOISE**2, drift]) for seen in (known, unknown)]
    assert losses[0] > max(wanted) + 1
    assert losses[-50:].mean() == pytest.approx(np.mean(wanted), abs=0.15)


@pytest.mark.parametrize(
    "options", [{}, {"negatives": 0}, {"negative": "batch"}, {"negative": "same-time"}, {"negative": "legal"}]
)
def test_scores_of_gaussian_channels(options: dict) -> None:
    spec, record, params, _ = on_channels()
    found = scored(ClubConfig(hidden=(64, 64), **options), spec, params, record, 4000)
    for i in range(3):
        j, stranger = (i + 1) % 3, (i + 2) % 3
        for d, gain in enumerate(toys.GAINS[:2]):
            true = reference.mixture_information(EVEN, gain * toys.LEVELS, toys.NOISE)
            bound = reference.mixture_club(EVEN, gain * toys.LEVELS, toys.NOISE)
            assert found[i, j, d] == pytest.approx(bound, rel=0.12)
            assert found[i, j, d] >= true
        np.testing.assert_allclose(found[i, j, 2:], 0.0, atol=0.05)
        np.testing.assert_allclose(found[i, stranger], 0.0, atol=0.05)
        np.testing.assert_array_equal(np.argsort(-found[i, j])[:2], [0, 1])
        np.testing.assert_array_equal(found[i, i], 0.0)


def test_scores_do_not_depend_on_the_size_of_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, record, params, _ = on_channels()
    config = ClubConfig(hidden=(64, 64), negatives=0)
    whole = scored(config, spec, params, record, 101)
    monkeypatch.setattr(module, "CHUNK", 7 * 6 * 5 * 64)
    np.testing.assert_allclose(scored(config, spec, params, record, 101), whole, atol=1e-4)


def test_scores_by_hand() -> None:
    """A model without weights but one: the mean of dimension 0 is the index of the partner's action."""
    spec = toys.spec(n_agents=2, n_actions=2, obs_size=1)
    blank = jax.tree.map(jnp.zeros_like, club.init(jax.random.key(0), BY_HAND, spec))
    rest = (layers.Linear(jnp.array([[1.0, 0.0]]), jnp.zeros(2)),)
    params = blank._replace(other=jnp.array([[0.0], [1.0]]), rest=rest)
    data = samples.Transitions(
        tau=jnp.zeros((3, 2, 0)),
        after=jnp.array([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [0.0]]]),
        action=jnp.array([[0, 1], [0, 1], [0, 0]], jnp.int32),
        avail=jnp.ones((3, 2, 2), bool),
        time=jnp.zeros(3, jnp.int32),
        observes=jnp.array([[True, False], [True, True], [True, True]]),
        partners=jnp.ones((3, 2), bool),
    )
    found = np.asarray(club.scores(jax.random.key(0), BY_HAND, spec, params, data))
    # Agent 0 sees agent 1's action exactly: log-density 0, against a wrong action (chance 1/3, 1/3, 2/3) -1/2.
    assert found[0, 1, 0] == pytest.approx(np.mean([1 / 3, 1 / 3, 2 / 3]) / 2)
    assert found[1, 0, 0] == pytest.approx(0.0)
    strict = data._replace(avail=data.avail.at[:2, 1, 0].set(False))  # the wrong action was illegal twice
    legal = replace(BY_HAND, negative="legal")
    found = np.asarray(club.scores(jax.random.key(0), legal, spec, params, strict))
    assert found[0, 1, 0] == pytest.approx(1 / 9)  # only the last row: a wrong action has chance 2/3


@pytest.mark.parametrize(
    "config", [SMALL, ClubConfig.literal(hidden=(64, 64), lr=3e-3, batch=512)], ids=["default", "literal"]
)
def test_the_mask_finds_exactly_the_dimensions_that_leak(config: ClubConfig) -> None:
    game = Leak(n_agents=3, n_actions=4, flips=(0.0, 0.5), noise=3, horizon=10)
    env = leak(n_agents=3, n_actions=4, flips=(0.0, 0.5), noise=3, horizon=10)
    record = toys.random_play(env, 0, 512)
    params, _, _ = fitted(config, env.spec, record, 600)
    found, exact = scored(config, env.spec, params, record, 3000), leak_information(game)
    for group in ([0], [1], [2]):
        others = [j for j in range(3) if j not in group]
        for i, opposite in [(i, others) for i in group] + [(i, group) for i in others]:
            leaking = np.flatnonzero(exact[i, opposite].sum(0) > 1e-9)
            chosen = np.argsort(-found[i, opposite].sum(0))[: len(leaking)]
            assert set(chosen) == set(leaking)
    pairs = ~np.eye(3, dtype=bool)
    assert (found[pairs] >= exact[pairs] - 0.05).all()
    silent = pairs[:, :, None] & (exact < 1e-9)
    assert np.abs(found[silent]).max() < 0.05


def test_the_first_layer_in_pieces_is_one_layer_on_all_inputs() -> None:
    spec, record = toys.spec(), toys.channels(count=20)
    config = ClubConfig(hidden=(16, 8), identity="one-hot")
    params = club.init(jax.random.key(4), config, spec)
    batch = pairs(jax.random.key(5), config, spec, record, 7)
    eye, agents = np.eye(toys.ACTIONS), np.eye(3)
    x = np.hstack([batch.tau, eye[batch.mine], eye[batch.other], agents[batch.observer], agents[batch.partner]])
    whole = layers.Linear(jnp.concatenate(params[:5]), params.bias)
    assert float(jnp.abs(whole.w).max()) <= 1 / np.sqrt(x.shape[1])
    mean, raw = np.split(np.asarray(layers.apply((whole, *params.rest), jnp.asarray(x, jnp.float32))), 2, axis=1)
    spread = np.exp(-2 + 4 * np.tanh((raw + 2) / 4))
    error = np.asarray(batch.after) - np.asarray(batch.tau) - mean
    expected = 0.5 * (error**2 / spread + np.log(spread) + np.log(2 * np.pi))
    assert float(club.loss(config, params, batch)) == pytest.approx(expected.sum(1).mean(), rel=1e-5)


def test_operations_are_those_of_the_compiled_program() -> None:
    """What a tuple more costs: its one-hots, the counted layers, and a density that is small beside them."""
    config, spec = ClubConfig(hidden=(64, 128), identity="one-hot"), toys.spec()
    params = module.init(jax.random.key(0), config, spec)

    def cost(count: int) -> float:
        zero = jnp.zeros(count, jnp.int32)
        batch = samples.PairBatch(
            jnp.zeros((count, 5)), jnp.zeros((count, 5)), zero, zero, zero, zero, jnp.ones(count)
        )  # fmt: skip
        program = jax.jit(partial(module.loss, config)).lower(params, batch).compile()
        return program.cost_analysis()["flops"]

    first = 2 * (2 * toys.ACTIONS + 2 * 3) * 64
    assert (cost(512) - cost(256)) / 256 == pytest.approx(first + module.flops(config, spec), rel=0.1)


def test_negatives_of_the_moment_are_of_the_same_time_and_legal() -> None:
    """As above: dimension 0 of agent 0 is what agent 1 did, and at each time agent 1 has its own habit."""
    spec = toys.spec(n_agents=2, n_actions=2, obs_size=1)
    blank = jax.tree.map(jnp.zeros_like, club.init(jax.random.key(0), BY_HAND, spec))
    rest = (layers.Linear(jnp.array([[1.0, 0.0]]), jnp.zeros(2)),)
    params = blank._replace(other=jnp.array([[0.0], [1.0]]), rest=rest)
    did = jnp.array([1, 1, 0, 1], jnp.int32)
    data = samples.Transitions(
        tau=jnp.zeros((4, 2, 0)),
        after=jnp.stack([did, did], axis=1)[..., None].astype(jnp.float32),
        action=jnp.stack([did, did], axis=1),
        avail=jnp.ones((4, 2, 2), bool).at[3, :, 0].set(False),
        time=jnp.array([0, 0, 1, 1], jnp.int32),
        observes=jnp.ones((4, 2), bool),
        partners=jnp.ones((4, 2), bool),
    )
    # Chance of a wrong one, row by row: batch 1/4, 1/4, 3/4, 1/4; same time 0, 0, 1/2, 1/2; illegal ones fall away.
    wanted = {"batch": 1.5, "same-time": 1.0, "legal": 1.25, "moment": 0.5}
    for negative, wrong in wanted.items():
        config = replace(BY_HAND, negative=negative)
        assert float(club.scores(jax.random.key(0), config, spec, params, data)[0, 1, 0]) == pytest.approx(
            wrong / 4 / 2
        )


def test_each_pair_can_have_weights_of_its_own() -> None:
    spec, record = toys.spec(), toys.channels(count=20)
    config = ClubConfig(hidden=(16, 8))
    params = club.init(jax.random.key(4), config, spec)
    batch = pairs(jax.random.key(5), config, spec, record, 200)
    gradient = club.gradient(config, params, batch)
    used = {(i, j, a) for i, j, a in zip(*map(np.asarray, (batch.observer, batch.partner, batch.other)), strict=True)}
    moved = {tuple(place) for place in np.argwhere(np.abs(gradient.pair).sum(-1) > 0)}
    assert moved == used
    blank = params._replace(pair=jnp.zeros_like(params.pair))
    alone = club.loss(replace(config, identity="one-hot"), params._replace(pair=None), batch)
    np.testing.assert_allclose(club.loss(config, blank, batch), alone, rtol=1e-6)
