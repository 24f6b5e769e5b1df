"""Run stages of ``ibal`` commands, those of a stage side by side, and say how long the rest will take.

Every command is a process of its own, with a log of its own. How long a stage takes is foretold from two pieces of work
that are measured here and were measured where the costs in the stages come from; once a stage is over, what it took
corrects the rest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ibal import reading
from ibal.cli.output import OK, CommandError, Output
from ibal.files import replace_text

# What the two pieces of ``measure`` took where the costs of the demo's stages were measured.
REFERENCE_COMPILING, REFERENCE_WORKING = 0.53, 1.4
PATIENCE_S = 60.0  # for a training to finish its chunk and save


class Cost(NamedTuple):
    """Seconds on the reference machine: of compiling, and of everything else."""

    compiling: float
    working: float


class Command(NamedTuple):
    """One command; ``label`` names it among all, and its log."""

    label: str
    name: str
    arguments: tuple[str, ...]
    cost: Cost


class Stage(NamedTuple):
    """What runs side by side, each track on a share of the cores; ``does`` is what the user is told."""

    does: str
    tracks: tuple[tuple[Command, ...], ...]  # the commands of a track run one after the other


class Speed(NamedTuple):
    """How many seconds a second of the reference machine is here."""

    compiling: float
    working: float


def measure(layers: int = 12, times: int = 20) -> Speed:
    """Measure this machine for two seconds or so: compile a recurrent network with its gradient, and run it."""
    import jax
    import jax.numpy as jnp

    salt = time.time()  # a program that no cache has

    def loss(weights: jax.Array, inputs: jax.Array) -> jax.Array:
        def cell(carry: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
            for layer in weights:
                carry = jnp.tanh(carry @ layer + row * salt)
            return carry, None

        return jax.lax.scan(cell, jnp.zeros_like(inputs[0]), inputs)[0].sum()

    weights, inputs = jnp.ones((layers, 64, 64)) / 64, jnp.ones((32, 256, 64))
    begun = time.monotonic()
    step = jax.jit(jax.value_and_grad(loss)).lower(weights, inputs).compile()
    compiled = time.monotonic()
    for _ in range(times):
        jax.block_until_ready(step(weights, inputs))
    return Speed((compiled - begun) / REFERENCE_COMPILING, (time.monotonic() - compiled) / REFERENCE_WORKING)


def foretold(stage: Stage, speed: Speed, cores: int, done: Container[str] = ()) -> float:
    """Return how many seconds what is not done of a stage should take on so many cores."""
    tracks = [
        sum(c.cost.compiling * speed.compiling + c.cost.working * speed.working for c in track if c.label not in done)
        for track in stage.tracks
    ]
    return max(tracks) if cores >= len(tracks) else sum(tracks)


class Forecast:
    """How many seconds are left, corrected by what the stages so far have taken."""

    def __init__(self, expected: Sequence[float]) -> None:
        self._expected, self._spent, self._done = list(expected), 0.0, 0

    def over(self, seconds: float) -> None:
        """Note that the current stage is over, after ``seconds``."""
        self._spent += seconds
        self._done += 1

    def left(self, elapsed: float = 0.0) -> float:
        """Return the seconds that are left, ``elapsed`` seconds into the current stage."""
        foreseen = sum(self._expected[: self._done])
        pace = self._spent / foreseen if foreseen else 1.0
        now, later = self._expected[self._done : self._done + 1], self._expected[self._done + 1 :]
        return max(pace * sum(now) - elapsed, 0.0) + pace * sum(later)


def in_words(seconds: float) -> str:
    """Return a rough time for people: to 5 seconds below a minute, to 10 above."""
    grain = 5 if seconds < 60 else 10
    rounded = max(grain, round(seconds / grain) * grain)
    minutes, rest = divmod(rounded, 60)
    return " ".join(part for part in (f"{minutes} min" * (minutes > 0), f"{rest} s" * (rest > 0)) if part)


class Diary:
    """What is done already, kept in a file: the same commands given again go on where they were stopped."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path, self._settings = path, settings
        self.done: dict[str, float] = {}

    def read(self) -> str | None:
        """Take over what the file says is done. If it is of other settings, or no such file, return what it is."""
        if not self._path.exists():
            return None
        try:
            kept = reading.table(self._path, {"settings": dict[str, Any], "done": dict[str, float]})
        except (OSError, reading.Unreadable):
            return f"a {self._path.name} that cannot be read"
        settings, self.done = kept["settings"], kept["done"]
        other = [
            f"{name} {settings.get(name)}" for name, value in self._settings.items() if settings.get(name) != value
        ]
        return f"what was begun with {' and '.join(other)}" if other else None

    def write(self, label: str | None = None, seconds: float = 0.0) -> None:
        """Note that a command is done."""
        if label is not None:
            self.done[label] = round(seconds, 1)
        replace_text(self._path, json.dumps({"settings": self._settings, "done": self.done}, indent=1) + "\n")


