from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.evaluation.episodes import play
from ibal.evaluation.scripted import random_policy
from ibal.training.rollout import collect
from ibal.types import Episodes
from unit.viz import skirmish

ENV = skirmish.make()  # a fight that compiles in a moment
POLICY = random_policy(ENV.spec)
KEYS = rng.episodes(rng.root(5), 6)


def fought(attack: Adversary) -> Episodes:
    return jax.jit(lambda: collect(ENV, POLICY, attack, (), KEYS))().episodes


@jax.jit
def collected():
    return collect(ENV, POLICY, natural(), (), KEYS)


def test_the_recorded_episodes_are_those_that_evaluation_plays() -> None:
    rollout, played = collected(), play(ENV, POLICY, KEYS)
    assert len(set(played.length.tolist())) > 1  # games of different lengths, beside each other
    np.testing.assert_array_equal(rollout.episodes.length, played.length)
    np.testing.assert_allclose(rollout.returns, played.returns, rtol=1e-5)
    np.testing.assert_array_equal(rollout.metrics["win"] > 0, played.win)


def test_rows_replayed_one_by_one_give_what_was_recorded() -> None:
    episodes, which = collected().episodes, 2
    key, length = KEYS[which], int(episodes.length[which])
    state, step = jax.jit(ENV.reset)(rng.at(rng.stream(key, "env"), 0), ENV.params)
    advance = jax.jit(ENV.step)
    for t in range(length):
        np.testing.assert_allclose(episodes.obs[which, t], step.obs, atol=2e-3)
        np.testing.assert_array_equal(episodes.avail[which, t], step.avail)
        action = episodes.action[which, t].astype(jnp.int32)
        state, step = advance(rng.at(rng.stream(key, "env"), t + 1), state, action, ENV.params)
        np.testing.assert_allclose(episodes.reward[which, t], step.reward, atol=1e-4)
        assert bool(episodes.terminated[which, t]) == (t == length - 1)
    np.testing.assert_allclose(episodes.obs[which, length], step.obs, atol=2e-3)
    np.testing.assert_array_equal(episodes.avail[which, length], step.avail)


def test_an_attack_on_actions_changes_what_is_done_and_keeps_what_was_meant() -> None:
    stop = adversary(
        act=lambda key, state, memory, view: (jnp.where(view.step.alive, 1, 0).astype(jnp.int32), memory),
        threat=Threat(channels=("act",)),
    )
    episodes, first = fought(stop), fought(natural())
    # The first step is drawn from the same streams: what is meant is the same, what is done is not.
    np.testing.assert_array_equal(episodes.action[:, 0], first.action[:, 0])
    assert (np.asarray(episodes.executed[:, 0]) == 1).all()
    assert first.executed is None


def test_an_attacked_observation_is_kept_only_when_it_cannot_be_rebuilt() -> None:
    threat = Threat(channels=("obs",))
    half = adversary(observe=lambda key, state, memory, view: (0.5 * view.step.obs, memory), threat=threat)
    again = half._replace(reobserve=lambda memory, obs: 0.5 * obs)
    kept, rebuilt = fought(half), fought(again)
    assert rebuilt.seen is None
    for which, length in enumerate(np.asarray(kept.length)):
        wanted = 0.5 * np.asarray(kept.obs[which, : length + 1], np.float32)
        np.testing.assert_allclose(kept.seen[which, : length + 1], wanted, atol=2e-3)
