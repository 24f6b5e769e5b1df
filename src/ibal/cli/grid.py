"""``ibal grid``: the runs of a study, on this machine, a Ray cluster or Slurm.

ibal grid new paper --tables 7,9 --maps 3m,8m --seeds 3 --budget laptop --out studies/paper
ibal grid new defenders --seeds 3 --budget laptop --out studies/paper/defenders.toml      # shares what is done there
ibal grid run studies/paper
ibal grid run studies/paper --on slurm --workers 40
ibal grid status studies/paper --watch
ibal report studies/paper
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ibal.cli.output import (
    FAILED,
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_number,
    a_path,
    add_flags,
    count_type,
    output_of,
    unwritable,
)
from ibal.options import ConfigError, names
from ibal.registry import hint

if TYPE_CHECKING:
    from ibal.experiments.grid.held import Held, Status

SHOWN = 40  # lines of a status: all that fail, and what runs
ON = ("local", "ray", "slurm")
BUDGETS = ("smoke", "laptop", "paper")


def main(argv: list[str]) -> int:
    """Run ``ibal grid`` with the arguments after ``grid``."""
    options = _parser().parse_args(argv)
    return options.do(options, output_of(options))


def _parser() -> argparse.ArgumentParser:
    out = Parser(prog="ibal grid", allow_abbrev=False, description="Do the runs of a study: trainings, attackers, "
                 "evaluations. A study is a folder with a study.toml; what is done is never done again, and what was "
                 "interrupted goes on bit for bit.")  # fmt: skip
    parts = out.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, do: Callable[..., int], help_: str, study: bool = True) -> argparse.ArgumentParser:
        part = parts.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        if study:
            part.add_argument("study", type=a_path, metavar="STUDY", help="folder of a study.toml, or that file")
        part.set_defaults(do=do)
        add_flags(part)
        return part

    add = action("run", _run, "do what is missing").add_argument
    add("--on", metavar="WHERE", default="local", help=f"who does it: {', '.join(ON)} (default local)")
    add("--workers", type=count_type("--workers"), metavar="N",
        help="processes, tasks or jobs at a time (default: what cores and memory allow)")  # fmt: skip
    add("--threads", type=count_type("--threads"), metavar="N", help="cores of each (default 1)")
    add("--memory-gb", type=a_number(0.1), metavar="GB", help="of memory: local: all workers together; else each job")
    add("--per-gpu", type=count_type("--per-gpu"), metavar="N", help="local: workers that share a GPU (default 1)")
    add("--gpus", type=a_number(0), metavar="N", help="ray, slurm: GPUs of each (default 0)")
    add("--address", metavar="ADDRESS", help="ray: of a cluster, as ray://host:10001 (default: one on this machine)")
    add("--partition", metavar="NAME", help="slurm: partition")
    add("--minutes", type=count_type("--minutes"), metavar="N", help="slurm: time limit of a job (default 240)")
    add("--cluster", metavar="KIND", help="slurm: slurm, local or debug: submitit's executors (default slurm)")
    add = action("status", _status, "tell what is done, running, waiting and failed, and why").add_argument
    add("--watch", action="store_true", help="again and again, until all is done")
    add("--all", action="store_true", help="a line for every run")
    action("retry", _retry, "let runs that failed be tried again (then: ibal grid run)")
    action("stop", _stop, "let all workers save and end, wherever they are")
    add = action("clean", _clean, "remove checkpoints that nobody needs any more").add_argument
    add("--all", action="store_true", help="also runs that no study of the folder has any more")
    new = action("new", _new, "write a study", study=False)
    new.add_argument(
        "what",
        metavar="WHAT",
        help="paper: tables and figures of the paper; matrix: its nine methods under "
        "all attacks; ablations: its figures 8, 9, 16, 17 and table 1; defenders: ours beside the nine",
    )
    add = new.add_argument
    add("--tables", metavar="N,…", help="of the paper: 1, 7 to 13")
    add("--figures", metavar="N,…", help="of the paper: 8, 9, 13, 16, 17")
    add("--maps", metavar="M,…", help="only these maps (default: all that it is about)")
    add("--methods", metavar="M,…", help="matrix, defenders: these methods (default: all that it compares)")
    add("--seeds", type=count_type("--seeds"), default=5, metavar="N", help="of every method (default 5)")
    add("--budget", default="paper", metavar="WORD", help=f"how much: {', '.join(BUDGETS)} (default paper)")
    add(
        "--out",
        required=True,
        type=a_path,
        metavar="FOLDER",
        help="of the study; must have no study.toml yet. Or a file "
        "FOLDER/name.toml: studies of one folder share what is done",
    )
    return out


def _held(options: argparse.Namespace) -> Held:
    from ibal.experiments.grid.held import Held

    return Held(options.study)


def _run(options: argparse.Namespace, output: Output) -> int:
    of = {
        "local": ("workers", "threads", "memory_gb", "per_gpu"),
        "ray": ("workers", "threads", "memory_gb", "gpus", "address"),
        "slurm": ("workers", "threads", "memory_gb", "gpus", "partition", "minutes", "cluster"),
    }  # fmt: skip
    if options.on not in of:
        raise CommandError(f'--on "{options.on}" is nowhere.{hint(options.on, ON)} Allowed: {", ".join(ON)}', WRONG_USE)
    every = {name for group in of.values() for name in group}
    if odd := sorted(name for name in every - set(of[options.on]) if getattr(options, name) is not None):
        raise CommandError(f"--{odd[0].replace('_', '-')} is not for --on {options.on}", WRONG_USE)
    held = _held(options)
    missing = len(held.missing())
    output.note(f"{held.study.name}: {len(held.planned.runs)} runs, {missing} to do")
    given = {name: getattr(options, name) for name in of[options.on]}
    started = time.monotonic()
    try:
        finished = held.run(options.on, output.note, **given)
    except OSError as error:
        if isinstance(error, ChildProcessError):
            raise CommandError(str(error), FAILED) from error
        raise unwritable(error, held.store.path) from error
    except ModuleNotFoundError as error:
        raise CommandError(str(error), FAILED) from error
    status = held.status()
    output.result(_as_data(held, status) | {"did": missing, "seconds": round(time.monotonic() - started, 1)},
                  _as_text(held, status, False))  # fmt: skip
    return OK if finished else FAILED


def _status(options: argparse.Namespace, output: Output) -> int:
    held = _held(options)
    if not options.watch or output.json:
        status = held.status()
        output.result(_as_data(held, status), _as_text(held, status, options.all))
        return OK
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        while True:
            status = held.status()
            live.update(Text(_as_text(held, status, options.all)), refresh=True)
            if not status.counts["running"] + status.counts["waiting"]:
                return OK
            time.sleep(2.0)


def _retry(options: argparse.Namespace, output: Output) -> int:
    held = _held(options)
    found = held.retry()
    output.result({"retried": [run.label for run in found]},
                  f"{len(found)} runs may be tried again: ibal grid run {options.study}")  # fmt: skip
    return OK


def _stop(options: argparse.Namespace, output: Output) -> int:
    held = _held(options)
    held.stop()
    output.result({"stopped": True}, "workers end after what they do now; ibal grid run goes on")
    return OK


def _clean(options: argparse.Namespace, output: Output) -> int:
    freed = _held(options).clean(options.all)
    output.result({"bytes": freed}, f"{freed / 1e6:.1f} MB are free")
    return OK


def _new(options: argparse.Namespace, output: Output) -> int:
    from ibal.experiments.paper import paper_study
    from ibal.experiments.studies import NAMES, named_study
    from ibal.experiments.study import STUDY_FILE, read_study
    from ibal.experiments.toml_text import to_toml
    from ibal.files import replace_text

    if options.what not in NAMES:
        near = hint(options.what, NAMES)
        raise CommandError(f'"{options.what}" is no study.{near} There are: {", ".join(NAMES)}', WRONG_USE)
    tables, figures = _numbers("--tables", options.tables), _numbers("--figures", options.figures)
    maps, methods = _words("--maps", options.maps), _words("--methods", options.methods)
    if options.what != "paper" and (tables or figures):
        raise CommandError(f"--tables and --figures are for paper; leave them out of {options.what}", WRONG_USE)
    if options.what == "paper" and methods:
        raise CommandError("--methods is for matrix and defenders: the paper says which methods a table has", WRONG_USE)
    if options.what == "paper":
        made = paper_study(tables, figures, maps, options.seeds, options.budget)
    else:
        made = named_study(options.what, maps=maps, methods=methods, seeds=options.seeds, budget=options.budget)
    study = read_study(made)
    ending = options.out.suffix
    if ending != ".toml" and ending[1:].isalpha():
        folder, file = options.out.with_suffix(""), options.out.with_suffix(".toml")
        raise CommandError(
            f"--out {options.out}: a study is a folder or a .toml file; name {folder} or {file}", WRONG_USE
        )
    path = options.out if ending == ".toml" else options.out / STUDY_FILE
    if path.exists():
        raise CommandError(f"--out {options.out}: there is a {path.name} already; name another one", WRONG_USE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, to_toml(made))
    except OSError as error:
        raise unwritable(error, path) from error
    from ibal.experiments.runs import runs_of

    planned = runs_of(study, path.parent)
    kinds = {kind: sum(run.kind == kind for run in planned.runs) for kind in ("train", "fit", "cell")}
    steps: dict[str, int] = {}
    for _, config in planned.trainings.values():
        steps[config.env] = steps.get(config.env, 0) + config.seeds * config.train.steps
    text = "{train} trainings, {fit} attackers, {cell} cells".format(**kinds)
    each = ", ".join(f"{count / 1e6:.3g}M on {env.removeprefix('smac/')}" for env, count in steps.items())
    said = f"{path}: {text}; environment steps to train: {each}. Begin: ibal grid run {options.out}"
    output.result({"study": str(path), **kinds, "env_steps": steps}, said)
    return OK


def _words(flag: str, text: str | None) -> list[str]:
    """Read names with commas between them; None: the option is not given, and "" is no way to leave it out."""
    return [] if text is None else list(names(flag, text))


def _numbers(flag: str, text: str | None) -> list[int]:
    try:
        return [int(word) for word in _words(flag, text)]
    except ConfigError:
        raise
    except ValueError:
        raise CommandError(f'{flag} "{text}" must be numbers with commas between them, as 7,9', WRONG_USE) from None


def _as_data(held: Held, status: Status) -> dict[str, Any]:
    lines = [{"id": line.run.id, "label": line.run.label, "state": line.state, "more": line.more,
              "seconds": line.seconds} for line in status.lines]  # fmt: skip
    engines = sorted({str(line.run.what["engine"]) for line in status.lines if line.run.kind != "call"})
    return {
        "study": held.study.name,
        "engine": engines,
        "counts": status.counts,
        "left_s": status.left_s,
        "runs": lines,
    }


def _as_text(held: Held, status: Status, every: bool) -> str:
    """Return a table: first what runs and what has failed, then what waits."""
    order = ("failed", "running", "waiting", "blocked", "done")
    lines = sorted(status.lines, key=lambda line: order.index(line.state))
    shown = lines if every else [line for line in lines if line.state not in ("done", "waiting")][:SHOWN]
    counts = ", ".join(f"{count} {name}" for name, count in status.counts.items() if count) or "nothing to do"
    left = "" if not status.left_s else f"; about {_hours(status.left_s)} left"
    width = max((len(line.run.label) for line in shown), default=0)
    body = [f"  {line.state:<8} {line.run.label:<{width}}  {line.more}".rstrip() for line in shown]
    return "\n".join([f"{held.study.name}: {counts}{left}", *body])


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )
