"""What a study comes to: runs, each named by a hash of all that decides what comes out of it. Imports no jax.

    planned = runs_of(load_study(folder), folder)
    planned.runs[0].id, planned.runs[0].needs                          # "train-3f0a…", the runs that come before it
    planned.cells                                                      # which run holds what of the evaluation

Three kinds: a training (one seed, or ``pack`` of them), an attacker fitted to a team, a cell: all seeds of a run under
one attack and one perturbation. The name of a run hashes its configuration, the versions of the engine's rules, the
sources that compute it, and the names of the runs that it needs; so what is changed anywhere gives new names to what
depends on it, and to nothing else. How a run is kept (``train.keep``, ``train.checkpoint_every``) decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import ibal
from ibal import envs, reading
from ibal.evaluation import sources
from ibal.evaluation.teams import method_of
from ibal.experiments.config import RunConfig, apply_overrides, as_dict
from ibal.experiments.study import EACH, Attackers, Evaluate, Study, Training, label_of
from ibal.learners.config import ValueConfig, named
from ibal.options import ConfigError
from ibal.registry import Own

_KEPT = ("checkpoint_every", "keep")  # fields of ``train`` that decide nothing
_TRAINS = ("ibal.experiments.run", "ibal.experiments.fitting", "ibal.envs", "ibal.adversaries")
_PLAYS = ("ibal.evaluation.matrix", "ibal.evaluation.bank", "ibal.envs", "ibal.nets.pymarl", "ibal.nets.actor")
Seeds = tuple[int, ...]


class Run(NamedTuple):
    """One piece of work. ``what`` says all of it in words and numbers that JSON can hold, without the paths of a
    machine (but for files of the user's); ``needs`` are the ids of runs that come before."""

    id: str
    kind: str
    what: dict[str, Any]
    needs: tuple[str, ...]
    label: str


class CellOf(NamedTuple):
    """A cell of the evaluation: the run that holds its rows, and what they are called in this study."""

    run: str
    team: str
    method: str
    seeds: tuple[int | None, ...]
    env: str
    attack: str
    perturbation: str
    training: str | None


class Planned(NamedTuple):
    """``runs``: each once, what others need first and before all what most others wait for."""

    runs: list[Run]
    cells: list[CellOf]
    trainings: dict[str, tuple[str, RunConfig]]
    """id of a training -> its team's name and its configuration"""


class _Team(NamedTuple):
    """Who is attacked: a training (``needs``) or a file; ``what`` goes into the hash."""

    name: str
    method: str
    env: str
    seeds: tuple[int | None, ...]
    what: dict[str, Any]
    needs: tuple[str, ...]
    where: str


def runs_of(study: Study, home: Path) -> Planned:
    """Return the runs and cells of a study; paths in it are taken from ``home``. Raises ConfigError for a file of
    teams that cannot be read, or attackers that are missing for one of the environments."""
    made: dict[str, Run] = {}
    configs: dict[str, RunConfig] = {}
    trained, teams = _trainings(study, made, configs), []
    for (name, where), runs in trained.items():
        for run in runs:
            config = configs[run.id]
            seeds = tuple(range(config.seed, config.seed + config.seeds))
            teams.append(_Team(name, run.what["method_label"], config.env, seeds, {"run": run.id}, (run.id,), where))
    teams += [team for given in study.teams for file in given.files for team in _files(given.name, file, home)]
    teams = _told_apart(teams, {name for evaluation in study.evaluations for name in evaluation.teams})
    cells: list[CellOf] = []
    fitted = {one.name: one for one in study.attackers}
    for evaluation in study.evaluations:
        for team in teams:
            asked = team.name in evaluation.teams and (not evaluation.env or team.env in evaluation.env)
            if asked and (not evaluation.seeds or set(team.seeds) & set(evaluation.seeds)):
                cells += _cells(evaluation, team, teams, fitted.get(evaluation.attackers), made, study.engine)
    held = dict.fromkeys(cells)
    named_ = {run.id: (name, configs[run.id]) for (name, _), runs in trained.items() for run in runs}
    return Planned(_ordered(made.values()), list(held), named_)


def _trainings(study: Study, made: dict[str, Run], configs: dict[str, RunConfig]) -> dict[tuple[str, str], list[Run]]:
    """Make the runs of all trainings, each after the one that it begins with."""
    known = {(one.name, one.config.env): one for one in study.trainings}
    labels = _labels(study)
    found: dict[tuple[str, str], list[Run]] = {}

    def runs(one: Training) -> list[Run]:
        which = one.name, _where(one.config)
        if which not in found:
            before = runs(known[one.init, one.config.env]) if one.init else []
            label = labels[which]
            found[which] = [_training(one, seeds, before, study.engine, configs, label) for seeds in _packs(one)]
            made.update({run.id: run for run in found[which]})
        return found[which]

    for one in study.trainings:
        runs(one)
    return found


def _packs(one: Training) -> list[Seeds]:
    """Deal the seeds to programs: neighbours, as a program trains ``seed .. seed + seeds - 1``."""
    packs: list[tuple[int, ...]] = []
    for seed in sorted(one.seeds):
        last: Seeds = packs[-1] if packs else ()
        if last and len(last) < one.pack and max(last) + 1 == seed:
            packs[-1] = (*last, seed)
        else:
            packs.append((seed,))
    return packs


def _labels(study: Study) -> dict[tuple[str, str], str]:
    """Name the method of each training, by its name and world: where several in one world would be called alike, as
    variants of a method are, each is called by its own name, so that no table takes them for runs of one method."""
    usual = {(one.name, _where(one.config)): label_of(one.config) for one in study.trainings}
    count = Counter((label, where) for (_, where), label in usual.items())
    return {which: label if count[label, which[1]] == 1 else which[0] for which, label in usual.items()}


def _training(
    one: Training, seeds: Seeds, before: list[Run], engine: str, configs: dict[str, RunConfig], label: str
) -> Run:
    config = replace(one.config, seed=seeds[0], seeds=len(seeds))
    start = _start(one, seeds, before)
    table = as_dict(config)
    del table["init"]
    what = {
        "config": table, "init": start, "method_label": label,
        "engine": engine_of("train", engine), "own": _own(config.env, config.method),
    }  # fmt: skip
    several = f"seeds {min(seeds)}–{max(seeds)}" if len(seeds) > 1 else f"seed {min(seeds)}"
    shown = f"{one.name} on {config.env.removeprefix('smac/')}, {several}"
    run = _run("train", what, () if start is None else (start,), shown)
    configs[run.id] = config
    return run


def _start(one: Training, seeds: Seeds, before: list[Run]) -> str | None:
    """Find the run to begin with: that of the same seeds, or the only one."""
    if not one.init:
        return None
    for run in before:
        config = run.what["config"]
        if (config["seed"], config["seeds"]) == (seeds[0], len(seeds)):
            return run.id
    if len(before) == 1 and before[0].what["config"]["seeds"] == 1:
        return before[0].id
    raise ConfigError(
        f'"{one.name}" begins with "{one.init}" and has the seeds {", ".join(map(str, seeds))} in one program; that '
        "training has no such program: give both the same seeds and pack, or the first one seed"
    )


def _files(name: str, file: str, home: Path) -> list[_Team]:
    """Find the teams of a run folder, or of a bundle."""
    path = home / file
    found = sorted(path.glob("policy/seed-*.safetensors")) if path.is_dir() else [path] * path.is_file()
    if not found:
        raise ConfigError(f"teams {name}: {path} holds no policy; name a run folder or a bundle (.safetensors)")
    teams: list[_Team] = []
    for weights in found:
        try:
            about = reading.table(weights.with_suffix(".json"), {"env": str}, {"seed": int, "method": str})
            digest = hashlib.sha256(reading.content(weights)).hexdigest()
        except (OSError, reading.Unreadable) as error:
            raise ConfigError(f"teams {name}: {error}") from error
        what = {"sha256": digest, "file": str(Path(file) / weights.relative_to(path) if path.is_dir() else file)}
        where = f"{about['env']} {envs.version_of(about['env'], about)}"
        teams.append(_Team(name, method_of(about), about["env"], (about.get("seed"),), what, (), where))
    return teams


def _told_apart(teams: Sequence[_Team], played: Container[str]) -> list[_Team]:
    """Call the method of teams from files by the name that the study gives them, where others that are played in the
    same world are of that method, too: no table takes them for runs of one."""
    names: dict[tuple[str, str], set[str]] = {}
    for team in teams:
        if team.name in played:
            names.setdefault((team.method, team.where), set()).add(team.name)
    return [
        team._replace(method=team.name)
        if not team.needs and len(names.get((team.method, team.where), ())) > 1
        else team
        for team in teams
    ]


def _cells(
    evaluation: Evaluate, team: _Team, teams: Iterable[_Team], fits: Attackers | None, made: dict[str, Run], engine: str
) -> list[CellOf]:  # fmt: skip
    """Make the cells of one team, and the attackers that they need."""
    cells: list[CellOf] = []
    for attack in evaluation.attacks:
        base = attack.partition("[")[0]
        attackers = _fits(fits, base, team, teams, made, engine) if fits is not None and base in fits.attack else []
        for perturbation in evaluation.perturbations:
            what = {
                "team": team.what, "env": team.env, "attack": attack, "attackers": attackers,
                "perturbation": perturbation, "episodes": evaluation.episodes, "seed": evaluation.seed,
                "snapshots": evaluation.snapshots, "engine": engine_of("cell", engine), "own": _own(base, team.env),
            }  # fmt: skip
            label = f"{team.name} on {team.env.removeprefix('smac/')}, {_seeds(team)}: {attack}, {perturbation}"
            run = _run("cell", what, (*team.needs, *attackers), label)
            made[run.id] = run
            trained = team.needs[0] if team.needs else None
            cells.append(
                CellOf(run.id, team.name, team.method, team.seeds, team.env, attack, perturbation, trained)
            )  # fmt: skip
    return cells


def _fits(
    fits: Attackers, attack: str, team: _Team, teams: Iterable[_Team], made: dict[str, Run], engine: str
) -> list[str]:
    """Make the attackers that a team meets: fitted to itself, or to those named, in the same world."""
    own = EACH in fits.on
    victims = [team] if own else [one for one in teams if one.name in fits.on and one.where == team.where]
    found: list[str] = []
    for victim in victims:
        for seed in victim.seeds:
            if fits.seeds and seed not in fits.seeds:
                continue
            what = {
                "attack": attack, "plan": dict(fits.plan), "victim": victim.what, "victim_seed": seed,
                "env": victim.env, "engine": engine_of("train", engine), "own": _own(attack, victim.env),
            }  # fmt: skip
            where = victim.env.removeprefix("smac/")
            run = _run("fit", what, victim.needs, f"{attack} fitted to {victim.name} on {where}, seed {seed}")
            made[run.id] = run
            found.append(run.id)
    if not found:
        raise ConfigError(
            f'attackers "{fits.name}": nobody named there ({", ".join(fits.on)}) plays {team.where}, so "{attack}" '
            f'cannot be fitted for "{team.name}"; train one there, or leave the attack out'
        )
    return found


def _seeds(team: _Team) -> str:
    return (
        "a file"
        if team.seeds == (None,)
        else f"seed {'–'.join(map(str, dict.fromkeys((team.seeds[0], team.seeds[-1]))))}"
    )


def _where(config: RunConfig) -> str:
    """Say in which world a training plays: attackers are fitted and used in one and the same."""
    return f"{config.env} {envs.version_of(config.env, {'env_options': dict(config.env_options)})}"


def config_of(what: Mapping[str, Any], init: str = "") -> RunConfig:
    """Return the configuration of a training from what its run says; ``init`` is where that run lies."""
    table = what["config"]
    learner = dict(table["learner"])
    base = RunConfig(learner=named(learner.pop("name", ValueConfig().mixer), ValueConfig()))
    given: dict[str, Any] = {
        name: value for name, value in table.items() if not isinstance(value, Mapping) and name != "init"
    } | {f"learner.{name}": value for name, value in learner.items()}
    for part in ("train", "env_options", "method_options"):
        given |= {f"{part}.{name}": value for name, value in table[part].items()}
    made = apply_overrides(base, {**given, "init": init})
    return replace(made, env=Own(made.env), method=Own(made.method))


def _run(kind: str, what: dict[str, Any], needs: tuple[str, ...], label: str) -> Run:
    """Name a run by what decides it; labels and paths do not."""
    what = {"kind": kind, **what}
    told = json.dumps(_deciding(what), sort_keys=True)
    return Run(
        f"{kind}-{hashlib.sha256(told.encode()).hexdigest()[:16]}", kind, what, tuple(dict.fromkeys(needs)), label
    )


def _deciding(what: Any) -> Any:
    """Leave out what decides nothing: paths of files whose content is told, labels, how a training is kept."""
    if not isinstance(what, Mapping):
        return what
    drop = {"file"} if "sha256" in what else {"method_label"}
    kept = {name: _deciding(value) for name, value in what.items() if name not in drop}
    if "config" in kept:
        config = kept["config"]
        kept["config"] = config | {"train": {k: v for k, v in config["train"].items() if k not in _KEPT}}
    return kept


def engine_of(kind: str, pinned: str = "") -> str:
    """Return what computes a kind of run: the library's version and a hash of the sources that are reached from there,
    with the version of jax; or what the study pins in its place."""
    return pinned or _installed("train" if kind == "train" else "play")


@cache
def _installed(kind: str) -> str:
    roots = _TRAINS if kind == "train" else _PLAYS
    return f"{ibal.__version__}+{sources.digest(roots, version('jax'))}"


def _own(*names: str) -> dict[str, str]:
    """Return a hash of the source of every module of the user's that is named: an edited one is another one."""
    return {name: _source(name.partition(":")[0]) for name in names if ":" in name}


def _source(module: str) -> str:
    """Hash a module's file, found without importing anything: a study that is only looked at runs no code."""
    parts = module.split(".")
    for folder in (os.getcwd(), *filter(None, sys.path)):
        for file in (Path(folder, *parts).with_suffix(".py"), Path(folder, *parts, "__init__.py")):
            with suppress(OSError, ValueError):
                return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return ""


def _ordered(runs: Iterable[Run]) -> list[Run]:
    """Put what is needed before what needs it, and of what is ready that first on which most others wait."""
    by_id = {run.id: run for run in runs}
    height: dict[str, int] = {}
    users: dict[str, list[str]] = {name: [] for name in by_id}
    for run in by_id.values():
        for need in run.needs:
            users[need].append(run.id)

    def of(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((of(user) for user in users[name]), default=0)
        return height[name]

    return sorted(by_id.values(), key=lambda run: -of(run.id))
