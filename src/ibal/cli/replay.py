"""``ibal replay``: play one episode and write it as an HTML page or a GIF; several, and they stand side by side.

ibal replay --env smac/MMM --policy random --out replay.html --out replay.gif
ibal replay runs/ibal-3m --attack interaction --attackers attackers/held-out --out attacked.html
ibal replay runs/qmix-3m zoo:smac/3m/ibal-0 --attack random --out both.html
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal import zoo
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
    count_type,
    output_of,
    seed_type,
    unwritable,
)
from ibal.evaluation import worlds
from ibal.evaluation.teams import SCRIPTED, UNCHECKED, Found, bound, found
from ibal.options import ConfigError
from ibal.registry import Own, UnknownName

if TYPE_CHECKING:
    from ibal.evaluation.matrix import Attack
    from ibal.types import Env, EnvSpec, HostPolicy, Policy
    from ibal.viz.trajectory import Trajectory

WEIGHTS = (".safetensors", ".th")
FORMATS = (".html", ".gif")


class _Who(NamedTuple):
    """A policy of the command line: its name on the page, and where it comes from."""

    label: str
    found: Found


class _Game(NamedTuple):
    """Where it is played and what is played there: every policy under every attack."""

    world: Env
    params: Any
    teams: list[tuple[str, Policy | HostPolicy]]
    attacks: list[Attack]


def main(argv: list[str]) -> int:
    """Run ``ibal replay`` with the arguments after ``replay``."""
    options = _parser().parse_args(argv)
    # What a mistake is told with: the words that were typed.
    options.flag = "--policy " if options.policy and not options.policies else ""
    options.policy = [*options.policies, *(options.policy or ())] or ["random"]
    options.attack = options.attack or ["natural"]
    output = output_of(options)
    game = _prepare(options, output.note)
    trajectories = _play(game, options, output)
    try:
        for path in options.out:
            _write(game, trajectories, path, options)
            output.note(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")
    except OSError as error:
        raise unwritable(error, options.out[0]) from error
    _announce(game, trajectories, options, output)
    return OK


def _parser() -> argparse.ArgumentParser:
    policies = "; ".join(f"{name}: {entry.help}" for name, entry in SCRIPTED.entries.items())
    out = Parser(
        prog="ibal replay",
        description="Play one episode and write it as a self-contained HTML player (.html) or an animated GIF (.gif). "
        "It is the episode that ibal evaluate counts for the same seed. Several policies or attacks give episodes of "
        "the same world side by side.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policies", nargs="*", metavar="POLICY",
        help=f"a run folder, a bundle ({WEIGHTS[0]}, with .json beside it), a name of the zoo (zoo:NAME) or a PyMARL "
        f"file; {policies}; or my_pkg.mod:make_policy, called with the EnvSpec (default random)")  # fmt: skip
    add("--env", metavar="NAME",
        help="environment, as smac/MMM, smac/MMM[version=2026-11] or my_pkg.mod:make (default: the one the policy was "
        "trained on)")  # fmt: skip
    add("--policy", action="append", metavar="POLICY",
        help="another way to name a policy; may be given more than once")  # fmt: skip
    add("--policy-seed", type=seed_type("--policy-seed"), metavar="N",
        help="which seed of a run folder (default: the lowest)")  # fmt: skip
    add("--attack", action="append", metavar="NAME",
        help="who interferes, as natural, random, interaction[fill=mean], or my_pkg.mod:MyConfig (default natural); "
        "may be given more than once")  # fmt: skip
    add("--attackers", type=a_path, metavar="WHERE", help=ATTACKERS)
    add("--perturbation", default="none", metavar="NAME",
        help="none, dis-1 (1 agent stands still), hp-15 (15 %% less health), abs-1 (1 agent is not there)")  # fmt: skip
    add("--out", required=True, action="append", type=a_path, metavar="FILE",
        help="where to write; the extension chooses the format; may be given more than once")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of the evaluation (default 0)")
    add("--episode", type=count_type("--episode", 0), default=0, metavar="I",
        help="which episode of that evaluation, counted from 0 (default 0)")  # fmt: skip
    add("--max-steps", type=count_type("--max-steps"), metavar="N", help="stop after this many steps")
    add("--fps", type=_fps, default=8.0, help="GIF: steps per second, at most 50 (default 8)")
    add("--width", type=count_type("--width", 160, 4096), default=640, metavar="PIXELS",
        help="GIF: width of each replay (default 640)")  # fmt: skip
    add("--theme", choices=("light", "dark"), default="light", help="GIF: colours (the page follows the reader's)")
    add("--title", default="", help="HTML: title of the page (default: the environment's name)")
    add_flags(out)
    return out


def _refused(message: str) -> CommandError:
    """The command cannot be carried out as written; the message says what to write instead."""
    return CommandError(message, WRONG_USE)


def _prepare(options: argparse.Namespace, note: Callable[[str], None]) -> _Game:
    """Make everything the episodes need, cheapest checks first: what can be refused without jax is."""
    from ibal import envs
    from ibal.evaluation.bank import configuration

    for path in options.out:
        _check_target(path)
    _check_once(options.flag, options.policy)
    for name in options.attack:
        try:
            configuration(name)
        except ValueError as error:
            raise _refused(f"--attack {error}") from error
    _check_once("--attack ", options.attack)
    check_attackers(options.attackers)
    ask = worlds.asked(options.env)
    _check_number(len(options.policy), len(options.attack))
    teams = _teams(options)
    for team in teams:
        if not team.found.checked:
            note(UNCHECKED.format(name=team.label))
    name, given = _environment(ask, teams, note)
    try:
        env = envs.made(name, given)  # an error inside the user's own function keeps its traceback
    except (UnknownName, ConfigError) as error:
        raise _refused(str(error)) from error
    from ibal.evaluation.bank import Bank
    from ibal.game.perturb import perturb, together

    bank = Bank(options.attackers)
    try:
        made = [bank.on(attack, env.spec) for attack in options.attack]
        perturbed = {together(options.perturbation, attack.world) for attack in made}
        if len(perturbed) > 1:
            raise ValueError(f"episodes side by side need one world; these have {' and '.join(sorted(perturbed))}")
        world, params = perturb(env, *perturbed)
    except (ValueError, FileNotFoundError) as error:
        raise _refused(str(error)) from error
    return _Game(world, params, [(team.label, _bound(team, env.spec, options.flag)) for team in teams], made)


def _bound(team: _Who, spec: EnvSpec, flag: str) -> Policy | HostPolicy:
    """Make the policy for the environment of all."""
    try:
        return bound(team.found, spec)
    except UnknownName:
        raise
    except ConfigError as error:
        raise _refused(str(error) if team.found.file is None else f"{flag}{error}") from error


def _check_target(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        had = f'"{path.suffix}"' if path.suffix else "a file without an extension"
        raise _refused(f"--out {path}: cannot write {had}. Allowed: {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise _refused(f'--out {path}: there is no folder "{path.parent}"')
    if path.is_dir():
        raise _refused(f"--out {path}: this is a folder; name a file")


def _check_once(flag: str, words: list[str]) -> None:
    if twice := [word for i, word in enumerate(words) if word in words[:i]]:
        raise _refused(f"{flag}{twice[0]} is given twice: the two episodes would be the same")


def _check_number(policies: int, attacks: int) -> None:
    if policies * attacks == 1:
        return
    from ibal.viz.player import MOST

    if policies * attacks > MOST:
        raise _refused(
            f"{policies} policies under {attacks} attacks are {policies * attacks} episodes; at most {MOST} stand side "
            "by side: name fewer policies or attacks"
        )


def _teams(options: argparse.Namespace) -> list[_Who]:
    """Find the policies of the command line; two that would have one label are told apart by all that was typed."""
    teams = [_team(name, options.policy_seed, options.flag) for name in options.policy]
    if options.policy_seed is not None and not any(Path(name).is_dir() for name in options.policy):
        raise _refused("--policy-seed chooses among the seeds of a run folder, but no policy is a folder")
    labels = [team.label for team in teams]
    return [
        team._replace(label=name) if labels.count(team.label) > 1 else team
        for team, name in zip(teams, options.policy, strict=True)
    ]


def _team(name: str, seed: int | None, flag: str = "") -> _Who:
    """Find what makes a policy: a run folder, a weight file, one of the zoo, a scripted one, or the user's own
    function."""
    from ibal.nets.bundle import of_bundle

    if zoo.is_name(name):
        return _trained(zoo.local_team(name), seed, flag)._replace(label=zoo.bare(name))
    path = of_bundle(Path(name))
    is_file = path.suffix.lower() in WEIGHTS
    if is_file and not path.is_file():
        raise _refused(f"{flag}{name}: there is no such file")
    if is_file or (path.is_dir() and name not in SCRIPTED):
        return _trained(path, seed, flag)
    if name not in SCRIPTED and ":" not in name and path.exists():
        raise _refused(f"{flag}{name}: not a file of weights. Allowed: {', '.join(WEIGHTS)}")
    SCRIPTED.resolve(Own(name))
    return _Who(name, Found(name, name))


def _trained(path: Path, seed: int | None, flag: str) -> _Who:
    try:
        entries = found(str(path))
    except ConfigError as error:
        raise _refused(f"{flag}{error}") from error
    stems = {entry.file.stem: entry for entry in entries if entry.file}
    entry = entries[0]
    if seed is not None and path.is_dir():
        there = [stem.removeprefix("seed-") for stem in stems if stem.startswith("seed-")]
        if str(seed) not in there:
            has = ", ".join(there) or "no seeds to choose from"
            raise _refused(f"--policy-seed {seed}: {path} has {has}")
        entry = stems[f"seed-{seed}"]
    file = entry.file or path
    of_run = file.parent.name == "policy" and file.stem.startswith("seed-")
    label = path.stem if not of_run else file.parent.resolve().parent.name
    if of_run and (len(entries) > 1 or path == file):
        label += f" {file.stem}"
    return _Who(label or str(path), entry._replace(label=str(file)))


def _environment(ask: worlds.Asked, teams: list[_Who], note: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
    """Choose what all play in: what --env names, else what they were trained on, with the options of then."""
    follow = worlds.version_of_all(ask, [team.found.meta for team in teams])
    trained: dict[str, tuple[str, dict[str, Any]]] = {}
    for team in teams:
        if "env" in team.found.meta and ask.name in (None, team.found.meta["env"]):
            name, given = worlds.world(team.label, ask, team.found.meta)
            options = ",".join(f"{option}={value}" for option, value in sorted(given.items()))
            trained.setdefault(f"{name}[{options}]" if given else name, (name, given))
            worlds.tell(team.label, team.found.meta, name, str(given.get("version", "")), note)
    if len(trained) > 1:
        raise _refused(
            f"the policies were trained on {' and '.join(trained)}; episodes side by side need one environment"
        )
    if trained:
        return next(iter(trained.values()))
    return worlds.world(teams[0].label, ask, teams[0].found.meta, follow)


def _play(game: _Game, options: argparse.Namespace, output: Output) -> list[Trajectory]:
    """Play the one episode with every policy under every attack."""
    from ibal.api import watch

    games = [
        watch.Game(game.world, game.params, policy, attack, _label(game, who, attack))
        for (who, policy), attack in product(game.teams, game.attacks)
    ]
    return watch.recorded(games, options.seed, options.episode, options.max_steps, output.note)


def _label(game: _Game, who: str, attack: Attack) -> str:
    return who if _only_policies_differ(game) or attack.name == "natural" else f"{who} under {attack.name}"


def _only_policies_differ(game: _Game) -> bool:
    return len(game.teams) > 1 and len(game.attacks) == 1


def _write(game: _Game, trajectories: list[Trajectory], path: Path, options: argparse.Namespace) -> None:
    from ibal.api.records import Replay
    from ibal.viz.plain import pictured

    facts = [] if len(trajectories) == 1 else [f"seed {options.seed}, episode {options.episode}"]
    facts += [f"rules {game.world.spec.version}"] if game.world.spec.version and len(trajectories) > 1 else []
    if _only_policies_differ(game) and game.attacks[0].name != "natural":
        facts.append(f"under {game.attacks[0].name}")
    if options.perturbation != "none":
        facts.append(options.perturbation)
    replay = Replay(trajectories, pictured(game.world).spec, options.title, " · ".join(facts))
    replay.save(path, fps=options.fps, width=options.width, theme=options.theme)


def _announce(game: _Game, trajectories: list[Trajectory], options: argparse.Namespace, output: Output) -> None:
    pairs = product((who for who, _ in game.teams), (attack.name for attack in game.attacks))
    data: dict[str, Any] = {
        "path": str(options.out[0]),
        "paths": [str(path) for path in options.out],
        "version": game.world.spec.version,
        "episodes": [
            {"policy": who, "attack": attack, "steps": one.length, "return": round(one.episode_return, 4),
             "win": one.win}
            for (who, attack), one in zip(pairs, trajectories, strict=True)
        ],
    }  # fmt: skip
    lines = [f"{one.label}: {_summary(one)}" for one in trajectories]
    paths = ", ".join(data["paths"])
    output.result(data, f"{paths}: {_summary(trajectories[0])}" if len(lines) == 1 else "\n  ".join((paths, *lines)))


def _summary(trajectory: Trajectory) -> str:
    outcome = {True: ", won", False: ", not won", None: ""}[trajectory.win]
    return f"{trajectory.length} steps, return {trajectory.episode_return:.2f}{outcome}"


def _fps(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 50:
        raise _refused(f"--fps must be between 0.1 and 50, not {text}")
    return value
