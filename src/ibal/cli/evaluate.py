"""``ibal evaluate``: play policies greedily on the same episodes and tell how they do.

ibal evaluate runs/qmix-3m runs/vdn-3m --episodes 512
ibal evaluate qmix_3m.safetensors random --env smac/3m --json
ibal evaluate runs/qmix-3m runs/ibal-3m --attacks natural,random --perturbations none,hp-15 --out evaluations/x
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal.cli import worlds
from ibal.cli.output import (
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_path,
    add_flags,
    count_type,
    output_of,
    seed_type,
)
from ibal.cli.replay import SCRIPTED, UNCHECKED, called_policy
from ibal.options import ConfigError
from ibal.registry import Own

if TYPE_CHECKING:
    from ibal.evaluation.episodes import EpisodeResults
    from ibal.evaluation.matrix import Team
    from ibal.nets.agents import Agent, PyMarlAgent
    from ibal.types import Env, Policy

EPISODES = 512  # per policy; a cell of a matrix has twice as many: its differences are what is looked at


class _Entry(NamedTuple):
    """One policy to play: ``params``, ``meta`` and ``file`` of a file, or the name of a scripted one. ``checked``: the
    file is the one that its JSON describes."""

    policy: str
    label: str
    params: PyMarlAgent | None = None
    meta: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    file: Path | None = None
    checked: bool = True


def main(argv: list[str]) -> int:
    """Run ``ibal evaluate`` with the arguments after ``evaluate``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    asked = (options.attacks, options.perturbations, options.attackers, options.out)
    is_matrix = options.refit or any(word is not None for word in asked)
    options.episodes = EPISODES * (1 + is_matrix) if options.episodes is None else options.episodes
    if is_matrix:
        from ibal.cli import evaluate_matrix

        asked = evaluate_matrix.asked(options)  # before anything is read: what is misspelled should be said at once
        teams = [team for _, team in teams_of(options.policies, options.env, output.note)]
        evaluate_matrix.show(asked, teams, output)
        return OK
    rows = _evaluate(options, output)
    output.result({"rows": rows, "episodes": options.episodes, "seed": options.seed}, as_text(rows))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal evaluate",
        description="Play policies greedily, each on the same episodes, and print win rate, return and episode length "
        "with 95 % intervals, each of the one team in its row. With attacks or perturbations: every policy with all "
        "its seeds under each of them; the table says below what is in it.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policies", nargs="+", metavar="POLICY",
        help="a run folder of ibal train (all its seeds); a bundle: the .safetensors file of one policy with its .json "
        f"beside it, named by either; a file or folder of PyMARL's; one of {', '.join(SCRIPTED)}; or "
        "my_pkg.mod:make_policy, called with the EnvSpec")  # fmt: skip
    add("--env", metavar="NAME",
        help="environment (default: the one a policy was trained on), with options in brackets if need be: "
        "smac/8m[version=2026-11]")  # fmt: skip
    add("--episodes", type=count_type("--episodes"), metavar="N",
        help=f"episodes per policy (default {EPISODES}; under each of several attacks {2 * EPISODES})")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of the episodes (default 0)")
    add("--attacks", metavar="A,B,…",
        help="names, as natural,random,interaction[fill=mean] or my_pkg.mod:MyConfig; or a set: standard (all that "
        "need no fitting), paper (natural, random, fgsm, ega, wolfpack, interaction) or all (standard, and those that "
        "--attackers has or --refit fits)")  # fmt: skip
    add("--perturbations", metavar="A,B,…",
        help="none, dis-1 (1 agent stands still), hp-15 (15 %% less health), abs-1 (1 agent is not there)")  # fmt: skip
    add("--attackers", type=a_path, metavar="FOLDER", help="fitted attackers, for the attacks that learn")
    add(
        "--refit", action="store_true", help="fit the attacks that learn to every policy itself (white box), into --out"
    )
    add("--out", type=a_path, metavar="FOLDER",
        help="write episodes.parquet, summary.json and card.json; what it holds is not played again")  # fmt: skip
    add_flags(out)
    return out


def _entries(name: str) -> list[_Entry]:
    """Find the policies that one word of the command line means."""
    if (name in SCRIPTED or ":" in name) and not Path(name).exists():
        return [_Entry(name, Own(name))]
    from ibal.nets.bundle import find_policies, load_policy, of_bundle

    path = of_bundle(Path(name))
    if not path.exists() and not path.suffix:
        SCRIPTED.resolve(name)  # the closest scripted policy, if it was meant to be one
    try:
        files = find_policies(name)
        loaded = [load_policy(file) for file in files]
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    labels = [f"{name} {file.stem}" if Path(name).is_dir() else name for file in files]
    return [
        _Entry(name, label, team.params, team.meta, file, team.checked)
        for label, team, file in zip(labels, loaded, files, strict=True)
    ]


