"""What every command prints, and where: results on standard output, messages on standard error."""

from __future__ import annotations

import argparse
import codecs
import errno
import json
import math
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from ibal.files import CLAIM, Busy, Claim, claimed, silence
from ibal.options import LARGEST, LARGEST_SEED, ConfigError, check_count, read_text
from ibal.registry import hint, quoted

OK, FAILED, WRONG_USE = 0, 1, 2
ATTACKERS = (
    "fitted attackers, for the attacks that learn: a folder, or zoo:NAME, those of the zoo of that name or below it "
    "(zoo:smac/3m; zoo: alone: all)"
)


class CommandError(Exception):
    """Ends a command with one sentence on standard error and an exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, like everything else does. Dashes and underscores in the names
    of options are the same."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Read a command line; an option that there is not is named with the closest that there is."""
        options, odd = self.parse_known_args(args, namespace)
        word = next((word for word in odd if word.startswith("-") and len(word) > 1), "".join(odd[:1]))
        if word.startswith("--"):
            self.error(f"unknown option {quoted(word)}.{hint(word.partition('=')[0], self.flags())}", "All of them")
        if odd:
            self.error(f"{quoted(word)} belongs to no option", "All of them")
        return options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Refuse "--option=--" first: argparse would take it for no value at all, and check nothing."""
        words = [self._spelled(word) for word in args or ()]
        for word in words:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f'{word.removesuffix("=--")} is "--", which is no value')
        return super().parse_known_args(words, namespace)

    def flags(self) -> tuple[str, ...]:
        """Return the long options there are, also those of the commands in it."""
        choices = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        below = [parser.flags() for each in choices for parser in each.values()]
        return tuple(word for word in chain(self._option_string_actions, *below) if word.startswith("--"))

    def _spelled(self, word: str) -> str:
        name, equals, value = word.partition("=")
        dashed = name.replace("_", "-")
        return f"{dashed}{equals}{value}" if name.startswith("--") and dashed in self.flags() else word

    def error(self, message: str, all_of_them: str = "All options") -> NoReturn:
        """End the command."""
        message = _NO_VALUE.sub(r"\1 needs a value", message)
        end = "" if message.endswith((".", "!")) else "."
        raise CommandError(f"{message}{end} {all_of_them}: {self.prog} --help", WRONG_USE)


_NO_VALUE = re.compile(r"argument (--\S+?): expected (one|at least one) argument")


def a_path(text: str) -> Path:
    """Read a path of the command line: "" would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file or a folder")
    try:
        os.stat(text)
        too_long = False
    except ValueError:  # a zero byte
        too_long = True
    except OSError as error:
        too_long = error.errno == errno.ENAMETOOLONG or any(len(os.fsencode(part)) > 255 for part in Path(text).parts)
    if too_long:
        shown = text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
        raise argparse.ArgumentTypeError(f"{shown!r} can be no file's name")
    return Path(text)


def a_number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Return a ``type`` for argparse: a finite number within the bounds, both included."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            wanted = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
            raise argparse.ArgumentTypeError(f"must be a number {wanted}, got {text[:60]!r}")
        return value

    return read


def unwritable(error: OSError, path: Path | None) -> CommandError:
    """Say which file could not be written, or ``path`` where the system names none, and why."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "the disk is full; make room and give the same command again" if full else error.strerror or error
    return CommandError(f"cannot write {error.filename or path}: {why}", FAILED)


def check_folder(path: Path) -> None:
    """Refuse an ``--out`` that names a file where a folder is needed."""
    if path.exists() and not path.is_dir():
        raise CommandError(f"--out {path}: this is a file; name a folder", WRONG_USE)


def complain(message: str) -> None:
    """Write a line to standard error, if anybody reads there: a message that is lost is no reason to stop."""
    if sys.stderr is None:  # 2>&-
        return
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


@contextmanager
def claim(folder: Path, name: str = CLAIM) -> Generator[Claim]:
    """Keep other processes from writing into ``--out``; end the command where one of them does already."""
    with ExitStack() as stack:
        try:
            held = stack.enter_context(claimed(folder, name))
        except Busy as busy:
            raise CommandError(f"--out {busy}", WRONG_USE) from busy
        except OSError as error:
            raise unwritable(error, folder) from error
        yield held


def check_attackers(path: Path | None) -> None:
    """Refuse an ``--attackers`` that names neither a folder nor attackers of the zoo."""
    from ibal.zoo import Zoo, bare, is_name

    if path is not None and is_name(str(path)):
        Zoo().attackers(bare(str(path)))
    elif path is not None and not path.is_dir():
        raise CommandError(f"--attackers {path}: there is no such folder", WRONG_USE)


def count_type(flag: str, least: int = 1, most: int = LARGEST) -> Callable[[str], int]:
    """Return a ``type`` for argparse: a whole number within the bounds. Another text ends the command with a sentence
    that begins with ``flag``."""

    def read(text: str) -> int:
        try:
            return check_count(flag, read_text(int, text), least, most)
        except ConfigError as error:
            message = str(error)
        raise CommandError(message if message.startswith(flag) else f"{flag} {message}", WRONG_USE)

    return read


def seed_type(flag: str = "--seed") -> Callable[[str], int]:
    """Return a ``type`` for argparse: a seed, 0 to 2^32 - 1."""
    return count_type(flag, 0, LARGEST_SEED)


def printable(text: str) -> str:
    """Return ``text`` as a terminal may get it: what a file says must not move the cursor or reorder the line."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Output:
    """``json``: one JSON object on standard output and nothing else there. ``quiet``: no messages."""

    json: bool = False
    quiet: bool = False

    def note(self, message: str) -> None:
        """Tell the user something that is not the result."""
        if not self.quiet:
            complain(message)

    def result(self, data: dict[str, Any], text: str) -> None:
        """Print the result: ``data`` as JSON, in which what is no number becomes null, or ``text`` for people."""
        try:
            print(json.dumps(_finite(data), allow_nan=False) if self.json else printable(text), flush=True)
        except OSError as error:
            if error.errno == errno.EIO:  # the terminal is gone, as the reader of a broken pipe is
                raise BrokenPipeError from error
            raise


def _finite(data: Any) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def write_anything() -> None:
    """Let the streams replace what their encoding cannot write: a table is worth more than its signs."""
    codecs.register_error("ibal", _spelled)
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="ibal")


_SPELLED = {"±": "+-", "…": "...", "×": "x", "–": "-", "—": "-", "→": "->", "·": "-", "’": "'", "“": '"', "”": '"'}


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_SPELLED.get(sign) or ascii(sign)[1:-1] for sign in signs), error.end


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all commands have."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no messages on standard error, except errors")


def output_of(args: argparse.Namespace) -> Output:
    """Read the flags of ``add_flags``."""
    return Output(json=args.json, quiet=args.quiet)
