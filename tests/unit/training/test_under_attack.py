"""Training under attack learns what is best under attack: the replay holds clean observations and both actions, and the
learner sees the attacked observation and the intended action (paper, Theorem 4.2 and Algorithm 1).

Every game here is small enough to write the values down: two agents, three actions, one or two steps.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool

from ibal import rng, tree
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.evaluation.episodes import play
from ibal.learners.config import ValueConfig
from ibal.learners.value import ValueParams, value_learner
from ibal.nets.agents import Agent
from ibal.nets.pymarl import pymarl_agent
from ibal.training.config import TrainConfig
from ibal.training.runner import build
from ibal.training.state import TrainState
from ibal.types import Block, Env, EnvSpec, Episodes, ObsLayout, TimeStep

N, FEATURES = 2, ("sign", "step")
BONUS = 0.2  # for agent 1, whom nobody attacks, whenever it chooses action 1
ENVS, ITERATIONS, UPDATES = 64, 100, 8

LEARNER = ValueConfig(mixer="vdn", hidden=16, gamma=0.5, optimiser="adam", lr=5e-3, lr_anneal=True, target_every=50)


class BetState(NamedTuple):
    """``sign`` is 0 or 1, drawn anew at every step."""

    t: jax.Array
    sign: jax.Array
    over: jax.Array


def bet(pay: list[list[float]], horizon: int, ruin: int = -1) -> Env:
    """Everybody sees the sign; agent 0's action pays ``pay[sign][action]``, and ``ruin`` ends the episode."""

    def show(key: jax.Array, t: jax.Array, reward: jax.Array, over: jax.Array) -> tuple[BetState, TimeStep]:
        sign = jax.random.bernoulli(key).astype(jnp.int32)
        seen = jnp.stack([sign, t]).astype(jnp.float32)
        return BetState(t, sign, over), TimeStep(
            obs=jnp.tile(seen[None], (N, 1)), state=seen, avail=jnp.ones((N, 3), bool), alive=jnp.ones(N, bool),
            reward=reward, terminated=over, truncated=jnp.array(False), metrics={},
        )  # fmt: skip

    def reset(key: jax.Array, table: jax.Array) -> tuple[BetState, TimeStep]:
        return show(key, jnp.int32(0), jnp.float32(0), jnp.array(False))

    def step(key: jax.Array, state: BetState, actions: jax.Array, table: jax.Array) -> tuple[BetState, TimeStep]:
        reward = table[state.sign, actions[0]] + jnp.where(actions[1] == 1, BONUS, 0.0)
        over = state.over | (actions[0] == ruin) | (state.t + 1 >= horizon)
        return show(key, state.t + 1, jnp.where(state.over, 0.0, reward), over)

    layout = ObsLayout((Block("game", 0, 0, FEATURES),), "anonymous")
    spec = EnvSpec(
        name="bet", n_agents=N, n_actions=3, obs_size=2, state_size=2, horizon=horizon, action_names=("0", "1", "2"),
        metric_names=(), obs_layout=layout, state_layout=layout,
    )  # fmt: skip
    return Env(spec, jnp.array(pay, jnp.float32), reset, step)


def trained(env: Env, attack: Adversary) -> TrainState:
    """Train as ``ibal train`` does, exploring all the time; return the state of the only seed."""
    episodes = ENVS * ITERATIONS
    config = TrainConfig(
        steps=episodes * env.spec.horizon, envs=ENVS, updates_per_episode=UPDATES / ENVS, replay=episodes,
        learn_from=ENVS, epsilon_start=1.0, epsilon_end=1.0, chunk=ITERATIONS,
    )  # fmt: skip
    make = build(env, LEARNER, config, 1, attack)
    state, _ = make.chunk(make.init(rng.root(0)[None]))
    return jax.jit(tree.at)(state, 0)


def taught(env: Env, episodes: Episodes) -> ValueParams:
    """Let a new learner of plain episodes loose on a record, whatever it claims to have been."""
    return _taught(env.spec, episodes._replace(seen=None, executed=None, memory=()))


