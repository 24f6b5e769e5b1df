"""``ibal zoo``: teams and attackers worth keeping, and the board.

ibal zoo list
ibal zoo show smac/8m/ibal-0
ibal zoo get smac/8m/ibal-0 --out mine
ibal zoo check runs/mine --zoo board
ibal zoo push smac/8m/mine-0 runs/mine/policy/seed-0.safetensors --zoo board --licence Apache-2.0
ibal zoo pull https://example.org/zoo --zoo here
ibal zoo push smac/8m/mine-0 runs/mine/policy/seed-0.safetensors --zoo hf:me/teams
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ibal.cli.output import (
    FAILED,
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_path,
    add_flags,
    check_folder,
    count_type,
    output_of,
    seed_type,
    unwritable,
)
from ibal.evaluation.felt import told
from ibal.files import appear_bytes
from ibal.registry import hint, quoted
from ibal.zoo import Zoo, bare, described


def main(argv: list[str]) -> int:
    """Run ``ibal zoo`` with the arguments after ``zoo``."""
    options = _parser().parse_args(argv)
    try:
        return options.do(options, output_of(options))
    except OSError as error:
        raise unwritable(error, getattr(options, "out", None)) from error


def _parser() -> argparse.ArgumentParser:
    out = Parser(prog="ibal zoo", allow_abbrev=False, description="Teams and attackers worth keeping, by name. They go "
                 "wherever a policy goes, as zoo:smac/8m/ibal-0.")  # fmt: skip
    parts = out.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, do: Callable[..., int], help_: str) -> argparse.ArgumentParser:
        part = parts.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        part.add_argument(
            "--zoo",
            metavar="WHERE",
            help="a folder, an URL, or hf:OWNER/NAME of the Hugging Face hub "
            "(default: $IBAL_ZOO, or that of the sources)",
        )
        part.set_defaults(do=do)
        add_flags(part)
        return part

    part = action("list", _list, "list what there is")
    part.add_argument("--env", metavar="NAME", help="only of this environment")
    part.add_argument("--kind", choices=("team", "attacker"), help="only these")
    action("show", _show, "tell all that is known of an entry").add_argument("name", metavar="NAME")
    part = action("get", _get, "copy a bundle, compared with the index")
    part.add_argument("name", metavar="NAME")
    part.add_argument("--out", type=a_path, default=Path(), metavar="FOLDER", help="where to (default: here)")
    part = action("check", _check, "play a team under the protocol, and write its row into a zoo that is a folder")
    part.add_argument("candidate", metavar="CANDIDATE", help="a bundle, a run folder, or zoo:NAME")
    part.add_argument("--episodes", type=count_type("--episodes"), default=512, metavar="N", help="of a cell (512)")
    part.add_argument("--seed", type=seed_type(), default=0, metavar="N", help="of the episodes (default 0)")
    part.add_argument("--results", type=a_path, metavar="EVALUATION",
        help="a folder of ibal evaluate --out that makes claims about it (default: those of its entry)")  # fmt: skip
    part.add_argument("--no-refit", action="store_true", help="fit nothing to it: quick, and no protocol")
    part = action("board", _board, "write the page of all that was checked")
    part.add_argument("--out", type=a_path, metavar="FILE", help="default: board.html of the zoo")
    part = action("push", _push, "put a bundle into a zoo that is a folder or on the hub")
    part.add_argument("name", metavar="NAME")
    part.add_argument("file", type=a_path, metavar="BUNDLE")
    part.add_argument("--replace", action="store_true", help="even if something else has that name")
    part.add_argument("--licence", default="", help="under which it may be used, as Apache-2.0")
    part.add_argument("--note", default="", help="a sentence about it")
    part.add_argument("--results", type=a_path, metavar="EVALUATION",
        help="a folder of ibal evaluate --out with episodes of it: its numbers become claims of the entry")  # fmt: skip
    part = action("pull", _pull, "copy entries of another zoo into one that is a folder or on the hub")
    part.add_argument("source", metavar="WHERE", help="a folder, an URL, or hf:OWNER/NAME")
    part.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    return out


def _list(options: argparse.Namespace, output: Output) -> int:
    zoo = Zoo(options.zoo)
    env = None if options.env is None else _environment(options.env, {one["env"] for one in zoo.entries.values()})
    found = {name: one for name, one in zoo.entries.items()
             if env in (None, one["env"]) and options.kind in (None, one["kind"])}  # fmt: skip
    width = max(map(len, found), default=0)
    lines = [
        f"{name:<{width}}  {one['kind']:<8}  {_made(one)}, rules {one.get('version', '?')}"
        for name, one in found.items()
    ]
    output.result({"zoo": zoo.where, "entries": found}, "\n".join(lines) or f"{zoo.where} has nothing of it")
    return OK


def _environment(name: str, held: Collection[str]) -> str:
    """Return the environment that is meant, of a short name ("3m") too. Raises CommandError for one that is neither in
    the zoo nor anywhere."""
    if name in held:
        return name
    from ibal import envs

    try:
        return envs.named(name)[0]
    except ValueError as error:
        raise CommandError(
            f"--env {quoted(name)}: there is no such environment.{hint(name, held)} Leave it out for all", WRONG_USE
        ) from error


def _made(one: Mapping[str, Any]) -> str:
    """Say how something of the zoo came about."""
    if one["kind"] == "attacker":
        return f"{one.get('attack', '?')} {told(one.get('fitted', {}))}"
    steps = one.get("env_steps")
    return f"{one.get('method', '')}, {f'{steps:,}' if isinstance(steps, int) else '?'} steps"


def _show(options: argparse.Namespace, output: Output) -> int:
    entry = Zoo(options.zoo).entry(bare(options.name))
    output.result({"name": options.name, **entry}, json.dumps(entry, indent=1, ensure_ascii=False))
    return OK


def _get(options: argparse.Namespace, output: Output) -> int:
    name = bare(options.name)
    file = Zoo(options.zoo).local(name)
    check_folder(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{name.replace('/', '-')}.safetensors"
    for suffix in (".json", ".safetensors"):
        appear_bytes(target.with_suffix(suffix), file.with_suffix(suffix).read_bytes())
    output.result({"file": str(target)}, str(target))
    return OK


def _check(options: argparse.Namespace, output: Output) -> int:
    from ibal.api import zoo as checks
    from ibal.api.claims import told as told_claim

    place = Zoo(options.zoo)
    done = checks.check(options.candidate, place, episodes=options.episodes, seed=options.seed,
                        refit=() if options.no_refit else (checks.REFIT,), results=options.results,
                        note=output.note)  # fmt: skip
    page = None if place.remote else checks.keep(done, place)
    lines = [f"{done.name}: {done.row['score']} by attack, the worst first"]
    lines += [f"  {one['score']:7.3f}  {one['attack']}, {one['perturbation']}" for one in done.row["cells"]]
    lines += [f"{one['attack']}, {one['perturbation']}: {told_claim(one)}" for one in done.row["claims"]]
    output.result(
        done.row | {"board": str(page) if page else None}, "\n".join([*lines, *([f"board: {page}"] * bool(page))])
    )
    return FAILED if any(one["holds"] is False for one in done.row["claims"]) else OK


def _board(options: argparse.Namespace, output: Output) -> int:
    from ibal.api.zoo import board

    page = board(Zoo(options.zoo), options.out)
    output.result({"page": str(page)}, str(page))
    return OK


def _push(options: argparse.Namespace, output: Output) -> int:
    if options.zoo is None:
        raise CommandError("push needs --zoo: the folder or the hf:OWNER/NAME to put it into", WRONG_USE)
    facts: dict[str, Any] = {
        name: value for name, value in (("licence", options.licence), ("note", options.note)) if value
    }
    digest = described(options.file)["sha256"]
    if options.results is not None:
        from ibal.api.claims import of_evaluation, read

        # Held to what ``check`` will read, so that nothing is pushed that nobody can play again.
        facts["claims"] = read(of_evaluation(options.results, digest), str(options.results))
    zoo, name = Zoo(options.zoo), bare(options.name)
    before = zoo.known().get(name)
    if before is not None and not options.replace and before["sha256"] != digest:
        raise CommandError(f"{zoo.where} has another {name}; choose another name, or say --replace", WRONG_USE)
    entry = zoo.add(name, options.file, facts)
    output.result({"name": options.name, **entry}, f"{options.zoo}: {name} ({entry['sha256'][:12]})")
    return OK


def _pull(options: argparse.Namespace, output: Output) -> int:
    if options.zoo is None:
        raise CommandError("pull needs --zoo: the folder or the hf:OWNER/NAME to put it into", WRONG_USE)
    came = Zoo(options.zoo).pull(Zoo(options.source), map(bare, options.names))
    output.result({"came": came}, "\n".join(came) or "nothing is new")
    return OK
