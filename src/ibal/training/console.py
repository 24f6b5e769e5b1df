"""What a training shows on standard error: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from ibal.files import silence


class Tally:
    """The newest numbers of every seed, and how fast they come."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._chunks: dict[int, Mapping[str, Any]] = {}
        self._evals: dict[int, Mapping[str, Any]] = {}
        self._here = 0.0  # environment steps of all seeds in this process
        self._start: float | None = None

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        """Take up the records of an earlier process."""
        for record in resumed:
            self._newest(record)
        self._here, self._start = 0.0, time.monotonic()

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record."""
        old = self._chunks.get(record["seed"])
        if record["kind"] == "chunk":
            self._here += record["env_steps"] - (old["env_steps"] if old else 0)
        self._newest(record)

    def _newest(self, record: Mapping[str, Any]) -> None:
        if record["kind"] in ("chunk", "eval"):
            (self._chunks if record["kind"] == "chunk" else self._evals)[record["seed"]] = record

    @property
    def steps(self) -> int:
        """Environment steps of the seed that has fewest."""
        return min((record["env_steps"] for record in self._chunks.values()), default=0)

    @property
    def speed(self) -> float | None:
        """Environment steps per second of all seeds together, evaluation and compilation included."""
        seconds = time.monotonic() - self._start if self._start is not None else 0.0
        return self._here / seconds if self._here and seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds until the last step, at the speed so far."""
        speed = self.speed
        return max(self.total - self.steps, 0) * len(self._chunks) / speed if speed else None

    def text(self, speed: bool = True) -> str:
        """Say it in one line: ``1.2k steps/s  left 0:12:03  win 0.41 (greedy 0.55)  return 9.1  loss 0.031``."""
        parts: list[str] = []
        if speed and self.speed is not None and self.left is not None:
            parts += [f"{_short(self.speed)} steps/s", f"left {clock(self.left)}"]
        win, greedy = self._mean(self._chunks, "win"), self._mean(self._evals, "win")
        if win is not None:
            parts.append(f"win {win:.2f}" + (f" (greedy {greedy:.2f})" if greedy is not None else ""))
        for name, form in (("return", ".2f"), ("loss", ".3g")):
            value = self._mean(self._chunks, name)
            parts += [f"{name} {value:{form}}"] if value is not None else []
        return "  ".join(parts)

    def _mean(self, records: Mapping[int, Mapping[str, Any]], name: str) -> float | None:
        values = [record[name] for record in records.values() if record.get(name) is not None]
        return sum(values) / len(values) if values else None


class Losable(io.TextIOBase):
    """A stream whose reader may go away (``| head``, a terminal that is closed): from then on it says nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lost = stream is None  # as under pythonw, or 2>&-

    def write(self, text: str) -> int:
        """Pass the text on, while anybody reads it."""
        self._try(lambda: self._stream.write(text), text)
        return len(text)

    def flush(self) -> None:
        """Pass on what waits."""
        self._try(lambda: self._stream.flush())

    def isatty(self) -> bool:
        return not self._lost and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _try(self, say: Callable[[], Any], text: str = "") -> None:
        if self._lost:
            return
        try:
            say()
        except UnicodeEncodeError:  # a console of an older code page
            self._try(lambda: self._stream.write(text.encode("ascii", "replace").decode()))
        except (OSError, ValueError):  # a broken pipe, a terminal that hung up; a stream that was closed
            self._lost = True
            silence(self._stream)


class PlainConsole:
    """One line per evaluation, and one about the chunks now and then."""

    def __init__(self, total: int, every: float) -> None:
        self._tally = Tally(total)
        self._every = every
        self._told = time.monotonic()
        self._stream = Losable(sys.stderr)

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        self._tally.begin(resumed)
        if resumed:
            self.note(f"continuing at step {self._tally.steps:,}")

    def write(self, record: Mapping[str, Any]) -> None:
        self._tally.add(record)
        if record["kind"] == "eval":
            numbers = (("win", ".3f"), ("return", ".2f"), ("length", ".1f"))
            found = [f"{name} {record[name]:{form}}" for name, form in numbers if record.get(name) is not None]
            self._say(f"seed {record['seed']} step {record['env_steps']:,}: greedy {', '.join(found)}")
        elif time.monotonic() - self._told >= self._every:
            self._told = time.monotonic()
            self._say(f"step {self._tally.steps:,} of {self._tally.total:,}: {self._tally.text()}")

    def note(self, message: str) -> None:
        self._say(message)

    def close(self) -> None:
        return

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveConsole:
    """A bar that is drawn over itself; notes scroll above it."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._tally = Tally(total)
        self._console = console or Console(file=cast(TextIO, Losable(sys.stderr)))
        self._bar = Progress(
            BarColumn(bar_width=24), TaskProgressColumn(), _Steps(), TextColumn("{task.fields[text]}"),
            console=self._console, transient=False,
        )  # fmt: skip
        self._task = self._bar.add_task("train", total=total or None, text="compiling …", start=True)

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        self._tally.begin(resumed)
        self._bar.update(self._task, completed=self._tally.steps)
        self._bar.start()

    def write(self, record: Mapping[str, Any]) -> None:
        self._tally.add(record)
        self._bar.update(self._task, completed=min(self._tally.steps, self._tally.total), text=self._tally.text())

    def note(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


class _Steps(ProgressColumn):
    """``120k/1.0M steps``."""

    def render(self, task: Task) -> Text:
        total = f"/{_short(task.total)}" if task.total is not None else ""
        return Text(f"{_short(task.completed)}{total} steps")


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def clock(seconds: float) -> str:
    """Write a time as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
