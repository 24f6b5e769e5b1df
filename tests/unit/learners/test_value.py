from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.learners import lanes
from ibal.learners.config import ValueConfig
from ibal.learners.lanes import plan
from ibal.learners.value import ValueParams, epsilon_greedy, value_learner
from ibal.nets import agents, pymarl
from ibal.nets.mixers import MIXERS, mixer
from ibal.types import Block, EnvSpec, Episodes, ObsLayout

N, A, OBS, STATE, TIME = 2, 3, 4, 5, 7
LENGTHS = (4, TIME, TIME, 1, 3)
NOW, KEY = jnp.float32(1), rng.root(9)
SPEC = EnvSpec(
    name="made-up", n_agents=N, n_actions=A, obs_size=OBS, state_size=STATE, horizon=TIME,
    action_names=("a", "b", "c"), metric_names=(), obs_layout=ObsLayout((Block("own", 0, 0, ("x",) * OBS),)),
    state_layout=ObsLayout((Block("own", 0, 0, ("x",) * STATE),)),
)  # fmt: skip


def made_up(seed: int = 0) -> Episodes:
    """Five episodes: short and terminated, full and terminated, full and cut by time, one step only, three steps."""
    draw = np.random.default_rng(seed)
    length = np.array(LENGTHS)
    terminated = np.zeros((5, TIME), bool)
    for episode, step in ((0, 3), (1, TIME - 1), (3, 0), (4, 2)):
        terminated[episode, step] = True
    avail = draw.random((5, TIME + 1, N, A)) < 0.7
    avail[..., 0] = True
    action = (draw.random((5, TIME, N, A)) * avail[:, :TIME]).argmax(-1)
    # What stands beyond the end must not matter: it is made absurd.
    obs, state = draw.normal(size=(5, TIME + 1, N, OBS)), draw.normal(size=(5, TIME + 1, STATE))
    reward = draw.normal(size=(5, TIME))
    for episode, steps in enumerate(length):
        reward[episode, steps:] = 1e6
        obs[episode, steps + 1 :] = 1e3
    floats = (jnp.asarray(x, jnp.float32) for x in (obs, state, reward))
    obs, state, reward = floats
    return Episodes(
        obs, None, state, jnp.asarray(avail), jnp.asarray(action, jnp.uint8), None, reward, jnp.asarray(terminated),
        jnp.asarray(length, jnp.int32),
    )  # fmt: skip


def q_values(params: agents.PyMarlAgent, episodes: Episodes, which: int) -> jax.Array:
    """One episode through the agent, step by step, as it was played: [t+1, n, a]."""

    def step(carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array, jax.Array]):
        hidden, last = carry
        obs, avail, action = now
        hidden, q = pymarl.scores(params, hidden, obs, avail, last)
        return (hidden, action), jnp.where(avail, q, -9999999.0)

    actions = jnp.concatenate((episodes.action[which], episodes.action[which][-1:])).astype(jnp.int32)
    begin = (agents.start(params, N), jnp.full(N, -1, jnp.int32))
    return jax.lax.scan(step, begin, (episodes.obs[which], episodes.avail[which], actions))[1]


def plain_loss(params: ValueParams, target: ValueParams, episodes: Episodes, chosen: list[int], config: ValueConfig):
    """The loss as it stands in the books: one padded episode after another, targets from the last step backwards."""
    apply = jax.vmap(mixer(config.mixer).apply, (None, 0, 0, 0, 0))
    total, count = jnp.float32(0), 0
    for which in chosen:
        length, state = LENGTHS[which], episodes.state[which]
        q, other = q_values(params.agent, episodes, which), q_values(target.agent, episodes, which)
        best = jax.nn.one_hot(jnp.argmax(q, axis=-1), A)
        value = apply(target.mixer, (other * best).sum(-1), state, other.max(-1), best)
        action = jax.nn.one_hot(episodes.action[which].astype(jnp.int32), A)
        taken = apply(params.mixer, (q[:-1] * action).sum(-1), state[:-1], q[:-1].max(-1), action)
        goal = jnp.zeros(())
        for t in reversed(range(length)):
            following = value[t + 1]
            mixed = following if t == length - 1 else (1 - config.td_lambda) * following + config.td_lambda * goal
            on = 1 - episodes.terminated[which, t].astype(jnp.float32)
            goal = episodes.reward[which, t] + config.gamma * on * mixed
            total += ((taken[t] - jax.lax.stop_gradient(goal)) ** 2).mean()
            count += 1
    return total / count


