"""Lines are complete at once, a resumed file equals an uninterrupted one, and every sink gets every record."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from ibal.training import console
from ibal.training.console import LiveConsole, PlainConsole, Tally, clock
from ibal.training.log import Log, LogError, open_log, read_metrics

CONFIG = {"env": "smac/3m", "train": {"steps": 1000}}
# Environment steps of three seeds after each chunk; a checkpoint is named after the smallest.
CHUNKS = [(110, 100, 130), (250, 210, 220), (340, 350, 330)]


def write_chunk(log: Log, index: int, *, evaluation: bool = False) -> None:
    for seed, steps in zip((4, 5, 6), CHUNKS[index], strict=True):
        log.write("chunk", {"seed": seed, "env_steps": steps, "loss": 0.5 * index}, 1.25)
    if evaluation:
        for seed, steps in zip((4, 5, 6), CHUNKS[index], strict=True):
            log.write("eval", {"seed": seed, "env_steps": steps, "win": 0.25})


def told(folder: Path) -> list[tuple[str, int, int]]:
    return [(r["kind"], r["seed"], r["env_steps"]) for r in read_metrics(folder)]


def test_a_line_per_record_is_in_the_file_at_once(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run", CONFIG)
    log.begin(0)
    log.write(
        "chunk", {"seed": 0, "env_steps": np.int32(64), "win": jnp.float32(0.5), "loss": np.nan, "n": None}, 0.123456
    )
    (row,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert 0 <= row.pop("wall_s") < 60
    assert row == {
        "kind": "chunk", "seed": 0, "env_steps": 64, "win": 0.5, "loss": None, "n": None, "seconds": 0.1235
    }  # fmt: skip
    with pytest.raises(ValueError, match='"loss" is infinite'):
        log.write("chunk", {"seed": 0, "env_steps": 1, "loss": float("inf")})
    with pytest.raises(ValueError, match=r'"loss" is an array of shape \(2,\)'):
        log.write("chunk", {"seed": 0, "env_steps": 1, "loss": jnp.zeros(2)})
    log.close()
    with pytest.raises(RuntimeError, match="begin"):
        Log(tmp_path).write("chunk", {"seed": 0, "env_steps": 1})


@pytest.mark.parametrize("saved", [0, 1, 2])
@pytest.mark.parametrize("cut", [0, 7])
def test_what_came_after_the_saved_state_is_dropped(tmp_path: Path, saved: int, cut: int) -> None:
    """Killed anywhere, continued from any chunk: the file tells what an uninterrupted training would have told."""
    with open_log(tmp_path / "whole", CONFIG) as log:
        log.begin(0)
        for index in range(3):
            write_chunk(log, index, evaluation=index == 1)
    whole = told(tmp_path / "whole")
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 12
    at_least = (0, 3, 9, 12)[saved + 1]
    for killed_after in range(at_least, 13):
        folder = tmp_path / f"{killed_after}"
        folder.mkdir()
        text = "".join(lines[:killed_after])
        if killed_after > at_least:
            text = text[: len(text) - cut]  # the last line may be cut
        (folder / "metrics.jsonl").write_text(text)
        with open_log(folder, CONFIG) as log:
            log.begin(min(CHUNKS[saved]))
            assert len(told(folder)) == at_least
            for index in range(saved + 1, 3):
                write_chunk(log, index, evaluation=index == 1)
        assert told(folder) == whole


def test_beginning_at_zero_begins_the_file(tmp_path: Path) -> None:
    for _ in range(2):
        with open_log(tmp_path, CONFIG) as log:
            log.begin(0)
            write_chunk(log, 0)
        assert len(told(tmp_path)) == 3


def test_the_last_evaluation_comes_after_the_last_checkpoint(tmp_path: Path) -> None:
    """Resuming a training that had ended evaluates it again; its numbers must not be there twice."""
    config = {"train": {"steps": min(CHUNKS[1])}}
    with open_log(tmp_path, config) as log:
        log.begin(0)
        write_chunk(log, 0)
        write_chunk(log, 1, evaluation=True)
    with open_log(tmp_path, config) as log:
        log.begin(min(CHUNKS[1]))
        assert [kind for kind, _, _ in told(tmp_path)] == ["chunk"] * 6
    with open_log(tmp_path, CONFIG) as log:
        log.begin(min(CHUNKS[1]))
    assert len(told(tmp_path)) == 6


def test_wall_time_goes_on(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "chunk", "seed": 4, "env_steps": 100, "wall_s": 500.0}\n')
    with open_log(tmp_path, CONFIG) as log:
        log.begin(100)
        log.write("eval", {"seed": 4, "env_steps": 100})
    assert 500 <= read_metrics(tmp_path)[-1]["wall_s"] < 560


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match=r"cannot write .*metrics\.jsonl: File exists"):
        open_log(tmp_path / "file").begin(0)
    if Path("/dev/full").exists():
        log = open_log(tmp_path)
        log.begin(0)
        assert log._file is not None
        log._file.close()
        log._file = open("/dev/full", "w")  # noqa: SIM115
        with pytest.raises(LogError, match=r"No space left on device\. Make room and continue with --resume"):
            write_chunk(log, 0)
        log.close()


class Remembering:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        self.calls.append(len(resumed))

    def write(self, record: Any) -> None:
        self.calls.append(record["env_steps"])

    def note(self, message: str) -> None:
        self.calls.append(message)

    def close(self) -> None:
        self.calls.append("closed")


def test_every_sink_gets_everything(tmp_path: Path) -> None:
    sink = Remembering()
    with Log(tmp_path, [sink]) as log:
        log.note("hello")
        log.begin(0)
        write_chunk(log, 0)
    assert sink.calls == ["hello", 0, 110, 100, 130, "closed"]


def test_the_tally_counts_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    tally = Tally(1000)
    assert (tally.text(), tally.steps) == ("", 0)
    tally.begin([{"kind": "chunk", "seed": s, "env_steps": 100} for s in (0, 1)])
    now[0] = 102.0
    for seed, steps, win in ((0, 500, 0.25), (1, 600, 0.75)):
        tally.add({"kind": "chunk", "seed": seed, "env_steps": steps, "win": win, "return": 8.0, "loss": None})
    tally.add({"kind": "eval", "seed": 0, "env_steps": 500, "win": 1.0})
    # 900 steps of both seeds in 2 s; 500 are left of each.
    assert tally.speed == 450.0
    assert tally.left == pytest.approx(2 * 500 / 450)
    assert tally.text() == "450 steps/s  left 0:00:02  win 0.50 (greedy 1.00)  return 8.00"
    assert (clock(3723.4), clock(59.6)) == ("1:02:03", "0:01:00")


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = PlainConsole(1000, every=3600.0)
    quiet.begin([])
    quiet.note("replay takes 12 MB")
    quiet.write({"kind": "chunk", "seed": 0, "env_steps": 10, "loss": 1.0})
    quiet.write({"kind": "eval", "seed": 0, "env_steps": 1500, "win": 0.5, "return": 10.0})
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == "replay takes 12 MB\nseed 0 step 1,500: greedy win 0.500, return 10.00\n"
    often = PlainConsole(1000, every=0.0)
    often.begin([{"kind": "chunk", "seed": 0, "env_steps": 10}])
    often.write({"kind": "chunk", "seed": 0, "env_steps": 500, "loss": 1.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "continuing at step 10"
    assert lines[1].startswith("step 500 of 1,000: ")
    assert lines[1].endswith("loss 1")


def test_a_live_bar() -> None:
    out = io.StringIO()
    live = LiveConsole(1_000_000, Console(file=out, force_terminal=True, width=120))
    live.begin([])
    live.note("[not markup]")
    live.write({"kind": "chunk", "seed": 0, "env_steps": 250_000, "win": 0.5, "loss": 0.125})
    live.close()
    text = out.getvalue()
    assert "[not markup]" in text
    assert "250k/1M steps" in text
    assert "win 0.50" in text


def test_standard_error_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, kind in ((True, LiveConsole), (False, PlainConsole)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert isinstance(open_log(tmp_path, console="auto")._sinks[0], kind)
    assert open_log(tmp_path)._sinks == ()


@pytest.mark.parametrize(("module", "flag"), [("tensorboardX", "tensorboard"), ("wandb", "wandb")])
def test_a_missing_library_says_what_to_install(
    tmp_path: Path, module: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LogError, match=rf'--{flag}: .* needs "{module}", .* pip install "ibal\[{flag}\]"'):
        open_log(tmp_path, CONFIG, **{flag: True})


def test_tensorboard_gets_numbers_and_hides_what_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def writer(**options: Any) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(add_scalar=lambda *a: calls.append(a), close=lambda: calls.append("closed"))

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=writer))
    with open_log(tmp_path, CONFIG, tensorboard=True) as log:
        log.begin(0)
        write_chunk(log, 0)
    assert calls[0] == {"logdir": str(tmp_path / "tensorboard"), "purge_step": None}
    assert ("chunk/loss/seed-5", 0.0, 100) in calls
    assert calls[-1] == "closed"
    with open_log(tmp_path, CONFIG, tensorboard=True) as log:
        log.begin(100)
    assert calls[-2]["purge_step"] == 131


def test_wandb_continues_the_run_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def init(**options: Any) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(
            log=calls.append, define_metric=lambda *a, **k: None, finish=lambda: calls.append("closed")
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    for step in (0, 100):
        with open_log(tmp_path, CONFIG, wandb=True) as log:
            log.begin(step)
            if not step:
                write_chunk(log, 0)
    first, second = (call for call in calls if isinstance(call, dict) and "id" in call)
    assert first["id"] == second["id"]
    assert (first["project"], first["resume"], second["resume"], first["config"]) == ("ibal", None, "allow", CONFIG)
    assert {k: v for k, v in calls[1].items() if "loss" in k or k == "env_steps"} == {
        "chunk/loss/seed-4": 0.0, "env_steps": 110
    }  # fmt: skip
    assert calls[-1] == "closed"


def broken_pipe() -> IO[str]:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize("kind", ["plain", "live", "drawn"])
@pytest.mark.parametrize("reader", ["gone", "closed", "none"])
def test_a_console_that_nobody_reads_stops_nothing(
    kind: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under ``| head``, when a terminal is closed, and with ``2>&-``."""
    stream = None if reader == "none" else broken_pipe()
    if stream is not None and reader == "closed":
        with suppress(OSError):
            stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    if kind == "drawn":
        lost: Any = console.Losable(stream)
        log = Log(tmp_path, [LiveConsole(1000, Console(file=lost, force_terminal=True))])
    else:
        kinds: dict[str, Literal["plain", "live"]] = {"plain": "plain", "live": "live"}
        log = open_log(tmp_path, CONFIG, console=kinds[kind])
    with log:
        log.begin(0)
        for index in range(3):
            log.note("…")
            write_chunk(log, index, evaluation=True)
    assert len(read_metrics(tmp_path)) == 18
    if reader == "gone" and stream is not None:
        stream.close()  # what it could not write goes nowhere, and is no error at the end of the program either


def test_a_console_of_an_old_code_page_gets_question_marks() -> None:
    raw = io.BytesIO()
    stream = console.Losable(io.TextIOWrapper(raw, encoding="ascii"))
    for text in ("compiling …\n", "still here\n"):
        stream.write(text)
    stream.flush()
    assert raw.getvalue().decode() == "compiling ?\nstill here\n"
