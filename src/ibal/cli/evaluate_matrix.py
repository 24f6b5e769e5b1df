"""``ibal evaluate`` with attacks and perturbations: the matrix, its folder and its table."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal.cli.output import WRONG_USE, CommandError, Output, check_attackers, check_folder, claim, unwritable

if TYPE_CHECKING:
    from ibal.evaluation.bank import Bank
    from ibal.evaluation.evaluation import Evaluation
    from ibal.evaluation.matrix import Team

ROOM = 100  # columns of a table


class Asked(NamedTuple):
    """What the command line asks for besides the policies."""

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
    perturbations = _words("--perturbations", "none" if options.perturbations is None else options.perturbations)
    from ibal.evaluation.perturb import checked

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
    return Asked(attacks, perturbations, options.attackers, options.refit, options.out, options.episodes, options.seed)


def attack_names(text: str) -> tuple[str, ...]:
    """Read ``natural,interaction[fill=mean]`` or ``all``. Raises CommandError, which names the closest attack."""
    from ibal.evaluation.attack_sets import SETS
    from ibal.evaluation.bank import configuration

    names = _words("--attacks", text)
    try:
        for name in names:
            if name not in SETS:
                configuration(name)
    except ValueError as error:
        raise CommandError(f"--attacks {error}", WRONG_USE) from error
    return names


def playable(names: Sequence[str], teams: Sequence[Team], bank: Bank, output: Output) -> tuple[str, ...]:
    """Return the attacks that the words of a command line mean, and tell what "all" leaves out. Raises ValueError."""
    from ibal.evaluation.attack_sets import expanded

    found, left_out = expanded(names, teams, bank)
    for name, why in left_out.items():
        output.note(f"leaving out {name}: {why}")
    return found


def show(ask: Asked, teams: Sequence[Team], output: Output) -> None:
    """Play, write and print the matrix."""
    from ibal.report.sheet import as_text

    with claim(ask.out) if ask.out else nullcontext():
        done = _played(ask, teams, output)
    data = {"rows": done.entries, "episodes": ask.episodes, "seed": ask.seed, "remained": done.card["remained"]}
    output.result(data, as_text(done.entries, _room(), done.card))


def _played(ask: Asked, teams: Sequence[Team], output: Output) -> Evaluation:
    from ibal.evaluation.bank import Bank
    from ibal.evaluation.evaluation import evaluate
    from ibal.evaluation.matrix import Plan, cells

    bank = Bank(ask.attackers, _refitting(ask.out / "attackers", output) if ask.refit and ask.out else None)
    try:
        todo = cells(teams, bank.attack, playable(ask.attacks, teams, bank, output), ask.perturbations)
    except (ValueError, FileNotFoundError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    except OSError as error:  # of an attacker that was fitted here
        raise unwritable(error, ask.out) from error
    try:
        done = evaluate(todo, Plan(ask.episodes, ask.seed), ask.out, output.note)
    except OSError as error:
        raise unwritable(error, ask.out) from error
    if ask.out is not None:
        output.note(f"wrote {ask.out / 'episodes.parquet'} ({done.rows.height} rows), summary.json and card.json")
    return done


def _refitting(folder: Path, output: Output) -> Callable[[str, Any, Team], Path]:
    """Return what fits an attack to a team, or finds that this was done before: with these weights, there, with these
    options, by these sources. What is the user's own code is fitted anew every time, as its cells are played anew."""
    import jax

    from ibal.evaluation import sources
    from ibal.evaluation.bank import described, is_own
    from ibal.experiments.fitting import FitPlan, save_fitted

    fitting = sources.digest(("ibal.experiments.fitting", "ibal.envs"), jax.__version__)

    def refit(attack: str, config: Any, team: Team) -> Path:
        decides = f"{team.world} {described(config)} {FitPlan()} {fitting}"
        key = f"{team.digest[:12]}-{hashlib.sha256(decides.encode()).hexdigest()[:12]}"
        path = folder / f"{attack.replace(':', '.')}-{key}.safetensors"
        if team.own or is_own(config) or not path.with_suffix(".json").exists():
            output.note(f"fitting {attack} to {team.policy} …")
            save_fitted(path, attack, config, team, FitPlan())
        return path

    return refit


def _room() -> int:
    """A terminal may be narrower than a table should be at most."""
    return min(ROOM, shutil.get_terminal_size().columns) if sys.stdout.isatty() else ROOM


def _words(flag: str, text: str) -> tuple[str, ...]:
    words = [word.strip() for word in re.split(r",(?![^\[]*\])", text)]  # commas in brackets part options
    if "" in words:
        raise CommandError(f'{flag} "{text}": a name is missing; write names with commas between them', WRONG_USE)
    if twice := [word for i, word in enumerate(words) if word in words[:i]]:
        raise CommandError(f'{flag} "{text}": "{twice[0]}" is named twice', WRONG_USE)
    return tuple(words)
