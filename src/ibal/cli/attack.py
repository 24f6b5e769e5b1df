"""``ibal attack``: fit an attack to policies, and see what it does to them.

ibal attack runs/qmix-8m --out attackers/held-out
ibal attack qmix_8m.safetensors --env 8m --set masks=dimension --steps 2000 --out attackers/literal
ibal attack list interaction
ibal attack check my_pkg.mod:MyConfig
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.cli.output import (
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_number,
    a_path,
    add_flags,
    check_folder,
    claim,
    count_type,
    output_of,
    seed_type,
    unwritable,
)
from ibal.evaluation.felt import badly_fitted
from ibal.options import ConfigError, field_helps, pairs, with_options
from ibal.registry import Own

if TYPE_CHECKING:
    from ibal.evaluation.matrix import Team
    from ibal.experiments.fitting import FitPlan


def main(argv: list[str]) -> int:
    """Run ``ibal attack`` with the arguments after ``attack``."""
    if argv[:1] == ["list"]:
        return _list(argv[1:])
    if argv[:1] == ["check"]:
        from ibal.cli import attack_check

        return attack_check.main(argv[1:])
    options = _parser().parse_args(argv)
    output = output_of(options)
    attack, config, plan = _asked(options)
    from ibal.api.given import MADE
    from ibal.evaluation.teams import teams_of

    rows = []
    for label, team in teams_of(options.policies, options.env, output.note, MADE):
        path = options.out / f"{_stem(attack, team)}.safetensors"
        with claim(options.out, f".{path.stem}.claim"):  # others may well put other attackers there at the same time
            if path.exists():
                raise CommandError(f"{path} exists; name another folder with --out, or delete it", WRONG_USE)
            output.note(f"fitting {attack} to {label} …")
            found = _fit(path, attack, config, team, plan, options.check)
        rows.append({"policy": label, "env": team.env.spec.name} | found)
        output.note(f"wrote {path}")
    output.result({"attack": attack, "rows": rows}, "\n".join(_line(row) for row in rows))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal attack",
        description="Fit an attack that learns to each of the policies: one attacker (.safetensors and .json) per "
        'policy, to be used by "ibal evaluate --attackers FOLDER" on these or any other policies of the environment. '
        '"ibal attack list" prints the attacks and what their options mean, "ibal attack check NAME" holds one, your '
        "own above all, to what it says it does.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policies", nargs="+", metavar="POLICY", help="a run folder (all its seeds), a bundle or a PyMARL file")
    add(
        "--attack",
        default="interaction",
        metavar="NAME",
        help="which attack (default interaction), or my_pkg.mod:MyConfig",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of it; may be given more than once",
    )
    add("--env", metavar="NAME",
        help="environment (default: the one a policy was trained on), with options in brackets if need be: "
        "smac/8m[version=2026-11]")  # fmt: skip
    add("--out", required=True, type=a_path, metavar="FOLDER", help="where the attackers go")
    add("--episodes", type=count_type("--episodes"), default=512, metavar="N",
        help="natural episodes to learn from (default 512)")  # fmt: skip
    add("--steps", type=count_type("--steps"), default=1000, metavar="N",
        help="gradient steps of each model (default 1000)")  # fmt: skip
    add("--rounds", type=count_type("--rounds"), metavar="N",
        help="iterations of 32 episodes of an attack that learns by playing (default: its own number)")  # fmt: skip
    add("--epsilon", type=a_number(0, 1), default=0.05, metavar="X",
        help="random share of the policy's actions (default 0.05)")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="of episodes and models (default 0)")
    add("--check", type=count_type("--check", 0), default=256, metavar="N",
        help="episodes that show what it does to its own victim, for its card, too (default 256; 0: none)")  # fmt: skip
    add_flags(out)
    return out


def _asked(options: argparse.Namespace) -> tuple[str, Any, FitPlan]:
    """Check everything that needs no policy."""
    from ibal.adversaries import TABLE, configured, learns
    from ibal.experiments.fitting import FitPlan

    attack = TABLE.resolve(Own(options.attack))
    try:
        config = with_options(configured(attack), pairs("--set", options.set))
    except ConfigError as error:
        raise CommandError(str(error), WRONG_USE) from error
    if not learns(config):
        cell = f"{attack}[{','.join(options.set)}]" if options.set else attack
        raise CommandError(f'"{cell}" learns nothing: evaluate it as it is, with --attacks "{cell}"', WRONG_USE)
    check_folder(options.out)
    try:
        plan = FitPlan(options.episodes, options.steps, options.rounds, options.epsilon, options.seed)
        return attack, config, plan
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error


def _fit(path: Path, attack: str, config: Any, team: Team, plan: FitPlan, check: int) -> dict[str, Any]:
    from ibal.api.fit import checked, fitted
    from ibal.evaluation.episodes import check_games

    check_games(team.env, team.player, check, team.params)  # before what takes long
    try:
        attacker = fitted(attack, config, team, plan)
        attacker, played = checked(attacker, team, check) if check else (attacker, None)
        attacker.save(path)
    except ValueError as error:  # an option that is impossible in this environment
        raise CommandError(f"{error}{_instead(attack, team)}", WRONG_USE) from error
    except OSError as error:
        raise unwritable(error, path) from error
    effect = {} if played is None else dict(zip(("natural", "attacked"), played.of_teams(), strict=True))
    return {"attacker": str(path), "badly_fitted": badly_fitted(attacker.meta)} | effect


def _instead(attack: str, team: Team) -> str:
    """Say how to choose what can be fitted here."""
    from ibal.adversaries import TABLE, built, configured, learns
    from ibal.adversaries.base import refusal
    from ibal.experiments.fitting import policy_of

    found: list[str] = []
    for name in TABLE:
        if name == attack or not learns(configured(name)):
            continue
        with contextlib.suppress(ValueError):
            if not refusal(built(configured(name), team.env.spec).threat, policy_of(team)):
                found.append(f"--attack {name}")
    others = f"can be fitted here: {', '.join(found)}" if found else "no attack that learns can be fitted here"
    return f". Options of {attack}: --set NAME=VALUE (ibal attack list {attack}); {others}"


def _stem(attack: str, team: Team) -> str:
    """Name a bundle after attack, environment and victim; what distinguishes victims is the start of their hash."""
    words = f"{attack}-{team.env.spec.name.split('/')[-1]}-{Path(team.policy).stem}-{team.digest[:8]}"
    return re.sub(r"[^\w.-]", "_", words)


def _line(row: dict[str, Any]) -> str:
    if "natural" not in row:
        return f"{row['policy']}: {row['attacker']}"
    score, name = ("return", "return") if row["natural"]["win_rate"] is None else ("win_rate", "win rate")
    before, after = row["natural"][score], row["attacked"][score]
    bad = ", badly fitted: it does its own victim no harm" if row["badly_fitted"] else ""
    return f"{row['policy']}: {name} {before:.3f} natural, {after:.3f} attacked{bad} ({row['attacker']})"


def _list(argv: list[str]) -> int:
    parser = Parser(
        prog="ibal attack list", description="Print the attacks and what their options mean.", allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="ATTACK", help="only these (default: all)")
    add_flags(parser)
    options = parser.parse_args(argv)
    output: Output = output_of(options)
    from ibal.adversaries import TABLE, learns
    from ibal.adversaries.fault_names import FAULTS

    rows = []
    known = {**TABLE.entries, **FAULTS.entries}
    asked = [name if name in FAULTS else TABLE.resolve(Own(name)) for name in options.names or known]
    for name in dict.fromkeys(asked):
        config = (FAULTS if name in FAULTS else TABLE).make(name)
        about = known[name].help if name in known else inspect.cleandoc(type(config).__doc__ or "")
        told = _told(config)
        rows.append({
            "name": name, "help": about.partition("\n")[0], "learns": learns(config),
            "options": {key: value for key, value, _ in told},
            "option_help": {key: text for key, _, text in told},
        })  # fmt: skip
    width = max(len(row["name"]) for row in rows)
    lines = [f"{row['name']:<{width}}  {row['help']}{' (has to be fitted)' * row['learns']}" for row in rows]
    if set(asked) & set(FAULTS):
        lines += ["", "Faults have their number, and the first and the last step, in the name, and come together: "
                  "lost-30, stop-1@40-60, hp-15+lost-30"]  # fmt: skip
    for row in rows:
        if row["options"]:
            lines += ["", f"{row['name']}:"]
        for key, value in row["options"].items():
            lines.append(f"  {key} = {_written(value)}")
            lines += textwrap.wrap(row["option_help"][key], 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    output.result({"attacks": rows}, "\n".join(lines))
    return OK


def _told(config: Any, where: str = "") -> list[tuple[str, Any, str]]:
    """Return every option under its dotted name, with its default and what it means."""
    found: list[tuple[str, Any, str]] = []
    helps = field_helps(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found += _told(value, f"{where}{field.name}.")
        else:
            found.append((where + field.name, value, helps[field.name]))
    return found


def _written(value: Any) -> str:
    """Return a default as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
