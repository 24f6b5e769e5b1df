"""A study and its store: what is missing, doing it, and what has come of it. Imports no jax.

held = Held(Path("studies/mine"))
held.run("local", workers=2)
held.status(), held.rows()
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal import reading
from ibal.experiments.grid.launch import launcher
from ibal.experiments.grid.store import Store
from ibal.experiments.grid.work import hopeless
from ibal.experiments.runs import Planned, Run, runs_of
from ibal.experiments.study import STUDY_FILE, Study, load_study, studies_in
from ibal.options import ConfigError

if TYPE_CHECKING:
    import polars as pl

STORE = "store"
ROWS = "rows.parquet"


class Line(NamedTuple):
    """One run and how it stands: done, running, waiting (for what it needs, or for a worker), failed, or blocked by one
    that has failed. ``more`` says why, who does it, or how long it took."""

    run: Run
    state: str
    more: str
    seconds: float | None = None
    share: float | None = None


class Status(NamedTuple):
    """All runs of a study. ``left_s`` is a guess: what is missing takes as long as its kind has taken so far, on as
    many workers as are busy now; None where nothing tells."""

    lines: list[Line]
    counts: dict[str, int]
    left_s: float | None


class Held:
    """A study in its folder."""

    def __init__(self, folder: Path) -> None:
        """Read it. Raises ConfigError in one sentence."""
        folder = Path(folder)
        self.folder = folder.parent if folder.name.endswith(".toml") else folder
        self.file = folder if folder.name.endswith(".toml") else folder / STUDY_FILE
        self.study: Study = load_study(self.file)
        self.planned: Planned = runs_of(self.study, self.folder)
        self.store = Store(self.folder / STORE)

    def missing(self) -> list[Run]:
        """Return the runs that are not done."""
        done = self.store.state().done
        return [run for run in self.planned.runs if run.id not in done]

    def run(self, on: str = "local", note: Callable[[str], None] = lambda message: None, **options: Any) -> bool:
        """Do what is missing; True if all is done in the end. ``options`` are those of the launcher.

        Raises ConfigError for what cannot be run, UnknownName for a launcher, ModuleNotFoundError where its library
        is missing, OSError where the store cannot be written.
        """
        made = launcher(on, **options)
        if not self.missing():
            return True
        self.store.open()
        check(self.file)
        for run in self.emptied():
            note(f"{run.label}: trained again: its checkpoints were removed, and another one begins with them")
            self.store.reopen(run.id)
        self.store.ask_to_stop(False)
        made.run(self.planned.runs, self.store, note)
        return not self.missing()

    def emptied(self) -> list[Run]:
        """Return the finished trainings that one which is not done begins with, and whose checkpoints are gone (cleaned
        away before that one was thought of): trained again they give the same bits."""
        done, found = self.store.state().done, set[str]()
        for run in reversed(self.planned.runs):  # what begins with others comes before them
            start = run.what.get("init")
            if start in done and (run.id not in done or run.id in found) and not self._saved(start):
                found.add(start)
        return [run for run in self.planned.runs if run.id in found]

    def _saved(self, run: str) -> bool:
        """Say whether a training still has a checkpoint."""
        return any((self.store.folder(run) / "run" / "checkpoints").glob("*.safetensors"))

    def status(self) -> Status:
        """Say how all runs stand."""
        state, by_id = self.store.state(), {run.id: run for run in self.planned.runs}
        lines: list[Line] = []
        for run in self.planned.runs:
            if run.id in state.done:
                seconds = self._seconds(run)
                lines.append(Line(run, "done", "" if seconds is None else f"{seconds:.0f} s", seconds))
            elif run.id in state.failed:
                lines.append(Line(run, "failed", self.store.why_failed(run.id)))
            elif run.id in state.held and not self.store.is_stale(run.id, state.held[run.id]):
                owner = self.store.owner(run.id, state.held[run.id])
                share = progress(self.store, run)
                said = f"on {owner.get('host', '?')}" + ("" if share is None else f", {100 * share:.0f} %")
                since = time.time() - float(owner.get("since", time.time()))
                lines.append(Line(run, "running", said, since, share))
            elif hopeless(run, by_id, state):
                lines.append(Line(run, "blocked", "needs one that has failed"))
            else:
                needs = [by_id[need].label for need in run.needs if need not in state.done]
                lines.append(Line(run, "waiting", f"for {needs[0]}" if needs else ""))
        counts = {name: sum(line.state == name for line in lines)
                  for name in ("done", "running", "waiting", "failed", "blocked")}  # fmt: skip
        return Status(lines, counts, _left(lines))

    def _seconds(self, run: Run) -> float | None:
        try:
            return float(self.store.record(run.id)["seconds"])
        except (OSError, reading.Unreadable, KeyError, TypeError, ValueError):
            return None

    def retry(self) -> list[Run]:
        """Let the runs that have failed be tried again; return them."""
        failed = self.store.state().failed
        found = [run for run in self.planned.runs if run.id in failed]
        for run in found:
            self.store.forgive(run.id)
        return found

    def stop(self) -> None:
        """Let all workers end, wherever they are, after saving what they are doing."""
        self.store.open().ask_to_stop()

    def clean(self, everything: bool = False) -> int:
        """Remove what nobody needs any more, and return its bytes: checkpoints of finished trainings that nothing
        unfinished begins with; ``everything``: also runs that no study of the folder has any more. Raises ConfigError
        while workers are busy, and for a study beside this one that cannot be read: nobody knows what that one needs.
        """
        state = self.store.state()
        if busy := [run for run, n in state.held.items() if run not in state.done and not self.store.is_stale(run, n)]:
            raise ConfigError(f"{len(busy)} runs are being done; stop them first: ibal grid stop {self.folder}")
        others = [Held(file).planned.runs for file in studies_in(self.folder) if file != self.file]
        runs = [*self.planned.runs, *(run for planned in others for run in planned)]
        wanted = {run.id for run in runs}
        starts = {need for run in runs if run.id not in state.done for need in run.needs}
        freed = 0
        for run in state.done - starts:
            freed += _remove(self.store.folder(run) / "run" / "checkpoints")
        if everything:
            for name in os.listdir(self.store.path / "data"):
                if name not in wanted:
                    freed += _remove(self.store.folder(name))
            for part in ("done", "failed", "claims"):
                for path in (self.store.path / part).iterdir():
                    if path.name.partition(".")[0] not in wanted:
                        path.unlink()
        return freed

    def rows(self, snapshots: bool = False) -> pl.DataFrame:
        """Return one row per episode of all cells that are done, with the names that this study gives them; those of
        cells of ``snapshots`` have a column ``env_steps``. An empty frame where there is none."""
        import polars as pl

        done = self.store.state().done
        curves = {run.id for run in self.planned.runs if run.what.get("snapshots")}
        frames = [self._cell(cell.run).select(pl.lit(cell.team).alias("policy"), pl.lit(cell.method).alias("method"),
                                              pl.all())
                  for cell in self.planned.cells if cell.run in done and (cell.run in curves) == snapshots]  # fmt: skip
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    def _cell(self, run: str) -> pl.DataFrame:
        """Read the rows of a cell, held to their types: a study's folder may come from anybody. Raises Unreadable."""
        import polars as pl

        words, whole, parts = ("env", "version", "attack", "perturbation"), ("seed", "key_seed"), ("win", "return")
        kinds = dict.fromkeys(words, pl.String) | dict.fromkeys(whole, pl.Int64) | dict.fromkeys(parts, pl.Float64)
        path = self.store.folder(run) / ROWS
        return reading.frame(reading.content(path), str(path), kinds, others=True)


