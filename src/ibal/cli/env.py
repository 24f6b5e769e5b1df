"""``ibal env list | describe NAME | check NAME``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ibal.cli.output import FAILED, OK, Output, Parser, add_flags, count_type, output_of, seed_type

if TYPE_CHECKING:
    from ibal.types import Env, EnvSpec, ObsLayout

NAME_HELP = (
    "a name of `ibal env list` (3m is short for smac/3m), with options in brackets if need be, as "
    "smac/8m[version=2026-11]; or my_pkg.mod:make"
)


def main(argv: list[str]) -> int:
    """Run ``ibal env`` with the arguments after ``env``."""
    args = _parser().parse_args(argv)
    return args.run(args, output_of(args))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("ibal env", description="List, describe and check environments.")
    actions = parser.add_subparsers(metavar="list | describe | check", required=True)

    listing = actions.add_parser("list", help="all environments by name", description="List all environments by name.")
    listing.set_defaults(run=_list)

    describe = actions.add_parser(
        "describe",
        help="sizes, actions, and what every observation and state index is",
        description="Print sizes, actions, metrics, and for every observation and state index its entity and feature.",
    )
    describe.add_argument("name", help=NAME_HELP)
    describe.set_defaults(run=_describe)

    check = actions.add_parser(
        "check",
        help="hold an environment (your own, say) to the contract",
        description="Play an environment and hold it to the contract; exit status 1 and one sentence if it breaks it.",
    )
    check.add_argument("name", help=NAME_HELP)
    check.add_argument(
        "--steps", type=count_type("--steps"), help="steps of an episode (default: a little more than the horizon)"
    )
    check.add_argument(
        "--episodes", type=count_type("--episodes", most=10_000), help="how many to play (default: 8, or 2 long ones)"
    )
    check.add_argument("--seed", type=seed_type(), default=0, help="seed of the first episode (default: 0)")
    check.set_defaults(run=_check)

    for sub in (listing, describe, check):
        add_flags(sub)
    return parser


def _list(args: argparse.Namespace, output: Output) -> int:
    from ibal.envs import TABLE, versions

    rows = [{"name": name, "help": entry.help, "versions": versions(name)} for name, entry in TABLE.entries.items()]
    width = max(len(name) for name in TABLE) + 2
    lines = [
        f"{row['name']:<{width}}{row['help']}" + (f", rules {row['versions'][-1]}" if row["versions"] else "")
        for row in rows
    ]
    output.result({"environments": rows}, "\n".join(lines))
    return OK


def _describe(args: argparse.Namespace, output: Output) -> int:
    spec = _make(args.name, output).spec
    output.result(description(spec), as_text(spec))
    return OK


def _check(args: argparse.Namespace, output: Output) -> int:
    from ibal import rng
    from ibal.envs.check import ContractError, check_env

    name = args.name
    try:
        env = _make(args.name, output)
        name = env.spec.name
        output.note(f"compiling and playing {name} …")
        report = check_env(env, rng.root(args.seed), args.steps, args.episodes)
    except ContractError as error:
        output.result({"ok": False, "name": name, "error": str(error)}, f"BROKEN  {error}")
        return FAILED
    end = f"ended after {report.episode_length}" if report.episode_length is not None else "did not end"
    data = {"ok": True, "name": report.name, "steps": report.steps, "episode_length": report.episode_length,
            "episodes": report.episodes}  # fmt: skip
    played = f"{report.episodes} episodes of {report.steps} steps, the first one {end}"
    lines = [*(f"ok  {rule}" for rule in report.rules), f"{report.name}: {played}"]
    output.result({**data, "rules": list(report.rules)}, "\n".join(lines))
    return OK


def _make(name: str, output: Output) -> Env:
    from ibal.envs import made, named

    full, options = named(name)
    if full != name.partition("[")[0]:
        output.note(f'"{name}" is short for "{full}"')
    return made(full, options)


def description(spec: EnvSpec) -> dict[str, Any]:
    """Return everything ``ibal env describe`` tells, for ``--json``."""
    return {
        "name": spec.name,
        "version": spec.version,
        "n_agents": spec.n_agents,
        "n_actions": spec.n_actions,
        "obs_size": spec.obs_size,
        "state_size": spec.state_size,
        "horizon": spec.horizon,
        "actions": list(spec.action_names),
        "noop_action": spec.noop_action,
        "idle_actions": list(spec.idle_actions),
        "metrics": list(spec.metric_names),
        "observation": _indices(spec.obs_layout),
        "state": _indices(spec.state_layout),
    }


def _indices(layout: ObsLayout) -> list[dict[str, Any]]:
    return [
        {"index": block.start + i, "entity": block.entity, "feature": feature}
        for block in layout.blocks
        for i, feature in enumerate(block.features)
    ]


def as_text(spec: EnvSpec) -> str:
    """Return everything ``ibal env describe`` tells, for people."""
    lines = [
        f"{spec.name}: {spec.n_agents} agents, {spec.n_actions} actions, observation {spec.obs_size}, "
        f"state {spec.state_size}, at most {spec.horizon} steps",
        *([f"rules: version {spec.version}"] if spec.version else []),
        f"metrics: {', '.join(spec.metric_names) or 'none'}",
        "",
        "actions",
    ]
    for index, name in enumerate(spec.action_names):
        remarks = ["for agents out of the game"] * (index == spec.noop_action)
        remarks += ["does nothing"] * (index in spec.idle_actions and index != spec.noop_action)
        lines.append(f"{index:6}  {name:<16}{', '.join(remarks)}".rstrip())
    for title, layout in (("observation of one agent", spec.obs_layout), ("state", spec.state_layout)):
        rows = _indices(layout)
        width = max((len(row["entity"]) for row in rows), default=0) + 2
        lines += ["", title, *(f"{row['index']:6}  {row['entity']:<{width}}{row['feature']}" for row in rows)]
    return "\n".join(lines)
