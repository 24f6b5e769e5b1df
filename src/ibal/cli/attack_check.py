"""``ibal attack check``: hold an attack, one of your own above all, to what it says it does.

ibal attack check my_pkg.mod:MyConfig
ibal attack check my_pkg.mod:MyConfig --env smac/3m --set strength=2
"""

from __future__ import annotations

import argparse
from typing import Any

from ibal.cli.output import (
    FAILED,
    OK,
    WRONG_USE,
    CommandError,
    Parser,
    add_flags,
    count_type,
    output_of,
    seed_type,
)
from ibal.options import pairs, with_options
from ibal.registry import Own

EPISODES = 8


def main(argv: list[str]) -> int:
    """Run ``ibal attack check`` with the arguments after ``check``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    from ibal import rng
    from ibal.adversaries import built, learns
    from ibal.adversaries.check import ContractError, check_adversary
    from ibal.envs import made, named

    config, env = _configured(options), made(*named(options.env))
    name = options.name
    try:
        attack = built(config, env.spec)
        output.note(f"compiling and playing {env.spec.name} under {name} …")
        report = check_adversary(
            attack, env, _victim(env.spec), key=rng.root(options.seed), episodes=options.episodes, steps=options.steps
        )
    except ContractError as error:
        output.result({"ok": False, "name": name, "env": env.spec.name, "error": str(error)}, f"BROKEN  {error}")
        return FAILED
    except ValueError as error:  # an option that is impossible in this environment
        raise CommandError(f"{name}: {error}; try another environment with --env NAME", WRONG_USE) from error
    played = {name: getattr(report, name) for name in ("steps", "seen_otherwise", "replaced")}
    data = {"ok": True, "name": name, "env": env.spec.name, "episodes": options.episodes, "rules": list(report.rules)}
    lines = [f"ok  {rule}" for rule in report.rules]
    lines.append(
        f"{name} on {env.spec.name}: {report.steps} steps of {options.episodes} episodes; something else was seen on "
        f"{report.seen_otherwise}, done on {report.replaced}"
    )
    if not (report.seen_otherwise or report.replaced):
        why = "nothing has been fitted yet" if learns(config) else "try more --episodes, or another --env"
        lines.append(f"it changed nothing, so little was checked: {why}")
    output.result(data | played, "\n".join(lines))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal attack check",
        description="Play an attack against a team that has learned nothing, and hold it to its Threat: which agents, "
        "entries and actions it may touch, how far, and how often. Prints every rule that was checked; exit status 1 "
        "and one sentence if one is broken.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("name", metavar="ATTACK", help="my_pkg.mod:MyConfig, or a name of ibal attack list")
    add("--set", action="append", default=[], metavar="OPTION=VALUE",
        help="an option of it; may be given more than once")  # fmt: skip
    add("--env", default="toy/leak", metavar="NAME", help="where it is played (default toy/leak), or my_pkg.mod:make")
    add("--episodes", type=count_type("--episodes", most=10_000), default=EPISODES, metavar="N",
        help=f"how many (default {EPISODES})")  # fmt: skip
    add("--steps", type=count_type("--steps"), metavar="N", help="of each at most (default: the horizon)")
    add("--seed", type=seed_type(), default=0, metavar="N", help="of these episodes (default 0)")
    add_flags(out)
    return out


def _configured(options: argparse.Namespace) -> Any:
    from ibal.adversaries import configured

    return with_options(configured(Own(options.name)), pairs("--set", options.set))


def _victim(spec: Any) -> Any:
    """Return a team with scores, gradients and weights, whatever an attack must know: none of them trained."""
    from ibal import rng
    from ibal.nets.agents import init
    from ibal.nets.pymarl import pymarl_agent

    size = spec.obs_size + spec.n_actions + spec.n_agents
    return pymarl_agent(spec, 16).bind(init(rng.root(0), size, spec.n_actions, 16))
