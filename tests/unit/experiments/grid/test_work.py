"""Workers, with runs that are functions of this file: no jax, no training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ibal.experiments.grid import local, work
from ibal.experiments.grid.local import Local
from ibal.experiments.grid.store import Store
from ibal.experiments.runs import Run

HERE = "unit.experiments.grid.test_work"


def write(what: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Add a line for every time that it is done."""
    time.sleep(what.get("seconds", 0.0))
    with (folder / "did.txt").open("a") as file:
        file.write(f"{what['value']}\n")
    return {"value": what["value"]}


def fail(what: dict[str, Any], folder: Path) -> None:
    raise ValueError("it cannot\nbe done")


def die_twice(what: dict[str, Any], folder: Path) -> None:
    count = folder / "count"
    seen = int(count.read_text()) if count.exists() else 0
    count.write_text(str(seen + 1))
    if seen < 2:
        os.kill(os.getpid(), signal.SIGKILL)


def full_once(what: dict[str, Any], folder: Path) -> None:
    if not (folder / "was").exists():
        (folder / "was").touch()
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("cannot write") from error


def run(name: str, function: str = "write", needs: tuple[str, ...] = (), **what: Any) -> Run:
    return Run(name, "call", {"function": f"{HERE}:{function}", "value": name, **what}, needs, name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(work, "POLL", 0.02)
    monkeypatch.setattr(work, "FULL_WAIT", (0.01, 0.01))
    monkeypatch.setattr(local, "LOOK", 0.02)


def done(store: Store, name: str) -> list[str]:
    return (store.folder(name) / "did.txt").read_text().split()


def test_runs_are_done_once_and_after_what_they_need(store: Store) -> None:
    order: list[str] = []
    todo = [run("b", needs=("a",)), run("a"), run("c", needs=("b",))]
    assert work.work(store, todo, order.append) is False
    assert order == ["a …", "b …", "c …"]
    assert work.work(store, todo, order.append) is False
    assert len(order) == 3
    assert store.record("a")["value"] == "a"


def test_what_cannot_be_done_is_told_and_what_needs_it_is_left(store: Store) -> None:
    todo = [run("bad", "fail"), run("after", needs=("bad",)), run("other")]
    assert work.work(store, todo) is False
    assert store.why_failed("bad") == "it cannot be done"
    assert store.state().done == {"other"}
    store.forgive("bad")
    assert store.state().failed == set()


def test_several_workers_share_the_runs(store: Store) -> None:
    todo = [run(f"r{i}", seconds=0.02) for i in range(12)]
    threads = [threading.Thread(target=work.work, args=(Store(store.path), todo)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done(store, one.id) == [one.id] for one in todo)


def test_a_full_disk_is_waited_for(store: Store) -> None:
    notes: list[str] = []
    work.work(store, [run("a", "full_once")], notes.append)
    assert store.is_done("a")
    assert any("disk is full" in note for note in notes)


def test_a_run_that_kills_its_process_again_and_again_is_given_up(store: Store) -> None:
    one = run("a")
    for _ in range(work.DEATHS + 1):
        work._deaths(store, one)
    assert work.do(store, one) == "failed"
    assert "died" in store.why_failed("a")


def test_asked_to_stop_a_worker_ends_and_another_goes_on_later(store: Store) -> None:
    store.ask_to_stop()
    assert work.work(store, [run("a")]) is True
    store.ask_to_stop(False)
    assert work.work(store, [run("a")]) is False


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def test_local_workers_do_all_and_replace_those_that_are_killed(store: Store, env) -> None:
    todo = [run("a", "die_twice"), run("b", needs=("a",)), *(run(f"r{i}", seconds=0.05) for i in range(4))]
    notes: list[str] = []
    Local(workers=2, memory_gb=100).run(todo, store, notes.append)
    assert store.state().done == {one.id for one in todo}
    assert sum("SIGKILL" in note for note in notes) == 2
    assert all(done(store, f"r{i}") == [f"r{i}"] for i in range(4))
    events = [one["event"] for one in store.history() if one["run"] == "a"]
    assert events == ["begin", "begin", "begin", "done"]


def test_the_launcher_imports_no_jax(tmp_path: Path, env) -> None:
    plan = [run("a")._asdict()]
    code = (
        "import sys, json; from pathlib import Path; from ibal.experiments.runs import Run;"
        "from ibal.experiments.grid.local import Local; from ibal.experiments.grid.store import Store;"
        "import ibal.experiments.grid.held;"
        "store = Store(Path(sys.argv[1])).open(); runs = [Run(**one) for one in json.loads(sys.argv[2])];"
        "Local(workers=1).run(runs, store, print); print(store.state().done, 'jax' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path), json.dumps(plan)], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    assert said.splitlines()[-1] == "{'a'} False"


@pytest.mark.parametrize("how", ["signal", "stop"])
def test_asked_in_the_middle_a_worker_gives_its_run_back(store: Store, env, how: str) -> None:
    path = work.write_plan(store, [run("a", seconds=60.0)])
    worker = subprocess.Popen([sys.executable, "-m", "ibal.experiments.grid.work", str(store.path), str(path)],
                              stderr=subprocess.DEVNULL)  # fmt: skip
    end = time.monotonic() + 60
    while not any(one["event"] == "begin" for one in store.history()):
        assert time.monotonic() < end
        time.sleep(0.05)
    if how == "signal":
        worker.send_signal(signal.SIGTERM)
    else:
        store.ask_to_stop()  # seen at the next heartbeat
    assert worker.wait(60) == 3
    assert store.is_stale("a", 0)
    assert [one["event"] for one in store.history()] == ["begin", "stopped"]


def test_workers_are_as_many_as_memory_allows(monkeypatch) -> None:
    monkeypatch.setattr(local, "gpus", list)
    assert len(Local(workers=3, memory_gb=100).slots(10)) == 3
    assert len(Local(memory_gb=local.LEAST_GB).slots(10)) == 1
    assert len(Local(workers=3, memory_gb=100).slots(2)) == 2
    monkeypatch.setattr(local, "gpus", lambda: ["0", "5"])
    slots = Local(per_gpu=2).slots(10)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "0", "5", "5"]
    assert slots[0]["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
