"""A game in anybody's world: the same as the compiled one where the numbers are the same; one sentence where not."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.adversaries.fgsm import FgsmConfig
from ibal.adversaries.random import RandomConfig
from ibal.contract import ContractError
from ibal.evaluation.scripted import random_policy
from ibal.game.boxes import black_box
from ibal.game.host import Hosted, HostPolicy, Played, moment, plain_spec, play
from ibal.game.keys import world_seed
from ibal.training.rollout import collect
from ibal.types import Env, Policy, TimeStep

LEAK = make("toy/leak", n_agents=3, noise=1)
KEY = rng.episode(rng.root(3), 5)
ATTACKED = RandomConfig(sigma=0.5, p=0.5).build(LEAK.spec)


def compiled(env: Env, policy: Policy, attack: Adversary) -> dict[str, np.ndarray]:
    """The same episode as the rollout of a training plays and stores it."""
    done = jax.jit(lambda keys: collect(env, policy, attack, attack.init(rng.root(0)), keys))(KEY[None])
    length = int(done.episodes.length[0])
    rows = done.episodes
    executed = rows.action if rows.executed is None else rows.executed
    found = {"obs": rows.obs[0, : length + 1], "avail": rows.avail[0, : length + 1], "action": rows.action[0, :length],
             "executed": executed[0, :length], "reward": rows.reward[0, :length]}  # fmt: skip
    return {name: np.asarray(value) for name, value in found.items()}


@cache
def chooser() -> Policy:
    """Scores that depend on what is seen, actions drawn by chance: both the observation and the key matter."""
    weights = jax.random.normal(rng.root(7), (LEAK.spec.obs_size, LEAK.spec.n_actions))

    def scores(carry: Any, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[Any, jax.Array]:
        return carry + 1, obs @ weights + 0.1 * last[:, None].astype(jnp.float32)

    def select(key: jax.Array, scores: jax.Array, avail: jax.Array) -> jax.Array:
        return jax.random.categorical(key, jnp.where(avail, scores, -jnp.inf)).astype(jnp.int32)

    return Policy(lambda: jnp.int32(0), scores, select)


def assert_same(played: Played, wanted: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(played.steps.obs.astype(np.float16), wanted["obs"])  # stored in float16
    np.testing.assert_array_equal(played.steps.avail, wanted["avail"])
    np.testing.assert_array_equal(played.turns.intended, wanted["action"])
    np.testing.assert_array_equal(played.turns.executed, wanted["executed"])
    np.testing.assert_array_equal(played.steps.reward[1:], wanted["reward"])
    assert played.length == len(wanted["reward"])
    assert played.returns == pytest.approx(wanted["reward"].sum())


@pytest.mark.parametrize("attack", [natural(), ATTACKED], ids=["natural", "attacked"])
def test_a_compiled_world_played_step_by_step_is_the_compiled_game(attack: Adversary) -> None:
    played = play(Hosted(LEAK), chooser(), attack, key=KEY)
    assert_same(played, compiled(LEAK, chooser(), attack))
    touched = (played.turns.executed != played.turns.intended).any() and (
        played.turns.seen != played.steps.obs[:-1]
    ).any()
    assert touched == (attack is ATTACKED)


class Counting:
    """A world in NumPy: who chooses 1 earns one; a coin that its own generator throws is what everybody sees."""

    spec = plain_spec("own/counting", 2, 3, 1, 9, metric_names=("win",))

    def reset(self, key: jax.Array) -> TimeStep:
        self.generator, self.clock, self.total = np.random.default_rng(world_seed(key)), 0, 0
        return self._moment(0.0)

    def step(self, actions: np.ndarray) -> TimeStep:
        self.clock += 1
        paid = float((actions == 1).sum())
        self.total += paid
        return self._moment(paid)

    def _moment(self, paid: float) -> TimeStep:
        coin = self.generator.integers(2)
        return moment(
            self.spec, np.full((2, 1), coin), [[1, 1, 0]] * 2, reward=paid, terminated=self.clock == 8,
            metrics={"win": self.total == 16},
        )  # fmt: skip


def test_a_world_and_a_team_in_numpy_under_an_attack() -> None:
    """Eight steps, two agents that always choose 1: a return of 16, less what is replaced by the other legal action."""
    team = black_box(lambda obs, avail: np.ones(2, np.int32), Counting.spec)
    alone = play(Counting(), team, natural(), key=KEY)
    assert (alone.returns, alone.length, float(alone.steps.metrics["win"][-1])) == (16.0, 8, 1.0)
    attack = RandomConfig(sigma=0.5, p=1.0).build(Counting.spec)
    played = play(Counting(), team, attack, key=KEY)
    np.testing.assert_array_equal(played.steps.obs, alone.steps.obs)  # the same coins: the attack draws elsewhere
    lost = int((played.turns.executed == 0).sum())
    assert lost > 0
    assert played.returns == 16 - lost
    assert set(np.unique(played.turns.executed)) <= {0, 1}
    again = play(Counting(), team, attack, key=KEY)
    np.testing.assert_array_equal(again.turns.executed, played.turns.executed)


def test_a_team_in_numpy_is_told_what_it_did_and_draws_from_its_own_stream() -> None:
    last: list[np.ndarray] = []

    def scores(carry: int, obs: np.ndarray, avail: np.ndarray, before: np.ndarray) -> tuple[int, np.ndarray]:
        last.append(before)
        return carry + 1, np.zeros(avail.shape)

    def select(generator: np.random.Generator, scores: np.ndarray, avail: np.ndarray) -> np.ndarray:
        return np.argmax(generator.random(avail.shape) * avail, axis=1)

    team = HostPolicy(lambda: 0, scores, select)
    one, two = (play(Counting(), team, natural(), key=KEY) for _ in range(2))
    np.testing.assert_array_equal(one.turns.intended, two.turns.intended)
    assert len(np.unique(one.turns.intended)) > 1
    np.testing.assert_array_equal(last[:8], [[-1, -1], *one.turns.intended[:7]])


def test_what_breaks_the_rules_is_told_in_one_sentence() -> None:
    spec = Counting.spec
    team = black_box(lambda obs, avail: np.ones(2, np.int32), spec)
    with pytest.raises(ContractError, match="agent 1 an action that is not available"):
        play(Counting(), black_box(lambda obs, avail: np.array([0, 2]), spec), natural(), key=KEY)
    with pytest.raises(ContractError, match=r"float64\[2\]; integers \[2\]"):
        play(Counting(), black_box(lambda obs, avail: np.ones(2), spec), natural(), key=KEY)
    with pytest.raises(ContractError, match=r"moment\(\) gave obs \(3, 1\)"):
        moment(spec, np.zeros((3, 1)), metrics={"win": 0})
    with pytest.raises(ContractError, match="scores that have a gradient"):
        play(Counting(), team, FgsmConfig().build(spec), key=KEY)

    cheat = adversary(act=lambda key, state, memory, view: (view.actions * 0, memory), threat=Threat())
    with pytest.raises(ContractError, match=r"act changed what agent 0 does, but threat.channels is \(\)"):
        play(Counting(), team, cheat, key=KEY)
    curious = adversary(
        observe=lambda key, state, memory, view: (view.policy.scores((), view.step.obs, None, None)[1], memory),
        threat=Threat(channels=("obs",)),
    )
    with pytest.raises(ContractError, match="asks the team what it would do otherwise"):
        play(Counting(), team, curious, key=KEY)


def test_a_scripted_team_of_the_library_plays_there_too() -> None:
    played = play(Counting(), random_policy(Counting.spec), natural(), key=KEY)
    assert played.length == 8
    assert 0 <= played.returns <= 16
