"""Configurations load strictly, save exactly and hash by what they compute."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config

from ibal.experiments.config import (
    RunConfig,
    apply_overrides,
    config_hash,
    flat,
    load_toml,
    save_toml,
    to_toml,
)
from ibal.experiments.presets import PRESETS, apply_preset
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError, read_scalar, read_text
from ibal.training.config import TrainConfig

FULL = """
env = "smac/8m"
seeds = 3
[env_options]
step_mul = 4
obs_last_action = true
[learner]
mixer = "vdn"
lr = 1
[train]
steps = 2_000_000
"""


@pytest.fixture
def as_users_run_it() -> Generator[None]:
    """Without the type checker of the tests, which would speak first."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_holds_what_differs_from_the_defaults(tmp_path: Path) -> None:
    config = load_toml(written(tmp_path, FULL))
    assert config == RunConfig(
        env="smac/8m",
        env_options=(("obs_last_action", True), ("step_mul", 4)),
        seeds=3,
        learner=ValueConfig(mixer="vdn", lr=1.0),
        train=TrainConfig(steps=2_000_000),
    )
    assert isinstance(config.learner.lr, float)
    assert hash(config) == hash(load_toml(written(tmp_path, FULL)))


def test_a_file_goes_over_the_base_it_is_given(tmp_path: Path) -> None:
    base = apply_preset("smoke", RunConfig(seed=7, env_options=(("step_mul", 8), ("x", 1))))
    config = load_toml(written(tmp_path, FULL), base)
    assert isinstance(config.learner, ValueConfig)
    assert (config.seed, config.learner.batch, config.train.envs, config.train.steps) == (7, 8, 8, 2_000_000)
    assert dict(config.env_options) == {"obs_last_action": True, "step_mul": 4, "x": 1}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_saved_is_loaded(tmp_path: Path, preset: str) -> None:
    config = apply_preset(preset, RunConfig(env="my.mod:make", env_options=(("a b", 'say "hi"\n\x7f'), ("c", 0.1))))
    save_toml(config, tmp_path / "run.toml")
    assert load_toml(tmp_path / "run.toml") == config
    assert [p.name for p in tmp_path.iterdir()] == ["run.toml"]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.text(st.characters(codec="utf-8"), max_size=20) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False),
    )
)  # fmt: skip
def test_any_option_survives_the_file(options: dict) -> None:
    text = to_toml(RunConfig(env_options=tuple(sorted(options.items()))))
    assert tomllib.loads(text).get("env_options", {}) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[learner]\noptimizer = 'adam'", r'run\.toml: \[learner\] has no field "optimizer"; did you mean "optimiser"'
         r"\? \(fields: mixer, hidden, gamma, .*batch, .*\)"),
        ("learnr = 3", r'the top level has no field "learnr"; did you mean "learner"\?'),
        ("[train]\nxyzzy = 1", r'\[train\] has no field "xyzzy" \(fields: steps, '),
        ("learner = 3", r"learner must be a table with fields of its own, not 3: write \[learner\]"),
        ("env_options = 3", r"env_options must be a table of options, not 3"),
        ("[env_options]\nx = [1]", r"env_options\.x must be a number, a word, true or false, not \[1\]"),
        ("seeds = true", r"seeds must be a whole number, not true"),
        ("seeds = '3'", r'seeds must be a whole number, not "3"'),
        ("env = 3", r"env must be a text in quotes, not 3"),
        ("[train]\nsteps = 1e6", r"train\.steps must be a whole number, not 1000000\.0 \(write 1_000_000\)"),
        ("[learner]\nlr = 'fast'", r'learner\.lr must be a number, not "fast"'),
        ("[learner]\nlr = 0.0", r"learner\.lr must be above 0, not 0\.0"),
        ("[learner]\nlr = inf", r"learner\.lr must be above 0, not inf"),
        ("[learner]\ngamma = nan", r"learner\.gamma must be between 0 and 1, not nan"),
        ("[learner]\nmixer = 'qmx'", r'learner\.mixer must be one of "iql", "vdn", "qmix", "qplex", not "qmx"; '
         r'did you mean "qmix"\?'),
        ("[learner]\noptimiser = 1", r'learner\.optimiser must be one of "rmsprop", "adam", not 1$'),
        ("[train]\nepsilon_end = 1.5", r"train\.epsilon_end must be between 0 and 1, not 1\.5"),
        ("[train]\nenvs = 0", r"train\.envs must be at least 1, not 0"),
        ("seeds = 0", r"seeds must be at least 1, not 0"),
        ("[learner]\nbatch = 64", r"learner\.batch = 64 is more than train\.learn_from = 32, but a batch is drawn from "
         r"the stored; raise train\.learn_from or lower learner\.batch to 32"),
        ("[train]\nreplay = 16", r"train\.learn_from = 32 is more than train\.replay = 16"),
        ("[train]\nreplay = 32\nenvs = 33", r"train\.envs = 33 is more than train\.replay = 32"),
        ("method = 'vanila'", r'method must be one of "vanilla", .*, not "vanila"; did you mean "vanilla"\?'),
        ("env = ''", r"env is empty"),
        ("env = ", r"run\.toml is not TOML: Invalid value \(at "),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_toml(written(tmp_path, text))
    assert str(tmp_path / "run.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_toml(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no text: byte 0 is not UTF-8"):
        load_toml(tmp_path / "x.toml")


