"""The configuration of a training: strict loading, saving, overriding and hashing. Imports no jax.

    config = load_toml("run.toml")                                # RunConfig; a typo names the nearest field
    config = apply_overrides(config, {"learner.lr": 1e-3, "train.envs": 64})
    save_toml(config, "runs/x/config.toml")                       # load_toml gives back an equal RunConfig

A file holds what differs from the defaults, in the fields of the dataclasses:

    env = "smac/8m"
    seeds = 3
    [env_options]
    obs_last_action = true
    [learner]
    mixer = "vdn"
    [train]
    steps = 2_000_000
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ibal.experiments.methods import METHODS
from ibal.files import replace_text
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError, Scalar, field_types, shown, typed, unknown
from ibal.registry import closest
from ibal.train.config import TrainConfig

Record = TypeVar("Record")

OPTIONS = ("env_options", "method_options")  # tables whose fields are those of whatever they are given to

# How long a run goes on and how it is kept decide nothing of what it computes on the way.
BOOKKEEPING = ("train.steps", "train.snapshot_every", "train.checkpoint_every", "train.keep")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a training computes; the defaults are PyMARL's QMIX on 3m."""

    env: str = "smac/3m"
    """Environment: a name of `ibal env list`, or my_pkg.mod:make."""
    env_options: tuple[tuple[str, Scalar], ...] = ()
    """Options given to the environment's maker: (name, value) pairs, sorted by name."""
    method: str = "vanilla"
    """A name of ``experiments.methods``: what the team trains against; "vanilla": nothing."""
    method_options: tuple[tuple[str, Scalar], ...] = ()
    """Options of the method's adversary that differ from its own: (dotted name, value) pairs, sorted by name."""
    seed: int = 0
    """First seed."""
    seeds: int = 1
    """Seeds trained together in one program: seed, seed + 1, …"""
    learner: ValueConfig = field(default_factory=ValueConfig)
    """How it learns."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How much is collected, and how often one learns from it."""


