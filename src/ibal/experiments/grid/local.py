"""Processes on this machine: one per core, or per GPU. This process itself never imports jax: on a GPU it would take
most of the memory before its children start.

    Local(workers=2).run(runs, store, print)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibal.experiments.grid.cores import gpus
from ibal.experiments.grid.store import Store
from ibal.experiments.grid.work import write_plan
from ibal.experiments.runs import Run

LOOK = 0.25  # seconds between two looks at the workers
CRASHES = 8  # workers in a row that end at once, before one gives up
AT_ONCE = 3.0  # seconds: imports alone take as long
LEAST_GB = 1.5  # of memory for a worker: jax, a compiled program and a small replay
GRACE = 60.0  # seconds that a worker has to save


@dataclass(frozen=True)
class Local:
    """Start workers here and keep them going."""

    workers: int | None = None
    """Processes; None: as many as cores (or GPUs) and memory allow."""
    threads: int = 1
    """Cores of each of them, where there is no GPU."""
    memory_gb: float | None = None
    """Memory that all of them together may take; None: nine tenths of what is free."""
    per_gpu: int = 1
    """Workers that share a GPU."""

    def run(self, runs: Sequence[Run], store: Store, note: Callable[[str], None]) -> None:
        """Return when nothing is left to do. Ctrl-C and SIGTERM let the workers save what they are doing, and end.

        Raises ChildProcessError if workers end as soon as they have begun.
        """
        _Crew(self, store, write_plan(store, runs), len(runs), note).run()

    def budget(self) -> float:
        """Return the memory in GB that the workers may take together."""
        return self.memory_gb if self.memory_gb is not None else 0.9 * _free_gb()

    def slots(self, runs: int) -> list[dict[str, str]]:
        """Return the environment variables of each worker: which GPU it has, if any."""
        devices = gpus()
        if devices:
            share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / self.per_gpu:.3f}"} if self.per_gpu > 1 else {}
            places = [{"CUDA_VISIBLE_DEVICES": name, **share} for name in devices for _ in range(self.per_gpu)]
        else:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            fit = max(int(self.budget() / LEAST_GB), 1)
            places = [{} for _ in range(self.workers or min(max(cores // self.threads, 1), fit))]
        count = min(self.workers or len(places), max(runs, 1))
        return [places[i % len(places)] for i in range(count)]


class _Crew:
    """The workers of one call."""

    def __init__(self, local: Local, store: Store, plan: Path, runs: int, note: Callable[[str], None]) -> None:
        self.local, self.store, self.plan, self.note = local, store, plan, note
        self.slots = local.slots(runs)
        self.budget = local.budget()  # as it was before there were workers
        self.alive: dict[int, subprocess.Popen[bytes]] = {}
        self.begun: dict[int, float] = {}
        self.over: set[int] = set()  # slots that have nothing to do any more
        self.crashes = 0
        self.stopping = False

    def run(self) -> None:
        before = signal.signal(signal.SIGTERM, self._stop) if _is_main() else None
        looked = 0.0
        try:
            while len(self.over) < len(self.slots):
                self._tend()
                if time.monotonic() - looked > 1.0:
                    looked = time.monotonic()
                    self._keep_within_memory()
                time.sleep(LOOK)
        except KeyboardInterrupt:
            self.note("stopping: workers save what they are doing")
            self._end()
            raise
        finally:
            self._end()
            self.plan.unlink(missing_ok=True)
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def _tend(self) -> None:
        """Start what is missing, and see how workers have ended."""
        for slot in range(len(self.slots)):
            if slot in self.over:
                continue
            worker = self.alive.get(slot)
            if worker is None:
                self._start(slot)
            elif (status := worker.poll()) is not None:
                del self.alive[slot]
                if status in (0, 3) or self.stopping:
                    self.over.add(slot)
                    continue
                short = time.monotonic() - self.begun[slot] < AT_ONCE and status > 0
                self.crashes = self.crashes + 1 if short else 0
                if self.crashes >= CRASHES:
                    raise ChildProcessError(f"workers end at once (exit status {status}); what they say stands above")
                how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                self.note(f"a worker ended ({how}); another one goes on")

    def _start(self, slot: int) -> None:
        threads = 0 if "CUDA_VISIBLE_DEVICES" in self.slots[slot] else self.local.threads
        command = [sys.executable, "-m", "ibal.experiments.grid.work", str(self.store.path), str(self.plan),
                   "--threads", str(threads)]  # fmt: skip
        # In a group of its own: Ctrl-C in a terminal reaches this process, which then asks each worker once.
        self.alive[slot] = subprocess.Popen(command, env={**os.environ, **self.slots[slot]}, stdin=subprocess.DEVNULL,
                                            start_new_session=True)  # fmt: skip
        self.begun[slot] = time.monotonic()

    def _keep_within_memory(self) -> None:
        """Let the youngest worker save and end where all together take more than they may: the rest go on."""
        used = {slot: _resident_gb(worker.pid) for slot, worker in self.alive.items()}
        if len(used) > 1 and sum(used.values()) > self.budget:
            youngest = max(used, key=lambda slot: self.begun[slot])
            self.note(f"workers take {sum(used.values()):.1f} GB: one of them stops, the others go on")
            self.over.add(youngest)
            self.alive.pop(youngest).send_signal(signal.SIGTERM)

    def _stop(self, *_: object) -> None:
        self.stopping = True
        for worker in self.alive.values():
            worker.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        """Ask all workers to save and end, and wait for them."""
        self.stopping = True
        for worker in self.alive.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        end = time.monotonic() + GRACE
        for worker in self.alive.values():
            try:
                worker.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self.alive.clear()


def _is_main() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _free_gb() -> float:
    """Return the memory that could be taken now; a container's limit counts."""
    free = 8.0
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, (int(limit) - used) / 2**30) if limit != "max" else free
    except (OSError, StopIteration, ValueError):
        pass
    return max(free, 0.5)


def _resident_gb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, ValueError, IndexError):
        return 0.0
