"""``ibal train --seeds``: with a core for each seed, every seed trains as if it were alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from ibal.cli.train import use_cores
from ibal.train.loop import devices_for

COMMAND = [sys.executable, "-m", "ibal", "train", "--env", "climbing", "--preset", "smoke", "--steps", "200", "--quiet",
           "--learner.hidden", "8", "--train.eval-episodes", "4"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_seeds_on_two_cores_are_two_trainings(tmp_path: Path) -> None:
    for name, more in (("both", ["--seeds", "2"]), ("second", ["--seed", "1"])):
        done = subprocess.run([*COMMAND, *more, "--out", str(tmp_path / name)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    policies = [(tmp_path / name / "policy" / "seed-1.safetensors").read_bytes() for name in ("both", "second")]
    assert policies[0] == policies[1]


def test_seeds_are_dealt_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: list("abcd"))
    dealt = {1: "a", 2: "ab", 3: "abc", 4: "abcd", 5: "a", 6: "abc", 8: "abcd"}
    assert {seeds: "".join(devices_for(seeds)) for seeds in dealt} == dealt


def test_a_program_that_uses_jax_already_keeps_its_devices() -> None:
    before = jax.local_devices()
    use_cores(2)
    assert jax.local_devices() == before