def _evaluate(options: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    from ibal.evaluation.episodes import episode_keys, play
    from ibal.evaluation.versions import require_one

    keys = episode_keys(options.seed, options.episodes)
    rows: list[dict[str, Any]] = []
    teams = teams_of(options.policies, options.env, output.note)
    try:
        require_one((team.env.spec.name, team.env.spec.version, label) for label, team in teams)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error
    for label, team in teams:
        env = team.env
        output.note(f"playing {options.episodes} episodes of {env.spec.name} with {label} …")
        results = play(env, team.player, keys, team.params)
        about = {"policy": label, "env": env.spec.name, "version": env.spec.version, "trained_seed": team.seed}
        rows.append(about | summary(results, env.spec.has_win))
    return rows


def teams_of(
    policies: Sequence[str], world_name: str | None, note: Callable[[str], None] = lambda message: None
) -> list[tuple[str, Team]]:
    """Load the policies of a command line, each with a label of its own; ``world_name``, the --env of the same command
    line, None: where each was trained. ``note`` is told what cannot be checked.

    Raises CommandError for what cannot be loaded or played.
    """
    from ibal.envs import version_of
    from ibal.evaluation.matrix import Team

    made: dict[str, Env] = {}
    told: set[str] = set()

    def once(message: str) -> None:  # the seeds of a run all have the same to say
        if message not in told:
            note(message)
        told.add(message)

    ask = worlds.asked(world_name)
    entries = [entry for name in policies for entry in _entries(name)]
    follow = worlds.version_of_all(ask, [entry.meta for entry in entries])
    players: dict[tuple[str, Any], Policy | Agent] = {}
    teams: list[tuple[str, Team]] = []
    for entry in entries:
        world, env = _world(entry, ask, follow, made, once)
        meta = entry.meta
        method = _method(meta) if entry.file else "scripted"
        player = _player(entry, env, world, players)
        about: dict[str, Any] = {}
        if entry.file:
            about = {"file": str(entry.file), "env_steps": meta.get("env_steps"), "checked": entry.checked}
            about["trained_version"] = version_of(str(meta["env"]), meta) if "env" in meta else None
        if not entry.checked:
            note(UNCHECKED.format(name=entry.label))
        digest = hashlib.sha256(entry.file.read_bytes() if entry.file else entry.label.encode()).hexdigest()
        own = ":" in world.partition(" ")[0] or (entry.file is None and ":" in entry.policy)
        team = Team(entry.policy, method, meta.get("seed"), env, world, player, entry.params, digest, about, own)
        teams.append((entry.label, team))
    return teams


def _method(meta: dict[str, Any]) -> str:
    """Name how a team was trained; the paper's methods are QMIX's, so any other mixer is said ("ibal-vdn")."""
    learner = meta.get("config", {}).get("learner", {})
    mixer = learner.get("mixer") if isinstance(learner, dict) else None
    mixer = mixer if isinstance(mixer, str) and mixer.isidentifier() else "qmix"
    method = meta.get("method", "unknown")
    return method if mixer == "qmix" else f"{method}-{mixer}"


def _player(entry: _Entry, env: Env, world: str, made: dict[tuple[str, Any], Policy | Agent]) -> Policy | Agent:
    """Make what plays, once for all weights of one size: one compilation."""
    from ibal.nets.pymarl import check_fits, pymarl_agent

    if entry.params is None:
        return made.setdefault((world, entry.label), _scripted(entry.label, env))
    try:
        check_fits(Path(entry.label), entry.params, env.spec)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error
    size = entry.params.hidden_size
    return made.setdefault((world, size), pymarl_agent(env.spec, size))


def _world(
    entry: _Entry, ask: worlds.Asked, follow: str, made: dict[str, Env], note: Callable[[str], None]
) -> tuple[str, Env]:
    """Make the environment to play in, once each, and tell by which rules if it may not be what is expected."""
    from ibal import envs

    full, options = worlds.world(entry.label, ask, entry.meta, follow)
    identity = f"{full} {sorted(options.items())}"
    if identity not in made:
        try:
            made[identity] = envs.made(full, options)
        except ConfigError as error:
            raise CommandError(f"{entry.label}: {error}", WRONG_USE) from error
    worlds.tell(entry.policy, entry.meta, full, made[identity].spec.version, note)
    return identity, made[identity]


def _scripted(name: str, env: Env) -> Policy:
    return called_policy(Own(name), env.spec)


def summary(results: EpisodeResults, has_win: bool) -> dict[str, Any]:
    """Return win rate, return and length of one team's episodes with 95 % intervals by the rule of ``evaluate.stats``;
    no win rate where nothing can be won, no interval where one episode tells of no other."""
    from ibal.evaluation import stats

    out: dict[str, Any] = {"episodes": len(results.win), "win_rate": None, "win_rate_interval": None}
    scores = {"win_rate": results.win} if has_win else {}
    for name, values in (scores | {"return": results.returns, "length": results.length}).items():
        found = stats.sample([values], rate=name == "win_rate")
        out |= {name: found.mean, f"{name}_interval": stats.ends(found)}
    return out


def as_text(rows: list[dict[str, Any]]) -> str:
    """Return the rows as an aligned table with short names, and what its numbers are."""
    from ibal.report.names import legend, rules, short

    names = short(row["policy"] for row in rows)
    head = ("policy", "environment", "win rate", "return", "length")
    cells = [
        head,
        *((names[row["policy"]], row["env"], _win(row), _mean(row, "return"), _mean(row, "length")) for row in rows),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    key = ["mean [95 % interval: about the one team of the row]", *rules(rows), *legend(names)]
    return "\n".join([*lines, "", *key])


def _win(row: dict[str, Any]) -> str:
    if row["win_rate"] is None:
        return "-"
    return _mean(row, "win_rate", 3)


def _mean(row: dict[str, Any], name: str, digits: int = 2) -> str:
    ends = row[f"{name}_interval"]
    return f"{row[name]:.{digits}f}" + (f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else "")
