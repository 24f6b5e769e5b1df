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
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ibal import reading
from ibal.adversaries.fault_names import is_faulty
from ibal.experiments.methods import METHODS
from ibal.files import replace_text
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig, ValueConfig, named
from ibal.options import (
    ConfigError,
    Scalar,
    check_count,
    check_fields,
    check_order,
    check_seed,
    field_types,
    shown,
    typed,
    unknown,
)
from ibal.registry import Own, closest
from ibal.training.config import TrainConfig

Record = TypeVar("Record")

CONFIG_FILE = "config.toml"  # of a run folder
NAMES = ("env", "method")  # fields that name what is made
OPTIONS = ("env_options", "method_options")  # tables whose fields are those of whatever they are given to

# How long a run goes on and how it is kept decide nothing of what it computes on the way.
BOOKKEEPING = ("train.steps", "train.snapshot_every", "train.checkpoint_every", "train.keep")


def _pairs(field: str, given: Any) -> tuple[tuple[str, Scalar], ...]:
    """Return options as pairs, sorted by name; a dict is welcome."""
    try:
        options = dict(given)
    except (TypeError, ValueError):
        raise ConfigError(f'{field} must be pairs of name and value, as (("step_mul", 4),), not {given!r}') from None
    for name, option in options.items():
        if not isinstance(name, str):
            raise ConfigError(f"{field}: the name of an option must be a text, not {name!r}")
        if not isinstance(option, bool | int | float | str):
            raise ConfigError(f"{field}.{name} must be a number, a word, true or false, not {shown(option)}")
        if isinstance(option, float) and not math.isfinite(option):  # JSON has no word for it
            raise ConfigError(f"{field}.{name} must be finite, not {option}")
    return tuple(sorted(options.items()))


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a training computes; the defaults are PyMARL's QMIX on 3m."""

    env: str = "smac/3m"
    """Environment: a name of `ibal env list`, or my_pkg.mod:make."""
    env_options: tuple[tuple[str, Scalar], ...] = ()
    """Options given to the environment's maker: (name, value) pairs, sorted by name."""
    method: str = "vanilla"
    """What the team trains against: a name of ``experiments.methods`` ("vanilla": nothing), or an attack of one's own,
    my_pkg.mod:MyConfig."""
    method_options: tuple[tuple[str, Scalar], ...] = ()
    """Options of the method's adversary that differ from its own: (dotted name, value) pairs, sorted by name."""
    seed: int = 0
    """First seed."""
    seeds: int = 1
    """Seeds trained together in one program: seed, seed + 1, …"""
    init: str = ""
    """Run folder whose networks it began with; "": fresh ones."""
    learner: LearnerConfig = field(default_factory=ValueConfig)
    """How it learns: fields of ``ValueConfig``, of ``PpoConfig`` (name = "mappo" or "ippo") or of ``PqnConfig`` (name =
    "pqn-vdn" or "pqn-qmix")."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How much is collected, and how often one learns from it."""

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field and says what is allowed, whoever makes it."""
        check_fields(self, names=("env", "method", "seed", "seeds", "init"))
        for name, kinds in (("learner", (ValueConfig, PpoConfig, PqnConfig)), ("train", (TrainConfig,))):
            if not isinstance(getattr(self, name), kinds):
                wanted = " or a ".join(kind.__name__ for kind in kinds)
                raise ConfigError(f"{name} must be a {wanted}, not {getattr(self, name)!r}")
        for name in OPTIONS:
            object.__setattr__(self, name, _pairs(name, getattr(self, name)))
        if not self.env:
            raise ConfigError("env is empty; name an environment of `ibal env list`")
        if self.method not in METHODS and ":" not in self.method and not is_faulty(self.method):
            near = closest(self.method, METHODS)
            hint = f'; did you mean "{near}"?' if near else ""
            names = ", ".join(map(shown, METHODS))
            own = "a fault such as lost-30, or an attack of your own, my_pkg.mod:MyConfig"
            raise ConfigError(f"method must be one of {names}, {own}, not {shown(self.method)}{hint}")
        check_seed("seed", self.seed)
        check_count("seeds", self.seeds, 1)
        check_seed("the last seed, seed + seeds - 1,", self.seed + self.seeds - 1)
        if isinstance(self.learner, ValueConfig):
            why = "a batch is drawn from the stored"
            check_order("learner.batch", self.learner.batch, "train.learn_from", self.train.learn_from, why)


def load_toml(path: str | Path, base: RunConfig = RunConfig(), own: bool = False) -> RunConfig:
    """Read a file over ``base``. Raises ConfigError with the file's name in front.

    ``own``: the user passes the file as a program of his own, so that the environment and the method that it names may
    be his code (``registry.Own``); a run folder is data, and what it names must be in the tables to be made.
    """
    path = Path(path)
    try:
        table = reading.toml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; a configuration is a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except reading.Unreadable as error:
        raise ConfigError(str(error)) from None
    try:
        config = _merged(base, table, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return replace(config, **{name: Own(table[name]) for name in NAMES if own and name in table})


def save_toml(config: RunConfig, path: str | Path) -> None:
    """Write every field; the file appears complete or not at all."""
    replace_text(Path(path), to_toml(config))


def apply_overrides(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Replace fields by dotted name, as ``{"learner.lr": 1e-3, "env": "smac/8m"}``.

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
    return _merged(config, table, "")


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
    if not config.init:  # as it was before a configuration could say so
        del kept["init"]
    if config.train.parts <= 1:  # likewise
        del kept["train.parts"]
    if not kept.get("learner.privileged"):
        kept.pop("learner.privileged", None)
    if not config.learner.smooth and not isinstance(config.learner, ValueConfig):  # the others had no such fields
        kept = {name: value for name, value in kept.items() if not name.startswith("learner.smooth")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def to_toml(config: RunConfig) -> str:
    """Return the configuration as the text of a TOML file."""
    table = as_dict(config)
    lines = [f"{name} = {_toml(value)}" for name, value in table.items() if not isinstance(value, dict)]
    for title, part in table.items():
        if isinstance(part, dict) and part:
            lines += ["", f"[{title}]", *(f"{_toml_key(name)} = {_toml(value)}" for name, value in part.items())]
    return "\n".join(lines) + "\n"


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
            if name == "learner" and "name" in value:
                value = dict(value)
                old = named(value.pop("name"), getattr(record, name))
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
    return _pairs(field, old | value)


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
