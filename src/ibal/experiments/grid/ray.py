"""Tasks on a Ray cluster: one per run, which begins when those that it needs have ended. Only Ray's core is used.

    Ray(address="ray://head:10001").run(runs, store, print)

What comes of a run lies in the store, which every node must see under the same path; tasks return one word. Ray starts
a task again when its process or its node is lost, and the run goes on from its newest checkpoint.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibal.experiments.grid import work
from ibal.experiments.grid.store import Store
from ibal.experiments.runs import Run

LOOK = 1.0  # seconds between two looks at a run that somebody else does
_ready: set[int] = set()  # this process, once its cores are taken


@dataclass(frozen=True)
class Ray:
    """Submit tasks and wait for them."""

    workers: int | None = None
    """Tasks at a time; None: as many as the cluster has room for."""
    threads: int = 1
    """Cores of each."""
    memory_gb: float | None = None
    """Memory of each, for Ray's book-keeping."""
    gpus: float = 0.0
    """GPUs of each; a fraction shares one."""
    address: str | None = None
    """Of the cluster: "ray://host:10001", "auto"; None: one of this machine's own, for as long as it takes."""

    def run(self, runs: Sequence[Run], store: Store, note: Callable[[str], None]) -> None:
        """Return when nothing is left to do. Ctrl-C leaves trainings to save what they do. Raises ModuleNotFoundError
        without Ray, ConnectionError where there is no cluster at the address."""
        ray = _ray()
        # Without it, Ray hides the GPUs from tasks that ask for none, and warns that it will not for ever.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        ray.init(self.address, ignore_reinit_error=True, **quiet)
        try:
            self._run(ray, runs, store, note)
        except KeyboardInterrupt:
            store.ask_to_stop()
            raise
        finally:
            ray.shutdown()

    def _run(self, ray: Any, runs: Sequence[Run], store: Store, note: Callable[[str], None]) -> None:
        resources: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": self.gpus}
        if self.memory_gb is not None:
            resources["memory"] = int(self.memory_gb * 2**30)
        if self.gpus and self.gpus < 1:
            share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * self.gpus:.3f}"}
            resources["runtime_env"] = {"env_vars": share}
        task = ray.remote(do).options(max_retries=-1, **resources)
        done = store.state().done
        path, pinned = str(store.path), 0 if self.gpus else self.threads
        refs: dict[str, Any] = {}
        labels: dict[Any, str] = {}
        for run in runs:
            if run.id in done:
                continue
            if self.workers is not None and len(labels) >= self.workers:
                self._wait(ray, labels, note)
            refs[run.id] = task.remote(path, pinned, tuple(run), *[refs[need] for need in run.needs if need in refs])
            labels[refs[run.id]] = run.label
        while labels:
            self._wait(ray, labels, note)

    def _wait(self, ray: Any, labels: dict[Any, str], note: Callable[[str], None]) -> None:
        """Wait for one task, and tell of it."""
        ended, _ = ray.wait(list(labels), num_returns=1)
        for ref in ended:
            note(f"{labels.pop(ref)}: {ray.get(ref)}")


def do(path: str, threads: int, run: tuple[Any, ...], *needs: str) -> str:
    """Do one run, in a process of Ray's, and return how it ended; if what it needs has failed, "blocked"."""
    if any(word != "done" for word in needs):
        return "blocked"
    if os.getpid() not in _ready:  # Ray uses a process for many tasks
        work.prepare(threads)
        _ready.add(os.getpid())
    store = Store(Path(path))
    while not store.asked_to_stop():
        outcome = work.do(store, Run(*run))
        if outcome in ("done", "failed", "stopped"):
            return outcome
        time.sleep(work.FULL_WAIT[0] if outcome == "full" else LOOK)
    return "stopped"


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('--on ray needs Ray: pip install "ibal[ray]"') from error
