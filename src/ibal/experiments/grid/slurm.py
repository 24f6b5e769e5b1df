"""Jobs on Slurm, through submitit: an array of workers, each of which takes runs until its time is over.

    Slurm(workers=40, partition="gpu", gpus=1, minutes=240).run(runs, store, print)

Shortly before its end, or when it is preempted, a job is told: what it trains is saved, and its task of the array (not
the whole array) is put into the queue again. A node that fails tells nobody anything: then the queue, or the next
``ibal grid run``, starts a worker that looks for the newest checkpoint in the store, as every worker does. Nothing but
the store's path goes into a job.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibal.experiments.grid import work
from ibal.experiments.grid.store import Store
from ibal.experiments.grid.work import write_plan
from ibal.experiments.runs import Run
from ibal.options import ConfigError

LOOK = 2.0  # seconds between two looks at the jobs
ROUNDS = 3  # arrays in a row in which nothing gets done, before one gives up
CLUSTERS = ("slurm", "local", "debug")


@dataclass(frozen=True)
class Slurm:
    """Submit workers and wait for them; whoever does not want to wait may end this command: jobs go on."""

    workers: int = 8
    """Jobs at a time."""
    threads: int = 1
    """Cores of each."""
    memory_gb: float = 4.0
    """Memory of each."""
    gpus: float = 0.0
    """GPUs of each, whole ones."""
    partition: str | None = None
    """Of the cluster."""
    minutes: int = 240
    """Time limit of a job; what it trains goes on in the next one."""
    cluster: str = "slurm"
    """One of submitit's executors; "local": processes on this machine, to try it."""

    def run(self, runs: Sequence[Run], store: Store, note: Callable[[str], None]) -> None:
        """Return when nothing is left to do. Raises ModuleNotFoundError without submitit, ConfigError for another kind
        of cluster, ChildProcessError if jobs end again and again without getting anything done."""
        submitit = _submitit()
        if self.cluster not in CLUSTERS:
            raise ConfigError(f'--cluster "{self.cluster}" is none; allowed: {", ".join(CLUSTERS)}')
        executor = submitit.AutoExecutor(folder=store.path / "jobs", cluster=self.cluster)
        executor.update_parameters(**self.parameters())
        plan, idle = write_plan(store, runs), 0
        while left := _left(store, runs):
            before = len(store.state().done | store.state().failed)
            with executor.batch():
                jobs = [executor.submit(Job(str(store.path), str(plan), 0 if self.gpus else self.threads))
                        for _ in range(min(self.workers, len(left)))]  # fmt: skip
            note(f"submitted {len(jobs)} jobs ({jobs[0].job_id} …): {len(left)} runs to do")
            self._wait(jobs, store)
            if store.asked_to_stop():
                return
            idle = idle + 1 if len(store.state().done | store.state().failed) == before else 0
            if idle >= ROUNDS:
                raise ChildProcessError(
                    f"jobs end and nothing gets done; what they say stands in {store.path / 'jobs'}"
                )
        plan.unlink(missing_ok=True)

    def parameters(self) -> dict[str, Any]:
        """Return what submitit is told. A job that is lost with its node comes back by itself."""
        told: dict[str, Any] = {
            "timeout_min": self.minutes, "cpus_per_task": self.threads, "mem_gb": self.memory_gb,
            "gpus_per_node": int(self.gpus), "name": "ibal", "slurm_array_parallelism": self.workers,
            "slurm_additional_parameters": {"requeue": True}, "slurm_signal_delay_s": 120,
        }  # fmt: skip
        return told | ({"slurm_partition": self.partition} if self.partition else {})

    def _wait(self, jobs: Sequence[Any], store: Store) -> None:
        """Wait until all jobs are over; Ctrl-C leaves real ones alone, and ends those of this machine."""
        try:
            while not all(job.done() for job in jobs):
                time.sleep(LOOK if self.cluster == "slurm" else LOOK / 10)
        except KeyboardInterrupt:
            if self.cluster != "slurm":
                store.ask_to_stop()
            raise


@dataclass(frozen=True)
class Job:
    """A worker, as a job."""

    store: str
    plan: str
    threads: int

    def __call__(self) -> str:
        """Work; when told that time is over, save, and go into the queue again."""
        told: list[int] = []

        def over(number: int, _: Any) -> None:
            told.append(number)
            os.kill(os.getpid(), signal.SIGTERM)  # which saves and ends whatever is being done

        # In place of submitit's handler, which would leave at once, with nothing saved.
        for name in ("SIGUSR1", "SIGUSR2", "SIGCONT"):
            signal.signal(getattr(signal, name), over if name != "SIGCONT" else signal.SIG_DFL)
        work.prepare(self.threads)
        stopped = work.work(Store(Path(self.store)), work.read_plan(Path(self.plan)))
        if stopped and told and (name := task_of(os.environ)):
            subprocess.run(["scontrol", "requeue", name], check=False)
            time.sleep(60.0)  # Slurm ends this process as it takes the job back
        return "stopped" if stopped else "done"

    def checkpoint(self) -> Any:
        """Say what to submit again; submitit asks only callables that have this."""
        return _submitit().helpers.DelayedSubmission(self)


def task_of(environ: Any) -> str:
    """Return the name of this job for ``scontrol requeue``: in an array that of its task alone."""
    if "SLURM_ARRAY_JOB_ID" in environ and "SLURM_ARRAY_TASK_ID" in environ:
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID", "")


def _left(store: Store, runs: Sequence[Run]) -> list[Run]:
    """Return the runs that can still be done."""
    state, by_id = store.state(), {run.id: run for run in runs}
    return [run for run in runs if run.id not in state.done and not work.hopeless(run, by_id, state)]


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('--on slurm needs submitit: pip install "ibal[slurm]"') from error
