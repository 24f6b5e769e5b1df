"""``ibal evaluate`` with attacks and perturbations: the matrix, its folder and its table."""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal.cli.output import WRONG_USE, CommandError, Output, check_folder, unwritable

if TYPE_CHECKING:
    from rich.table import Table

    from ibal.evaluate.matrix import Team

WIDE = 200  # columns of a table that no terminal shows


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
    from ibal.evaluate.perturb import checked

    try:
        for name in perturbations:
            checked(name)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error
    if options.attackers is not None and not options.attackers.is_dir():
        raise CommandError(f"--attackers {options.attackers}: there is no such folder", WRONG_USE)
    if options.refit and (options.attackers or not options.out):
        raise CommandError("--refit fits attackers of its own into --out FOLDER; give that, not --attackers", WRONG_USE)
    if options.out is not None:
        check_folder(options.out)
    return Asked(attacks, perturbations, options.attackers, options.refit, options.out, options.episodes, options.seed)


def attack_names(text: str) -> tuple[str, ...]:
    """Read ``natural,interaction[fill=mean]``. Raises CommandError, or UnknownName with the closest attack."""
    from ibal.evaluate.bank import configuration

    names = _words("--attacks", text)
    try:
        for name in names:
            configuration(name)
    except ValueError as error:
        raise CommandError(f"--attacks {error}", WRONG_USE) from error
    return names


def show(ask: Asked, teams: Sequence[Team], output: Output) -> None:
    """Play, write and print the matrix."""
    from ibal.evaluate.bank import Bank
    from ibal.evaluate.evaluation import evaluate
    from ibal.evaluate.matrix import Plan, cells

    bank = Bank(ask.attackers, _refitting(ask.out / "attackers", output) if ask.refit and ask.out else None)
    try:
        todo = cells(teams, bank.attack, ask.attacks, ask.perturbations)
    except (ValueError, FileNotFoundError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    try:
        done = evaluate(todo, Plan(ask.episodes, ask.seed), ask.out, output.note)
    except OSError as error:
        raise unwritable(error, ask.out) from error
    if ask.out is not None:
        output.note(f"wrote {ask.out / 'episodes.parquet'} ({done.rows.height} rows), summary.json and card.json")
    data = {"rows": done.entries, "episodes": ask.episodes, "seed": ask.seed, "remained": done.card["remained"]}
    output.result(data, as_text(done.entries, _room()))


def _refitting(folder: Path, output: Output) -> Callable[[str, Any, Team], Path]:
    """Return what fits an attack to a team, or finds that this was done before."""
    from ibal.experiments.fitting import FitPlan, save_fitted

    def refit(attack: str, config: Any, team: Team) -> Path:
        path = folder / f"{attack.replace(':', '.')}-{team.digest[:12]}.safetensors"
        if not path.with_suffix(".json").exists():
            output.note(f"fitting {attack} to {team.policy} …")
            save_fitted(path, attack, config, team, FitPlan())
        return path

    return refit


def as_text(entries: Sequence[dict[str, Any]], room: int) -> str:
    """Return rows of policies and columns of attacks x perturbations; one table per perturbation where all of them
    together are wider than ``room`` columns. Below a number stands its 95 % interval, ± is the standard deviation over
    seeds."""
    perturbations = list(dict.fromkeys(entry["perturbation"] for entry in entries))
    whole = _rendered(_table(entries, perturbations))
    if max(map(len, whole.splitlines())) <= room or len(perturbations) == 1:
        return whole
    return "\n\n".join(_rendered(_table(entries, [name])) for name in perturbations)


def _table(entries: Sequence[dict[str, Any]], perturbations: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    attacks = list(dict.fromkeys(entry["attack"] for entry in entries))
    columns = [(attack, name) for name in perturbations for attack in attacks]
    rows = list(dict.fromkeys((entry["policy"], entry["env"]) for entry in entries))
    found = {(e["policy"], e["env"], e["attack"], e["perturbation"]): e for e in entries}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    worlds = {env for _, env in rows}
    table.add_column("policy" if len(worlds) > 1 else f"policy ({worlds.pop()})", no_wrap=True)
    if worlds:
        table.add_column("environment", no_wrap=True)
    for attack, name in columns:
        table.add_column(attack if name == "none" else f"{attack}\n{name}", no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*row[: 1 + bool(worlds)], *(_cell(found.get((*row, *column))) for column in columns))
    return table


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "-"
    score, digits = ("return", 2) if entry["win_rate"] is None else ("win_rate", 3)
    low, high = entry["win_rate_wilson"] or entry[f"{score}_interval"]
    sd = entry[f"{score}_sd"]
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    return f"{entry[score]:.{digits}f}{spread}\n[{low:.{digits}f}, {high:.{digits}f}]"


def _rendered(table: Table) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100_000, color_system=None, markup=False)
    with console.capture() as text:
        console.print(table)
    return "\n".join(line.rstrip() for line in text.get().splitlines() if line.strip())


def _room() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def _words(flag: str, text: str) -> tuple[str, ...]:
    words = [word.strip() for word in re.split(r",(?![^\[]*\])", text)]  # commas in brackets part options
    if "" in words:
        raise CommandError(f'{flag} "{text}": a name is missing; write names with commas between them', WRONG_USE)
    if twice := [word for i, word in enumerate(words) if word in words[:i]]:
        raise CommandError(f'{flag} "{text}": "{twice[0]}" is named twice', WRONG_USE)
    return tuple(words)
