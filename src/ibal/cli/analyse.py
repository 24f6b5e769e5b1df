"""``ibal analyse``: why an interaction-breaking attack works on a policy, as numbers and pictures.

ibal analyse runs/qmix-8m --attacker attackers/8m --out analysis/8m
ibal analyse qmix_8m.safetensors --env 8m --attacker a.safetensors --attacker2 b.safetensors --out analysis/8m
"""

from __future__ import annotations

import argparse
import json
import math
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
from ibal.files import replace_text
from ibal.registry import Own

if TYPE_CHECKING:
    from ibal.adversaries.bundle import Attacker
    from ibal.evaluation.matrix import Team
    from ibal.types import EnvSpec


def main(argv: list[str]) -> int:
    """Run ``ibal analyse`` with the arguments after ``analyse``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    _check(options)
    from ibal.evaluation.teams import teams_of

    label, team = teams_of([options.policy], options.env, output.note)[0]
    attackers = _attackers(options, team.env.spec)
    try:
        with claim(options.out):
            numbers = _analyse(options, label, team, attackers, output)
            text = json.dumps(_plain(numbers), indent=1, allow_nan=False) + "\n"
            replace_text(options.out / "numbers.json", text)
    except OSError as error:
        raise unwritable(error, options.out) from error
    except ValueError as error:  # what the attacker or the environment does not have
        raise CommandError(str(error), WRONG_USE) from error
    output.note(f"wrote {options.out / 'numbers.json'} and the pictures beside it")
    output.result(_plain(numbers), as_text(numbers))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal analyse",
        description="Say why an interaction-breaking attack works on a policy: whether its masks hide the other group, "
        "what the actions it chooses tell, and what its sum over pairs and entries leaves out. Writes numbers.json and "
        "dimensions, actions and redundancy as .svg and .png.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policy", metavar="POLICY", help="a run folder (its lowest seed), a bundle or a PyMARL file")
    add("--attacker", type=a_path, required=True, metavar="FILE",
        help="a fitted attacker, or a folder: its first one for this environment")  # fmt: skip
    add("--attacker2", type=a_path, metavar="FILE", help="a second one, to see what two fits agree on (default: the "
        "second of the folder, if it has one)")  # fmt: skip
    add("--attack", metavar="NAME", help="the attack, where it is one of your own: my_pkg.mod:MyConfig")
    add("--env", metavar="NAME", help="environment (default: the one the policy was trained on)")
    add("--out", type=a_path, required=True, metavar="FOLDER", help="where numbers and pictures go")
    add("--episodes", type=count_type("--episodes", 2), default=512, metavar="N",
        help="natural episodes to measure on (default 512)")  # fmt: skip
    add("--steps", type=count_type("--steps"), default=600, metavar="N",
        help="gradient steps of each model fitted here (default 600)")  # fmt: skip
    add("--epsilon", type=a_number(0, 1), default=0.05, metavar="X",
        help="random share of the policy's actions (default 0.05)")  # fmt: skip
    add("--agent", type=count_type("--agent", 0), default=0, metavar="I", help="the agent of the picture (default 0)")
    add("--seed", type=seed_type(), default=0, metavar="N", help="of episodes and models (default 0)")
    add_flags(out)
    return out


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.epsilon <= 1:
        raise CommandError(f"--epsilon must be between 0 and 1, not {options.epsilon}", WRONG_USE)
    check_folder(options.out)


def _attackers(options: argparse.Namespace, spec: EnvSpec) -> list[tuple[str, Attacker]]:
    """Read one attacker or two, and refuse what has not learned what is to be looked at."""
    from ibal.adversaries import configured
    from ibal.adversaries.bundle import load_attacker

    attack = Own("interaction" if options.attack is None else options.attack)
    configured(attack)
    files = _files(options.attacker, spec, attack)
    if options.attacker2 is not None:
        files = [files[0], _files(options.attacker2, spec, attack)[0]]
    out = []
    for file in files[:2]:
        try:
            found = load_attacker(file, spec, None if options.attack is None else Own(options.attack))
        except (OSError, ValueError) as error:
            raise CommandError(str(error), WRONG_USE) from error
        if getattr(found.state, "theta", None) is None or getattr(found.state, "phi", None) is None:
            raise CommandError(
                f'{file} holds "{found.attack}", which has not learned both what entries and what actions tell; fit an '
                "interaction attacker with masks=block or dimension and actions=information",
                WRONG_USE,
            )
        out.append((str(file), found))
    return out


def _files(path: Path, spec: EnvSpec, attack: str) -> list[Path]:
    """Return the attackers that a path means, in order of their names."""
    if not path.is_dir():
        if not path.exists():
            raise CommandError(f"there is no attacker {path}; fit one with ibal attack", WRONG_USE)
        return [path]
    from ibal.evaluation.bank import attackers_in

    fitted = {file: world for file, (name, world, _) in attackers_in(path).items() if name == attack}
    if found := [file for file, world in fitted.items() if world == spec.name]:
        return found
    there = ", ".join(sorted(set(fitted.values()))) or "none at all"
    raise CommandError(
        f"{path} has no {attack} attacker fitted on {spec.name} (it has: {there}); fit one with ibal attack",
        WRONG_USE,
    )


def _analyse(
    options: argparse.Namespace, label: str, team: Team, attackers: list[tuple[str, Attacker]], output: Output
) -> dict[str, Any]:
    from ibal import rng
    from ibal.analysis.why import largest, why
    from ibal.experiments.fitting import natural_episodes, policy_of
    from ibal.viz.information import pictures

    spec, key = team.env.spec, rng.stream(rng.root(options.seed), "analyse")
    most = largest(attackers[0][1], spec, options.agent)
    output.note(f"playing {options.episodes} episodes of {spec.name} with {label} …")
    episodes = natural_episodes(
        rng.stream(key, "play"), team.env, policy_of(team), options.episodes, options.epsilon
    )  # fmt: skip
    numbers: dict[str, Any] = {
        "policy": label, "env": spec.name, "version": spec.version,
        "attackers": [file for file, _ in attackers], "most": most,
        "episodes": len(episodes.length), "steps": options.steps, "epsilon": options.epsilon, "seed": options.seed,
    }  # fmt: skip
    fits = [attacker for _, attacker in attackers]
    numbers |= why(key, episodes, spec, fits, options.steps, options.agent, output.note)
    pictures(numbers, spec.obs_layout, options.out)
    return numbers


def as_text(numbers: dict[str, Any]) -> str:
    """Return the figures that matter most as a short table."""
    d, a, r = numbers["dimensions"], numbers["actions"], numbers["redundancy"]["mean"]
    pairs, lines = d["pairs"], [f"{numbers['policy']} on {numbers['env']}, G1 of {numbers['most']}", ""]
    lines.append(
        f"{'hidden entries':<22}{'precision':>10}{'of G1':>8}{'chance':>8}{'recall':>8}{'information removed':>21}"
    )
    for rule, name in (("block", "whole blocks"), ("dimension", "largest L (literal)")):
        row, first = d["rules"][rule]["all"], d["rules"][rule]["first"]
        chance = row["chance_blocks"] if rule == "block" else row["chance"]
        lines.append(
            f"{name:<22}{_two(row['precision']):>10}{_two(first['precision']):>8}{_two(chance):>8}"
            f"{_two(row['recall']):>8}{_two(row['removed']):>21}"
        )
    lines += [
        f"block of the right partner in {_two(pairs['all']['precision'])} of the pairs "
        f"(G1: {_two(pairs['first']['precision'])}, chance {_two(pairs['all']['chance'])}); information on G2 measured "
        f"anew under masks: {_two(d['measured']['removed'])} removed",
        "",
    ]  # fmt: skip
    row = a["attackers"][0]
    where = " in combat" if row["combat"] else ""
    usual = sorted(zip(row["executed"], row["actions"], strict=True), reverse=True)[:3]
    lines.append(
        f"actions{where}: replaced {_two(row['replaced'])}, median spread {_two(row['spread'])} nats, intended "
        f"ranks {_two(row['rank_of_intended'])} (0 tells least); executed: "
        + ", ".join(f"{name} {_two(share)}" for share, name in usual)
    )
    if a["agreement"]:
        both = a["agreement"]
        lines.append(
            f"two fits: rank correlation {_two(both['rank_correlation'])}, same action {_two(both['same'])} "
            f"(chance {_two(both['chance'])})"
        )
    for reading, name in (("club", "CLUB bound"), ("mixture", "information")):
        group, parts = r[f"{reading}_group"], r[f"{reading}_parts"]
        lines.append(f"{name}: group {group:.3f}, sum of parts {parts:.3f}, redundancy {group - parts:+.3f} nats")
    lines += ["", *information_key(numbers)]
    return "\n".join(lines)


def information_key(numbers: dict[str, Any]) -> list[str]:
    """Say what a number below 0 is, where there is one: information never is."""
    r, roles = numbers["redundancy"]["mean"], numbers["dimensions"]["roles"]
    estimates = [*r.values(), *(value for features in roles.values() for value in features.values())]
    out = ["redundancy below 0: the parts tell the same thing more than once; above 0: what only the whole group tells"]
    if min(estimates) < 0:
        out.append("information below 0: an estimate from finitely many moments, to be read as none")
    return out


def _two(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _plain(value: Any) -> Any:
    """Make JSON of arrays and records; what is no number becomes null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
