"""Where a training's numbers go: a JSONL file always, and the terminal, TensorBoard and Weights & Biases as asked.

    with open_log("runs/x", config, console="auto", tensorboard=True) as log:
        log.begin(0)                                                   # the step that the training continues from
        log.write("chunk", {"seed": 0, "env_steps": 4096, "win": 0.1, "loss": 0.02}, seconds=1.7)
        log.write("eval", {"seed": 0, "env_steps": 4096, "win": 0.2})

``metrics.jsonl`` has one line per record: ``kind``, ``seed``, ``env_steps``, ``wall_s`` (seconds since the training
began, added up over its processes) and what the record says. It is the source of truth: every line is handed to the
system at once, and after a resume the file is what an uninterrupted training would have written, ``wall_s`` and
``seconds`` apart.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, runtime_checkable

from ibal.files import replace_text
from ibal.reading import LOG, Unreadable, content, entries, parsed
from ibal.training.sinks import LogError, TensorBoard, WeightsAndBiases

METRICS_FILE = "metrics.jsonl"
PLAIN_EVERY = 30.0  # seconds between two plain lines about chunks; every evaluation has one
ConsoleKind = Literal["auto", "live", "plain", "off"]


@runtime_checkable
class Sink(Protocol):
    """One place that records go to. ``begin`` is called once, before the first record."""

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        """Start after ``resumed``, the records that stay of an earlier process."""
        ...

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record; it has ``kind``, ``seed``, ``env_steps`` and ``wall_s``."""
        ...

    def note(self, message: str) -> None:
        """Take one sentence for the user."""
        ...

    def close(self) -> None:
        """Give everything out of hand."""
        ...


class Log:
    """The sinks of one run. ``begin`` comes first, then any number of ``write``; ``note`` may come at any time."""

    def __init__(self, folder: str | Path, sinks: Iterable[Sink] = (), *, total_steps: int = 0) -> None:
        self._folder = Path(folder)
        self._path = self._folder / METRICS_FILE
        self._sinks = tuple(sinks)
        self._total = total_steps
        self._file: IO[str] | None = None
        self._earlier = 0.0  # seconds of the processes before this one
        self._start = 0.0

    def begin(self, step: int) -> None:
        """Start a file, or continue it after the state that was saved at ``step`` (environment steps of the seed that
        has fewest; 0: from the beginning). What was recorded after that state is dropped; it will come again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            kept = _rewound(_lines(self._path), step, self._total)
            replace_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise LogError(f"cannot write {self._path}: {error.strerror}") from error
        self._earlier = max((float(record.get("wall_s", 0.0)) for record in kept), default=0.0)
        self._start = time.monotonic()
        for sink in self._sinks:
            sink.begin(kept)

    def write(self, kind: str, record: Mapping[str, Any], seconds: float | None = None) -> None:
        """Record numbers of one seed: ``record`` has ``seed`` and ``env_steps``; ``seconds`` is what a chunk took.

        Values are numbers, words or None; NaN (no value) is written as null. Raises ValueError for infinity and for
        arrays, LogError when the disk is full.
        """
        if self._file is None:
            raise RuntimeError("Log.begin(step) must come before the first Log.write")
        wall = round(self._earlier + time.monotonic() - self._start, 3)
        row = {"kind": kind, "seed": record["seed"], "env_steps": record["env_steps"], "wall_s": wall, **record}
        if seconds is not None:
            row["seconds"] = round(seconds, 4)
        row = {name: _plain(name, value) for name, value in row.items()}
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise LogError(
                f"cannot write {self._path}: {error.strerror}. Make room and continue with --resume"
            ) from error
        for sink in self._sinks:
            sink.write(row)

    def note(self, message: str) -> None:
        """Tell the user one sentence, where the console is on."""
        for sink in self._sinks:
            sink.note(message)

    def close(self) -> None:
        """Close all sinks."""
        for sink in self._sinks:
            sink.close()
        if self._file is not None:
            with suppress(OSError):  # on a full disk the line that did not fit is tried again; write has said so
                self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_log(
    folder: str | Path,
    config: Mapping[str, Any] | None = None,
    *,
    console: ConsoleKind = "off",
    tensorboard: bool = False,
    wandb: bool = False,
) -> Log:
    """Make the log of a run folder. ``config`` is the run's configuration as nested dicts.

    ``console``: "live" draws a progress bar on standard error, "plain" prints lines, "auto" chooses by whether standard
    error is a terminal. Raises LogError that says what to install if a sink's library is missing.
    """
    config = dict(config or {})
    total = int(config.get("train", {}).get("steps", 0))
    if console == "auto":
        console = "live" if sys.stderr is not None and sys.stderr.isatty() else "plain"
    sinks: list[Sink] = []
    if console != "off":
        from ibal.training.console import LiveConsole, PlainConsole

        sinks.append(LiveConsole(total) if console == "live" else PlainConsole(total, PLAIN_EVERY))
    if tensorboard:
        sinks.append(TensorBoard(Path(folder)))
    if wandb:
        sinks.append(WeightsAndBiases(Path(folder), config))
    return Log(folder, sinks, total_steps=total)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Return the records of a run folder, in the order they were written; a last line cut by a crash is left out."""
    return _lines(Path(folder) / METRICS_FILE)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the records up to the first that is damaged, as the last one is after a crash."""
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    for line in content(path, LOG).decode("utf-8", errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        try:
            records.append(entries(parsed(line, str(path)), str(path), _EVERY, {"wall_s": float}))
        except Unreadable:
            break
    return records


_EVERY = {"kind": str, "seed": int, "env_steps": int}


def _rewound(records: list[dict[str, Any]], step: int, total: int) -> list[dict[str, Any]]:
    """Keep what was recorded up to the state saved at ``step``.

    A chunk gives one record per seed, in one order; evaluations may follow, then a checkpoint, named after the seed
    that has fewest steps. So at least one seed's record of that chunk is not beyond ``step``, and all records of later
    chunks are. The evaluation at the end of a training comes after its checkpoint: it will come again.
    """
    chunks = [i for i, record in enumerate(records) if record["kind"] == "chunk"]
    last = max((i for i in chunks if records[i]["env_steps"] <= step), default=None)
    if last is None:
        return []
    first_seed, end = records[chunks[0]]["seed"], last + 1
    while end < len(records) and records[end]["kind"] == "chunk" and records[end]["seed"] != first_seed:
        end += 1
    while step < total and end < len(records) and records[end]["kind"] != "chunk":
        end += 1
    return records[:end]


def _plain(name: str, value: Any) -> Any:
    """Turn a scalar of NumPy or jax into Python's."""
    if hasattr(value, "item"):
        if getattr(value, "size", 1) != 1:
            raise ValueError(f'log: "{name}" is an array of shape {value.shape}; a record holds single numbers')
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if math.isinf(value):
            raise ValueError(f'log: "{name}" is infinite')
        return None
    return value
