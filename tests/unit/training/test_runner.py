"""A training through its real runner: what is stopped or killed goes on bit for bit, and what cannot go on says why.

Programs are compiled once for all tests: those that differ in bookkeeping only share their trainer.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.adversaries.base import natural
from ibal.cli.main import main
from ibal.envs.toy import two_step
from ibal.experiments.config import load_toml
from ibal.files import Busy, claimed
from ibal.learners.config import ValueConfig
from ibal.nets import pymarl
from ibal.nets.bundle import find_policies, load_bundle
from ibal.options import ConfigError
from ibal.training import memory, runner
from ibal.training.checkpoint import CheckpointError, checkpoints
from ibal.training.config import TrainConfig
from ibal.training.log import Log, read_metrics
from ibal.training.loop import LEARNING, Trainer
from ibal.training.runner import TrainingError, run
from ibal.training.signals import asked_to_stop
from ibal.types import Env

ENV = two_step()
LEARNER = ValueConfig(mixer="vdn", hidden=4, batch=4)
# A chunk is 2 x 4 episodes of 2 steps: 16 steps, so six chunks; a checkpoint after each of them.
TRAIN = TrainConfig(steps=96, envs=4, replay=16, learn_from=4, chunk=2, eval_every=32, eval_episodes=4,
                    checkpoint_every=0.0)  # fmt: skip
META = {"config_hash": "abc"}

_build, _agent = runner.build, pymarl.pymarl_agent
_trainers: dict[Any, Trainer] = {}
_agents: dict[Any, Any] = {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(env: Env, learner: ValueConfig, train: TrainConfig, seeds: int, adversary: Any) -> Trainer:
        computes = replace(train, checkpoint_every=0.0, keep=2, steps=TRAIN.steps)
        return _trainers.setdefault(
            (env.spec.name, learner, computes, seeds), _build(env, learner, train, seeds, adversary)
        )

    monkeypatch.setattr(runner, "build", build)
    monkeypatch.setattr(pymarl, "pymarl_agent", lambda *sizes: _agents.setdefault(sizes, _agent(*sizes)))
    monkeypatch.setattr(runner, "FINAL_EPISODES", 4)


class At:
    """A sink that does something when the ``number``-th chunk is recorded."""

    def __init__(self, number: int, what: Callable[[], Any]) -> None:
        self.left, self.what, self.said = number, what, []

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        pass

    def write(self, record: Mapping[str, Any]) -> None:
        self.left -= record["kind"] == "chunk"
        if self.left == 0:
            self.left = -1
            self.what()

    def note(self, message: str) -> None:
        self.said.append(message)

    def close(self) -> None:
        pass


def train(out: Path, sink: Any = None, config: TrainConfig = TRAIN, **given: Any) -> dict[str, Any]:
    given = {"env": ENV, "learner": LEARNER, "seeds": (0,), "meta": META} | given
    env, learner = given.pop("env"), given.pop("learner")
    with Log(out, [sink] if sink else [], total_steps=config.steps) as log:
        return run(env, learner, config, out=out, log=log, **given)


def remains(out: Path) -> dict[str, Any]:
    """Everything a training leaves, but for what a clock says."""
    rows = [{k: v for k, v in row.items() if k not in ("wall_s", "seconds")} for row in read_metrics(out)]
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*")) if path.is_file() and path.name != "metrics.jsonl"
    }  # fmt: skip
    return {"metrics": rows} | files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed training leaves."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "FINAL_EPISODES", 4)
        assert train(out)["finished"]
    return remains(out)


class Begun(At):
    """A sink that does something before the first chunk."""

    def __init__(self, what: Callable[[], Any]) -> None:
        super().__init__(0, what)

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        self.what()


class Killed(BaseException):
    """As kill -9: nothing that the runner does on its way out may be needed."""


def test_a_killed_training_goes_on_bit_for_bit_and_can_be_evaluated_before(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    def kill() -> None:
        raise Killed

    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(out, At(4, kill))
    assert checkpoints(out / "checkpoints")[-1].name == "000000000048.safetensors"  # after three chunks of 16 steps
    (file,) = find_policies(out)
    assert load_bundle(file).meta["env_steps"] == 48
    assert train(out, resume=True)["finished"]
    assert remains(out) == whole


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal() -> Iterator[None]:
    """A run in the background ignores some of them from the start."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_training_that_is_asked_to_stop_saves_what_it_has(name: str, tmp_path: Path, whole: dict[str, Any]) -> None:
    out, number = tmp_path / "run", getattr(signal, name)
    sink = At(3, lambda: [os.kill(os.getpid(), number)] * (1 + (name == "SIGHUP")))
    done = train(out, sink, replace(TRAIN, checkpoint_every=3600.0))
    assert (done["finished"], done["env_steps"], done["seeds"]) == (False, 48, [])
    assert load_bundle(find_policies(out)[0]).meta["env_steps"] == 48
    assert [s for s in sink.said if "finishing this chunk, then saving" in s]
    assert train(out, resume=True)["finished"]
    assert remains(out)["metrics"] == whole["metrics"]
    assert remains(out)["policy/seed-0.safetensors"] == whole["policy/seed-0.safetensors"]


