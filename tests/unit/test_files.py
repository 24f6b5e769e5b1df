"""A folder has one writer at a time, also after the last one was killed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ibal.files import CLAIM, Busy, claimed


def test_two_writers_at_once_do_not_mix_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with claimed(folder) as first:
        assert not first.abandoned
        with pytest.raises(Busy, match=rf"^{folder} is being written to by process {os.getpid()} on "):
            claimed(folder).__enter__()
        assert first.holds()
        with claimed(folder, ".other"):  # what goes by another name is another matter
            assert first.holds()
        with claimed(tmp_path / "a"):
            pass
        assert (folder / CLAIM).exists()
    assert not (tmp_path / "a").exists()  # nothing was written, so nothing is left


def test_what_was_written_stays_and_the_claim_goes(tmp_path: Path) -> None:
    with claimed(tmp_path / "run"):
        (tmp_path / "run" / "x").write_text("1")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["x"]


def test_a_killed_writer_leaves_a_folder_that_can_be_claimed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ibal.files import claimed\n"
        "with claimed(Path(sys.argv[1])): print('has it', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(Busy, match=rf"by process {other.pid} on {socket.gethostname()}; wait for it"):
            claimed(tmp_path).__enter__()
        other.kill()
    assert (tmp_path / CLAIM).exists()
    with claimed(tmp_path) as taken:
        assert taken.abandoned


@pytest.mark.parametrize("how", ["deleted", "made anew", "a file"])
def test_a_claim_notices_that_its_folder_is_gone(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "run"
    with claimed(folder) as mine:
        (folder / CLAIM).unlink()
        folder.rmdir()
        if how == "made anew":
            folder.mkdir()
            (folder / CLAIM).write_text("")
        elif how == "a file":
            folder.write_text("")
        assert not mine.holds()
    assert folder.exists() == (how != "deleted")  # what somebody else has put there is his


def test_without_locks_the_owner_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    with claimed(tmp_path), pytest.raises(Busy, match=rf"by process {os.getpid()} .*; if that is over, delete "):
        claimed(tmp_path).__enter__()
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (tmp_path / CLAIM).write_text(f"process {done.pid} on {socket.gethostname()}\n")
    with claimed(tmp_path) as taken:
        assert taken.abandoned
    for text in ("process 1 on another-host\n", "what is this?"):
        (tmp_path / CLAIM).write_text(text)
        with pytest.raises(Busy):
            claimed(tmp_path).__enter__()


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        claimed(tmp_path / "file" / "run").__enter__()
