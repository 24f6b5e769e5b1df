"""``ibal train --seeds``: with a core for each seed, every seed trains as if it were alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import ibal
from ibal.cli.main import main
from ibal.experiments.config import CONFIG_FILE, RunConfig, save_toml
from ibal.experiments.run import divided, use_cores
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError
from ibal.training.config import TrainConfig
from ibal.training.loop import devices_for

# As in test_curves.py, so that what one has compiled serves the other.
TINY = ["train", "--env", "climbing", "--preset", "smoke", "--steps", "400", "--learner.hidden", "8", "--quiet",
        "--train.chunk", "1", "--train.eval-every", "100", "--train.eval-episodes", "4"]  # fmt: skip


def test_two_seeds_on_two_cores_are_two_trainings(tmp_path: Path) -> None:
    assert len(devices_for(2)) == 2  # of the four that conftest.py makes
    for name, more in (("both", ["--seeds", "2"]), ("second", ["--seed", "1"])):
        assert main([*TINY, *more, "--out", str(tmp_path / name)]) == 0
    policies = [(tmp_path / name / "policy" / "seed-1.safetensors").read_bytes() for name in ("both", "second")]
    assert policies[0] == policies[1]
    assert policies[0] != (tmp_path / "both" / "policy" / "seed-0.safetensors").read_bytes()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_training_of_two_seeds_makes_two_devices_of_two_cores() -> None:
    """In a process of its own: here JAX has its devices already."""
    code = "from ibal.experiments.run import use_cores; use_cores(2); import jax; print(jax.local_device_count())"
    environment = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    environment["PYTHONPATH"] = str(Path(ibal.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_seeds_are_dealt_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: list("abcd"))
    dealt = {1: "a", 2: "ab", 3: "abc", 4: "abcd", 5: "a", 6: "abc", 8: "abcd"}
    assert {seeds: "".join(devices_for(seeds)) for seeds in dealt} == dealt


def test_a_program_that_uses_jax_already_keeps_its_devices() -> None:
    before = jax.local_devices()
    use_cores(2)
    assert jax.local_devices() == before


def test_a_seed_is_divided_among_the_cores_that_no_other_seed_needs(tmp_path: Path) -> None:
    four = len(jax.local_devices())  # conftest.py
    one, two, all_of_them = (divided(RunConfig(seeds=seeds), tmp_path).train.parts for seeds in (1, 2, four))
    assert (one, two, all_of_them) == (4, 2, 0)
    small = RunConfig(learner=ValueConfig(batch=8))
    assert divided(small, tmp_path).train.parts == 0
    assert divided(RunConfig(train=TrainConfig(parts=2)), tmp_path).train.parts == 2
    save_toml(RunConfig(train=TrainConfig(parts=2)), tmp_path / CONFIG_FILE)
    assert divided(RunConfig(), tmp_path, resume=True).train.parts == 2


def test_more_parts_than_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.parts = 5, but JAX has 4 devices here"):
        devices_for(1, 5)
