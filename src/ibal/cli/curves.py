"""``ibal curves``: learning curves of trainings, natural and under attacks.

ibal curves runs/qmix-3m runs/ibal-3m --out curves/3m
ibal curves runs/qmix-3m runs/ibal-3m --attacks interaction --attackers attackers/held-out --out curves/3m

Natural curves are those the trainings have logged. Curves under an attack are played now, with the policies that a
training with --train.snapshot-every has kept and its last one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibal.cli.output import (
    ATTACKERS,
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_path,
    add_flags,
    check_attackers,
    check_folder,
    claim,
    count_type,
    output_of,
    seed_type,
    unwritable,
)
from ibal.report.curves import as_text, attacked, check_run, final, logged, names, require_one

EPISODES = 256


def main(argv: list[str]) -> int:
    """Run ``ibal curves`` with the arguments after ``curves``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    check_attackers(options.attackers)
    if options.env is not None and options.attacks is None:
        raise CommandError("--env says where the snapshots play under --attacks; give these, too", WRONG_USE)
    for run in options.runs:
        check_run(run)
    named = names(options.runs)
    rows = [row | {"run": named[run]} for run in options.runs for row in logged(run)]
    if silent := [str(run) for run in options.runs if not any(row["run"] == named[run] for row in rows)]:
        raise CommandError(f"{silent[0]} has logged no evaluation yet: there is no curve to draw", WRONG_USE)
    check_folder(options.out)
    try:
        with claim(options.out):
            require_one(rows)  # before anything is played
            rows += _attacked(options, output) if options.attacks is not None else []
            require_one(rows)
            _write(rows, options.out)
    except OSError as error:
        raise unwritable(error, options.out) from error
    output.note(f"wrote curves.jsonl, curves.svg and curves.png into {options.out}")
    last = final(rows)
    output.result({"final": last, "out": str(options.out)}, as_text(last))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal curves",
        description="Draw the learning curves of run folders, one line per method with all its seeds, and print what "
        "each came to in the end. Curves under attacks are played with the snapshots of a training.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("runs", nargs="+", type=a_path, metavar="RUN", help="run folders of ibal train")
    add("--out", required=True, type=a_path, metavar="FOLDER", help="for curves.jsonl, .svg, .png and parts/")
    add(
        "--attacks",
        metavar="A,B,…",
        help="attacks to play the snapshots under, as in ibal evaluate: names, standard, paper or all",
    )
    add("--attackers", type=a_path, metavar="WHERE", help=ATTACKERS)
    add("--env", metavar="NAME", help="where the snapshots play, if in an environment of your own: my_pkg.mod:make")
    add("--episodes", type=count_type("--episodes"), default=EPISODES, metavar="N",
        help=f"per snapshot and attack (default {EPISODES})")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of these episodes (default 0)")
    add_flags(out)
    return out


def _attacked(options: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    """Play the snapshots under the attacks."""
    from ibal.cli.evaluate_matrix import attack_names
    from ibal.evaluation.bank import Bank
    from ibal.evaluation.matrix import Plan

    attacks, plan = attack_names(options.attacks), Plan(options.episodes, options.seed)
    return attacked(options.runs, attacks, Bank(options.attackers), plan, options.out, options.env, output.note)


def _write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    from ibal.files import replace_text
    from ibal.viz.curves import draw, of_rows
    from ibal.viz.files import write_figure

    replace_text(out / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_figure(draw(of_rows(rows)), out / "curves")
