#!/usr/bin/env python3
"""Work on ibal from a fresh clone with nothing but Python 3.11+ and pip.

    python3 dev.py demo              train a robust team and a fragile one, attack both, show what happens
    python3 dev.py test [...]        lint, format, types, tests; what follows goes to pytest
    python3 dev.py test --all        the same with the thorough tests: every attack on 3m, more maps
    python3 dev.py docs              build the site of the documentation: build/docs/index.html; warnings are errors
    python3 dev.py run <command ...> run the ibal command: python3 dev.py run env list
    python3 dev.py setup             only make .venv, with everything for development

The first use makes .venv and installs into it what constraints.txt pins; later uses find it there.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
DEMO = ["demo"]


def main(argv: "list[str]") -> int:
    """Run one command and return its exit status."""
    if sys.version_info < (3, 11):
        say("ibal needs Python 3.11 or newer, this is {}.{}; run dev.py with a newer one".format(*sys.version_info))
        return 2
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command == "demo" and not rest:
        install()
        say("ibal " + " ".join(DEMO))
        return call("-m", "ibal", *DEMO)
    if command == "run" and rest:
        install()
        return call("-m", "ibal", *rest)
    if command == "setup" and not rest:
        install("dev")
        return 0
    if command == "test":
        install("dev")
        return test(rest)
    if command == "docs" and not rest:
        install("docs")
        done = call("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "build/docs")
        say("FAILED" if done else "build/docs/index.html")
        return done
    print((__doc__ or "").strip(), file=sys.stdout if command in ("-h", "--help") else sys.stderr)
    return 0 if command in ("-h", "--help") else 2


def test(pytest_args: "list[str]") -> int:
    """Run every check, also after one has failed.

    pyright keeps one core busy and pytest not always two, so pyright runs beside the others; what it says is held back
    to the end.
    """
    if "--all" in pytest_args:  # overrules the marker expression of pyproject.toml
        pytest_args = [*(word for word in pytest_args if word != "--all"), "-m", ""]
    checks = {
        "ruff check": ["ruff", "check"],
        "ruff format": ["ruff", "format", "--check"],
        "pytest": ["pytest", "-n", "2", "--dist", "loadfile", *pytest_args],
    }
    failed = []
    with begin("-m", "pyright", held_back=True) as pyright:
        for name, arguments in checks.items():
            start = time.monotonic()
            if call("-m", *arguments) != 0:
                failed.append(name)
            say(f"{name}: {'FAILED' if name in failed else 'ok'} ({time.monotonic() - start:.0f} s)")
        words, _ = pyright.communicate()
    if pyright.returncode != 0:
        failed.append("pyright")
    sys.stdout.buffer.write(words)
    sys.stdout.flush()
    say("pyright: {}".format("FAILED" if pyright.returncode != 0 else "ok"))
    if failed:
        say("failed: " + ", ".join(failed))
    return 1 if failed else 0


def install(group: str = "") -> None:
    """Make .venv and install ibal in it, editable, unless that was done for these very requirements."""
    wanted = hashlib.sha256(b"".join((ROOT / f).read_bytes() for f in ("pyproject.toml", "constraints.txt")))
    stamp = VENV / (f"ibal-{group}.stamp" if group else "ibal.stamp")
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return
    if not PYTHON.exists():
        say("making .venv")
        make_venv()
    say("installing into .venv (a few minutes the first time)")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    must([*pip, "pip>=25.1"])  # the first with --group
    must([*pip, "-c", "constraints.txt", "-e", ".", *(["--group", group] if group else [])])
    (VENV / "ibal.stamp").write_text(wanted.hexdigest())
    stamp.write_text(wanted.hexdigest())


def make_venv() -> None:
    """Make .venv; Debian's python3 comes without what this needs, which deserves a sentence."""
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
    if done.returncode != 0:
        sys.exit("dev.py: python could not make a virtual environment; on Debian or Ubuntu: apt install python3-venv")


def must(command: "list[str]") -> None:
    """Run a command; end if it fails."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit("dev.py: this failed: " + " ".join(command))


def call(*arguments: str) -> int:
    """Run the environment's python in the repository and return the exit status."""
    with begin(*arguments) as process:
        return process.wait()


def begin(*arguments: str, held_back: bool = False) -> "subprocess.Popen[bytes]":
    """Start the environment's python in the repository; its words can be held back for ``communicate``."""
    # Not asking a registry for news: the type check then needs no network.
    env = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    out, err = (subprocess.PIPE, subprocess.STDOUT) if held_back else (None, None)
    return subprocess.Popen([str(PYTHON), *arguments], cwd=ROOT, env=env, stdout=out, stderr=err)


def say(message: str) -> None:
    """Tell the user something."""
    print("dev.py: " + message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
