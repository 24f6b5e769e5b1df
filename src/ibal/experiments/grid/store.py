"""Where a study's runs lie: folders and files on one file system that any number of processes may share.

    store = Store(Path("studies/mine/store"))
    if claim := store.claim(run_id):                                   # nobody else has it
        with claim.beating(lost):
            …                                                          # store.folder(run_id) is its own meanwhile
            claim.finish({"seconds": 12.0})

    store/runs/<id>.json      what it is           store/claims/<id>.<n>   who does it, for the n-th time
    store/data/<id>/          what it wrote        store/done/<id>.json    that it is finished
    store/failed/<id>.json    why it cannot be     store/log/<worker>.jsonl   what happened

The n-th claim of a run is a file that only one process can create, with the next number. So taking a run over from one
that is gone is the same act as claiming it first: no file is renamed or deleted that somebody else may hold. A claim is
stale when its owner has not touched it for ``STALE`` seconds, by the clock of the file system itself, or at once when
the owner was a process of this machine that runs no more. A finished run is told by a file that can be linked to its
name only once.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ibal import reading
from ibal.files import replace_text

BEAT = 5.0  # seconds between two signs of life
STALE = 60.0  # seconds without one after which others may go on with a run
RELEASED = 0  # time stamp of a claim that was given back
FULL = (errno.ENOSPC, errno.EDQUOT)
_OWNER = {"host": str, "machine": str, "pid": int, "born": str, "since": float, "worker": str}
_EVENT = {"t": float, "event": str, "run": str}


class State(NamedTuple):
    """What is known of all runs at one moment. ``held``: of those that are claimed, the newest claim's number."""

    done: set[str]
    failed: set[str]
    held: dict[str, int]


