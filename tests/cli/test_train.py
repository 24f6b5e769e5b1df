"""``ibal train``: what the command line makes of preset, file and flags, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ibal.cli.main import main
from ibal.cli.train import parse
from ibal.experiments.config import RunConfig, load_toml, save_toml
from ibal.experiments.presets import PRESETS
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError
from ibal.training import runner
from ibal.training.checkpoint import CheckpointError
from ibal.types import Env


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the training by one that records its arguments and is over at once."""
    calls: list[dict[str, Any]] = []

    def run(env: Env, learner: Any, train: Any, **given: Any) -> dict[str, Any]:
        calls.append({"env": env, "learner": learner, "train": train, **given})
        given["log"].begin(0)
        rows: list[dict[str, Any]] = []
        for seed in given["seeds"]:
            row = {"seed": seed, "env_steps": train.steps, "episodes": 512, "win": 0.5, "return": 1.0, "length": 9.0}
            given["log"].write("eval", row)
            rows.append(row)
        (given["out"] / "checkpoints").mkdir(exist_ok=True)
        (given["out"] / "checkpoints" / "000000000010.safetensors").touch()
        return {"finished": train.steps > 10, "env_steps": train.steps, "seeds": rows, "out": str(given["out"])}

    monkeypatch.setattr(runner, "run", run)
    return calls


def configured(*argv: str) -> RunConfig:
    return parse(list(argv))[1]


def test_no_flags_mean_the_defaults() -> None:
    assert configured() == RunConfig()


def test_the_preset_is_overridden_by_the_file_and_that_by_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("seeds = 3\n[train]\nsteps = 9\nchunk = 4\n[learner]\nlr = 0.25\n[env_options]\nstep_mul = 4\n")
    preset, file = ("--preset", "laptop"), ("--config", str(path))
    assert configured(*preset).learner == PRESETS["laptop"].learner
    config = configured(*file, *preset)
    assert isinstance(config.learner, ValueConfig)
    assert (config.learner.lr, config.learner.optimiser, config.train.steps, config.seeds) == (0.25, "adam", 9, 3)
    config = configured(
        *preset, *file, "--learner.lr", "1e-3", "--train.chunk=5", "--steps", "1_000", "--env", "8m", "--seed", "2",
        "--env-option", "step_mul=2", "--env-option", "obs_last_action=true", "--learner.td_lambda", "0.5",
    )  # fmt: skip
    assert isinstance(config.learner, ValueConfig)
    assert (config.learner.lr, config.learner.td_lambda, config.train.chunk, config.train.steps) == (1e-3, 0.5, 5, 1000)
    assert (config.env, config.seed, config.seeds) == ("smac/8m", 2, 3)
    assert dict(config.env_options) == {"step_mul": 2, "obs_last_action": True}


def test_a_continued_team_does_not_explore_from_the_beginning_again() -> None:
    started = configured("--init", "runs/start", "--train.epsilon-end", "0.1").train
    assert (started.epsilon_start, started.epsilon_end) == (0.1, 0.1)
    assert configured("--init", "runs/start", "--train.epsilon_start", "0.7").train.epsilon_start == 0.7


