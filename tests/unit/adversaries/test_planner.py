"""The Wolfpack planner: what it imagines by hand, what it learns of games whose best moment is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries.base import Feedback
from ibal.adversaries.bundle import adapted
from ibal.adversaries.config import RandomWolfpackConfig, WolfpackConfig
from ibal.adversaries.wolfpack import nets as planner_nets
from ibal.adversaries.wolfpack import planner
from ibal.evaluation.episodes import play
from ibal.experiments.fitting import FitPlan, as_fitted, fit_attacker
from ibal.nets.layers import Linear
from ibal.types import Block, Env, EnvSpec, Episodes, ObsLayout, Policy, TimeStep

STEPS, N, A = 10, 3, 2
PRIZE = 10.0
# Compiled as wholes: operation by operation, most of the time would go into compiling.
init = jax.jit(planner.init, static_argnums=(1, 2))
window = jax.jit(planner.window, static_argnums=4)
plan_loss, falls_loss = jax.jit(planner.plan_loss), jax.jit(planner.falls_loss)
LAYOUT = ObsLayout((Block("own", 0, 0, ("left", "now")),))
SPEC = EnvSpec("prize", N, A, 2, 2, STEPS, ("miss", "take"), ("win",), LAYOUT, LAYOUT)
SMALL = WolfpackConfig(
    hidden=16, every=1, updates=16, windows=16, lr=3e-3, rounds=30, budget=1, follow_steps=0, followers=0
)  # fmt: skip


def prize() -> Env:
    """Who all take action 1 in one step of the ten, drawn anew in every episode, win; everybody sees it coming."""

    def show(when: jax.Array, t: jax.Array, taken: jax.Array) -> tuple[Any, TimeStep]:
        left = jnp.stack(((when - t) / STEPS, (when == t).astype(jnp.float32))).astype(jnp.float32)
        step = TimeStep(
            jnp.tile(left[None], (N, 1)), left, jnp.ones((N, A), bool), jnp.ones(N, bool), taken,
            t >= STEPS, jnp.array(False), {"win": taken},
        )  # fmt: skip
        return (when, t), step

    def reset(key: jax.Array, params: None) -> tuple[Any, TimeStep]:
        return show(jax.random.randint(key, (), 2, STEPS), jnp.int32(0), jnp.float32(0))

    def step(key: jax.Array, state: Any, actions: jax.Array, params: None) -> tuple[Any, TimeStep]:
        when, t = state
        return show(when, t + 1, ((actions == 1).all() & (when == t)).astype(jnp.float32))

    return Env(SPEC, None, reset, step)


def taker() -> Policy:
    """Takes always, and knows what it is worth."""

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return carry, jnp.stack((jnp.zeros(N), 0.1 + PRIZE * obs[:, 1]), axis=1)

    return Policy(lambda: jnp.zeros(()), scores, lambda key, s, avail: jnp.argmax(s, axis=1).astype(jnp.int32))


@pytest.mark.slow
def test_a_fitted_planner_strikes_when_it_costs_most_and_random_starts_do_not() -> None:
    env, keys = prize(), rng.episodes(rng.root(3), 400)
    fitted = fit_attacker(SMALL, env, taker(), FitPlan(epsilon=0.0))
    assert fitted.plan is None  # only what plays is kept
    assert fitted.opt is None
    attack = as_fitted(SMALL).build(SPEC)
    struck = float(play(env, taker(), keys, adversary=attack, attacker=fitted).returns.mean())
    random = RandomWolfpackConfig(budget=1, follow_steps=0, followers=0, evaluation=True).build(SPEC)
    # One step of ten, uniform; the prize lies anywhere: one episode in ten is lost.
    assert float(play(env, taker(), keys, adversary=random).returns.mean()) == pytest.approx(0.9, abs=0.06)
    assert struck < 0.2
    # What it expects in the third step: most if it starts when the prize is there.
    expect = jax.jit(planner.expect)
    for when in (2, 4, 6):
        seen, falls = jnp.zeros((STEPS, SMALL.hidden), jnp.float16), jnp.zeros((N, STEPS))
        for t in range(3):
            state = jnp.array([(when - t) / STEPS, float(when == t)], jnp.float32)
            falls, seen = expect(fitted.falls, seen, state, jnp.int32(t))
        inside = falls.max(0)[: STEPS - 2]  # what lies beyond the end was never learned
        assert abs(int(inside.argmax()) - (when - 2)) <= (when > 2)


def chain(count: int, steps: int, seed: int) -> tuple[Episodes, jax.Array]:
    """Random play of a game that can be told ahead: x' = x / 2 + mean(actions), and Q_i(a) = x a - (1 - x) (1 - a)."""
    draw = np.random.default_rng(seed)
    actions = draw.integers(0, 2, (count, steps, N))
    x = np.zeros((count, steps + 1))
    x[:, 0] = draw.uniform(0, 2, count)
    for t in range(steps):
        x[:, t + 1] = onward(x[:, t], actions[:, t])
    values = np.stack((x[:, :-1] - 1, x[:, :-1]), axis=-1)[:, :, None].repeat(N, 2)
    state = np.stack((x, 1 - x), axis=-1).astype(np.float32)
    blank = jnp.zeros((count, steps), jnp.float32)
    episodes = Episodes(
        jnp.zeros((count, steps + 1, N, 2)), None, jnp.asarray(state), jnp.ones((count, steps + 1, N, A), bool),
        jnp.asarray(actions, jnp.int32), jnp.asarray(actions, jnp.int32), blank, blank > 0,
        jnp.full(count, steps, jnp.int32),
    )  # fmt: skip
    return episodes, jnp.asarray(values, jnp.float16)


