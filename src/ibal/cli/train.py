"""``ibal train``: train a team, or continue a training.

ibal train --env smac/3m --preset laptop --steps 1_000_000 --seeds 3 --out runs/qmix-3m
ibal train --out runs/qmix-3m --resume --steps 2_000_000

ibal train --env smac/8m --learner mappo --preset paper --method ibal --out runs/mappo-8m

What is set comes from the preset, then from the file of ``--config``, then from the other flags; the later wins.
``--learner`` names how the team learns, and so which fields ``--learner.<field>`` has.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from ibal.cli.output import FAILED, OK, WRONG_USE, CommandError, Output, a_path, unwritable
from ibal.experiments.config import CONFIG_FILE, NAMES, RunConfig, config_hash, load_toml
from ibal.experiments.methods import learner_of
from ibal.experiments.presets import PRESETS, apply_preset
from ibal.files import Busy
from ibal.learners import LEARNERS
from ibal.learners.config import PpoConfig, ValueConfig, name_of, named
from ibal.options import ConfigError, Scalar, field_types, pairs, read_scalar, read_text
from ibal.registry import Own, closest, quoted
from ibal.training.config import TrainConfig

_PRESET_HELP = "; ".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())


@dataclass(frozen=True)
class TrainArgs:
    """Train a team, or continue a training.

    What is set comes from the preset, then from the file of --config, then from the other flags; the later wins.
    --learner NAME says how the team learns: qmix (the default), vdn, qplex, iql, mappo or ippo. What it can be told
    besides stands below; of mappo and ippo: ibal train --learner mappo --help.
    """

    env: Annotated[str, tyro.conf.arg(metavar="NAME")] = "smac/3m"
    """A name of `ibal env list` (3m is short for smac/3m), or my_pkg.mod:make; options may follow in brackets."""
    env_option: Annotated[tuple[str, ...], tyro.conf.arg(metavar="OPTION=VALUE"), tyro.conf.UseAppendAction] = ()
    """An option of the environment, as obs_last_action=true; may be given more than once."""
    method: Annotated[str, tyro.conf.arg(metavar="NAME")] = "vanilla"
    """What the team trains against (vanilla: nothing); or an attack of your own, my_pkg.mod:MyConfig."""
    method_option: Annotated[tuple[str, ...], tyro.conf.arg(metavar="OPTION=VALUE"), tyro.conf.UseAppendAction] = ()
    """An option of the method's attack, as masks=random (`ibal attack list`); may be given more than once."""
    preset: Annotated[str | None, tyro.conf.arg(metavar="NAME", help=f"Starting point. {_PRESET_HELP}.")] = None
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Fields in TOML, as in the config.toml of a run folder."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Short for --train.steps."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """First seed."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """How many seeds to train together in one program: seed, seed + 1, …"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Run folder; must not exist yet, except with --resume. Without it: runs/<mixer>-<environment>."""
    init: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder to take the learned networks from; the replay and all counters start anew. Such a team explores with
    train.epsilon-end from its first step on: begun again at 1, it would unlearn what it knows among random team mates.
    Unless --train.epsilon-start is given."""
    resume: bool = False
    """Continue the training in --out, with its own configuration; only its length and how it is kept may change."""
    tensorboard: bool = False
    """Write curves for TensorBoard into the run folder."""
    wandb: bool = False
    """Send curves to Weights & Biases."""
    json: bool = False
    """Print one JSON object on standard output, nothing else."""
    quiet: bool = False
    """No messages on standard error, except errors."""
    learner: ValueConfig = field(default_factory=ValueConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class PpoArgs(TrainArgs):
    """Train a team that chooses by chance, or continue a training.

    What is set comes from the preset, then from the file of --config, then from the other flags; the later wins. What
    the fields of --train say of a replay and of random actions is for value learners only.
    """

    learner: PpoConfig = field(default_factory=PpoConfig)  # type: ignore[assignment]


def main(argv: list[str]) -> int:
    """Run ``ibal train`` with the arguments after ``train``."""
    try:
        args, config = parse(argv)
        out = args.out or Path("runs") / f"{name_of(config.learner)}-{config.env.split('/')[-1].replace(':', '.')}"
        return _train(args, config, out)
    except ConfigError as error:
        raise CommandError(str(error), WRONG_USE) from error


def parse(argv: list[str]) -> tuple[TrainArgs, RunConfig]:
    """Read the command line: the flags, and the configuration that preset, file and flags make together.

    Raises ConfigError for what cannot be run and CommandError for a wrong option, each in one sentence.
    """
    argv, learner = _split(argv)
    given = learner if {"-h", "--help"} & set(argv) else learner | _given(argv)
    base = _base(given)
    _check_ranges(given, base)
    record: Any = PpoArgs if isinstance(base.learner, PpoConfig) else TrainArgs
    default = record(env=base.env, method=base.method, seed=base.seed, seeds=base.seeds, learner=base.learner,
                     train=base.train)  # fmt: skip
    args = _parsed(argv, default)
    from ibal.envs import TABLE
    from ibal.envs import named as world

    named = {name: Own(getattr(args, name)) if name in given else getattr(base, name) for name in NAMES}
    env, options = world(named["env"]) if "env" in given else (TABLE.resolve(named["env"]), {})
    env_options = dict(_options("--env-option", args.env_option, base.env_options)) | options
    steps = args.train.steps if args.steps is None else args.steps
    if _continues(given) and not {"steps", "train.steps"} & given.keys():  # a preset's budget was not asked for
        steps = load_toml(Path(given["out"]) / CONFIG_FILE).train.steps
    explore = args.train.epsilon_end if "init" in given else args.train.epsilon_start
    if "train.epsilon-start" in given:
        explore = args.train.epsilon_start
    config = RunConfig(
        env=env,
        env_options=tuple(sorted(env_options.items())),
        method=named["method"],
        method_options=_options("--method-option", args.method_option, base.method_options),
        seed=args.seed,
        seeds=args.seeds,
        init=base.init if args.init is None else str(args.init),
        learner=learner_of(named["method"], args.learner),
        train=dataclasses.replace(args.train, steps=steps, epsilon_start=explore),
    )
    return args, config


def _parsed(argv: list[str], default: TrainArgs) -> TrainArgs:
    """Let tyro read what ``_given`` has found right; should it differ, its box of text becomes one sentence."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default), prog="ibal train", args=argv, default=default, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except SystemExit as end:
        if not end.code:
            raise
        words = " ".join(word for word in said.getvalue().split() if any(sign.isalnum() for sign in word))
        raise CommandError(f"{words or 'cannot be read'}. All options: ibal train --help", WRONG_USE) from None


