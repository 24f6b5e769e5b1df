"""Whose iteration it is, what counts towards the budget, what everybody is told: with a learner that only counts."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import build
from ibal.adversaries.base import Adversary, Feedback, Threat, adversary, natural
from ibal.adversaries.combine import chain
from ibal.evaluation.scripted import random_policy
from ibal.learners.base import BatchLearner, Learner, Progress
from ibal.learners.replayed import with_replay
from ibal.training.config import TrainConfig
from ibal.training.learner import recorded
from ibal.training.loop import LEARNING, SEED, Trainer, trainer
from ibal.training.state import TrainState

ENV = make("toy/two-step")  # every game lasts two steps
ENVS, STEPS = 4, 2
BUDGET = TrainConfig(steps=40, envs=ENVS, chunk=1)


class Counted(NamedTuple):
    """How many updates there were, and the last number that was drawn in one."""

    updates: jax.Array
    drawn: jax.Array


def counting() -> BatchLearner:
    def update(key: jax.Array, state: Counted, episodes: Any, chosen: jax.Array, left: jax.Array) -> Any:
        return Counted(state.updates + 1, jax.random.uniform(key)), {"left": left}

    begin = Counted(jnp.int32(0), jnp.float32(0))
    return BatchLearner(lambda key: begin, lambda state, progress: random_policy(ENV.spec), update)


def replaying(attack: Adversary, axis: str | None = None) -> Learner:
    one = counting()
    example = recorded(ENV, one, attack, ENVS)
    return with_replay(one, example, capacity=2 * ENVS, ratio=0.75, batch=ENVS, axis=axis)


def listening(alone: Any = None) -> Adversary:
    """Keeps the last ``Feedback.part``, and attacks nobody."""

    def update(key: jax.Array, state: jax.Array, episodes: Any, told: Feedback) -> Any:
        return told.part, {}

    return adversary(threat=Threat(), init=lambda key: jnp.float32(0), update=update, alone=alone)


@cache
def compiled(attack: Adversary) -> Trainer:
    made = trainer(ENV, replaying(attack), attack, BUDGET)
    return Trainer(jax.jit(made.init), jax.jit(made.chunk))


def run(attack: Adversary, iterations: int, seed: int = 0) -> list[TrainState]:
    """Return the state before and after every iteration."""
    made = compiled(attack)
    states = [made.init(rng.root(seed))]
    for _ in range(iterations):
        states.append(made.chunk(states[-1])[0])
    return states


@cache
def in_turns() -> list[TrainState]:
    return run(listening(lambda iteration: iteration % 2 == 1), 4)


def test_in_an_iteration_of_the_attacker_the_team_learns_nothing_and_its_steps_are_extra() -> None:
    states = in_turns()
    # 4 episodes are worth 3 updates; 8 steps count in every other iteration, the others are extra.
    assert [int(s.learner.learned.updates) for s in states] == [0, 3, 3, 6, 6]
    assert [int(s.progress.env_steps) for s in states] == [0, 8, 8, 16, 16]
    assert [int(s.progress.episodes) for s in states] == [0, 4, 4, 8, 8]
    assert [int(s.progress.extra) for s in states] == [0, 0, 8, 8, 16]
    assert [float(s.attacker) for s in states] == pytest.approx([0, 0.2, 0.2, 0.4, 0.4])


def test_the_team_never_learns_from_the_episodes_of_the_attacker() -> None:
    states = in_turns()
    assert [int(s.learner.replay.filled) for s in states] == [0, 4, 4, 8, 8]
    kept = np.asarray(states[3].learner.replay.episodes.obs)
    # What the second iteration wrote is gone before anybody draws: the third one stands in its place.
    assert (kept[:4] == np.asarray(states[1].learner.replay.episodes.obs)[:4]).all()
    assert int(states[2].learner.replay.position) == int(states[1].learner.replay.position) == 4
    later = np.asarray(states[2].learner.replay.episodes.action)[4:]
    assert (np.asarray(states[3].learner.replay.episodes.action)[4:] != later).any()


def test_who_needs_no_turns_has_nothing_counted_apart() -> None:
    states = run(listening(), 6)
    assert [int(s.progress.env_steps) for s in states] == [0, 8, 16, 24, 32, 40, 48]
    assert states[-1].progress.extra is None
    # The share of the budget that is over; there is no more than all of it.
    assert [float(s.attacker) for s in states] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])


def test_seeds_and_updates_have_random_numbers_of_their_own() -> None:
    nobody = natural()
    drawn = [float(state.learner.learned.drawn) for seed in (0, 1) for state in run(nobody, 3, seed)[1:]]
    assert len(set(drawn)) == 6


def test_seeds_that_train_together_take_the_same_turns() -> None:
    attack = listening(lambda iteration: iteration % 2 == 1)
    made = trainer(ENV, replaying(attack, SEED), attack, BUDGET, SEED)
    chunk = jax.jit(jax.vmap(made.chunk, axis_name=SEED))
    state = jax.vmap(made.init, axis_name=SEED)(jnp.stack([rng.root(0), rng.root(1)]))
    for _ in range(2):
        state, _ = chunk(state)
    assert state.progress.env_steps.tolist() == state.progress.extra.tolist() == [8, 8]
    assert float(state.learner.learned.drawn[0]) == float(in_turns()[2].learner.learned.drawn)


def test_atla_and_the_team_learn_in_turns() -> None:
    """The attacker moves in its own iterations only, the team in the others: neither learns beside the other."""
    attack = build("atla", ENV.spec, hidden=4, updates=2, minibatch=8)
    states = run(attack, 4)
    moved = [
        any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for pair in zip([s.attacker for s in states], [s.attacker for s in states[1:]], strict=False)
    ]
    assert moved == [False, True, False, True]
    assert [int(s.learner.learned.updates) for s in states] == [0, 3, 3, 6, 6]
    assert int(states[-1].progress.extra) == int(states[-1].progress.env_steps) == 16
    assert build("atla", ENV.spec, every=1).alone is None  # no iteration is left for the team


def test_a_chain_takes_the_turns_of_its_parts() -> None:
    both = chain(natural(), listening(lambda iteration: iteration == 3))
    assert both.alone is not None
    assert [bool(both.alone(jnp.int32(i))) for i in range(5)] == [False, False, False, True, False]
    assert chain(natural(), natural()).alone is None


def test_the_learner_is_told_how_far_the_training_is_and_what_is_not_for_it() -> None:
    """Without a replay: what it gets is what was played, with the counters before (to play) and after (to learn)."""

    def update(key: jax.Array, state: Any, episodes: Any, progress: Progress) -> Any:
        learned = jnp.where(progress.alone, state, state + episodes.length.sum())
        return learned, {"updates": jnp.int32(1), "left": progress.left, "at": progress.env_steps}

    told: list[Progress] = []

    def policy(state: Any, progress: Progress) -> Any:
        told.append(progress)
        return random_policy(ENV.spec)

    attack = listening(lambda iteration: iteration % 2 == 1)
    made = trainer(ENV, Learner(lambda key: jnp.int32(0), policy, update), attack, BUDGET)
    chunk, state, seen = jax.jit(made.chunk), made.init(rng.root(0)), []
    for _ in range(4):
        state, metrics = chunk(state)
        seen.append([float(metrics[LEARNING][name][0]) for name in ("left", "at")])
    assert int(state.learner) == 2 * ENVS * STEPS  # the second and the fourth iteration are the attacker's
    np.testing.assert_allclose(seen, [[0.8, 8], [0.8, 8], [0.6, 16], [0.6, 16]], rtol=1e-6)
    assert told[0].alone is not None
