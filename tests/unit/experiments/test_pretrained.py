"""A training begins with what another one has learned, whatever that one trained against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.envs.toy import two_step
from ibal.experiments.config import RunConfig, save_toml
from ibal.experiments.pretrained import learner_state
from ibal.learners.config import ValueConfig
from ibal.learners.value import value_learner
from ibal.options import ConfigError
from ibal.training.checkpoint import CheckpointError, save

ENV = two_step()
LEARNER = ValueConfig(mixer="vdn", hidden=4, batch=4)
HERE = RunConfig(env="toy/two-step", seeds=2, learner=LEARNER)


def learned(seed: int) -> Any:
    return value_learner(ENV.spec, LEARNER).init(rng.root(seed))


def run_folder(folder: Path, config: RunConfig, seeds: tuple[int, ...] = (5,)) -> Path:
    """What a training leaves, with an attacker, a replay and counters of any kind."""
    folder.mkdir()
    save_toml(replace(config, seeds=len(seeds)), folder / "config.toml")
    state = {
        "learner": {
            "learned": jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(learned, seeds)),
            "replay": jnp.zeros(1000),
        },
        "learner_like": jnp.zeros(3),
        "attacker": {"phi": jnp.ones((1, 2))},
    }  # fmt: skip
    save(folder / "checkpoints", 10, state)
    return folder


def assert_same(found: Any, wanted: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("options", [(), (("actions", "off"),), (("actions", "off"), ("masks", "off"))])
def test_a_start_from_a_run_with_options_of_its_method(tmp_path: Path, options: Any) -> None:
    source = run_folder(tmp_path / "run", replace(HERE, method="ibal", method_options=options))
    assert_same(learner_state(source, ENV, HERE), jax.tree.map(lambda leaf: leaf[None], learned(5)))


def test_as_many_seeds_or_one_for_all(tmp_path: Path) -> None:
    source = run_folder(tmp_path / "run", HERE, (5, 6))
    assert_same(jax.tree.map(lambda leaf: leaf[1], learner_state(source, ENV, HERE)), learned(6))
    with pytest.raises(ConfigError, match="has 2 seeds, this training 3; both or the first: 1"):
        learner_state(source, ENV, replace(HERE, seeds=3))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"env": "toy/climbing"}, "its environment is toy/climbing, this training has toy/two-step"),
        ({"env_options": (("size", 3),)}, "its set of environment options is size=3, this training has the defaults"),
        ({"learner": replace(LEARNER, mixer="qmix")}, "its mixer is qmix, this training has vdn"),
        ({"learner": replace(LEARNER, hidden=8)}, "its hidden size is 8, this training has 4"),
        ({"learner": replace(LEARNER, optimiser="adam")}, "its optimiser is adam, this training has rmsprop"),
    ],
)
def test_another_kind_of_team_is_no_start(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    source = run_folder(tmp_path / "run", replace(HERE, **change))
    with pytest.raises(ConfigError, match=rf"^--init {source}: {sentence}; they must be the same"):
        learner_state(source, ENV, HERE)


def test_folders_without_a_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run folder: it has no config\.toml"):
        learner_state(tmp_path, ENV, HERE)
    save_toml(HERE, tmp_path / "config.toml")
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        learner_state(tmp_path, ENV, HERE)
    save(tmp_path / "checkpoints", 1, {"other": jnp.zeros(1)})
    with pytest.raises(CheckpointError, match='belongs to another training: it lacks "learner/'):
        learner_state(tmp_path, ENV, HERE)


def test_a_world_that_has_grown_since_is_told_with_what_to_do(tmp_path: Path) -> None:
    grown = ENV._replace(spec=replace(ENV.spec, obs_size=ENV.spec.obs_size + 1))
    words = "is wanted. Begin with a run in toy/two-step that has as many agents, actions and observations as here"
    with pytest.raises(CheckpointError, match=words):
        learner_state(run_folder(tmp_path / "run", HERE), grown, HERE)


def test_a_damaged_newest_checkpoint_is_passed_over_aloud(tmp_path: Path) -> None:
    source, said = run_folder(tmp_path / "run", HERE, (5, 6)), []
    (source / "checkpoints" / "000000000011.safetensors").write_bytes(b"cut")
    learner_state(source, ENV, HERE, said.append)
    assert len(said) == 1
    assert "000000000011.safetensors is cut off" in said[0]
