"""``ibal train``: train a team, or continue a training.

ibal train --env smac/3m --preset laptop --steps 1_000_000 --seeds 3 --out runs/qmix-3m
ibal train --out runs/qmix-3m --resume --steps 2_000_000

ibal train --env smac/8m --learner mappo --preset paper --method ibal --out runs/mappo-8m

What is set comes from the preset, then from the file of ``--config``, then from the other flags; the later wins.
``--learner`` names how the team learns, and so which fields ``--learner.<field>`` has.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from ibal.cli.output import (
    FAILED,
    OK,
    WRONG_USE,
    CommandError,
    Parser,
    a_path,
    add_flags,
    output_of,
    unwritable,
)
from ibal.experiments.config import CONFIG_FILE, NAMES, RunConfig, config_hash, load_toml
from ibal.experiments.methods import learner_of
from ibal.experiments.presets import PRESETS, apply_preset
from ibal.files import Busy
from ibal.learners import LEARNERS
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig, ValueConfig, name_of, named
from ibal.options import ConfigError, Scalar, field_helps, field_types, pairs, read_scalar, read_text
from ibal.registry import Own
from ibal.training.config import TrainConfig

PARTS = (
    ("learner", ValueConfig),
    ("learner", PpoConfig),
    ("learner", PqnConfig),
    ("train", TrainConfig),
)  # --learner.lr, --train.envs, …


def main(argv: list[str]) -> int:
    """Run ``ibal train`` with the arguments after ``train``."""
    try:
        options, config = parse(argv)
        out = options.out or Path("runs") / f"{name_of(config.learner)}-{config.env.split('/')[-1].replace(':', '.')}"
        return _train(options, config, out)
    except ConfigError as error:
        raise CommandError(str(error), WRONG_USE) from error


def parse(argv: list[str]) -> tuple[argparse.Namespace, RunConfig]:
    """Read the command line: the flags, and the configuration that preset, file and flags make together.

    Raises ConfigError for what cannot be run and CommandError for a wrong option, each in one sentence.
    """
    options = _parser(_shown(argv)).parse_args(argv)
    given = {name: value for name, value in vars(options).items() if value is not None}
    base = _base(given)
    return options, _config(given, base)


def _config(given: dict[str, Any], base: RunConfig) -> RunConfig:
    """Put what the flags say over what they are applied to."""
    from ibal.envs import TABLE
    from ibal.envs import named as world

    learner, train = (_with_fields(part, getattr(base, part), given) for part in ("learner", "train"))
    steps = given.get("steps", train.steps)
    if _continues(given) and not {"steps", "train.steps"} & given.keys():  # a preset's budget was not asked for
        steps = load_toml(given["out"] / CONFIG_FILE).train.steps
    explore = train.epsilon_end if "init" in given else train.epsilon_start
    if "train.epsilon_start" in given:
        explore = train.epsilon_start
    names = {name: Own(given[name]) if name in given else getattr(base, name) for name in NAMES}
    env, options = world(names["env"]) if "env" in given else (TABLE.resolve(names["env"]), {})
    env_options = dict(_options("--env-option", given.get("env_option", ()), base.env_options)) | options
    return RunConfig(
        env=env,
        env_options=tuple(sorted(env_options.items())),
        method=names["method"],
        method_options=_options("--method-option", given.get("method_option", ()), base.method_options),
        seed=given.get("seed", base.seed),
        seeds=given.get("seeds", base.seeds),
        init=str(given.get("init", base.init)),
        learner=learner_of(names["method"], learner),
        train=dataclasses.replace(train, steps=steps, epsilon_start=explore),
    )


def _parser(learner: LearnerConfig) -> Parser:
    """Make the parser of all learners' fields; the help shows those of one."""
    out = Parser(prog="ibal train", usage="ibal train [-h] [OPTIONS]", description=_ABOUT, allow_abbrev=False)
    add = out.add_argument
    add("--env", type=_text("--env"), metavar="NAME",
        help="a name of `ibal env list` (3m is short for smac/3m), or my_pkg.mod:make; options may follow in brackets, "
        "as in smac/8m[version=2026-11] (default: smac/3m)")  # fmt: skip
    add("--env-option", type=_text("--env-option"), action="append", metavar="OPTION=VALUE",
        help="an option of the environment, as obs_last_action=true; may be given more than once")  # fmt: skip
    add("--method", type=_text("--method"), metavar="NAME",
        help="what the team trains against (default: vanilla, nothing); faults, as lost-30 or hp-15+stop-1@40; or an "
        "attack of your own, my_pkg.mod:MyConfig")  # fmt: skip
    add("--method-option", type=_text("--method-option"), action="append", metavar="OPTION=VALUE",
        help="an option of the method's attack, as masks=random (`ibal attack list`); may be given more "
        "than once")  # fmt: skip
    add("--learner", nargs="?", const="", metavar="NAME",
        help=f"how the team learns: one of {', '.join(LEARNERS)} (default: qmix)")  # fmt: skip
    add("--preset", type=_text("--preset"), metavar="NAME", help=_plain(f"starting point. {_PRESETS}"))
    add("--config", type=a_path, metavar="FILE.toml", help="fields in TOML, as in the config.toml of a run folder")
    add("--steps", type=_value("--steps", int), metavar="N", help="short for --train.steps")
    add("--seed", type=_value("--seed", int), metavar="N", help="first seed (default: 0)")
    add("--seeds", type=_value("--seeds", int), metavar="N",
        help="how many seeds to train together in one program: seed, seed + 1, … (default: 1)")  # fmt: skip
    add("--out", type=a_path, metavar="FOLDER",
        help="run folder; must not exist yet, except with --resume (default: runs/<mixer>-<environment>)")  # fmt: skip
    add("--init", type=a_path, metavar="RUN",
        help="run folder to take the learned networks from; the replay and all counters start anew. Such a team "
        "explores with train.epsilon-end from its first step on: begun again at 1, it would unlearn what it knows "
        "among random team mates. Unless --train.epsilon-start is given")  # fmt: skip
    add("--resume", action="store_true",
        help="continue the training in --out, with its own configuration; only its length and how it is kept may "
        "change")  # fmt: skip
    add("--tensorboard", action="store_true", help="write curves for TensorBoard into the run folder")
    add("--wandb", action="store_true", help="send curves to Weights & Biases")
    add_flags(out)
    of_others = [one for one in PARTS if one[0] == "learner" and not isinstance(learner, one[1])]
    for part, record in [*(one for one in PARTS if one not in of_others), *of_others]:  # what is shown comes first
        shown = learner if part == "learner" else record()
        _add_fields(out, part, record, None if (part, record) in of_others else shown)
    return out


