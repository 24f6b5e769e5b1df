"""``ibal demo``: what this library is for, from nothing, in a few minutes.

Trains a team on 8m, continues it once without and once with interaction-breaking attacks, attacks both, and writes
table, learning curves and replays. Every step is a command of ``ibal``, printed before it runs. Not on 3m, which would
be quicker: there the attack takes over one marine of three for good, and two marines seldom win against three,
however they were trained (docs/results/ibal.md); 8m leaves a team something to learn.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ibal import reading
from ibal.cli.output import OK, WRONG_USE, CommandError, Output, Parser, a_path, add_flags, output_of, seed_type

ENV = "smac/8m"
START, MORE = 250_000, 200_000  # environment steps: of the common start, and of each team after it
TRIED = "natural,random,occlude-retreat,interaction"
HARMED = "none,dis-1,hp-15"


def main(argv: list[str]) -> int:
    """Run ``ibal demo`` with the arguments after ``demo``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    if options.scale <= 0:
        raise CommandError(f"--scale is {options.scale}; a number above 0 was expected", WRONG_USE)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise CommandError(f"--out {options.out} exists; name another folder, or delete it", WRONG_USE)
    begun = time.monotonic()
    for name, arguments in commands(options.out, options.scale, options.seed, options.env):
        chosen = ["--episode", str(telling_episode(options.out / "evaluation"))] if name == "replay" else []
        _run(name, [*arguments, *chosen], output)
    minutes = (time.monotonic() - begun) / 60
    entries = reading.table(options.out / "evaluation" / "summary.json")["entries"]
    data = {"out": str(options.out), "minutes": round(minutes, 2), "rows": entries}
    output.result(data, as_text(entries, options.out, minutes))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal demo",
        description="Train a team on 8m, continue it without and with interaction-breaking attacks, attack both; write "
        "the table, the learning curves and replays of both under attack. A few minutes on two cores.",
        allow_abbrev=False,
    )
    out.add_argument("--out", type=a_path, default=Path("demo"), metavar="FOLDER", help="a new folder (default demo)")
    out.add_argument("--env", default=ENV, metavar="NAME", help=f"environment to train on (default {ENV})")
    out.add_argument("--seed", type=seed_type(), default=0, metavar="N", help="seed of the trainings (default 0)")
    out.add_argument("--scale", type=float, default=1.0, metavar="X",
                     help="how much is trained and played, of the usual (default 1)")  # fmt: skip
    add_flags(out)
    return out


def commands(out: Path, scale: float, seed: int, env: str = ENV) -> list[tuple[str, list[str]]]:
    """Return the commands of the demo in their order: name and arguments."""

    def count(usual: int) -> str:
        return str(max(1, round(usual * scale)))

    def train(name: str, steps: int, *more: str) -> tuple[str, list[str]]:
        budget = ["--steps", count(steps), "--seed", str(seed), "--train.snapshot-every", count(50_000)]
        return "train", ["--env", env, "--preset", "laptop", *budget, "--out", str(out / name), *more]

    start, teams, bank = str(out / "start"), [str(out / "vanilla"), str(out / "ibal")], str(out / "attackers")
    attacked = ["--attackers", bank]
    show = [word for team in teams for word in ("--policy", team)]
    return [
        train("start", START),
        ("attack", [start, "--out", bank, "--episodes", count(512), "--steps", count(1000), "--check", "0"]),
        train("vanilla", MORE, "--init", start),
        train("ibal", MORE, "--init", start, "--method", "ibal"),
        ("evaluate", [*teams, "--attacks", TRIED, "--perturbations", HARMED, *attacked, "--episodes", count(512),
                      "--out", str(out / "evaluation")]),
        ("curves", [*teams, "--attacks", "interaction", *attacked, "--episodes", count(128),
                    "--out", str(out / "curves")]),
        ("replay", [*show, "--attack", "interaction", *attacked, "--out", str(out / "replays.html")]),
    ]  # fmt: skip


def telling_episode(evaluation: Path) -> int:
    """Return the first episode under ``interaction`` that one team won and another lost, or 0 if there is none."""
    import polars as pl

    columns = {"attack": pl.String, "perturbation": pl.String, "episode": pl.Int64, "win": pl.Boolean}
    rows = reading.parquet(evaluation / "episodes.parquet", columns)
    attacked = rows.filter(pl.col("attack") == "interaction", pl.col("perturbation") == "none")
    split = attacked.group_by("episode").agg(pl.col("win").n_unique()).filter(pl.col("win") > 1)["episode"]
    return 0 if split.is_empty() else int(split.to_numpy().min())


def _run(name: str, arguments: Sequence[str], output: Output) -> None:
    """Run one command; what it would print as its result is left to the end of the demo."""
    from ibal.cli.main import COMMANDS

    output.note("$ " + shlex.join(["ibal", name, *arguments]))
    run: Callable[[list[str]], int] = importlib.import_module(COMMANDS[name][0]).main
    with contextlib.redirect_stdout(io.StringIO()):
        status = run([*arguments, "--quiet"] if output.quiet else list(arguments))
    if status != OK:
        raise CommandError(f"ibal {name} ended with status {status}", status)


def as_text(entries: Sequence[dict[str, Any]], out: Path, minutes: float) -> str:
    """Return the table, how to read it, and what was written."""
    from ibal.report.sheet import as_text as table

    named = [entry | {"policy": Path(entry["policy"]).name} for entry in entries]
    return "\n".join([
        table(named),
        "",
        "Both teams continue the same start; ibal met attacks on the way, vanilla none.",
        "interaction is an attacker fitted to that start, before either of them: neither has trained against it.",
        "",
        f"{out / 'replays.html'}: both teams in the same attacked game, the first that one team alone wins if any",
        f"{out / 'curves' / 'curves.svg'}: learning curves, natural and attacked",
        f"{out / 'evaluation' / 'episodes.parquet'}: every episode ({minutes:.1f} minutes in all)",
    ])  # fmt: skip
