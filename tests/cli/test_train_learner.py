"""``ibal train --learner``: which options there are then, what presets mean, what is refused and why."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ibal.cli.main import main
from ibal.cli.output import CommandError
from ibal.cli.train import parse
from ibal.envs import make
from ibal.experiments.config import RunConfig, apply_overrides, config_hash, load_toml, save_toml, to_toml
from ibal.experiments.methods import METHODS, adversary_of, learner_of
from ibal.experiments.presets import apply_preset
from ibal.learners.config import LEARNERS, PpoConfig, PqnConfig, ValueConfig, name_of
from ibal.options import ConfigError
from ibal.registry import UnknownName
from ibal.training.learner import check_shown


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_has_a_name(name: str) -> None:
    config = parse(["--learner", name])[1]
    assert name_of(config.learner) == name
    assert parse([f"--learner={name}"])[1] == config
    assert apply_overrides(RunConfig(), {"learner.name": name}) == config


def test_its_options_and_its_preset_come_with_it() -> None:
    words = ["--env", "5m_vs_6m", "--learner", "ippo", "--preset", "paper", "--learner.lr", "0.001"]
    learner = parse([*words, "--learner.epochs=7"])[1].learner
    assert learner == PpoConfig(name="ippo", epochs=7, clip=0.05, lr=0.001)  # the official clip of this map
    assert parse(words)[1].learner == PpoConfig(name="ippo", epochs=10, clip=0.05, lr=0.001)
    assert parse(["--preset", "laptop"])[1].learner == apply_preset("laptop").learner
    assert parse(["--env", "8m", "--learner", "mappo", "--preset", "paper"])[1].train.envs == 128


def test_it_is_kept_in_the_file_of_a_run_and_goes_on(tmp_path: Path) -> None:
    config = RunConfig(env="toy/two-step", learner=PpoConfig(name="ippo", lr=1e-3))
    save_toml(config, tmp_path / "config.toml")
    assert load_toml(tmp_path / "config.toml") == config
    assert parse(["--out", str(tmp_path), "--resume"])[1] == config
    assert 'name = "ippo"' in to_toml(config)
    assert config_hash(config) != config_hash(RunConfig(env="toy/two-step"))
    with pytest.raises(ConfigError, match=r"\[learner\] has no field .mixer."):
        apply_overrides(config, {"learner.mixer": "vdn"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--learner", "mapo"], 'unknown learner "mapo". Closest: "mappo". Learners: qmix, vdn, qplex, iql, mappo'),
        (["--learner"], "--learner needs a value: qmix, vdn, qplex, iql, mappo, ippo"),
        (["--learner", "mappo", "--learner.mixer", "vdn"], '"mappo" has no option --learner.mixer'),
        (["--learner.epochs", "3"], '"qmix" has no option --learner.epochs'),
        (["--learner", "mappo", "--learner.epochs", "0"], "learner.epochs must be at least 1, not 0"),
        (["--learner", "mappo", "--method", "privileged"], '"mappo" has no such option; train it with --learner qmix'),
    ],
)
def test_what_cannot_be(words: list[str], said: str) -> None:
    with pytest.raises((ConfigError, CommandError, UnknownName)) as error:
        parse(words)
    assert said in str(error.value)


REFUSED = {"romance", "wall", "wall-random", "privileged", "worst-first"}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_with_it_or_says_why_not(name: str) -> None:
    spec, ppo = make("smac/3m").spec, PpoConfig()

    def checked() -> None:
        learner_of(name, ppo)
        check_shown(spec, ppo, adversary_of(name, spec).threat, f"method {name}")

    if name in REFUSED:
        with pytest.raises(
            ConfigError, match=rf'method {name} needs (the values|learner.privileged).*"mappo".*--learner qmix'
        ):
            checked()
    else:
        checked()
    # Nothing is hidden by a value learner, with a replay or without.
    for values in (ValueConfig(), PqnConfig()):
        check_shown(spec, values, adversary_of(name, spec).threat)
    if name == "privileged":
        with pytest.raises(ConfigError, match='"pqn-vdn" has no such option'):
            learner_of(name, PqnConfig())
    else:
        assert learner_of(name, PqnConfig()) == PqnConfig(smooth=0.1 if name == "ernie" else 0.0)


def test_the_command_refuses_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["train", "--env", "two-step", "--learner", "mappo", "--method", "romance", "--out", str(out)]
    assert main(words) == 2
    assert "method romance needs the values of its actions" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("name", "record"), [("qplex", ValueConfig), ("ippo", PpoConfig), ("pqn-vdn", PqnConfig)])
def test_the_help_of_a_learner_shows_all_it_can_be_told(name: str, record: type, capsys) -> None:
    assert main(["train", "--learner", name, "--help"]) == 0
    said = capsys.readouterr().out
    for field in fields(record):
        if field.name != "name":
            assert f"--learner.{field.name.replace('_', '-')} " in said
