"""``ibal evaluate`` with attacks and perturbations: the matrix, its folder and its table."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from ibal.cli.output import OK, WRONG_USE, CommandError, Output, check_attackers, check_folder, unwritable
from ibal.files import Busy
from ibal.options import names

ROOM = 100  # columns of a table


class Asked(NamedTuple):
    """What the command line asks for."""

    policies: list[str]
    env: str | None
    attacks: tuple[str, ...]
    perturbations: tuple[str, ...]
    attackers: Path | None
    refit: bool
    out: Path | None
    episodes: int
    seed: int


def asked(options: argparse.Namespace) -> Asked:
    """Read the options. Raises CommandError or UnknownName for what no environment could be asked for."""
    attacks = attack_names("natural" if options.attacks is None else options.attacks)
    perturbations = names("--perturbations", "none" if options.perturbations is None else options.perturbations)
    from ibal.game.perturb import checked

    try:
        for name in perturbations:
            checked(name)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error
    check_attackers(options.attackers)
    if options.refit and (options.attackers or not options.out):
        raise CommandError("--refit fits attackers of its own into --out FOLDER; give that, not --attackers", WRONG_USE)
    if options.out is not None:
        check_folder(options.out)
    return Asked(
        options.policies,
        options.env,
        attacks,
        perturbations,
        options.attackers,
        options.refit,
        options.out,
        options.episodes,
        options.seed,
    )


def attack_names(text: str) -> tuple[str, ...]:
    """Read ``natural,interaction[fill=mean]`` or ``all``. Raises CommandError, which names the closest attack."""
    from ibal.evaluation.attack_sets import SETS
    from ibal.evaluation.bank import configuration

    asked = names("--attacks", text)
    try:
        for name in asked:
            if name not in SETS:
                configuration(name)
    except ValueError as error:
        raise CommandError(f"--attacks {error}", WRONG_USE) from error
    return asked


def show(ask: Asked, output: Output) -> int:
    """Play, write and print the matrix; after Ctrl-C what there is of it."""
    from ibal.api.evaluate import evaluate
    from ibal.report.sheet import as_text

    try:
        done = evaluate(
            ask.policies, ask.attacks, ask.perturbations, episodes=ask.episodes, seed=ask.seed, env=ask.env,
            attackers=ask.attackers, refit=ask.refit, out=ask.out, note=output.note,
        )  # fmt: skip
    except Busy as busy:
        raise CommandError(f"--out {busy}", WRONG_USE) from busy
    except OSError as error:
        raise unwritable(error, ask.out) from error
    if ask.out is not None:
        output.note(f"wrote {ask.out / 'episodes.parquet'} ({done.rows.height} rows), summary.json and card.json")
    data = {"rows": done.entries, "episodes": ask.episodes, "seed": ask.seed, "remained": done.card["remained"]}
    output.result(data, as_text(done.entries, _room(), done.card))
    done.require_all()
    return OK


def _room() -> int:
    """A terminal may be narrower than a table should be at most."""
    return min(ROOM, shutil.get_terminal_size().columns) if sys.stdout.isatty() else ROOM
