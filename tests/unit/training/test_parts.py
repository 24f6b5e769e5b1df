"""The work of one seed on several devices: the same gradient, nothing lost, and it goes on as if never interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng, tree
from ibal.adversaries.base import natural
from ibal.learners.config import PpoConfig, ValueConfig
from ibal.options import ConfigError
from ibal.training import runner
from ibal.training.config import TrainConfig
from ibal.training.learner import agent_for, batch_learner
from ibal.training.log import open_log
from ibal.training.loop import LEARNING, PART, Trainer

ENV = make("toy/two-step")  # every game lasts two steps
LEARNER = ValueConfig(hidden=8, batch=8, td_lambda=0.6)
TRAIN = TrainConfig(
    steps=64, envs=8, replay=32, learn_from=8, chunk=2, eval_every=64, eval_episodes=4, parts=2, checkpoint_every=0.0
)


build, team_for = runner.build, cache(agent_for)


@cache
def built(parts: int) -> Trainer:
    """What a training computes depends on its length only where the learning rate follows it."""
    return build(ENV, LEARNER, replace(TRAIN, parts=parts), 1, natural())


@pytest.fixture(autouse=True, scope="module")
def compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "build", lambda env, learner, train, seeds, adversary: built(train.parts))
        patch.setattr(runner, "agent_for", team_for)
        patch.setattr(runner, "FINAL_EPISODES", 4)
        yield


def trained(chunks: int, parts: int = TRAIN.parts) -> tuple[Any, Any]:
    make_ = built(parts)
    state, metrics = make_.init(rng.root(3)[None]), None
    for _ in range(chunks):
        state, metrics = make_.chunk(state)
    return state, metrics


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    whole = batch_learner(ENV.spec, LEARNER, TRAIN, natural())
    part = batch_learner(ENV.spec, replace(LEARNER, batch=4), TRAIN, natural(), part=PART)
    state, _ = trained(2, parts=1)
    learned, episodes = tree.at(state.learner.learned, 0), tree.at(state.learner.replay.episodes, 0)
    chosen = jnp.arange(8)
    update = lambda one, chosen: one.update(rng.root(0), learned, episodes, chosen, jnp.float32(1))  # noqa: E731
    plain, told = jax.jit(lambda: update(whole, chosen))()
    shared, said = jax.jit(jax.vmap(lambda mine: update(part, mine), axis_name=PART))(chosen.reshape(2, 4))
    for name in ("loss", "grad_norm", "td_error", "q_taken", "target"):
        assert said[name].tolist() == pytest.approx([float(told[name])] * 2, rel=1e-5)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(shared.params), strict=True):
        np.testing.assert_allclose(np.asarray(b), np.stack([np.asarray(a)] * 2), atol=1e-6)


def test_every_device_plays_and_keeps_its_part() -> None:
    one, alone = trained(1, parts=1)
    two, both = trained(1)
    assert int(two.progress.env_steps[0]) == int(one.progress.env_steps[0]) == 32
    assert both[LEARNING]["updates"].tolist() == alone[LEARNING]["updates"].tolist()
    assert two.learner.replay.episodes.length.shape == one.learner.replay.episodes.length.shape == (1, 32)
    # Each has the first half of its arrays filled; before anything is learned both play what one plays.
    assert int(two.learner.replay.filled[0]) == 8
    first = lambda state, here: np.asarray(state.learner.replay.episodes.action[0, here])  # noqa: E731
    np.testing.assert_array_equal(first(two, slice(0, 4)), first(one, slice(0, 4)))
    np.testing.assert_array_equal(first(two, slice(16, 20)), first(one, slice(4, 8)))


def played(out: Path, steps: int, kept: Any = "full", **given: Any) -> bytes:
    """Train in a folder; return the policy."""
    out.mkdir(exist_ok=True)
    with open_log(out, {}, console="off") as log:
        train = replace(TRAIN, steps=steps, checkpoint_replay=kept)
        runner.run(ENV, LEARNER, train, seeds=(0,), out=out, log=log, **given)
    return (out / "policy" / "seed-0.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The policy of a training that was never stopped: what is kept for going on changes nothing of it."""
    return played(tmp_path_factory.mktemp("whole"), 160)


@pytest.mark.parametrize("kept", ["full", "tail"])
def test_a_divided_training_goes_on_after_a_stop(tmp_path: Path, kept: Any, whole: bytes) -> None:
    played(tmp_path, 64, kept)
    assert (played(tmp_path, 160, kept, resume=True) == whole) == (kept == "full")


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.envs = 8 cannot be divided among train.parts = 3"):
        replace(TRAIN, parts=3)
    with pytest.raises(ConfigError, match=r"learner.batch = 9 cannot be divided among train.parts = 2"):
        build(ENV, replace(LEARNER, batch=9), TRAIN, 1, natural())
    with pytest.raises(ConfigError, match=r"train.parts = 2, but mappo learns on one device"):
        build(ENV, PpoConfig(), TRAIN, 1, natural())