def test_overrides_go_by_dotted_name() -> None:
    config = apply_overrides(RunConfig(), {"learner.lr": 1e-3, "train.envs": 64, "seed": 2, "env_options.a": "b"})
    assert (config.learner.lr, config.train.envs, config.seed) == (1e-3, 64, 2)
    assert config.env_options == (("a", "b"),)
    with pytest.raises(ConfigError, match=r'^\[learner\] has no field "lrr"; did you mean "lr"\?'):
        apply_overrides(RunConfig(), {"learner.lrr": 1e-3})
    with pytest.raises(ConfigError, match="given as a whole"):
        apply_overrides(RunConfig(), {"seed": 3, "seed.x": 3})


def test_flat_names_every_value() -> None:
    names = flat(RunConfig(env_options=(("step_mul", 4),)))
    assert (names["learner.lr"], names["train.steps"], names["env_options.step_mul"]) == (5e-4, 1_000_000, 4)
    assert len(names) == 5 + 1 + len(ValueConfig.__dataclass_fields__) + len(TrainConfig.__dataclass_fields__)


def test_the_hash_tells_computations_apart_not_budgets() -> None:
    base = RunConfig()
    assert config_hash(base) == config_hash(RunConfig())
    assert len(config_hash(base)) == 12
    longer = replace(base, train=replace(base.train, steps=5, keep=9, checkpoint_every=1.0))
    assert config_hash(longer) == config_hash(base)
    others = [
        replace(base, seed=1),
        replace(base, env="smac/8m"),
        replace(base, init="runs/start"),
        replace(base, env_options=(("a", 1),)),
        replace(base, learner=replace(base.learner, lr=1e-3)),
        replace(base, train=replace(base.train, envs=16)),
    ]
    assert len({config_hash(c) for c in [base, *others]}) == 1 + len(others)


