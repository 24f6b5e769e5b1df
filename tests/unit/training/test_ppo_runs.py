"""Trainings of policy gradients: killed, side by side, under attacks that do nothing; what they leave plays."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng, tree
from ibal.adversaries.base import Adversary, Threat, adversary, natural
from ibal.adversaries.interaction import InteractionConfig
from ibal.experiments.config import RunConfig, to_toml
from ibal.experiments.pretrained import learner_state
from ibal.learners.config import PpoConfig, ValueConfig
from ibal.nets.agents import Agent
from ibal.nets.bundle import agent_of, load_bundle, load_policy
from ibal.options import ConfigError
from ibal.training import bench, memory, runner
from ibal.training.checkpoint import checkpoints
from ibal.training.config import TrainConfig
from ibal.training.learner import agent_for, learner_for
from ibal.training.log import Log, read_metrics
from ibal.training.loop import LEARNING, SEED, Trainer, trainer

ENV = make("toy/two-step")
PPO = PpoConfig(hidden=4, epochs=2, chunk=2)
# A chunk is 2 x 4 episodes of 2 steps: 16 steps.
TRAIN = TrainConfig(steps=64, envs=4, chunk=2, eval_every=64, eval_episodes=4, checkpoint_every=0.0)


class Killed(BaseException):
    """As kill -9: nothing that the runner does on its way out may be needed."""


class Kill:
    """A sink that kills the training at its second chunk."""

    def __init__(self) -> None:
        self.left = 2

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        pass

    def write(self, record: Any) -> None:
        self.left -= record["kind"] == "chunk"
        if self.left == 0:
            raise Killed

    def note(self, message: str) -> None:
        pass

    def close(self) -> None:
        pass


@cache
def shared() -> Trainer:
    return runner.build(ENV, PPO, TRAIN, 1, natural())


@cache
def team() -> Agent:
    return agent_for(ENV.spec, PPO)


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, plays = shared(), team()
    monkeypatch.setattr(runner, "build", lambda *args: made)
    monkeypatch.setattr(runner, "agent_for", lambda *args: plays)
    monkeypatch.setattr(runner, "FINAL_EPISODES", 4)


def train(out: Path, sink: Any = None, **given: Any) -> dict[str, Any]:
    with Log(out, [sink] if sink else [], total_steps=TRAIN.steps) as log:
        return runner.run(ENV, PPO, TRAIN, seeds=(0,), out=out, log=log, meta={"config_hash": "abc"}, **given)


def remains(out: Path) -> dict[str, Any]:
    """Everything a training leaves, but for what a clock says."""
    rows = [{k: v for k, v in row.items() if k not in ("wall_s", "seconds")} for row in read_metrics(out)]
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.suffix == ".safetensors"}
    return {"metrics": rows} | files


@pytest.mark.usefixtures("compiled_once")
def test_a_killed_training_goes_on_bit_for_bit_and_what_it_leaves_plays(tmp_path: Path) -> None:
    assert train(tmp_path / "whole")["finished"]
    whole, out = remains(tmp_path / "whole"), tmp_path / "run"
    with pytest.raises(Killed):
        train(out, Kill())
    assert checkpoints(out / "checkpoints")[-1].name == "000000000016.safetensors"
    assert train(out, resume=True)["finished"]
    assert remains(out) == whole

    rows = [row for row in whole["metrics"] if row["kind"] == "chunk"]
    assert [row["updates"] for row in rows] == [4] * 4  # two epochs in each of two iterations
    assert {"loss", "policy_loss", "value_loss", "entropy", "kl", "clipped", "grad_norm", "padding"} < rows[0].keys()
    assert rows[0]["entropy"] == pytest.approx(np.log(2), abs=1e-3)  # it begins undecided

    held = load_bundle(out / "policy" / "seed-0.safetensors")
    policy = load_policy(out)
    avail = np.array([[True, False], [True, True]])
    _, scores = agent_of(held.params, ENV.spec).scores(
        held.params, jnp.zeros((2, 4)), jnp.ones((2, 3)), jnp.asarray(avail), jnp.full(2, -1)
    )
    np.testing.assert_array_equal(policy.act(np.ones((2, 3)), avail), np.argmax(np.where(avail, scores, -9e9), 1))

    config = RunConfig(env="toy/two-step", learner=PPO, train=TRAIN)
    (out / "config.toml").write_text(to_toml(config))
    start = learner_state(out, ENV, config)
    jax.tree.map(lambda kept, own: np.testing.assert_array_equal(kept[0], own), start.params.agent, held.params)
    with pytest.raises(ConfigError, match="its learner is mappo, this training has qmix"):
        learner_state(out, ENV, RunConfig(env="toy/two-step", learner=ValueConfig(hidden=4)))


def idle(**given: Any) -> Adversary:
    """Changes nothing, although it could: what is seen and what is done are stored of their own."""
    return adversary(
        observe=lambda key, state, memory, view: (view.step.obs, memory),
        threat=Threat(channels=("obs", "act")),
        **given,
    )


def test_an_attack_that_changes_nothing_changes_nothing() -> None:
    def learned(made: Trainer) -> Any:
        return made.chunk(made.init(rng.root(0)[None]))[0].learner

    plain = learned(shared())
    off = InteractionConfig(p=0.0, masks="off", actions="random").build(ENV.spec)
    for attack in (idle(), off):
        jax.tree.map(np.testing.assert_array_equal, plain, learned(runner.build(ENV, PPO, TRAIN, 1, attack)))


def test_seeds_side_by_side_learn_what_each_learns_alone_and_take_the_same_turns() -> None:
    attack = idle(alone=lambda iteration: iteration % 2 == 1)
    made = trainer(ENV, learner_for(ENV, PPO, TRAIN, attack), attack, TRAIN)
    one, metrics = jax.jit(lambda: made.chunk(made.init(rng.root(1))))()
    assert metrics[LEARNING]["updates"].tolist() == [2, 0]
    assert np.isnan(metrics[LEARNING]["loss"]).tolist() == [False, True]
    assert int(one.learner.updates) == 2
    assert (int(one.progress.env_steps), int(one.progress.extra)) == (8, 8)

    made = trainer(ENV, learner_for(ENV, PPO, TRAIN, attack, SEED), attack, TRAIN, SEED)
    keys = jnp.stack([rng.root(0), rng.root(1)])
    both, _ = jax.jit(lambda k: jax.vmap(made.chunk, axis_name=SEED)(jax.vmap(made.init, axis_name=SEED)(k)))(keys)
    mine = jax.jit(tree.at)(both.learner, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mine, one.learner)


def test_memory_is_foretold_and_refused_without_a_replay_to_shorten() -> None:
    empty, parts, line = memory.forecast(shared(), ENV.spec, PPO, TRAIN, 1)
    assert "replay" not in parts
    assert "memory at the peak" in line
    # 4 games of 3 rows: twice two agents' three features and the state's 7 at 2 bytes, two agents' 2 actions and 2, 5
    assert parts["rollout"] == 2 * 4 * 3 * (2 * (2 * 2 * 3 + ENV.spec.state_size) + 2 * 4 + 5)
    with pytest.raises(memory.MemoryRefused, match=r"Try fewer --seeds or --train\.envs"):
        memory.check(parts | {"learner": 2**60}, TRAIN, 0)
    del empty


def test_the_operations_of_a_step_are_counted_by_hand() -> None:
    # Actor: 3 + 2 + 2 inputs, two layers, 3 gates twice, 2 actions; critic: 6 of the state, 3 + 2 more, one value.
    actor = (3 + 2 + 2) * 4 + 4 * 4 + 2 * 4 * 12 + 4 * 2
    critic = (6 + 3 + 2) * 4 + 4 * 4 + 2 * 4 * 12 + 4
    assert bench.step_flops(ENV.spec, PPO) == 3 * 2 * 2 * (actor + critic)  # forward, and backward for twice the price
    assert bench.step_flops(ENV.spec, replace(PPO, name="ippo")) == 3 * 2 * 2 * (actor + critic - 6 * 4)