@pytest.mark.parametrize(("name", "td_lambda"), [("qmix", 0.0), *((name, 0.6) for name in MIXERS)])
def test_packed_update_equals_plain_gradient_descent_on_padded_episodes(name: str, td_lambda: float) -> None:
    # Clipping to almost nothing leaves the direction of the gradient; its norm is in the metrics.
    config = ValueConfig(mixer=name, td_lambda=td_lambda, hidden=8, batch=5)
    learner = value_learner(SPEC, config)
    init = jax.jit(learner.init)
    state = init(rng.root(3))
    other = init(rng.root(4)).params  # a target unlike the online network
    state, chosen = state._replace(target=other), [4, 0, 2, 3, 1]
    episodes = made_up()

    after, metrics = jax.jit(learner.update)(KEY, state, episodes, jnp.array(chosen), NOW)
    plain = jax.jit(jax.value_and_grad(lambda params: plain_loss(params, other, episodes, chosen, config)))
    loss, gradient = plain(state.params)

    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)
    old, gradient = jax.tree.map(np.asarray, (state.params, gradient))
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    clip = min(1.0, config.grad_clip / (float(norm) + 1e-6))

    def stepped(p: np.ndarray, g: np.ndarray) -> np.ndarray:
        g = g * clip
        return p - config.lr * g / (np.sqrt(0.01 * g**2) + 1e-5)

    for mine, wanted in zip(
        jax.tree.leaves(after.params), jax.tree.leaves(jax.tree.map(stepped, old, gradient)), strict=True
    ):
        np.testing.assert_allclose(mine, wanted, atol=2e-5)


def test_an_accelerator_works_on_all_episodes_at_once_and_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = value_learner(SPEC, ValueConfig(hidden=8, batch=5))
    state, episodes = jax.jit(learner.init)(rng.root(3)), made_up()

    def updated() -> tuple[int, dict[str, jax.Array]]:
        update = jax.jit(lambda *now: learner.update(*now))  # traced anew: it asks for the backend while it is traced
        return plan(SPEC.n_agents, 5, TIME + 1).lanes, update(KEY, state, episodes, jnp.arange(5), NOW)[1]

    one, few = updated()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    all_of_them, wide = updated()
    assert (one, all_of_them) == (1, 5)
    for name in ("loss", "grad_norm", "td_error", "q_taken"):
        assert wide[name] == pytest.approx(float(few[name]), rel=1e-5)


def test_a_batch_that_does_not_fit_at_once_is_learned_from_in_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = value_learner(SPEC, ValueConfig(hidden=8, batch=5, td_lambda=0.6))
    state, episodes = jax.jit(learner.init)(rng.root(3)), made_up()

    def updated() -> tuple[int, dict[str, jax.Array]]:
        update = jax.jit(lambda *now: learner.update(*now))
        return plan(SPEC.n_agents, 5, TIME + 1).waves, update(KEY, state, episodes, jnp.arange(5), NOW)[1]

    whole = updated()
    monkeypatch.setattr(lanes, "ROWS", 2)
    monkeypatch.setattr(lanes, "SPAN", 3)
    monkeypatch.setattr(lanes, "SLOTS", 3)
    parts = updated()
    assert (whole[0], parts[0]) == (1, 5)
    for name in ("loss", "grad_norm", "td_error", "q_taken", "target"):
        assert parts[1][name] == pytest.approx(float(whole[1][name]), rel=1e-5)


def test_hard_target_is_a_copy_every_so_many_updates_and_ema_moves_a_little() -> None:
    episodes, chosen = made_up(), jnp.arange(5)
    hard = value_learner(SPEC, ValueConfig(hidden=8, target_every=2, batch=5))
    state, update = jax.jit(hard.init)(rng.root(0)), jax.jit(hard.update)
    once, _ = update(KEY, state, episodes, chosen, NOW)
    twice, _ = update(KEY, once, episodes, chosen, NOW)
    jax.tree.map(np.testing.assert_array_equal, once.target, state.params)
    jax.tree.map(np.testing.assert_array_equal, twice.target, twice.params)

    soft = value_learner(SPEC, ValueConfig(hidden=8, target="ema", ema_tau=0.25, batch=5))
    moved, _ = jax.jit(soft.update)(KEY, state, episodes, chosen, NOW)
    wanted = 0.75 * np.asarray(state.target.agent.fc1_w) + 0.25 * np.asarray(moved.params.agent.fc1_w)
    np.testing.assert_allclose(moved.target.agent.fc1_w, wanted, rtol=1e-6)


def test_exploration_takes_available_actions_only_and_as_often_as_asked() -> None:
    scores = jnp.broadcast_to(jnp.array([0.0, 5.0, 9.0, 1.0])[None], (1000, 4))
    avail = jnp.broadcast_to(jnp.array([True, True, False, True])[None], (1000, 4))
    chosen = epsilon_greedy(jnp.float32(0.3), rng.root(0), scores, avail)
    counts = np.bincount(np.asarray(chosen), minlength=4) / 1000
    assert counts[2] == 0
    assert counts[1] == pytest.approx(0.7 + 0.1, abs=0.04)
    assert counts[0] == pytest.approx(0.1, abs=0.03)
    assert (epsilon_greedy(jnp.float32(0), rng.root(0), scores, avail) == 1).all()


def test_annealing_shrinks_the_step_in_proportion_to_what_is_left() -> None:
    episodes, chosen = made_up(), jnp.arange(5)
    learner = value_learner(SPEC, ValueConfig(hidden=8, batch=5, lr_anneal=True))
    state = jax.jit(learner.init)(rng.root(0))
    update = jax.jit(learner.update)
    whole, _ = update(KEY, state, episodes, chosen, NOW)
    quarter, _ = update(KEY, state, episodes, chosen, jnp.float32(0.25))
    moved = whole.params.agent.fc1_w - state.params.agent.fc1_w
    np.testing.assert_allclose(quarter.params.agent.fc1_w - state.params.agent.fc1_w, 0.25 * moved, atol=1e-7)