@partial(jax.jit, static_argnums=0)
def _taught(spec: EnvSpec, episodes: Episodes) -> ValueParams:
    learner, updates = value_learner(spec, LEARNER), 600

    def one(index: jax.Array, state: Any) -> Any:
        chosen = jax.random.randint(rng.at(rng.root(2), index), (LEARNER.batch,), 0, episodes.length.shape[0])
        return learner.update(rng.at(rng.root(3), index), state, episodes, chosen, 1 - index / updates)[0]

    return jax.lax.fori_loop(0, updates, one, learner.init(rng.root(1))).params


@cache
def team(spec: EnvSpec) -> Agent:
    """One object per environment: ``play`` is compiled for it."""
    return pymarl_agent(spec, LEARNER.hidden)


def values(env: Env, params: ValueParams, sign: int = 0) -> np.ndarray:
    """Value of the team at its first step for each action of agent 0, if agent 1 chooses 1 and both see ``sign``."""
    q = np.asarray(_first_scores(env.spec, params, np.array([[float(sign), 0.0]] * N, np.float32)))
    assert q[1].argmax() == 1
    return q[0] + q[1, 1]


@partial(jax.jit, static_argnums=0)
def _first_scores(spec: EnvSpec, params: ValueParams, obs: jax.Array) -> jax.Array:
    agent = team(spec)
    return agent.scores(params.agent, agent.start(), obs, jnp.ones((N, 3), bool), jnp.full(N, -1, jnp.int32))[1]


def returns(env: Env, params: ValueParams, attack: Adversary | None = None) -> np.ndarray:
    """Returns of 256 episodes in which everybody does what he thinks best."""
    keys = rng.episodes(rng.root(5), 256)
    return np.asarray(play(env, team(env.spec), keys, params.agent, adversary=attack).returns)


# Actions

SAFE, BOLD, FALL = 0, 1, 2
RISK = 0.5


@cache
def cliff() -> Env:
    """Two steps; safe pays 0.4, bold 1; a fall costs 2 and ends the episode."""
    return bet([[0.4, 1.0, -2.0]] * 2, horizon=2, ruin=FALL)


@cache
def push() -> Adversary:
    """Half of the time when agent 0 is bold, it falls instead."""

    def act(key: jax.Array, state: Any, memory: Any, view: Any) -> tuple[jax.Array, Any]:
        falls = jax.random.bernoulli(key, RISK) & (view.actions[0] == BOLD)
        return view.actions.at[0].set(jnp.where(falls, FALL, view.actions[0])), memory

    return adversary(act=act, threat=Threat(channels=("act",), agents=1, p=RISK))


def test_without_attack_the_bold_way_is_best() -> None:
    env = cliff()
    learned = trained(env, natural()).learner.learned.params
    # The second step is worth 1 + 0.2; it counts half, and is not reached by a fall.
    np.testing.assert_allclose(values(env, learned), [0.4 + 0.2 + 0.6, 1 + 0.2 + 0.6, -2 + 0.2], atol=0.1)
    np.testing.assert_allclose(returns(env, learned), 2 * (1 + BONUS), rtol=1e-5)
    struck = returns(env, learned, push())
    # Falls at once in half of the episodes, at the second step in a quarter.
    assert struck.mean() == pytest.approx(0.5 * -1.8 + 0.25 * (1.2 - 1.8) + 0.25 * 2.4, abs=0.4)


def test_under_attack_what_was_meant_is_judged_by_what_came_of_it() -> None:
    env = cliff()
    state = trained(env, push())
    episodes, learned = state.learner.replay.episodes, state.learner.learned.params
    # The second step is worth 0.4 + 0.2. Bold: half of the time 1 and half of that, half of the time -2 and the end.
    meant = [0.4 + 0.2 + 0.3, 0.5 * (1 + 0.3) + 0.5 * -2 + 0.2, -2 + 0.2]
    np.testing.assert_allclose(values(env, learned), meant, atol=0.1)
    for attack in (None, push()):  # who is never bold is never pushed
        np.testing.assert_allclose(returns(env, learned, attack), 2 * (0.4 + BONUS), rtol=1e-5)

    pushed = np.asarray(episodes.action != episodes.executed)
    within = np.arange(2)[None] < np.asarray(episodes.length)[:, None]
    assert not pushed[..., 1].any()
    assert set(np.asarray(episodes.action)[pushed]) == {BOLD}
    assert set(np.asarray(episodes.executed)[pushed]) == {FALL}
    assert pushed[within].any(1).mean() == pytest.approx(RISK / 3, abs=0.03)

    # Whoever learns from what was done, not from what was meant, never sees the bold fall: in its record bold pays 1
    # as without an attack, and it walks on into the attack.
    assert episodes.executed is not None
    wrong = taught(env, episodes._replace(action=episodes.executed))
    np.testing.assert_allclose(values(env, wrong), [0.4 + 0.2 + 0.6, 1 + 0.2 + 0.6, -2 + 0.2], atol=0.15)
    assert returns(env, wrong, push()).mean() < 0.6
    # The same record as it is: the difference is the action alone.
    assert int(values(env, taught(env, episodes)).argmax()) == SAFE