def check(study: Path) -> None:
    """Build what a study names, in another process: what cannot be run is said before anything is. Raises ConfigError
    with its sentence."""
    command = [sys.executable, "-m", "ibal.experiments.grid.check", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "JAX_PLATFORMS": "cpu"})  # fmt: skip
    if done.returncode == 2:
        raise ConfigError(done.stdout.strip())
    if done.returncode:
        raise ChildProcessError(f"the study could not be checked: {done.stderr.strip()[-2000:]}")


def progress(store: Store, run: Run) -> float | None:
    """Return the share of a training that is done, as its last logged line says."""
    if run.kind != "train":
        return None
    path = store.folder(run.id) / "run" / "metrics.jsonl"
    with suppress(OSError, ValueError, KeyError, IndexError):
        with path.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 4096, 0))
            last = file.read().decode(errors="replace").strip().splitlines()[-1]
        told = reading.entries(reading.parsed(last, str(path)), str(path), {"env_steps": int})
        return min(told["env_steps"] / run.what["config"]["train"]["steps"], 1.0)
    return None


def _left(lines: Sequence[Line]) -> float | None:
    """Guess the seconds until all is done."""
    took: dict[str, list[float]] = {}
    for line in lines:
        if line.state == "done" and line.seconds is not None:
            took.setdefault(line.run.kind, []).append(line.seconds)
        elif line.state == "running" and line.share and line.seconds:
            took.setdefault(line.run.kind, []).append(line.seconds / line.share)
    total, busy = 0.0, 0
    for line in lines:
        if line.state in ("running", "waiting"):
            if line.run.kind not in took:
                return None
            total += sum(took[line.run.kind]) / len(took[line.run.kind]) * (1 - (line.share or 0.0))
            busy += line.state == "running"
    return total / max(busy, 1)


def _remove(folder: Path) -> int:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return size
