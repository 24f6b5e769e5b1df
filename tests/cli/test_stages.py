"""Stages of commands: side by side, continued, stopped, and how long they take, worked out by hand."""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path

import pytest

from ibal.cli import stages
from ibal.cli.output import CommandError, Output
from ibal.cli.stages import Command, Cost, Diary, Forecast, Speed, Stage, foretold, in_words, run_stages

NONE = Cost(0.0, 0.0)
QUIET = Output(quiet=True)


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is a script here, its first argument; its name is its label."""
    monkeypatch.setattr(stages, "words", lambda command: [sys.executable, "-S", "-c", *command.arguments])


def script(label: str, text: str, *arguments: object, cost: Cost = NONE) -> Command:
    return Command(label, label, (text, *map(str, arguments)), cost)


def side_by_side(*commands: Command) -> Stage:
    return Stage("do it", tuple((command,) for command in commands))


def test_what_is_left_is_corrected_by_what_stages_have_taken() -> None:
    forecast = Forecast([10.0, 20.0, 30.0])
    assert forecast.left() == 60.0
    assert forecast.left(4.0) == 56.0
    forecast.over(20.0)  # twice as long as foretold, so the other 50 seconds become 100
    assert forecast.left() == 100.0
    assert forecast.left(50.0) == 60.0  # the second stage takes longer still; the third is 60
    forecast.over(40.0)
    forecast.over(60.0)
    assert forecast.left() == 0.0


def test_what_was_done_before_is_not_foretold() -> None:
    a, b, c = (script(label, "", cost=Cost(1.0, 9.0)) for label in "abc")
    stage = Stage("", ((a, b), (c,)))
    assert [foretold(stage, Speed(1, 1), 2, done) for done in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        20.0, 10.0, 10.0, 0.0,
    ]  # fmt: skip
    forecast = Forecast([0.0, 10.0])
    forecast.over(0.0)
    assert forecast.left() == 10.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "5 s"), (33.0, "35 s"), (61.0, "1 min"), (127.0, "2 min 10 s"), (3599.0, "60 min")]
)
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_tracks_take_as_long_as_the_longest_where_each_has_a_core() -> None:
    stage = Stage("", ((script("a", "", cost=Cost(10.0, 5.0)),), (script("b", "", cost=Cost(2.0, 20.0)),)))
    assert foretold(stage, Speed(1.0, 1.0), 2) == 22.0
    assert foretold(stage, Speed(2.0, 1.0), 2) == 25.0
    assert foretold(stage, Speed(1.0, 2.0), 1) == 62.0


def test_the_measurement_is_of_this_machine() -> None:
    begun = time.monotonic()
    speed = stages.measure(layers=1, times=1)
    took = time.monotonic() - begun
    whole = speed.compiling * stages.REFERENCE_COMPILING + speed.working * stages.REFERENCE_WORKING
    assert min(speed) > 0
    assert whole <= took


def test_tracks_run_at_the_same_time(tmp_path: Path) -> None:
    """Each waits for a file that the other makes."""
    meet = (
        "import sys, time, pathlib\npathlib.Path(sys.argv[1]).touch()\nwhile not pathlib.Path(sys.argv[2]).exists():"
        " time.sleep(0.01)"
    )
    one, other = tmp_path / "one", tmp_path / "other"
    stage = side_by_side(script("a", meet, one, other), script("b", meet, other, one))
    diary = Diary(tmp_path / "demo.json", {})
    if len(stages.available_cores()) > 1:
        run_stages([stage], Speed(1, 1), diary, tmp_path / "logs", QUIET)
        assert set(diary.done) == {"a", "b"}


def test_one_line_a_stage_says_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    plan = [Stage(f"part {i}", ((script(f"c{i}", "", cost=Cost(0.0, 60.0)),),)) for i in (1, 2)]
    run_stages(plan, Speed(1, 1), Diary(tmp_path / "demo.json", {}), tmp_path / "logs", Output())
    lines = said.getvalue().splitlines()
    assert lines[0] == "[1/2] part 1: about 2 min left"
    assert lines[1].startswith("[2/2] part 2: about ")
    assert len(lines) == 2


def test_a_command_that_fails_ends_all_with_its_own_words(tmp_path: Path) -> None:
    bad = script("bad", "import sys; sys.exit(print('first\\nibal bad: no such map') or 2)")
    slow = script("slow", "import time; time.sleep(60)")
    diary, begun = Diary(tmp_path / "demo.json", {}), time.monotonic()
    with pytest.raises(CommandError, match="ibal bad failed: no such map") as error:
        run_stages([side_by_side(bad, slow)], Speed(1, 1), diary, tmp_path / "logs", QUIET)
    assert error.value.status == 2
    assert time.monotonic() - begun < 30
    assert diary.done == {}
    assert (tmp_path / "logs" / "bad.txt").read_text().startswith("first")


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    count = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    plan = [side_by_side(script("a", count, tmp_path / "ran", "a")), side_by_side(script("b", "raise SystemExit(1)"))]
    first = Diary(tmp_path / "demo.json", {"seed": 0})
    with pytest.raises(CommandError):
        run_stages(plan, Speed(1, 1), first, tmp_path / "logs", QUIET)
    again = Diary(tmp_path / "demo.json", {"seed": 0})
    assert again.read() is None
    plan[1] = side_by_side(script("b", count, tmp_path / "ran", "b"))
    run_stages(plan, Speed(1, 1), again, tmp_path / "logs", QUIET)
    assert (tmp_path / "ran").read_text() == "ab"


def test_a_diary_of_another_demo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    Diary(path, {"seed": 0, "scale": 1.0}).write("a", 3.0)
    assert Diary(path, {"seed": 1, "scale": 1.0}).read() == "what was begun with seed 0"
    for broken in ("{", "[]", '{"settings": {}, "done": 3}', '{"settings": 1, "done": {}}'):
        path.write_text(broken)
        assert Diary(path, {"seed": 1}).read() == "a demo.json that cannot be read"


@pytest.mark.skipif(not hasattr(stages.signal, "SIGALRM"), reason="needs POSIX signals")
def test_what_runs_is_asked_to_stop_when_one_interrupts(tmp_path: Path) -> None:
    """A training saves what it has when it gets SIGTERM; so does this command."""
    save = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(pathlib.Path(sys.argv[1]).write_text('saved') and 1))\n"
        "pathlib.Path(sys.argv[2]).touch()\ntime.sleep(60)"
    )
    saved, ready = tmp_path / "saved", tmp_path / "ready"

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.01)
        stages.os.kill(stages.os.getpid(), stages.signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    diary = Diary(tmp_path / "demo.json", {})
    with pytest.raises(KeyboardInterrupt):
        run_stages([side_by_side(script("a", save, saved, ready))], Speed(1, 1), diary, tmp_path / "logs", QUIET)
    thread.join()
    assert saved.read_text() == "saved"
    assert diary.done == {}