def load_toml(path: str | Path, base: RunConfig = RunConfig()) -> RunConfig:
    """Read a file over ``base`` and validate the result. Raises ConfigError with the file's name in front."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; a configuration is a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    try:
        return validated(_merged(base, table, ""))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def save_toml(config: RunConfig, path: str | Path) -> None:
    """Write every field; the file appears complete or not at all."""
    replace_text(Path(path), to_toml(config))


def apply_overrides(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Replace fields by dotted name, as ``{"learner.lr": 1e-3, "env": "smac/8m"}``, and validate the result.

    Raises ConfigError for an unknown name, a wrong type or an impossible value.
    """
    table: dict[str, Any] = {}
    for name, value in overrides.items():
        head, dot, rest = name.partition(".")
        if not dot:
            table[head] = value
            continue
        if not isinstance(table.setdefault(head, {}), dict):
            raise ConfigError(f'"{head}" is given as a whole and by its field "{rest}"; give one of the two')
        table[head][rest] = value
    return validated(_merged(config, table, ""))


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Return the configuration as nested dicts of scalars, for JSON and TOML."""
    table = {
        f.name: _shallow(getattr(config, f.name)) if is_dataclass(getattr(config, f.name)) else getattr(config, f.name)
        for f in fields(config)
    }
    for name in OPTIONS:
        table[name] = dict(getattr(config, name))
    return table


def flat(config: RunConfig) -> dict[str, Scalar]:
    """Return every value under its dotted name: ``{"env": …, "learner.lr": …, "env_options.step_mul": …}``."""
    out: dict[str, Scalar] = {}
    for name, value in as_dict(config).items():
        out |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return out


def config_hash(config: RunConfig) -> str:
    """Return 12 hexadecimal digits that two configurations share if and only if they describe the same computation.

    Budget and bookkeeping (``BOOKKEEPING``) do not count: a run that goes on longer is the same run.
    """
    kept = {name: value for name, value in flat(config).items() if name not in BOOKKEEPING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def to_toml(config: RunConfig) -> str:
    """Return the configuration as the text of a TOML file."""
    table = as_dict(config)
    lines = [f"{name} = {_toml(value)}" for name, value in table.items() if not isinstance(value, dict)]
    for title, part in table.items():
        if isinstance(part, dict) and part:
            lines += ["", f"[{title}]", *(f"{_toml_key(name)} = {_toml(value)}" for name, value in part.items())]
    return "\n".join(lines) + "\n"


def validated(config: RunConfig) -> RunConfig:
    """Return ``config`` if it can be run. Raises ConfigError that names the field and says what is allowed."""
    learner, train = config.learner, config.train
    _one_of("method", config.method, tuple(METHODS))
    _at_least("seed", config.seed, 0)
    _at_least("seeds", config.seeds, 1)
    if not config.env:
        raise ConfigError("env is empty; name an environment of `ibal env list`")
    for name in ("hidden", "target_every", "batch"):
        _at_least(f"learner.{name}", getattr(learner, name), 1)
    for name in ("gamma", "td_lambda"):
        _within(f"learner.{name}", getattr(learner, name), 0.0, 1.0)
    for name in ("smooth_rows", "smooth_every"):
        _at_least(f"learner.{name}", getattr(learner, name), 1)
    for name in ("smooth", "smooth_eps", "smooth_init"):
        _at_least(f"learner.{name}", getattr(learner, name), 0)
    for name in ("lr", "grad_clip"):
        _positive(f"learner.{name}", getattr(learner, name))
    _positive("learner.ema_tau", learner.ema_tau)
    _within("learner.ema_tau", learner.ema_tau, 0.0, 1.0)
    for name in ("steps", "envs", "replay", "learn_from", "chunk", "eval_every", "eval_episodes", "keep"):
        _at_least(f"train.{name}", getattr(train, name), 1)
    for name in ("epsilon_steps", "snapshot_every"):
        _at_least(f"train.{name}", getattr(train, name), 0)
    for name in ("epsilon_start", "epsilon_end"):
        _within(f"train.{name}", getattr(train, name), 0.0, 1.0)
    _positive("train.updates_per_episode", train.updates_per_episode)
    _at_least("train.checkpoint_every", train.checkpoint_every, 0)
    _ordered("learner.batch", learner.batch, "train.learn_from", train.learn_from, "a batch is drawn from the stored")
    _ordered("train.learn_from", train.learn_from, "train.replay", train.replay, "the replay never holds more")
    _ordered("train.envs", train.envs, "train.replay", train.replay, "one iteration's episodes must fit in the replay")
    return config


def _merged(record: Record, table: Mapping[str, Any], where: str) -> Record:
    """Replace the fields of a configuration dataclass by what a TOML table says."""
    types = field_types(type(record))
    changes: dict[str, Any] = {}
    for name, value in table.items():
        if name not in types:
            raise ConfigError(unknown(f"[{where}]" if where else "the top level", name, tuple(types)))
        old = getattr(record, name)
        if name in OPTIONS:
            changes[name] = _options(name, dict(old), value)
        elif is_dataclass(old):
            if not isinstance(value, dict):
                raise ConfigError(f"{name} must be a table with fields of its own, not {shown(value)}: write [{name}]")
            changes[name] = _merged(old, value, name)
        else:
            try:
                changes[name] = typed(types[name], value)
            except ConfigError as error:
                raise ConfigError(f"{where + '.' if where else ''}{name} {error}") from None
    return replace(record, **changes)  # type: ignore[type-var]  (every Record here is a dataclass)


def _options(field: str, old: dict[str, Scalar], value: Any) -> tuple[tuple[str, Scalar], ...]:
    if not isinstance(value, dict):
        raise ConfigError(f"{field} must be a table of options, not {shown(value)}: write [{field}]")
    for name, option in value.items():
        if not isinstance(option, bool | int | float | str):
            raise ConfigError(f"{field}.{name} must be a number, a word, true or false, not {shown(option)}")
    return tuple(sorted((old | value).items()))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        near = closest(value, allowed)
        hint = f'; did you mean "{near}"?' if near else ""
        raise ConfigError(f'{name} must be one of {", ".join(map(shown, allowed))}, not "{value}"{hint}')


def _at_least(name: str, value: float, low: int) -> None:
    if not low <= value < math.inf:
        raise ConfigError(f"{name} must be at least {low}, not {value}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low:g} and {high:g}, not {value}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} must be above 0, not {value}")


def _ordered(low: str, smaller: int, high: str, larger: int, why: str) -> None:
    if smaller > larger:
        raise ConfigError(
            f"{low} = {smaller} is more than {high} = {larger}, but {why}; raise {high} or lower {low} to {larger}"
        )


def _shallow(record: Any) -> dict[str, Scalar]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


def _toml(value: Scalar) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)  # shortest text that reads back as the same float; TOML spells inf and nan alike


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, except that TOML refuses DEL unescaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(name: str) -> str:
    return name if name and name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _quoted(name)