def run_stages(
    stages: Sequence[Stage], speed: Speed, diary: Diary, logs: Path, output: Output,
    ready: Callable[[Command], Command] = lambda command: command,
) -> None:  # fmt: skip
    """Run what the diary does not have yet. ``ready`` makes a command ready to run when its turn has come.

    Raises CommandError when a command fails; KeyboardInterrupt passes on after the commands were asked to stop.
    """
    cores = available_cores()
    forecast = Forecast([foretold(stage, speed, len(cores), diary.done) for stage in stages])
    for number, stage in enumerate(stages, 1):
        todo = [[c for c in track if c.label not in diary.done] for track in stage.tracks]
        if not any(todo):
            forecast.over(0.0)
            continue
        begun = time.monotonic()
        with _line(f"[{number}/{len(stages)}] {stage.does}", forecast, output) as tick:
            _run_side_by_side([track for track in todo if track], cores, diary, logs, ready, tick)
        forecast.over(time.monotonic() - begun)


@contextmanager
def _line(text: str, forecast: Forecast, output: Output) -> Generator[Callable[[], None]]:
    """Print the line of a stage; on a terminal, what is yielded renews the time that is left when it is called."""
    begun = time.monotonic()
    if output.quiet or not sys.stderr.isatty():
        output.note(f"{text}: about {in_words(forecast.left())} left")
        yield lambda: None
        return

    def tick() -> None:
        left = in_words(forecast.left(time.monotonic() - begun))
        print(f"\r{text}: about {left} left\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        tick()
        yield tick
    finally:
        print(file=sys.stderr)


def _run_side_by_side(
    tracks: list[list[Command]], cores: list[int], diary: Diary, logs: Path, ready: Callable[[Command], Command],
    tick: Callable[[], None],
) -> None:  # fmt: skip
    """Run tracks side by side where there is a core for each, one after the other elsewhere."""
    if len(cores) < len(tracks):
        tracks = [[command for track in tracks for command in track]]
    shares = [cores[i * len(cores) // len(tracks) : (i + 1) * len(cores) // len(tracks)] for i in range(len(tracks))]
    running: dict[int, tuple[Command, float, subprocess.Popen[bytes]]] = {}
    waiting = [list(track) for track in tracks]
    with _asked_to_end():
        try:
            while running or any(waiting):
                for i, queue in enumerate(waiting):
                    if i not in running and queue:
                        command = ready(queue.pop(0))
                        running[i] = (command, time.monotonic(), _start(command, shares[i], logs))
                for i, (command, begun, process) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[i]
                    if process.returncode != OK:
                        raise _failed(command, process.returncode, logs)
                    diary.write(command.label, time.monotonic() - begun)
                tick()
                time.sleep(0.2 if running else 0)
        finally:
            _end([process for _, _, process in running.values()])


def _start(command: Command, cores: list[int], logs: Path) -> subprocess.Popen[bytes]:
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{command.label}.txt").open("ab") as log:
        # In a session of its own: Ctrl-C is this process's, which asks the others to stop and waits for them.
        process = subprocess.Popen(
            words(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_surroundings(),
        )
    if hasattr(os, "sched_setaffinity"):  # before it has counted the cores: its interpreter has only just started
        os.sched_setaffinity(process.pid, cores)
    return process


def words(command: Command) -> list[str]:
    """Return what the system is told to run."""
    return [sys.executable, "-m", "ibal", command.name, *command.arguments]


def _surroundings() -> dict[str, str]:
    """Let all commands share compiled programs, as trainings do."""
    import jax

    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  (set by jax at run time)
    return {**os.environ, **({"JAX_COMPILATION_CACHE_DIR": str(folder)} if folder else {})}


def available_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _failed(command: Command, status: int, logs: Path) -> CommandError:
    """Say with the command's own last words why it failed."""
    log = logs / f"{command.label}.txt"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix(f"ibal {command.name}: ") if lines else f"it ended with status {status}"
    return CommandError(f"ibal {command.name} failed: {last} (all it said: {log})", max(status, 1))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to stop, and wait until a training has saved what it has; asked again, they are killed."""
    try:
        for process in processes:
            process.terminate()
        until = time.monotonic() + PATIENCE_S
        for process in processes:
            process.wait(max(until - time.monotonic(), 0.1))
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        pass
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextmanager
def _asked_to_end() -> Generator[None]:
    """Let SIGTERM and a terminal that goes away end this process as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        old = {number: signal.signal(number, interrupt) for number in names}
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