_ABOUT = """Train a team, or continue a training. What is set comes from the preset, then from the file of --config,
then from the other flags; the later wins. --learner NAME says how the team learns; what it can be told besides stands
below, of another one under ibal train --learner NAME --help."""
_PRESETS = "; ".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())


def _add_fields(out: Parser, part: str, record: type, shown: Any) -> None:
    """Add an option for every field of a configuration; ``shown``: the one whose values the help shows, None: none."""
    title = _plain((record.__doc__ or "").split("\n\n")[0])
    group = out.add_argument_group(f"{part} options", title) if shown else out
    helps = field_helps(record)
    for name, kind in field_types(record).items():
        flag = f"--{part}.{name.replace('_', '-')}"
        if flag in out.flags() or (part, name) == ("learner", "name"):
            continue
        about = argparse.SUPPRESS
        if shown:
            about = _plain(f"{helps[name]} (default: {_written(getattr(shown, name))})")
        choice = {"nargs": "?", "const": True} if kind is bool else {}
        words = "{" + ",".join(map(str, get_args(kind))) + "}"
        group.add_argument(flag, type=_value(flag, kind), metavar=_NOUNS.get(kind, words), help=about, **choice)


_NOUNS = {int: "N", float: "X", bool: "true|false"}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    """Return a help text in which argparse sees nothing to fill in."""
    return text.replace("%", "%%")


def _value(flag: str, kind: Any) -> Callable[[str], Any]:
    """Return a ``type`` for argparse: a value of a field. Another text ends the command with a sentence."""

    def read(text: str) -> Any:
        try:
            return read_text(kind, _text(flag)(text))
        except ConfigError as error:
            raise CommandError(f"{flag} {error}", WRONG_USE) from None

    return read


def _text(flag: str) -> Callable[[str], str]:
    """Return a ``type`` for argparse: a text that says something."""

    def read(text: str) -> str:
        if not text.strip():
            raise CommandError(f"{flag} is empty", WRONG_USE)
        return text

    return read


def _shown(argv: list[str]) -> LearnerConfig:
    """Return the learner whose options ``--help`` shows: of a command line that asks for it, the one it names."""
    words = [word for word in argv if word.partition("=")[0] == "--learner" or not word.startswith("--")]
    for i, word in enumerate(words):
        name = word.partition("=")[2] or "".join(words[i + 1 : i + 2])
        if word.startswith("--learner") and name in LEARNERS:
            return named(name, ValueConfig())
    return ValueConfig()


def _with_fields(part: str, record: Any, given: dict[str, Any]) -> Any:
    """Return a configuration with the fields that the flags give it. Raises CommandError for those of another one."""
    types = field_types(type(record))
    words = {name.partition(".")[2]: value for name, value in given.items()
             if name.startswith(f"{part}.")}  # fmt: skip
    for name in words.keys() - types.keys():
        its = ", ".join(f"--{part}.{name}".replace("_", "-") for name in types if name != "name")
        flag = f"--{part}.{name.replace('_', '-')}"
        raise CommandError(f'"{name_of(record)}" has no option {flag}; it has {its}', WRONG_USE)
    return dataclasses.replace(record, **words)


def _base(given: dict[str, Any]) -> RunConfig:
    """What the flags are applied to: the defaults (or what is resumed), then the preset, then the file."""
    if given.get("learner") == "":
        raise CommandError(f"--learner needs a value: {', '.join(LEARNERS)}", WRONG_USE)
    base = load_toml(given["out"] / CONFIG_FILE) if _continues(given) else RunConfig()
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


def _continues(given: dict[str, Any]) -> bool:
    """Say whether a run folder with a configuration is resumed; it may have been killed before it had one."""
    if given["resume"] and "out" not in given:
        raise CommandError("--resume continues the training in a run folder; say which: --out runs/…", WRONG_USE)
    return given["resume"] and (given["out"] / CONFIG_FILE).exists()


def _options(flag: str, words: Sequence[str], base: tuple[tuple[str, Scalar], ...]) -> tuple[tuple[str, Scalar], ...]:
    """Put the options of the command line over those there are."""
    given = {name: read_scalar(value) for name, value in pairs(flag, words).items()}
    return tuple(sorted((dict(base) | given).items()))


def _train(args: argparse.Namespace, config: RunConfig, out: Path) -> int:
    from ibal.experiments.run import CONSOLE, divided, pinned, train_run
    from ibal.training.checkpoint import CheckpointError
    from ibal.training.log import LogError
    from ibal.training.runner import TrainingError

    output = output_of(args)
    sinks = {"console": "off" if args.quiet else CONSOLE, "tensorboard": args.tensorboard, "wandb": args.wandb}
    try:
        config = divided(pinned(config, out, resume=args.resume), out, args.resume)
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