def _split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line without ``--learner NAME``, and that: it decides which other options there are."""
    rest, found, i = [], {}, 0
    while i < len(argv):
        name, equals, value = argv[i].partition("=")
        i += 1
        if name != "--learner":
            rest.append(argv[i - 1])
            continue
        if not equals:
            value, i = (argv[i] if i < len(argv) else "", i + 1)
        if not value or value.startswith("--"):
            raise CommandError(f"--learner needs a value: {', '.join(LEARNERS)}", WRONG_USE)
        found = {"learner": value}
    return rest, found


def _given(argv: list[str]) -> dict[str, str]:
    """Return the options of the command line as text. Refuses an unknown name and a value of a wrong type."""
    types: dict[str, Any] = {f.name.replace("_", "-"): None for f in fields(TrainArgs)}
    types |= {"steps": int, "seed": int, "seeds": int}
    del types["learner"], types["train"]
    for part, record in (("learner", PpoConfig), ("learner", ValueConfig), ("train", TrainConfig)):
        types |= {f"{part}.{name.replace('_', '-')}": kind for name, kind in field_types(record).items()}
    flags = {f.name for f in fields(TrainArgs) if f.type == "bool"} | {name for name in types if types[name] is bool}
    given: dict[str, str] = {}
    value_at = -1
    for i, token in enumerate(argv):
        if i == value_at:
            continue
        if not token.startswith("--"):
            raise CommandError(f"{quoted(token)} belongs to no option. All of them: ibal train --help", WRONG_USE)
        spelled, equals, value = token[2:].partition("=")
        name = spelled.replace("_", "-")
        if name not in types:
            near = closest(name, types)
            hint = f' Closest: "--{near}".' if near else ""
            raise CommandError(f"unknown option {quoted(token)}.{hint} All of them: ibal train --help", WRONG_USE)
        after = argv[i + 1] if i + 1 < len(argv) and not argv[i + 1].startswith("--") else None
        if not equals and (after is not None or name not in flags):
            if after is None:
                raise CommandError(f"--{spelled} needs a value", WRONG_USE)
            value, value_at = after, i + 1
        given[name] = value
        if name in flags and not (equals or after):
            continue
        if not value.strip() or name in flags:
            what = "takes no value" if name in flags else "is empty"
            if types[name] is not bool or value in ("true", "false"):
                raise CommandError(f"--{spelled} {what}", WRONG_USE)
        try:
            if types[name] is not None:
                read_text(types[name], value)
            elif name in ("out", "config", "init"):
                a_path(value)
        except (ConfigError, argparse.ArgumentTypeError) as error:
            raise CommandError(f"--{spelled} {error}", WRONG_USE) from None
    return given


def _check_ranges(given: dict[str, str], base: RunConfig) -> None:
    """Make the records that the flags ask for: tyro would put what they refuse into a box."""
    for part, record in (("learner", base.learner), ("train", base.train)):
        types = field_types(type(record))
        words = {name.partition(".")[2].replace("-", "_"): text for name, text in given.items()
                 if name.startswith(f"{part}.") and text and not text.startswith("--")}  # fmt: skip
        for name in words.keys() - types.keys():
            flag = f"--{part}.{name.replace('_', '-')}"
            raise CommandError(f'"{name_of(base.learner)}" has no option {flag}{_others(types)}', WRONG_USE)
        dataclasses.replace(record, **{name: read_text(types[name], text) for name, text in words.items()})


def _base(given: dict[str, str]) -> RunConfig:
    """What the flags are applied to: the defaults (or what is resumed), then the preset, then the file."""
    base = load_toml(Path(given["out"]) / CONFIG_FILE) if _continues(given) else RunConfig()
    if "learner" in given:
        base = dataclasses.replace(base, learner=named(given["learner"], base.learner))
    if "preset" in given:
        asked = dataclasses.replace(base, env=_full(given["env"])) if "env" in given else base
        base = dataclasses.replace(apply_preset(given["preset"], asked), env=base.env)
        if "learner" in given:
            base = dataclasses.replace(base, learner=named(given["learner"], base.learner))
    return load_toml(given["config"], base, own=True) if "config" in given else base


def _full(env: str) -> str:
    """Return the full name of an environment of the table; another name as it is, to be refused where it is made."""
    from ibal.envs import TABLE

    try:
        return TABLE.resolve(Own(env))
    except ValueError:
        return env


def _others(types: dict[str, Any]) -> str:
    """Say which options a learner has."""
    return f"; it has {', '.join(f'--learner.{name}'.replace('_', '-') for name in types if name != 'name')}"


def _continues(given: dict[str, str]) -> bool:
    """Say whether a run folder with a configuration is resumed; it may have been killed before it had one."""
    if "resume" in given and not given.get("out"):
        raise CommandError("--resume continues the training in a run folder; say which: --out runs/…", WRONG_USE)
    return "resume" in given and (Path(given["out"]) / CONFIG_FILE).exists()


def _options(flag: str, words: tuple[str, ...], base: tuple[tuple[str, Scalar], ...]) -> tuple[tuple[str, Scalar], ...]:
    """Put the options of the command line over those there are."""
    given = {name: read_scalar(value) for name, value in pairs(flag, words).items()}
    return tuple(sorted((dict(base) | given).items()))


def _train(args: TrainArgs, config: RunConfig, out: Path) -> int:
    from ibal.experiments.run import CONSOLE, pinned, train_run
    from ibal.training.checkpoint import CheckpointError
    from ibal.training.log import LogError
    from ibal.training.runner import TrainingError

    output = Output(json=args.json, quiet=args.quiet)
    sinks = {"console": "off" if args.quiet else CONSOLE, "tensorboard": args.tensorboard, "wandb": args.wandb}
    try:
        config = pinned(config, out, resume=args.resume)
        summary = train_run(config, out, resume=args.resume, note=output.note, **sinks)
    except Busy as busy:
        raise CommandError(f"--out {busy}", WRONG_USE) from busy
    except (TrainingError, CheckpointError, LogError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise unwritable(error, out) from error
    output.result(summary | {"config_hash": config_hash(config)}, as_text(summary))
    return OK if summary["finished"] else FAILED


def as_text(summary: dict[str, Any]) -> str:
    """Return what a training came to, for people."""
    lines = [
        f"seed {row['seed']}: {row['env_steps']:,} steps, "
        + (f"win rate {row['win']:.3f}, " if row["win"] is not None else "")
        + f"return {row['return']:.2f}, "
        f"length {row['length']:.1f} over {row['episodes']} greedy episodes"
        for row in summary["seeds"]
    ]
    if not summary["finished"]:
        lines.append(
            f"stopped at step {summary['env_steps']:,}; continue with: ibal train --out {summary['out']} --resume"
        )
    return "\n".join([*lines, f"{summary['out']}"])