def test_an_answer_to_ctrl_c_comes_at_once_and_a_second_one_abandons() -> None:
    said: list[str] = []
    sentence = "finishing this chunk, then saving; Ctrl-C again to abandon"

    def again() -> None:
        with asked_to_stop(said.append) as stopping:
            assert not stopping()
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(10_000):  # another thread tells
                if said:
                    break
                time.sleep(0.001)
            assert stopping()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        again()
    assert said == [sentence]


def test_a_terminal_that_goes_away_says_so_twice_and_stops_nothing_half_done() -> None:
    """A shell and the kernel both send SIGHUP; under nohup neither counts."""
    old = signal.getsignal(signal.SIGHUP)
    with asked_to_stop(lambda message: None) as stopping:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stopping()
    assert signal.getsignal(signal.SIGHUP) is old
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop(lambda message: None) as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping()
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_training_in_another_thread_leaves_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with asked_to_stop(print) as stopping:
            seen.append((stopping(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


@pytest.mark.parametrize("instead", ["nothing", "file", "another"])
def test_a_run_folder_deleted_during_training_is_no_success(tmp_path: Path, instead: str) -> None:
    out = tmp_path / "run"

    def replaced() -> None:
        shutil.rmtree(out)
        if instead == "file":
            out.write_text("")
        elif instead == "another":
            out.mkdir()
            (out / "mine").write_text("")

    with pytest.raises(TrainingError, match=rf"^{out} was deleted or replaced during the training; nothing is left"):
        train(out, At(2, replaced))
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else out.exists()
    assert there == {"nothing": False, "file": True, "another": ["mine"]}[instead]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "run"
    sink = At(3, lambda: monkeypatch.setattr(os, "fsync", full))
    with pytest.raises(CheckpointError, match=r"of step 48 .*the disk is full\. Earlier checkpoints are intact"):
        train(out, sink)
    monkeypatch.undo()
    assert checkpoints(out / "checkpoints")[-1].name == "000000000032.safetensors"


def test_a_second_training_is_not_let_into_the_folder(tmp_path: Path) -> None:
    with claimed(tmp_path), pytest.raises(Busy, match="is being written to by process"):
        train(tmp_path)


def fresh() -> Any:
    """A learner's state of one seed, that of no training here."""
    make = runner.build(ENV, LEARNER, TRAIN, 1, natural())
    return make.init(rng.root(7)[None]).learner.learned


def spoil(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[], None]:
    """From the moment of the call on, a chunk reports no number there."""
    report = runner._report

    def spoiled(this: Any, state: Any, metrics: dict[str, Any], seconds: float) -> int:
        broken = metrics[LEARNING] | {name: metrics[LEARNING][name] * jnp.float32(jnp.nan)}
        return report(this, state, metrics | {LEARNING: broken}, seconds)

    return lambda: monkeypatch.setattr(runner, "_report", spoiled)


def test_a_loss_that_is_no_longer_finite_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.inf) if leaf.dtype == jnp.float32 else leaf, fresh())
    message = r"no longer finite within the chunk .*\. There is no checkpoint yet to go on from; a smaller --learner.lr"
    with pytest.raises(TrainingError, match=message):
        train(tmp_path / "run", pretrained=sick)
    out = tmp_path / "later"
    with pytest.raises(TrainingError, match=rf"^seed 0: loss is .* The last good checkpoint is kept in {out}/checkpoi"):
        train(out, At(2, spoil(monkeypatch, "loss")))
    assert checkpoints(out / "checkpoints")[-1].name == "000000000032.safetensors"


def test_what_does_not_fit_into_memory_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for config, seeds, way in (
        (replace(TRAIN, replay=2_000_000_000), (0,), "Try --train.replay "),
        (replace(TRAIN, envs=1_000_000_000, chunk=1, replay=1_000_000_000, steps=10), (0,), "Try fewer"),
        (replace(TRAIN, eval_episodes=2_000_000_000), (0,), "Ask for fewer episodes"),
        (TRAIN, range(100_000_000), "Try fewer --seeds"),
    ):
        with pytest.raises((TrainingError, ConfigError), match=r"GiB are there\. " + way):
            train(out, None, config, seeds=seeds)
        assert not out.exists()


def test_a_budget_that_no_counter_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 x 4 episodes of 2 steps, are 2147483648 steps; a counter"):
        train(tmp_path / "run", None, replace(TRAIN, steps=2**31 - 16))


def test_a_start_of_one_seed_is_that_of_all(tmp_path: Path) -> None:
    start = fresh()
    stop = Begun(lambda: os.kill(os.getpid(), signal.SIGTERM))  # nothing is learned
    train(tmp_path / "run", stop, seeds=(0, 1), pretrained=start)
    for file in find_policies(tmp_path / "run"):
        jax.tree.map(
            lambda saved, own: np.testing.assert_array_equal(saved, own[0]), load_bundle(file).params,
            start.params.agent,
        )  # fmt: skip


WORDS = [
    "train", "--env", "two-step", "--quiet", "--learner.mixer=vdn", "--learner.hidden=4", "--learner.batch=4",
    "--train.envs=4", "--train.replay=16", "--train.learn-from=4", "--train.chunk=2", "--train.eval-every=32",
    "--train.eval-episodes=4", "--train.checkpoint-every=0", "--train.epsilon-start=1",
]  # fmt: skip


def test_the_command_goes_on_and_begins_from_another_run(
    tmp_path: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*WORDS, "--steps=48", "--out", str(first)]) == 0
    assert main(["train", "--quiet", "--resume", "--steps=96", "--out", str(first)]) == 0
    assert remains(first)["policy/seed-0.safetensors"] == whole["policy/seed-0.safetensors"]
    begun = [*WORDS, "--steps=16", "--init", str(first), "--out", str(second)]
    assert main([*begun, "--env-option", "a=1"]) == 2
    assert not second.exists()
    assert main(begun) == 0
    assert load_toml(second / "config.toml").init == str(first)
    capsys.readouterr()
    assert main([*WORDS, "--train.replay=2_000_000_000", "--out", str(tmp_path / "third")]) == 1
    assert "GiB are there. Try --train.replay " in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_without_resource_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no such module."""
    assert (memory.peak() or 0) > 2**20
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak() is None


def test_a_user_without_a_home_trains_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    try:
        jax.config.update("jax_compilation_cache_dir", None)

        def none() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", none)
        assert "(this user has no home folder); set JAX_COMPILATION_CACHE_DIR" in str(runner.use_compilation_cache())
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert f"({tmp_path / 'file'}" in str(runner.use_compilation_cache())
        assert jax.config.jax_compilation_cache_dir is None  # type: ignore[attr-defined]
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert runner.use_compilation_cache() is None
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "ibal" / "jax")  # type: ignore[attr-defined]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
