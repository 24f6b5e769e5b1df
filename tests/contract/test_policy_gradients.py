"""MAPPO and IPPO on problems whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import pytest

from ibal import make, rng, tree
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.evaluation.episodes import play
from ibal.experiments.config import RunConfig
from ibal.experiments.presets import apply_preset
from ibal.learners.config import PpoConfig
from ibal.learners.ppo.mappo import PpoState
from ibal.training.config import TrainConfig
from ibal.training.learner import agent_for
from ibal.training.runner import build
from ibal.types import Env

FAST = {"hidden": 16, "chunk": 0, "epochs": 5, "lr": 3e-3, "critic_lr": 3e-3}
BUDGET = TrainConfig(envs=32, chunk=50)


def learned(env: Env, chunks: int = 1, attack: Adversary | None = None, **changes: Any) -> tuple[PpoConfig, PpoState]:
    """Train for ``chunks`` of 50 iterations of 32 episodes."""
    config = PpoConfig(**(FAST | changes))
    make_ = build(env, config, BUDGET, 1, attack or natural())
    state = make_.init(rng.root(1)[None])
    for _ in range(chunks):
        state, _ = make_.chunk(state)
    return config, jax.jit(tree.at)(state.learner, 0)


def greedy(env: Env, found: tuple[PpoConfig, PpoState], attack: Adversary | None = None) -> float:
    config, state = found
    keys = rng.episodes(rng.root(7), 64)
    return float(play(env, agent_for(env.spec, config), keys, state.params.agent, adversary=attack).returns.mean())


def test_greedy_play_is_optimal_on_one_joint_step_of_what_is_seen() -> None:
    env = make("toy/probe-joint")
    assert greedy(env, learned(env, name="ippo")) == pytest.approx(1.0, abs=0.01)


def test_what_was_seen_at_the_beginning_is_remembered() -> None:
    env = make("toy/probe-memory")
    assert greedy(env, learned(env, chunks=2, gamma=1.0)) == pytest.approx(1.0, abs=0.01)


def test_the_two_step_game_is_solved_also_in_pieces() -> None:
    env = make("toy/two-step")
    assert greedy(env, learned(env, chunk=1)) == pytest.approx(8.0)


def test_no_slip_is_risked_in_the_climbing_game() -> None:
    """11 needs both to dare at once, and a slip costs 30: gradients end at 5 or 7, as published, and not below."""
    env = make("toy/climbing")
    assert greedy(env, learned(env, entropy=0.0)) >= 5.0


def test_against_an_attacker_that_swaps_actions_the_opposite_is_meant() -> None:
    """What is learned is what to intend (Theorem 4.2): under the attack it earns everything, without it nothing."""
    env = make("toy/probe-action")  # earns the share of agents that do 1
    swap = adversary(act=lambda key, state, memory, view: (1 - view.actions, memory), threat=Threat(channels=("act",)))
    found = learned(env, attack=swap)
    assert greedy(env, found, swap) == pytest.approx(1.0)
    assert greedy(env, found) == pytest.approx(0.0)


@pytest.mark.thorough
def test_a_team_wins_on_three_marines() -> None:
    """A regression: preset laptop, seed 0, has won .91 of these games when it was written (others, .98 to 1.00, between
    42,000 and 114,000 steps in a benchmark); a team that has not learned wins none."""
    env = make("smac/3m", version="2026-12b")
    chosen = apply_preset("laptop", RunConfig(env="smac/3m", learner=PpoConfig()))
    made = build(env, chosen.learner, replace(chosen.train, steps=500_000), 1, natural())  # the rates fall by then
    state = made.init(rng.root(0)[None])
    while int(state.progress.env_steps[0]) < 100_000:
        state, _ = made.chunk(state)
    weights = jax.jit(tree.at)(state.learner, 0).params.agent
    keys = rng.episodes(rng.root(7), 256)
    won = float(play(env, agent_for(env.spec, chosen.learner), keys, weights).win.mean())
    assert won >= 0.8