def onward(x: Any, actions: Any) -> Any:
    return x / 2 + actions.mean(-1)


def fall_by_hand(x: float, meant: np.ndarray, initial: int, pack: np.ndarray, follow_steps: int) -> float:
    """Everybody's best action is 1 (worth x), the worst is 0 (worth x - 1)."""
    totals = []
    for attacked in (False, True):
        actions, at, total = meant.copy(), x, 0.0
        if attacked:
            actions[initial] = 0
        for _ in range(follow_steps + 1):
            total += np.where(actions == 1, at, at - 1).sum()
            at = onward(at, actions)
            actions = np.ones(N, int)
            if attacked:
                actions[pack] = 0
        totals.append(total)
    return totals[0] - totals[1]


@pytest.mark.slow
def test_the_planning_net_learns_a_game_and_imagines_what_an_attack_costs() -> None:
    config = WolfpackConfig(hidden=32, every=1, updates=16, windows=32, lr=3e-3, follow_steps=2, followers=1)
    state = init(rng.root(0), config, SPEC)
    episodes, scores = chain(32, STEPS, 0)

    def learn(state: planner.State, index: jax.Array) -> tuple[planner.State, None]:
        return planner.lesson(rng.at(rng.root(1), index), config, SPEC, state, episodes, scores), None

    learned, _ = jax.jit(lambda s: jax.lax.scan(learn, s, jnp.arange(40)))(state)
    assert learned.plan is not None
    unit = float(learned.unit)
    recorded = np.asarray(scores, np.float32)
    assert unit == pytest.approx(np.sqrt((recorded**2).mean()), rel=1e-3)

    fresh, values = chain(64, STEPS, 1)
    scaled = jnp.asarray(np.asarray(values, np.float32) / unit)
    windows = jax.jit(jax.vmap(lambda b: planner.window(fresh, scaled, b, jnp.int32(5), STEPS)))(jnp.arange(64))
    before, after = (float(plan_loss(net, windows)) for net in (state.plan, learned.plan))
    assert after < 0.03 * before  # an untrained net says that nothing changes

    keys = rng.episodes(rng.root(2), 64)
    meant = np.asarray(fresh.action[:, 5])
    highest = []
    for followers, close in ((0, 0.25), (2, 0.6)):
        imagine = jax.jit(jax.vmap(lambda k, w, m=followers: planner.imagine(k, learned.plan, w, 2, m)))
        who, falls = imagine(keys, windows)
        expected = np.zeros(64)
        for b, i in enumerate(np.asarray(who)):
            pack = (np.arange(N) != i) & (followers > 0)
            if meant[b, i] == 1:  # else it does its worst anyway
                expected[b] = fall_by_hand(float(fresh.state[b, 5, 0]), meant[b], i, pack, 2)
        np.testing.assert_allclose(unit * np.asarray(falls), expected, atol=close)
        highest.append(expected.max())
    assert highest[1] > highest[0] + 2 > 3  # there is something to imagine


