"""``ibal <command> …``: finds the command and hands over; imports nothing else, so that ``--help`` is immediate."""

from __future__ import annotations

import errno
import importlib
import re
import sys
import traceback

import ibal
from ibal.cli.output import FAILED, OK, WRONG_USE, CommandError, complain, write_anything
from ibal.contract import ContractError, advice, raised_in
from ibal.files import silence
from ibal.options import ConfigError
from ibal.reading import Unreadable
from ibal.registry import UnknownName, hint

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("ibal.cli.demo", "train a robust team and a fragile one, attack both, show what happens"),
    "env": ("ibal.cli.env", "list, describe and check environments"),
    "replay": ("ibal.cli.replay", "play an episode and write a moving picture of it"),
    "train": ("ibal.cli.train", "train a team, or continue a training"),
    "attack": ("ibal.cli.attack", "fit an attack to policies, or list the attacks"),
    "evaluate": ("ibal.cli.evaluate", "play policies and tell how often they win"),
    "audit": ("ibal.cli.audit", "say which agents of a team may fail, how and when, before it does"),
    "analyse": ("ibal.cli.analyse", "say why an attack works: numbers and pictures"),
    "curves": ("ibal.cli.curves", "draw learning curves, natural and under attacks"),
    "grid": ("ibal.cli.grid", "do the runs of a study: here, on a Ray cluster, on Slurm"),
    "zoo": ("ibal.cli.zoo", "teams and attackers worth keeping, and the board"),
    "report": ("ibal.cli.report", "the paper's tables with your numbers beside"),
    "bench": ("ibal.cli.bench", "measure how fast this machine is"),
}

USAGE = f"""usage: ibal <command> [options]

Robust cooperative multi-agent reinforcement learning.

commands:
{chr(10).join(f"  {name:<10}{help_}" for name, (_, help_) in COMMANDS.items())}

ibal <command> --help says more; ibal --version prints the version.
Every command takes --json (one JSON object on standard output) and --quiet.
Exit status: 0 done, 1 failed, 2 wrong use."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    write_anything()
    if argv[:1] in (["-h"], ["--help"], ["help"]):
        print(USAGE)
        return OK
    if argv[:1] == ["--version"]:
        print(f"ibal {ibal.__version__}")
        return OK
    if not argv:
        print(USAGE, file=sys.stderr)
        return WRONG_USE
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        return _complain(
            "ibal", f'unknown command "{name}".{hint(name, COMMANDS)} Commands: {", ".join(COMMANDS)}', WRONG_USE
        )
    return _run(name, rest)


def _run(name: str, rest: list[str]) -> int:
    """Turn the ways a command can end into an exit status; anything unexpected keeps its traceback, after a sentence
    that says whose it is."""
    prog = f"ibal {name}"
    try:
        status = importlib.import_module(COMMANDS[name][0]).main(rest)
        print(end="", flush=True)
    except SystemExit as end:  # argparse: 0 after --help, 2 after a wrong option
        return end.code if isinstance(end.code, int) else OK if end.code is None else _complain(prog, str(end.code))
    except CommandError as error:
        return _complain(prog, str(error), error.status)
    except (UnknownName, ConfigError) as error:
        return _complain(prog, str(error), WRONG_USE)
    except ContractError as error:
        return _complain(prog, f"{error}{advice(error.whose)}")
    except Unreadable as error:
        return _complain(prog, str(error), FAILED)
    except MemoryError as error:  # also what is refused before it is allocated
        return _complain(prog, str(error) or "out of memory", FAILED)
    except KeyboardInterrupt:
        return _complain(prog, "interrupted", 130)
    except BrokenPipeError:  # "ibal … | head": nobody reads on, which is no failure
        silence(sys.stdout)
        return OK
    except Exception as error:
        return _unexpected(prog, error)
    return status


_WRONG_PATH = (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


def _unexpected(prog: str, error: Exception) -> int:
    """Say first whose error it is, then show it as Python does; a path that cannot be used needs no more than that."""
    where, what = raised_in(error), f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if where is None and isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename is not None else ""
        return _complain(prog, f"{file}{error.strerror}", WRONG_USE if error.errno in _WRONG_PATH else FAILED)
    whose = f"your code failed in {where}" if where else "a fault of ibal; please report it with what follows"
    _complain(prog, f"{what} ({whose})")
    traceback.print_exception(error)
    return FAILED


def _complain(prog: str, message: str, status: int = 1) -> int:
    """Print one line, whatever words of the user's are in it."""
    line = re.sub(r"\S{300,}", lambda word: f"{word.group()[:100]}…", message).replace("\n", r"\n")
    complain(f"{prog}: {line}")
    return status
