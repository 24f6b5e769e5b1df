"""``ibal.train``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from ibal.adversaries import built
from ibal.adversaries.base import Adversary
from ibal.api.given import MADE, GivenAttack, GivenEnv, World, called_name, changed, is_attack, named_world, world
from ibal.api.records import Run, Team
from ibal.envs import TABLE, as_recorded, newest
from ibal.evaluation.teams import teams_of
from ibal.experiments.config import CONFIG_FILE, RunConfig, apply_overrides, load_toml
from ibal.experiments.methods import learner_of
from ibal.experiments.presets import apply_preset
from ibal.experiments.run import CONSOLE, train_run
from ibal.game.referee import check_functions
from ibal.learners.config import LearnerConfig, named
from ibal.nets.bundle import TeamPolicy, find_policies, load_policy
from ibal.options import ConfigError, Scalar
from ibal.registry import Own
from ibal.training.log import ConsoleKind, read_metrics
from ibal.types import EnvSpec


def train(
    env: GivenEnv | None = None, method: str | GivenAttack | None = None, *, steps: int | None = None,
    seed: int | None = None, seeds: int | None = None, preset: str | None = None,
    learner: str | LearnerConfig | None = None, method_options: Mapping[str, Scalar] | None = None,
    settings: Mapping[str, Any] | None = None,
    init: str | Path | None = None, config: RunConfig | None = None, out: str | Path | None = None,
    resume: bool = False, quiet: bool = False,
) -> Run:  # fmt: skip
    """Train a team, or several in one program, and return the teams with all that was logged.

    Args:
        env: a name of ``ibal.environments()`` ("3m" is short for "smac/3m"; options in brackets),
            ``"my_pkg.mod:make"``, an ``ibal.Env``, or a function without arguments that returns one. None: as
            ``config`` has it (3m).
        method: what the team trains against: a name of ``ibal.methods()`` ("vanilla": nothing), or an attack of your
            own, as ``"my_pkg.mod:MyConfig"``, as a frozen dataclass with ``build(spec)``, or built.
        steps: environment steps of every seed; the training ends with the iteration that reaches them.
        seed, seeds: the seeds ``seed .. seed + seeds - 1``, each a team of its own.
        preset: "paper" (the default's values), "laptop" (learns fastest on a few cores) or "smoke" (learns nothing).
        learner: how it learns: a name of ``ibal.learners()``, a ``ValueConfig``, ``PpoConfig`` or ``PqnConfig``; None:
            as ``preset`` or ``config`` says.
        method_options: options of the method's attack, as ``{"masks": "random"}``.
        settings: any other field by its dotted name, as ``{"train.envs": 64, "learner.lr": 1e-3}``.
        init: a run folder whose networks it begins with.
        config: everything at once; what else is given goes before it.
        out: a folder to write into as ``ibal train --out`` does. None: nothing stays on the disk.
        resume: go on with what ``out`` holds, bit for bit as if nothing had happened.
        quiet: draw no progress bar on standard error.

    Returns:
        ``Run`` with ``.teams``, ``.metrics`` (a polars frame), ``.figure()``. Ctrl-C ends the training after the
        current chunk and gives back what there is; a second one interrupts as usual.

    Raises:
        ConfigError: a value that cannot be run, with the closest that can; UnknownName for a name.
        TrainingError: the training does not fit into memory, or its loss is no longer finite.
        ContractError: an environment or an attack of your own breaks its contract.

    Example:
        >>> run = ibal.train("smac/8m", method="ibal", preset="laptop", steps=1_000_000, seeds=3)
        >>> run.teams[0].save("ibal-8m.safetensors")

    Source: IBAL Algorithm 1; the learners are PyMARL's (``learners.value``), MAPPO and IPPO
    (``learners.ppo``), PQN (``learners.pqn``).
    """
    if resume and out is None:
        raise ConfigError("resume=True continues the training in a folder; say which: out=…")
    folder = None if out is None else Path(out)
    base = RunConfig() if config is None else config
    if folder is not None and resume and (folder / CONFIG_FILE).exists():
        base = load_toml(folder / CONFIG_FILE)
    here = _recorded(base, resume) if env is None else world(env)
    if preset is not None:
        base = apply_preset(preset, replace(base, env=here.name, learner=_learner(learner, base.learner)))
    given = base.method if resume else Own(base.method)  # a folder is data: what it names as code is not run
    asked = given if method is None else method
    name = given if method is None else Own(asked if isinstance(asked, str) else called_name(asked))
    options = dict(base.method_options) if method is None else {}
    if is_attack(asked):
        options = changed(asked)
    options_of = base.env_options if resume and env is None else tuple(sorted(here.options.items()))
    whole = replace(
        base, env=here.name, env_options=options_of,
        method=name, method_options=tuple(sorted((options | dict(method_options or {})).items())),
        seed=base.seed if seed is None else seed, seeds=base.seeds if seeds is None else seeds,
        init=base.init if init is None else str(init), learner=_learner(learner, base.learner),
    )  # fmt: skip
    if steps is not None:
        whole = replace(whole, train=replace(whole.train, steps=steps))
    if init is not None:  # begun again at 1, it would unlearn what it knows among random team mates
        whole = replace(whole, train=replace(whole.train, epsilon_start=whole.train.epsilon_end))
    whole = apply_overrides(whole, settings or {})
    whole = replace(whole, learner=learner_of(whole.method, whole.learner))
    attack = None if isinstance(asked, str) else _adversary(asked, here.env.spec)
    return _trained(whole, here, attack, folder, resume, "off" if quiet else CONSOLE)


def _trained(
    whole: RunConfig, here: World, attack: Adversary | None, folder: Path | None, resume: bool, console: ConsoleKind
) -> Run:
    """Train in a folder, or in one that is gone afterwards."""
    if folder is not None:
        done = train_run(whole, folder, env=here.env, adversary=attack, resume=resume, console=console)
        return _run(whole, here, done, folder, str(folder), folder)
    label = f"{whole.method.rpartition(':')[2]}-{here.env.spec.name.split('/')[-1]}"
    with tempfile.TemporaryDirectory(prefix="ibal-") as place:
        aside = Path(place) / "run"
        done = train_run(whole, aside, env=here.env, adversary=attack, kept=False, console=console)
        return _run(whole, here, done, aside, label, None)


def _recorded(config: RunConfig, resume: bool) -> World:
    """Make the environment of a configuration; that of a run, by the rules that it was played by."""
    options = dict(config.env_options)
    if resume:
        return named_world(config.env, as_recorded(config.env, {"env_options": options}))
    name = TABLE.resolve(Own(config.env))
    return named_world(name, newest(name) | options)


def _learner(given: str | LearnerConfig | None, base: LearnerConfig) -> LearnerConfig:
    if given is None:
        return base
    return named(given, base) if isinstance(given, str) else given


def _adversary(given: Any, spec: EnvSpec) -> Adversary:
    if isinstance(given, Adversary):
        return check_functions(given)
    if not is_attack(given):
        raise ConfigError(
            f"method: a {type(given).__name__} is none; give a name of ibal.methods(), or an attack: a frozen "
            "dataclass with build(spec), or an ibal.Adversary"
        )
    return built(given, spec)


def _run(config: RunConfig, here: World, done: dict[str, Any], folder: Path, name: str, out: Path | None) -> Run:
    """Read what a training has left."""
    metrics = pl.DataFrame(read_metrics(folder), infer_schema_length=None)
    played = [team for _, team in teams_of([str(folder)], here.env if here.own else None, made=MADE)]
    if out is None:
        played = [team._replace(about={key: v for key, v in team.about.items() if key != "file"}) for team in played]
    policies: list[TeamPolicy] = [load_policy(file) for file in find_policies(folder)]
    teams = [Team(team._replace(policy=name), policy) for team, policy in zip(played, policies, strict=True)]
    return Run(config, teams, metrics, done["finished"], done["env_steps"], out)