def test_an_untrained_plan_says_that_nothing_changes_and_the_end_of_an_episode_cuts_what_follows() -> None:
    config = WolfpackConfig(hidden=8)
    plan = init(rng.root(0), config, SPEC).plan
    episodes, scores = chain(24, STEPS, 2)
    episodes = episodes._replace(length=jnp.full(24, 7))

    @jax.jit
    def one(b: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        seen = planner.window(episodes, scores.astype(jnp.float32), b, time, 4)
        return seen.valid, *planner.imagine(rng.at(rng.root(3), b), plan, seen, 3, 2)

    for time, follows in ((2, 3), (5, 1), (6, 0)):
        for b in range(24):
            valid, who, fall = one(jnp.int32(b), jnp.int32(time))
            assert valid.tolist() == [time - 3 + k in range(7) for k in range(5)]
            meant = np.asarray(episodes.action[b, time])
            # The gap between actions is 1: the agent at once, two followers in each step that follows.
            assert float(fall) == pytest.approx((1 + 2 * follows) * meant[int(who)], abs=1e-2)


def test_steps_are_drawn_from_what_was_played_and_windows_say_what_was_there() -> None:
    played = jnp.arange(STEPS)[None] < jnp.array([[3], [1], [STEPS]])
    episode, time = jax.jit(planner.draw_steps, static_argnums=2)(rng.root(0), played, 500)
    assert set(zip(episode.tolist(), time.tolist(), strict=True)) == set(
        map(tuple, np.argwhere(np.asarray(played)).tolist())
    )
    episodes, scores = chain(3, STEPS, 3)
    seen = window(episodes, scores.astype(jnp.float32), jnp.int32(2), jnp.int32(7), 4)
    assert seen.time.tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(seen.moment.state, episodes.state[2, 4:9])
    np.testing.assert_array_equal(seen.executed, episodes.executed[2, 4:8])
    np.testing.assert_array_equal(seen.meant, episodes.action[2, 7])
    assert int(seen.left) == STEPS - 1 - 7


def test_what_is_expected_while_playing_is_what_is_learned() -> None:
    """The rows in the memory, in whatever order they lie, give what the window of the last states gives."""
    config, width = WolfpackConfig(hidden=8, window=4), 4
    net = init(rng.root(0), config, SPEC).falls
    head = Linear(jax.random.normal(rng.root(1), net.head.w.shape), net.head.b)
    net = net._replace(head=head)
    states = jax.random.normal(rng.root(2), (STEPS, 2))
    seen = jnp.zeros((width, 8), jnp.float16)
    expect = jax.jit(planner.expect)

    @jax.jit
    def last_row(times: jax.Array) -> jax.Array:
        x = planner_nets.embed_states(net, states[times], times)
        return planner_nets.through(net.block, x, x, planner_nets.causal(jnp.ones(len(times), bool)))[-1] @ head.w

    for t in range(STEPS):
        falls, seen = expect(net, seen, states[t], jnp.int32(t))
        assert falls.shape == (N, width)
        times = jnp.arange(max(0, t - width + 1), t + 1)
        np.testing.assert_allclose(falls, last_row(times).reshape(N, width), atol=0.02)


def test_the_loss_pairs_what_was_expected_with_the_step_it_was_expected_of() -> None:
    """A net that expects h + 10 i for h steps ahead and agent i, whatever it sees; targets are 1."""
    config = WolfpackConfig(hidden=8, window=4)
    net = init(rng.root(0), config, SPEC).falls
    bias = jnp.arange(4.0)[None] + 10 * jnp.arange(3.0)[:, None]
    net = net._replace(head=Linear(net.head.w, bias.reshape(-1)))
    episodes, scores = chain(2, STEPS, 4)
    cut = lambda b, t: window(episodes, scores.astype(jnp.float32), jnp.int32(b), jnp.int32(t), 4)  # noqa: E731
    windows = jax.tree.map(lambda *x: jnp.stack(x), cut(0, 7), cut(1, 1))  # the second has two steps only
    found = float(falls_loss(net, (windows, jnp.array([0, 1]), jnp.ones(2))))
    assert found == pytest.approx((sum((h - 1) ** 2 for h in range(4)) + 9**2 + 10**2) / 6)


def test_lessons_are_due_in_every_other_iteration_and_evaluation_needs_less() -> None:
    config = WolfpackConfig(hidden=8, every=2, updates=1, windows=4)
    state = init(rng.root(0), config, SPEC)
    episodes, scores = chain(4, STEPS, 5)

    @jax.jit
    def after(iteration: jax.Array) -> planner.State:
        told = Feedback(jnp.float32(0), jnp.float32(0), jnp.float32(0), iteration)
        return planner.update(rng.root(0), config, SPEC, state, episodes, scores, told)[0]

    jax.tree.map(np.testing.assert_array_equal, after(jnp.int32(0)), state)
    learned = after(jnp.int32(1))
    assert float(jnp.abs(learned.falls.head.b).max()) > 0
    kept = adapted(learned, as_fitted(config).build(SPEC).init)
    jax.tree.map(np.testing.assert_array_equal, kept.falls, learned.falls)
    assert kept.spread == learned.spread
