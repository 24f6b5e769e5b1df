"""The store, by several writers at a time, without a training: claims, take-overs, finishing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ibal.experiments.grid import store as stores
from ibal.experiments.grid.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


def test_of_many_who_claim_at_once_one_has_it(tmp_path: Path) -> None:
    folder = Store(tmp_path / "store").open().path
    won: list[int] = []
    gate = threading.Barrier(8)

    def one(i: int) -> None:
        mine = Store(folder)
        gate.wait()
        if mine.claim("a"):
            won.append(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_claim_that_is_given_back_is_free_at_once(store: Store) -> None:
    first = store.claim("a")
    assert first is not None
    assert store.claim("a") is None
    first.release()
    second = store.claim("a")
    assert second is not None
    assert (second.number, first.holds(), second.holds()) == (1, False, True)


def test_the_claim_of_a_process_that_was_killed_is_free_at_once(store: Store) -> None:
    code = (
        "import os, signal; from pathlib import Path; from ibal.experiments.grid.store import Store; import sys;"
        "assert Store(Path(sys.argv[1])).claim('a'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.path)], check=False,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.returncode == -9
    assert store.owner("a", 0)["pid"] > 0
    taken = store.claim("a")
    assert taken is not None
    assert taken.number == 1


def test_the_claim_of_another_machine_is_free_after_a_while_without_a_sign(store: Store, monkeypatch) -> None:
    assert store.claim("a")
    monkeypatch.setattr(stores, "_machine", lambda: "another one")
    assert store.claim("a") is None
    before = time.time() - stores.STALE - 5
    os.utime(store.path / "claims" / "a.0", (before, before))
    assert store.claim("a") is not None


def test_a_heartbeat_keeps_a_claim_and_notices_that_it_was_lost(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(stores, "BEAT", 0.02)
    claim = store.claim("a")
    assert claim is not None
    path = store.path / "claims" / "a.0"
    os.utime(path, (1000, 1000))
    lost = threading.Event()
    with claim.beating(lost.set):
        end = time.monotonic() + 5
        while path.stat().st_mtime < 2000 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 2000
        assert not lost.is_set()
        (store.path / "claims" / "a.1").touch()
        assert lost.wait(5)


def test_a_run_is_finished_once_and_never_claimed_again(store: Store) -> None:
    claim = store.claim("a")
    assert claim is not None
    assert claim.finish({"seconds": 1.0})
    assert not claim.finish({"seconds": 2.0})
    assert store.record("a") == {"seconds": 1.0, "claim": 0}
    assert store.claim("a") is None
    assert store.state().done == {"a"}


def test_what_failed_is_told_and_may_be_forgiven(store: Store) -> None:
    store.fail("a", "because")
    assert (store.state().failed, store.why_failed("a")) == ({"a"}, "because")
    store.forgive("a")
    assert store.state().failed == set()


def test_nothing_half_written_is_left_on_a_full_disk(store: Store, monkeypatch) -> None:
    claim = store.claim("a")
    assert claim is not None

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        claim.finish({})
    assert os.listdir(store.path / "done") == []