# Observations

LEFT, WAIT, RIGHT = 0, 1, 2


@cache
def fork() -> Env:
    """One step: left pays 1 on sign 0, right on sign 1, and 2 are lost if it was the other; waiting pays 0.5."""
    return bet([[1.0, 0.5, -2.0], [-2.0, 0.5, 1.0]], horizon=1)


class Fog(NamedTuple):
    """What an episode of fog hides."""

    mask: Bool[Array, "n o"]


@cache
def fog(rebuild: bool) -> Adversary:
    """In half of the episodes the sign reads 0, which is what a true 0 looks like."""

    def begin(key: jax.Array, state: Any, step: TimeStep) -> Fog:
        sign = jnp.array([True, False])
        return Fog(jnp.tile((jax.random.bernoulli(key) & sign)[None], (N, 1)))

    def reobserve(memory: Fog, obs: jax.Array) -> jax.Array:
        return jnp.where(memory.mask, 0.0, obs)

    def observe(key: jax.Array, state: Any, memory: Fog, view: Any) -> tuple[jax.Array, Fog]:
        return reobserve(memory, view.step.obs), memory

    threat = Threat(channels=("obs",), dims=1)
    return adversary(begin=begin, observe=observe, reobserve=reobserve if rebuild else None, threat=threat)


# A 0 that is seen is true in 2 of 3 cases, a 1 always: left on a 0 earns 2/3 - 2/3, right 1/3 - 4/3, waiting 0.5.
IN_FOG = {0: [0.0, 0.5, -1.0], 1: [-2.0, 0.5, 1.0]}
CLEAR = {0: [1.0, 0.5, -2.0], 1: [-2.0, 0.5, 1.0]}


def test_what_is_seen_is_learned_from_whether_it_is_rebuilt_or_stored() -> None:
    env = fork()
    rebuilt, stored = (trained(env, fog(rebuild)) for rebuild in (True, False))
    for state in (rebuilt, stored):
        for sign, hand in IN_FOG.items():
            np.testing.assert_allclose(
                values(env, state.learner.learned.params, sign), np.array(hand) + BONUS, atol=0.15
            )
        # Half of the episodes show a 0 in clear weather or fog; the others let it go right.
        won = returns(env, state.learner.learned.params, fog(True)) - BONUS
        np.testing.assert_allclose(np.unique(won), [0.5, 1.0], rtol=1e-5)
        assert (won > 0.75).mean() == pytest.approx(1 / 4, abs=0.1)
    for sign in IN_FOG:  # the same games, the same lessons; two programs round differently
        one, other = (values(env, state.learner.learned.params, sign) for state in (rebuilt, stored))
        np.testing.assert_allclose(one, other, atol=0.01)

    clean, seen = rebuilt.learner.replay.episodes, stored.learner.replay.episodes
    assert clean.seen is None
    np.testing.assert_array_equal(clean.obs, seen.obs)
    np.testing.assert_array_equal(clean.memory.mask, seen.memory.mask)
    masked = np.where(np.asarray(clean.memory.mask)[:, None], 0, clean.obs)
    np.testing.assert_array_equal(masked[:, 0], np.asarray(seen.seen)[:, 0])
    assert (masked != np.asarray(clean.obs)).any()

    # Whoever learns from the clean observations learns to go left on a 0, and goes astray in the fog.
    wrong = taught(env, clean)
    for sign, hand in CLEAR.items():
        np.testing.assert_allclose(values(env, wrong, sign), np.array(hand) + BONUS, atol=0.15)
    assert (returns(env, wrong, fog(True)) < -1).any()