def test_words_of_the_command_line() -> None:
    assert [read_scalar(t) for t in ("true", "false", "3", "-0.5", "1e3", "walls")] == [
        True,
        False,
        3,
        -0.5,
        1e3,
        "walls",
    ]
    assert read_text(float, "3") == 3.0
    assert read_text(int, "1_000") == 1000
    assert read_text(bool, "True") is True
    for annotation, text, message in [
        (int, "1e6", r"must be a whole number, not 1000000\.0 \(write 1_000_000\)"),
        (int, "abc", 'must be a whole number, not "abc"'),
        (bool, "yes", 'must be true or false, not "yes"'),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_text(annotation, text)


def test_presets_can_be_run_and_a_typo_names_the_closest() -> None:
    for name in PRESETS:
        config = apply_overrides(apply_preset(name), {})
        assert (config.env, config.seeds) == ("smac/3m", 1)
    assert apply_preset("paper") == RunConfig()
    with pytest.raises(ConfigError, match=r'unknown preset "labtop"\. Closest: "laptop"\. Presets: paper, '):
        apply_preset("labtop")


def test_configurations_import_no_jax() -> None:
    code = "import sys, ibal.experiments.presets; sys.exit(any(m in sys.modules for m in ('jax', 'numpy', 'optax')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValueConfig(optimiser="adm"), r'^learner\.optimiser must be .*, not "adm"; did you mean "adam"'),
        (lambda: ValueConfig(target="sft"), r'^learner\.target must be one of "hard", "ema", not "sft"'),
        (lambda: ValueConfig(mixer="qmx"), r'not "qmx"; did you mean "qmix"\?'),
        (lambda: ValueConfig(lr="fast"), r'^learner\.lr must be a number, not "fast"'),
        (lambda: ValueConfig(hidden=64.5), r"^learner\.hidden must be a whole number, not 64\.5"),
        (lambda: ValueConfig(gamma=1.01), r"^learner\.gamma must be between 0 and 1, not 1\.01"),
        (lambda: ValueConfig(smooth=-1.0), r"^learner\.smooth must be at least 0"),
        (lambda: TrainConfig(checkpoint_replay="ful"), r'^train\.checkpoint_replay must be .*; did you mean "full"\?'),
        (lambda: TrainConfig(epsilon_end=2.0), r"^train\.epsilon_end must be between 0 and 1"),
        (lambda: TrainConfig(steps=2**31), r"^train\.steps must be at most 2147483647, not 2147483648"),
        (lambda: TrainConfig(envs=64, replay=32), r"^train\.(learn_from|envs) = "),
        (lambda: TrainConfig(checkpoint_every=float("nan")), r"^train\.checkpoint_every must be at least 0, not nan"),
        (lambda: replace(TrainConfig(), keep=0), r"^train\.keep must be at least 1, not 0"),
        (lambda: RunConfig(method="ibl"), r'^method must be one of .*; did you mean "ibal"\?'),
        (lambda: RunConfig(seed=2**32), r"^seed must be at most 4294967295"),
        (lambda: RunConfig(seed=2**32 - 2, seeds=3), r"^the last seed, seed \+ seeds - 1, must be at most 4294967295"),
        (lambda: RunConfig(seeds=True), r"^seeds must be a whole number, not true"),
        (lambda: RunConfig(learner=ValueConfig(batch=64)), r"^learner\.batch = 64 is more than train\.learn_from = 32"),
        (lambda: RunConfig(env_options=(("a", float("nan")),)), r"^env_options\.a must be finite, not nan"),
        (lambda: RunConfig(env_options="ab"), r"^env_options must be pairs of name and value"),
    ],
)  # fmt: skip
def test_a_misspelled_choice_from_python_does_not_train_something_else(
    make: Any, message: str, as_users_run_it: None
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_equal_configurations_from_python_have_one_hash(as_users_run_it: None) -> None:
    """1 and 1.0, a number of NumPy and a dict of options say the same."""
    plain = RunConfig(env_options=(("a", 1), ("b", 2)), learner=ValueConfig(lr=1.0), train=TrainConfig(steps=9))
    said: Any = RunConfig(
        env_options={"b": 2, "a": 1}, learner=ValueConfig(lr=1), train=TrainConfig(steps=np.int64(9))
    )  # fmt: skip
    assert said == plain
    assert (config_hash(said), to_toml(said)) == (config_hash(plain), to_toml(plain))
    assert type(said.learner.lr) is float
