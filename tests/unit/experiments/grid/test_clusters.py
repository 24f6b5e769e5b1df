"""Ray and Slurm. What needs the libraries themselves is skipped where they are not installed: they are large, and
optional. ``pip install ray submitit`` into the environment runs all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibal.experiments.grid import slurm, work
from ibal.experiments.grid.launch import LAUNCHERS, launcher
from ibal.experiments.grid.slurm import Slurm, task_of
from ibal.experiments.grid.store import Store
from ibal.registry import UnknownName
from unit.experiments.grid.test_work import run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


@pytest.fixture
def todo(monkeypatch) -> list:
    monkeypatch.setattr(work, "POLL", 0.02)
    monkeypatch.setattr(slurm, "LOOK", 0.2)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return [run("a"), run("b", needs=("a",)), run("bad", "fail"), run("c", needs=("bad",)), run("d", "die_twice")]


def test_launchers_are_found_by_name_and_import_their_library_only_to_run(store: Store, monkeypatch) -> None:
    for name in LAUNCHERS:
        assert hasattr(launcher(name), "run")
    with pytest.raises(UnknownName, match="slurm"):
        launcher("slrum")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .ibal\[ray\]"):
        launcher("ray").run([run("a")], store, print)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .ibal\[slurm\]"):
        launcher("slurm").run([run("a")], store, print)


def test_the_task_of_an_array_is_queued_again_not_the_array() -> None:
    assert task_of({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}) == "7_2"
    assert task_of({"SLURM_JOB_ID": "9"}) == "9"
    assert task_of({}) == ""


def test_slurm_is_told_what_was_asked_for() -> None:
    told = Slurm(workers=3, threads=2, memory_gb=7.0, gpus=1, partition="p", minutes=5).parameters()
    assert (told["slurm_array_parallelism"], told["cpus_per_task"], told["mem_gb"], told["gpus_per_node"]) == (
        3,
        2,
        7.0,
        1,
    )
    assert (told["slurm_partition"], told["timeout_min"]) == ("p", 5)
    assert told["slurm_additional_parameters"] == {"requeue": True}


def test_jobs_on_this_machine_do_all_runs(store: Store, todo) -> None:
    pytest.importorskip("submitit", reason="submitit is optional: pip install submitit")
    Slurm(workers=2, cluster="local").run(todo, store, print)
    assert store.state().done == {"a", "b", "d"}
    assert store.state().failed == {"bad"}


def test_a_ray_cluster_that_loses_two_nodes_does_all_runs(store: Store, todo) -> None:
    pytest.importorskip("ray", reason="ray is optional: pip install ray")
    done = subprocess.run([sys.executable, "-m", "unit.experiments.grid.ray_cluster", str(store.path)], check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"done": ["a", "b", "d", *(f"r{i}" for i in range(8))], "failed": ["bad"], "lost": 2}