def test_a_training_is_given_everything_and_its_folder_says_so(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "x"
    argv = ["train", "--env", "two-step", "--preset", "smoke", "--seed", "5", "--seeds", "2", "--out", str(out)]
    assert main([*argv, "--json"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert [row["seed"] for row in data["seeds"]] == [5, 6]
    assert f"training on toy/two-step, 2 seeds, into {out}" in streams.err
    (call,) = runs
    assert call["env"].spec.name == "toy/two-step"
    assert (call["learner"], call["train"]) == (PRESETS["smoke"].learner, PRESETS["smoke"].train)
    assert (list(call["seeds"]), call["out"], call["resume"]) == ([5, 6], out, False)
    assert call["meta"]["config_hash"] == data["config_hash"]
    assert call["meta"]["config"]["train"]["envs"] == 8
    assert json.loads(json.dumps(call["meta"])) == call["meta"]
    saved = load_toml(out / "config.toml")
    assert saved == RunConfig("toy/two-step", seed=5, seeds=2, learner=call["learner"], train=call["train"])
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2


def test_text_for_people_and_silence(
    tmp_path: Path, runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--env", "two-step", "--quiet"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out.splitlines() == [
        "seed 0: 1,000,000 steps, win rate 0.500, return 1.00, length 9.0 over 512 greedy episodes",
        "runs/qmix-two-step",
    ]
    assert (tmp_path / "runs" / "qmix-two-step" / "config.toml").exists()
    assert main(["train", "--env", "two-step", "--out", "y", "--steps", "10", "--quiet"]) == 1
    assert "stopped at step 10; continue with: ibal train --out y --resume" in capsys.readouterr().out


def test_an_existing_folder_is_resumed_only_when_asked(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x")
    first = ["train", "--env", "two-step", "--preset", "smoke", "--seeds", "2", "--learner.lr", "0.125", "--out", out]
    assert main([*first, "--resume", "--steps", "3000"]) == 0  # nothing there yet: it begins
    assert main(first) == 2
    assert f"ibal train: --out {out} exists; continue it with --resume" in capsys.readouterr().err
    for argv in (["train", "--out", out, "--resume"], [*first, "--resume"]):
        assert main(argv) == 0
        call = runs[-1]
        assert (call["resume"], call["learner"].lr, call["train"].steps, len(call["seeds"])) == (True, 0.125, 3000, 2)
    assert main(["train", "--out", out, "--resume", "--steps", "5000"]) == 0
    assert runs[-1]["train"].steps == 5000
    assert load_toml(Path(out) / "config.toml").train.steps == 5000
    count = len(runs)
    capsys.readouterr()
    for wrong, name in (
        (["--learner.lr", "0.5"], "learner.lr is 0.125 in .*, 0.5 is asked for"),
        (["--seeds", "3"], "seeds is 2"),
        (["--env", "climbing"], "env is toy/two-step"),
        (["--env-option", "a=1"], "env_options.a is None"),
        (["--preset", "paper"], "learner.batch is 8"),
    ):
        assert main(["train", "--out", out, "--resume", *wrong]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.search(rf"--resume: {name}", error), error
    assert len(runs) == count


def test_folders_that_are_none(tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["train", "--env", "two-step", "--out", str(tmp_path), "--resume"]) == 2
    assert "has no config.toml: it is no run folder" in capsys.readouterr().err
    assert main(["train", "--env", "two-step", "--out", str(tmp_path / "notes.txt")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert main(["train", "--env", "two-step", "--out", str(tmp_path / "notes.txt" / "x")]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert runs == []
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lernr.lr", "3"], 'unknown option "--lernr.lr". Closest: "--learner.lr". All of them: ibal train --help'),
        (["--step", "3"], 'unknown option "--step". Closest: "--steps".'),
        (["--learner.lr", "fast"], '--learner.lr must be a number, not "fast"'),
        (["--steps", "1e6"], "--steps must be a whole number, not 1000000.0 (write 1_000_000)"),
        (
            ["--learner.mixer=qmx"],
            '--learner.mixer must be one of "iql", "vdn", "qmix", "qplex", not "qmx"; did you mean',
        ),
        (["--env", "3mm"], 'unknown environment "3mm". Closest: "smac/3m".'),
        (["--env", "two-step", "--env-option", "size=3"], "toy/two-step does not take its env_options: "),
        (["--env", "3m", "--env-option", "step_mull=3"], 'has no option "step_mull"; did you mean "step_mul"?'),
        (["--env-option", "x"], '--env-option "x" must be a name and a value'),
        (["--method", "vanila"], 'unknown method "vanila". Closest: "vanilla".'),
        (["--preset", "labtop"], 'unknown preset "labtop". Closest: "laptop".'),
        (["--learner.batch", "64"], "learner.batch = 64 is more than train.learn_from = 32"),
        (["--seeds", "0"], "seeds must be at least 1, not 0"),
        (["--resume"], "--resume continues the training in a run folder; say which: --out runs/"),
        (["--config", "none.toml"], "none.toml does not exist"),
        (["3m"], '"3m" belongs to no option'),
    ],
)
def test_wrong_use_is_status_2_and_a_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
    assert runs == []
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_what_stops_a_training_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (
        runner.TrainingError("the loss became nan"),
        CheckpointError("the disk is full"),
        OSError(28, "full"),
    ):

        def run(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(runner, "run", run)
        out = tmp_path / type(error).__name__
        assert main(["train", "--env", "two-step", "--out", str(out), "--quiet"]) == 1
        assert capsys.readouterr().err.startswith("ibal train: ")
        assert not out.exists()  # nothing is left that would stop the same command next time


@pytest.mark.parametrize("reader", ["gone", "none"])
def test_a_training_outlives_its_terminal(
    reader: str, tmp_path: Path, runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ``ibal train … 2>&1 | head -4``."""
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "w") as lost:
        monkeypatch.setattr(sys, "stderr", None if reader == "none" else lost)
        monkeypatch.setattr(sys, "stdout", lost)
        assert main(["train", "--env", "two-step", "--preset", "smoke", "--out", str(tmp_path / "x")]) == 0
    assert len(runs) == 1
    assert (tmp_path / "x" / "metrics.jsonl").read_text().count("\n") == 1


def died(out: Path, metrics: str, claim: str) -> None:
    """What a training leaves that was killed before its first checkpoint."""
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / "000000000010.safetensors.writing").write_bytes(b"cut")
    save_toml(RunConfig(env="toy/climbing"), out / "config.toml")
    for name, text in (("metrics.jsonl", metrics), (".claim", claim)):
        if text:
            (out / name).write_text(text)


def test_a_folder_in_which_a_training_died_at_once_can_be_used_again(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--env", "two-step", "--preset", "smoke", "--quiet", "--out"]
    record = '{"kind": "chunk", "seed": 0, "env_steps": 160, "wall_s": 1.0}\n'
    for number, left in enumerate([(record, "process 1 on a\n"), ("", "process 1 on a\n"), (record, "")]):
        out = tmp_path / str(number)
        died(out, *left)
        assert main([*words, str(out)]) == 0
        assert load_toml(out / "config.toml").env == "toy/two-step"
        assert "160" not in (out / "metrics.jsonl").read_text()
    mine = tmp_path / "mine"  # a configuration that the user keeps there, or anything else, is nobody's leftover
    mine.mkdir()
    save_toml(RunConfig(), mine / "config.toml")
    for name in ("config.toml", "notes.txt"):
        (mine / name).touch()
        assert main([*words, str(mine)]) == 2
        assert "exists; continue it with --resume" in capsys.readouterr().err
        (mine / "metrics.jsonl").write_text(record)


def test_a_start_is_remembered_by_the_run(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    assert configured("--init", "runs/start").init == "runs/start"
    out = tmp_path / "x"
    died(out, "", "")
    config = RunConfig(env="toy/two-step", init=str(tmp_path / "start"))
    save_toml(config, out / "config.toml")
    assert configured("--out", str(out), "--resume").init == config.init
    # nothing was saved yet, so the start is needed again, and said to be missing
    assert main(["train", "--out", str(out), "--resume", "--quiet"]) == 2
    (out / "checkpoints" / "000000000010.safetensors").touch()
    assert main(["train", "--out", str(out), "--resume", "--quiet"]) == 0
    assert runs[-1]["pretrained"] is None


def test_a_mistyped_start_leaves_no_folder(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "--env", "two-step", "--out", str(out), "--init", str(tmp_path / "strat"), "--quiet"]) == 2
    assert f"--init {tmp_path / 'strat'} is no run folder" in capsys.readouterr().err
    assert not out.exists()
    assert not runs


def test_a_missing_library_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["train", "--env", "two-step", "--out", str(tmp_path / "x"), "--wandb"]) == 1
    assert 'pip install "ibal[wandb]"' in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_broken_saved_configuration_is_named(tmp_path: Path) -> None:
    save_toml(RunConfig(learner=ValueConfig(lr=0.5)), tmp_path / "config.toml")
    text = (tmp_path / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text.replace("lr = ", "lrr = "))
    with pytest.raises(ConfigError, match=r'config\.toml: \[learner\] has no field "lrr"; did you mean "lr"\?'):
        configured("--out", str(tmp_path), "--resume")
