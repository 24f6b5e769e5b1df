"""Write files that are complete or not there, into folders that no other process writes to meanwhile."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

CLAIM = ".claim"  # the file that says who writes to a folder
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


def appear(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file aside, and rename it to ``path``: the file is complete or not there."""
    aside = aside_of(path)
    aside.unlink(missing_ok=True)  # a folder of somebody else's may have a link there, to a file of the user's
    try:
        write(aside)
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def aside_of(path: Path) -> Path:
    """Return where ``appear`` makes what will be called ``path``; the suffix tells some writers the format."""
    return path.with_name(f".{path.name}.writing{path.suffix}")


def appear_bytes(path: Path, content: bytes) -> None:
    """Write a file that is complete or not there. Raises OSError, also where a library's writer has its own error."""
    appear(path, lambda aside: aside.write_bytes(content))


def replace_text(path: Path, text: str) -> None:
    """Write a text that survives a power failure: ``path`` has the old content or the new."""
    aside = path.with_name(path.name + ".writing")
    aside.unlink(missing_ok=True)  # as above
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def silence(stream: Any) -> None:
    """Let a stream whose reader is gone (``| head``, a closed terminal) write to nowhere, and fail no more."""
    with suppress(OSError, ValueError, AttributeError):  # some streams have no file below them
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Busy(Exception):
    """Another process writes there; the message is one sentence that begins with the path."""


class Claim(NamedTuple):
    """The right to write to a folder. ``abandoned``: whoever had it before was killed while it wrote there."""

    path: Path
    handle: int
    abandoned: bool

    def holds(self) -> bool:
        """Say whether the folder still is the one that was claimed: it may have been deleted, or replaced."""
        try:
            return os.path.samestat(os.fstat(self.handle), os.stat(self.path))
        except OSError:
            return False


@contextmanager
def claimed(folder: Path, name: str = CLAIM) -> Generator[Claim]:
    """Keep every other process from writing to ``folder``, which is made if need be; with another ``name`` than usual,
    to what goes by that name in it.

    The claim is a lock on a file, so it ends with its process, however that ends. Raises Busy if another process, or
    another part of this one, has it, and OSError if the folder cannot be written to. A folder that was made and is
    still empty in the end is removed again.
    """
    made = [folder, *folder.parents]
    made = made[: next(i for i, path in enumerate(made) if path.exists())]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    try:
        claim = _take(path)
        try:
            yield claim
        finally:
            _give_back(claim)
    finally:
        with suppress(OSError):
            for empty in made:
                empty.rmdir()


def _take(path: Path) -> Claim:
    while True:
        # No link is followed: in a folder of somebody else's it may lead to a file of the user's.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            there = os.read(handle, 200).decode(errors="replace")
            _lock(handle, there, path)
            claim = Claim(path, handle, bool(there))
            if claim.holds():  # else it was given back, and removed, while it was being taken
                os.ftruncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return claim
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _give_back(claim: Claim) -> None:
    windows = os.name == "nt"  # where an open file cannot be removed
    if windows:
        os.close(claim.handle)
    with suppress(OSError):
        if windows or claim.holds():
            claim.path.unlink()
    if not windows:
        os.close(claim.handle)


def _lock(handle: int, there: str, path: Path) -> None:
    """Lock a file, or raise Busy with what it says of its owner."""
    words = there.split()
    who = " ".join(words) or "another process"
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond the text, which others shall be able to read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise Busy(f"{path.parent} is being written to by {who}; wait for it, or name another folder") from None
        if words and not _gone(words):  # a file system without locks: what the file says has to do
            raise Busy(f"{path.parent} is being written to by {who}; if that is over, delete {path}") from None


def _gone(words: list[str]) -> bool:
    """Say whether the owner, "process 12 on host", is known to run no more."""
    if os.name == "nt" or words[-1] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