class Store:
    """A folder of runs. Every method may be called by many processes at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = Path(os.path.abspath(folder))
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"

    def open(self) -> Store:
        """Make the folders if they are not there yet. Raises OSError."""
        for name in ("runs", "claims", "data", "done", "failed", "log"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        return self

    def folder(self, run: str) -> Path:
        """Return the folder of what a run writes."""
        return self.path / "data" / run

    def state(self) -> State:
        """Say which runs are done, failed and claimed, from three listings."""
        held: dict[str, int] = {}
        for name in _names(self.path / "claims"):
            run, _, number = name.rpartition(".")
            if number.isdecimal():
                held[run] = max(held.get(run, -1), int(number))
        done, failed = ({n.removesuffix(".json") for n in _names(self.path / of) if n.endswith(".json")}
                        for of in ("done", "failed"))  # fmt: skip
        return State(done, failed - done, held)

    def describe(self, run: str, about: Mapping[str, Any]) -> None:
        """Write what a run is, for whoever does it; the same for all who write it."""
        path = self.path / "runs" / f"{run}.json"
        if not path.exists():
            _link_new(path, json.dumps(about, sort_keys=True), self.worker, replace=True)

    def described(self, run: str) -> dict[str, Any]:
        """Return what ``describe`` wrote. Raises OSError or Unreadable."""
        return reading.table(self.path / "runs" / f"{run}.json", {"kind": str})

    def is_done(self, run: str) -> bool:
        """Say whether a run is finished."""
        return (self.path / "done" / f"{run}.json").exists()

    def record(self, run: str) -> dict[str, Any]:
        """Return what is told of a finished run. Raises OSError or Unreadable."""
        return reading.table(self.path / "done" / f"{run}.json")

    def why_failed(self, run: str) -> str:
        """Return the sentence of a run that has failed; "" if it has not."""
        try:
            return str(reading.table(self.path / "failed" / f"{run}.json").get("why", ""))
        except (OSError, reading.Unreadable):
            return ""

    def fail(self, run: str, why: str, **about: Any) -> None:
        """Let nobody try a run again until somebody asks for it."""
        replace_text(self.path / "failed" / f"{run}.json", json.dumps({"why": why, "time": time.time(), **about}))

    def forgive(self, run: str) -> None:
        """Let a failed run be tried again."""
        with suppress(FileNotFoundError):
            (self.path / "failed" / f"{run}.json").unlink()

    def reopen(self, run: str) -> None:
        """Let a finished run be done again, because some of what it wrote was removed."""
        (self.path / "done" / f"{run}.json").unlink(missing_ok=True)

    def claim(self, run: str, number: int | None = None) -> Claim | None:
        """Return the right to do a run; None if it is done, or somebody does it. ``number``: that of the newest claim,
        where it is known. Raises OSError, as on a full disk."""
        newest = self._newest(run) if number is None else number
        if newest >= 0 and not self.is_stale(run, newest):
            return None
        path = self.path / "claims" / f"{run}.{newest + 1}"
        owner = _owner() | {"worker": self.worker}
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        try:
            os.write(handle, json.dumps(owner).encode())
        except OSError:
            _release(path)
            raise
        finally:
            os.close(handle)
        claim = Claim(self, run, newest + 1, path)
        if self.is_done(run):  # it was finished while we looked
            claim.release()
            return None
        return claim

    def is_stale(self, run: str, number: int) -> bool:
        """Say whether the owner of a claim is gone, or has given it back."""
        path = self.path / "claims" / f"{run}.{number}"
        try:
            touched = path.stat().st_mtime
        except FileNotFoundError:
            return False  # a listing that is older than a clean-up: look again
        if touched == RELEASED:
            return True
        owner = self.owner(run, number)
        gone = _is_gone(owner)
        return self._now() - touched > STALE if gone is None else gone

    def owner(self, run: str, number: int) -> dict[str, Any]:
        """Return who holds a claim: host, process, worker, since when."""
        try:
            return reading.table(self.path / "claims" / f"{run}.{number}", {}, _OWNER)
        except (OSError, reading.Unreadable):  # on a full disk it could not be written
            return {}

    def log(self, event: str, run: str, **more: Any) -> None:
        """Write down what happened, in a file of this worker's own. A disk that is full loses the line."""
        line = json.dumps({"t": round(time.time(), 3), "event": event, "run": run, **more}) + "\n"
        with suppress(OSError), (self.path / "log" / f"{self.worker}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def history(self) -> list[dict[str, Any]]:
        """Return what all workers have written down, in order of time."""
        found: list[dict[str, Any]] = []
        for path in (self.path / "log").glob("*.jsonl"):
            for line in reading.content(path, reading.LOG).decode("utf-8", errors="replace").splitlines():
                with suppress(reading.Unreadable):  # the last one of a worker that was killed
                    told = reading.entries(reading.parsed(line, str(path)), str(path), _EVENT)
                    found.append(told | {"worker": path.stem})
        return sorted(found, key=lambda one: one["t"])

    def asked_to_stop(self) -> bool:
        """Say whether somebody wants all workers to end."""
        return (self.path / "stop").exists()

    def ask_to_stop(self, wanted: bool = True) -> None:
        """Let all workers end after what they are doing, which is saved; or let new ones begin."""
        if wanted:
            (self.path / "stop").touch()
        else:
            (self.path / "stop").unlink(missing_ok=True)

    def _newest(self, run: str) -> int:
        numbers = [name.rpartition(".")[2] for name in _names(self.path / "claims") if name.startswith(f"{run}.")]
        return max((int(number) for number in numbers if number.isdecimal()), default=-1)

    def _now(self) -> float:
        """Return the time by the clock that stamps this file system's files."""
        path = self.path / "log" / f".clock-{self.worker}"
        try:
            path.touch()
            return path.stat().st_mtime
        except OSError:
            return time.time()


class Claim:
    """The right to do a run."""

    def __init__(self, store: Store, run: str, number: int, path: Path) -> None:
        self.store, self.run, self.number, self.path = store, run, number, path

    def holds(self) -> bool:
        """Say whether nobody has taken the run over."""
        return not (self.store.path / "claims" / f"{self.run}.{self.number + 1}").exists()

    @contextmanager
    def beating(self, lost: Callable[[], Any], stop: Callable[[], Any] = lambda: None) -> Generator[None]:
        """Give a sign of life every ``BEAT`` seconds. In another thread, call ``lost`` if somebody has taken over, and
        ``stop``, once, if all workers shall end."""
        over, told = threading.Event(), False

        def beat() -> None:
            nonlocal told
            while not over.wait(BEAT):
                with suppress(OSError):
                    os.utime(self.path)
                if not told and self.store.asked_to_stop():
                    told = True
                    stop()
                if not self.holds() and not over.is_set():
                    lost()
                    return

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def finish(self, about: Mapping[str, Any]) -> bool:
        """Tell that the run is done; False if somebody has told so before. Raises OSError."""
        path = self.store.path / "done" / f"{self.run}.json"
        told = _link_new(path, json.dumps({**about, "claim": self.number}, sort_keys=True), self.store.worker)
        self.store.forgive(self.run)
        self.release()
        return told

    def release(self) -> None:
        """Give the run back: the next one need not wait."""
        _release(self.path)


def _release(path: Path) -> None:
    with suppress(OSError):
        os.utime(path, (RELEASED, RELEASED))


def _link_new(path: Path, text: str, who: str, replace: bool = False) -> bool:
    """Write a file that is complete or not there; False if it was there already."""
    aside = path.with_name(f".{path.name}.{who}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            aside.replace(path)
            return True
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError as error:  # a file system without links
            if error.errno in FULL or path.exists():
                raise
            aside.replace(path)
        return True
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _owner() -> dict[str, Any]:
    """Say which process this is, so that others on its machine can see whether it still runs."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid()),
            "since": time.time()}  # fmt: skip


def _is_gone(owner: Mapping[str, Any]) -> bool | None:
    """Say whether a process of this machine runs no more; None: it is another machine's, or nobody can tell."""
    machine = _machine()
    if not machine or owner.get("machine") != machine or not isinstance(owner.get("pid"), int):
        return None
    return _born(owner["pid"]) != owner.get("born")


def _machine() -> str:
    """Name this machine since its start, and the space that its process numbers are of; "" where that is not told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Return when a process began, in the system's ticks; "" if there is none: numbers are used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _names(folder: Path) -> Iterable[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
