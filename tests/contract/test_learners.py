"""Every value learner on problems whose answer is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from ibal import make, rng, tree
from ibal.adversaries.base import natural
from ibal.evaluation.episodes import play
from ibal.learners.config import PqnConfig, ValueConfig
from ibal.learners.value import ValueParams, ValueState
from ibal.nets.mixers import mixer
from ibal.nets.pymarl import pymarl_agent
from ibal.training.config import TrainConfig
from ibal.training.learner import agent_for
from ibal.training.runner import build
from ibal.types import Env

BATCH = 32


def learned(env: Env, chunks: int = 1, **changes: Any) -> ValueState:
    """Train for ``chunks`` of 50 iterations of 32 episodes, 8 updates each."""
    exploration = changes.pop("epsilon", 1.0)
    settings = {"mixer": "qmix", "hidden": 16, "lr": 5e-3, "optimiser": "adam", "target_every": 50, "batch": BATCH}
    config = ValueConfig(**(settings | changes))
    budget = TrainConfig(
        envs=BATCH, updates_per_episode=0.25, replay=256, learn_from=BATCH, chunk=50, epsilon_start=exploration,
        epsilon_end=exploration,
    )  # fmt: skip
    make_ = build(env, config, budget, 1, natural())
    state = make_.init(rng.root(1)[None])
    for _ in range(chunks):
        state, _ = make_.chunk(state)
    return jax.jit(tree.at)(state.learner.learned, 0)


def greedy_return(env: Env, state: ValueState) -> float:
    hidden = state.params.agent.hidden_size
    keys = rng.episodes(rng.root(7), 64)
    return float(play(env, pymarl_agent(env.spec, hidden), keys, state.params.agent).returns.mean())


def team_values(env: Env, state: ValueState, name: str) -> dict[int, float]:
    """Q_tot of the first greedy action of an episode, for each node at which one can begin."""
    agent = pymarl_agent(env.spec, state.params.agent.hidden_size)

    def first(params: ValueParams, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        game, step = env.reset(key, env.params)
        nobody = jnp.full(env.spec.n_agents, -1, jnp.int32)
        _, q = agent.scores(params.agent, agent.start(), step.obs, step.avail, nobody)
        q = jnp.where(step.avail, q, -1e7)
        best, one_hot = q.max(-1), jax.nn.one_hot(jnp.argmax(q, -1), q.shape[-1])
        return game.start, mixer(name).apply(params.mixer, best, step.state, best, one_hot).mean()

    starts, values = jax.jit(jax.vmap(first, (None, 0)))(state.params, rng.episodes(rng.root(0), 64))
    return dict(zip(starts.tolist(), values.tolist(), strict=True))


def team_value(env: Env, state: ValueState, name: str) -> float:
    return team_values(env, state, name)[0]


# Those of whom other tests here ask more come with --all: every one is a program of its own, and takes seconds.
ALSO = pytest.mark.thorough


@pytest.mark.parametrize("name", ["iql", pytest.param("vdn", marks=ALSO), pytest.param("qmix", marks=ALSO), "qplex"])
def test_the_value_of_what_never_changes_is_learned(name: str) -> None:
    env = make("toy/probe-value")
    assert team_value(env, learned(env, mixer=name), name) == pytest.approx(1.0, abs=0.05)


def test_a_later_reward_counts_the_discount_less() -> None:
    env = make("toy/probe-discount")
    assert team_value(env, learned(env, gamma=0.5), "qmix") == pytest.approx(0.5, abs=0.05)


def test_lambda_of_one_hands_the_reward_back_at_once() -> None:
    env = make("toy/probe-discount")
    # The target network is never copied: only the trace can carry the reward to the first step.
    assert team_value(env, learned(env, gamma=0.5, td_lambda=1.0, target_every=10**6), "qmix") == pytest.approx(
        0.5, abs=0.05
    )


def test_the_value_depends_on_what_is_seen() -> None:
    env = make("toy/probe-observation")  # whatever is done earns the sign that is shown
    assert team_values(env, learned(env), "qmix") == pytest.approx({0: -1.0, 1: 1.0}, abs=0.05)


@pytest.mark.parametrize("probe", [pytest.param("probe-action", marks=ALSO), "probe-joint"])
def test_greedy_play_is_optimal_on_one_step(probe: str) -> None:
    env = make(f"toy/{probe}")
    assert greedy_return(env, learned(env)) == pytest.approx(1.0, abs=0.01)


def test_what_was_seen_at_the_beginning_is_remembered() -> None:
    env = make("toy/probe-memory")
    assert greedy_return(env, learned(env, chunks=2)) == pytest.approx(1.0, abs=0.01)


def test_qmix_solves_the_two_step_game_that_vdn_cannot() -> None:
    env = make("toy/two-step")
    assert greedy_return(env, learned(env, chunks=2, mixer="qmix")) == pytest.approx(8.0)
    assert greedy_return(env, learned(env, chunks=2, mixer="vdn")) == pytest.approx(7.0)


def pqn_return(name: str, learner: Any, chunks: int, **changes: Any) -> float:
    """Greedy return after ``chunks`` of 50 iterations of 32 episodes, 4 updates each, of teams that play at random."""
    env = make(f"toy/{name}")
    settings: dict[str, Any] = {"hidden": 16, "epochs": 2, "minibatches": 2, "lr": 5e-3, "lr_anneal": False}
    config = PqnConfig(name=learner, **(settings | changes))
    make_ = build(env, config, TrainConfig(envs=BATCH, chunk=50, epsilon_end=1.0), 1, natural())
    state = make_.init(rng.root(1)[None])
    for _ in range(chunks):
        state, _ = make_.chunk(state)
    weights = jax.jit(tree.at)(state.learner, 0).params.agent
    return float(play(env, agent_for(env.spec, config), rng.episodes(rng.root(7), 64), weights).returns.mean())


def test_pqn_remembers_what_was_seen_at_the_beginning() -> None:
    assert pqn_return("probe-memory", "pqn-vdn", 2) == pytest.approx(1.0, abs=0.01)


def test_pqn_with_a_mixer_solves_the_two_step_game() -> None:
    # One step ahead: longer returns of a team that plays at random are no values of the best play.
    assert pqn_return("two-step", "pqn-qmix", 4, td_lambda=0.0) == pytest.approx(8.0)
