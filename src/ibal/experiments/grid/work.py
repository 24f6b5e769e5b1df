"""A worker: takes runs out of a store, one after the other, until none is left. Every launcher starts these.

    work(Store(path), runs)                                            # in a process of its own; signals end it kindly

    python -m ibal.experiments.grid.work STORE PLAN --threads 1        # what the local launcher starts

A worker that is killed leaves a claim that goes stale; the next one goes on from the newest checkpoint. SIGTERM saves
first. A disk that is full is waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ibal import reading
from ibal.experiments.grid.cores import take_cores
from ibal.experiments.grid.store import FULL, Claim, State, Store
from ibal.experiments.runs import Run
from ibal.files import Busy, replace_text

Outcome = Literal["done", "failed", "busy", "stopped", "full", "again"]
POLL = 0.5  # seconds between two looks while others do what one waits for
DEATHS = 20  # times that the process of a run may die without a new checkpoint
TRIES = 3  # times that a run may end in an error of the file system
FULL_WAIT = (2.0, 60.0)  # seconds until a full disk is tried again: at first, at most
PATIENCE = 3600.0  # seconds that a full disk is waited for
_DIE_WITH_PARENT = 1  # prctl's number


class Stopped(BaseException):
    """Somebody asked this process to end."""


def work(store: Store, runs: Sequence[Run], note: Callable[[str], None] = lambda message: None) -> bool:
    """Do all runs that nobody else does, each when what it needs is done. Returns when each is done, failed or cannot
    be done; True: asked to stop before."""
    with ended_kindly():
        return _work(store, runs, note)
    return True


def _work(store: Store, runs: Sequence[Run], note: Callable[[str], None]) -> bool:
    by_id = {run.id: run for run in runs}
    last: Run | None = None
    waited, wait = 0.0, FULL_WAIT[0]
    while True:
        state = store.state()
        todo = [run for run in runs if run.id not in state.done and not hopeless(run, by_id, state)]
        if not todo:
            return False
        if store.asked_to_stop():
            return True
        outcome = _one(store, todo, state, last, note)
        if outcome is None:
            time.sleep(POLL)
        elif outcome[1] == "stopped":
            return True
        elif outcome[1] == "full":
            if waited > PATIENCE:
                return True
            note(f"the disk is full; trying again in {wait:.0f} s")
            time.sleep(wait)
            waited, wait = waited + wait, min(2 * wait, FULL_WAIT[1])
        else:
            last = outcome[0]
            waited, wait = 0.0, FULL_WAIT[0]


def _one(
    store: Store, todo: Sequence[Run], state: State, last: Run | None, note: Callable[[str], None]
) -> tuple[Run, Outcome] | None:  # fmt: skip
    """Do the first run that is ready and nobody else does; those first whose program is compiled already."""
    ready = [run for run in todo if all(need in state.done for need in run.needs)]
    for run in sorted(ready, key=lambda run: not _alike(run, last)):
        outcome = do(store, run, note, state.held.get(run.id, -1))
        if outcome != "busy":
            return run, outcome
    return None


def _alike(run: Run, other: Run | None) -> bool:
    return other is not None and run.kind == "cell" == other.kind and all(
        run.what[name] == other.what[name] for name in ("env", "attack")
    )  # fmt: skip


def hopeless(run: Run, by_id: Mapping[str, Run], state: State) -> bool:
    """Say whether a run, or one that it needs, has failed."""
    return run.id in state.failed or any(
        need not in state.done and hopeless(by_id[need], by_id, state) for need in run.needs if need in by_id
    )  # fmt: skip


def do(
    store: Store, run: Run, note: Callable[[str], None] = lambda message: None, newest: int | None = None
) -> Outcome:  # fmt: skip
    """Do one run if nobody else does, whatever happens to it is told in the store."""
    try:
        claim = store.claim(run.id, newest)
    except OSError as error:
        if is_full(error):
            return "full"
        raise
    if claim is None:
        return "done" if store.is_done(run.id) else "busy"
    try:
        return _done(store, run, claim, note)
    finally:
        claim.release()


def _done(store: Store, run: Run, claim: Claim, note: Callable[[str], None]) -> Outcome:
    started = time.time()
    try:
        if (deaths := _deaths(store, run)) > DEATHS:
            store.fail(run.id, f"its process died {deaths} times without getting further (out of memory?)")
            return "failed"
        store.log("begin", run.id, claim=claim.number)
        note(f"{run.label} …")
        with claim.beating(_gone, _stop):
            told = _execute(run, store, note)
            if told is None:
                raise Stopped
            seconds = round(time.time() - started, 2)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            about = {
                "seconds": seconds, "engine": run.what.get("engine", ""), "label": run.label, "commit": _commit(),
                "finished": time.time(), "memory_mb": memory,
            }  # fmt: skip
            first = claim.finish(about | told)
        store.log("done" if first else "again", run.id, claim=claim.number, seconds=seconds)
        return "done"
    except Stopped:
        _deaths(store, run, -1)
        store.log("stopped", run.id)
        return "stopped"
    except KeyboardInterrupt:
        _deaths(store, run, -1)
        return "stopped"
    except Exception as error:
        _deaths(store, run, -1)
        return _failed(store, run, error, note)


def _execute(run: Run, store: Store, note: Callable[[str], None]) -> dict[str, Any] | None:
    """Do what a run says: a kind of ``execute``, or "call": ``f(what, folder) -> dict`` of a program's own."""
    if run.kind != "call":
        from ibal.experiments.grid.execute import execute

        return execute(run.what, store, run.id, note)
    module, _, name = run.what["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    folder = store.folder(run.id)
    folder.mkdir(parents=True, exist_ok=True)
    return dict(function(run.what, folder) or {})


def _failed(store: Store, run: Run, error: Exception, note: Callable[[str], None]) -> Outcome:
    """Say what a run ended with; what may be gone the next time is tried again."""
    try:
        if is_full(error):
            store.log("full", run.id)
            return "full"
        if isinstance(error, Busy):  # who had it before has not let go yet
            time.sleep(10 * POLL)
            return "again"
        said = " ".join(str(error).split()) or type(error).__name__
        store.log("error", run.id, why=said[:500])
        tried = sum(one["event"] == "error" and one["run"] == run.id for one in store.history())
        if isinstance(error, OSError) and tried < TRIES:
            time.sleep(POLL)
            return "again"
        note(f"{run.label}: {said}")
        plain = isinstance(error, ValueError) or type(error).__name__ in ("TrainingError", "ContractError")
        trace = "" if plain else "".join(traceback.format_exception(error))[-4000:]
        store.fail(run.id, said[:2000], label=run.label, trace=trace)
        return "failed"
    except OSError as full:
        if is_full(full):
            return "full"
        raise


def is_full(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is a full disk."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FULL) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _deaths(store: Store, run: Run, more: int = 1) -> int:
    """Count how often this run was begun since its newest checkpoint; ``more`` -1: this one has ended by itself."""
    folder = store.folder(run.id)
    path, mark = folder / "begun.json", _mark(folder)
    try:
        held = reading.table(path, {"mark": str, "count": int})
        count = held["count"] if held["mark"] == mark else 0
    except (OSError, reading.Unreadable):
        count = 0
    count = max(count + more, 0)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps({"mark": mark, "count": count}))
    return count - 1


def _mark(folder: Path) -> str:
    """Name how far a run has got."""
    return max((path.name for path in folder.glob("run/checkpoints/*.safetensors")), default="")


def _gone() -> None:
    """Somebody else does this run now: end at once, before two write to one folder."""
    os._exit(75)


def _stop() -> None:
    """End what this process does as SIGTERM does: trainings save first."""
    os.kill(os.getpid(), signal.SIGTERM)


def _commit() -> str:
    """Name the commit of the library's sources, "" where they are installed."""
    global _known
    if _known is None:
        here = Path(__file__).parent
        try:
            done = subprocess.run(["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True,
                                  text=True, check=False, timeout=10)  # fmt: skip
            _known = done.stdout.strip() if done.returncode == 0 else ""
        except (OSError, subprocess.SubprocessError):
            _known = ""
    return _known


_known: str | None = None


@contextlib.contextmanager
def ended_kindly() -> Generator[None]:
    """Let SIGTERM end what is being done as an exception does; a training has its own way, and saves first."""

    def stop(*_: Any) -> None:
        raise Stopped

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: somebody else's signals
        yield
        return
    try:
        yield
    except Stopped:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def write_plan(store: Store, runs: Sequence[Run]) -> Path:
    """Write down what there is to do, for workers that are started by name."""
    text = json.dumps([run._asdict() for run in runs])
    path = store.path / "runs" / f"plan-{os.getpid()}-{time.time_ns():x}.json"
    replace_text(path, text)
    return path


def read_plan(path: Path) -> list[Run]:
    """Read what ``write_plan`` wrote."""
    held = reading.as_type(list[dict[str, Any]], reading.parsed(reading.text(path), str(path)), str(path))
    return [Run(**(one | {"needs": tuple(one["needs"])})) for one in held]


def prepare(threads: int) -> None:
    """Get a process ready to do runs, before it imports jax."""
    if threads:
        take_cores(threads)


def main(argv: Sequence[str] | None = None) -> int:
    """Work in a process that a launcher has started; it ends with that one."""
    parser = argparse.ArgumentParser(prog="python -m ibal.experiments.grid.work")
    parser.add_argument("store", type=Path)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    with contextlib.suppress(OSError, AttributeError):  # Linux
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
    prepare(options.threads)

    def note(message: str) -> None:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()

    stopped = work(Store(options.store), read_plan(options.plan), note)
    return 3 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
