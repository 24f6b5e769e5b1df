"""A study: what is to be trained, attacked and shown, as one file. Reading it imports no jax.

    study = load_study(Path("studies/mine/study.toml"))
    study.trainings[0].config                                          # a RunConfig; its seeds are in .seeds

A file:

    name = "two methods"
    [defaults]                       # of every training; the fields of a run's config.toml, and preset
    preset = "laptop"
    seeds = 3
    train.steps = 1_000_000
    [[train]]
    method = ["vanilla", "ibal"]     # lists multiply: these are two methods on two maps with three seeds each
    env = ["3m", "8m"]
    init = "start"                   # begins with what that one has learned (same environment, same seed)
    [[train]]
    name = "start"
    env = ["3m", "8m"]
    [[attackers]]                    # what has to be fitted, and to whom: names of teams, or "each" for white box
    attack = ["ega", "interaction"]
    on = "start"
    [[evaluate]]
    teams = ["vanilla", "ibal"]
    attacks = ["natural", "random", "ega", "interaction"]
    perturbations = ["none", "dis-1"]
    attackers = "attackers"
    episodes = 512
    [page]
    tables = [7, 9]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ibal import envs, reading
from ibal.adversaries import TABLE
from ibal.adversaries.fault_names import is_faulty
from ibal.experiments.config import RunConfig, apply_overrides
from ibal.experiments.methods import learner_of
from ibal.experiments.presets import apply_preset
from ibal.experiments.toml_lines import Lines
from ibal.learners.config import PpoConfig, ValueConfig, named
from ibal.options import ConfigError, shown, unknown
from ibal.registry import Own, hint, quoted

STUDY_FILE = "study.toml"
EACH = "each"  # attackers that are fitted to the very team that they attack
_LISTS = ("env", "method", "learner")  # several of them multiply
_TRAIN = ("name", "preset", "pack", *(f.name for f in fields(RunConfig) if f.name != "seed"))
_ATTACKERS = ("name", "attack", "on", "seeds", "episodes", "steps", "rounds", "epsilon", "seed")
_EVALUATE = ("teams", "env", "attacks", "perturbations", "attackers", "episodes", "seed", "seeds", "snapshots")
_TEAMS = ("name", "files")
_PAGE = ("title", "tables", "curves", "replays")
_TOP = ("name", "engine", "defaults", "train", "teams", "attackers", "evaluate", "page")
_OF_STUDIES = re.compile(r"^\s*\[(\[(train|teams|attackers|evaluate)\]|evaluate)\]", re.MULTILINE)


@dataclass(frozen=True)
class Training:
    """One team in one environment: ``config`` without its seeds; each of ``seeds`` is a run, or ``pack`` of them in one
    program. ``init`` names the training that it begins with."""

    name: str
    config: RunConfig
    seeds: tuple[int, ...]
    pack: int = 1
    init: str = ""


@dataclass(frozen=True)
class Teams:
    """Teams that are there already: run folders or bundles, under one name."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Attackers:
    """Attacks that are fitted: to each seed of the teams ``on`` (``EACH``: to each team that is attacked)."""

    name: str
    attack: tuple[str, ...]
    on: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    """Seeds of the victims; (): all that they have."""
    plan: tuple[tuple[str, Any], ...] = ()
    """Fields of ``fitting.FitPlan`` that differ from its defaults."""


@dataclass(frozen=True)
class Evaluate:
    """Teams x attacks x perturbations, on the same episodes. ``snapshots``: every policy that the trainings have kept
    on the way as well, for curves."""

    teams: tuple[str, ...]
    attacks: tuple[str, ...] = ("natural",)
    perturbations: tuple[str, ...] = ("none",)
    attackers: str = ""
    episodes: int = 1024
    seed: int = 0
    seeds: tuple[int, ...] = ()
    snapshots: bool = False
    env: tuple[str, ...] = ()
    """Only in these environments; (): wherever the teams play."""


@dataclass(frozen=True)
class Page:
    """What the study's page shows besides the table of all cells: tables of the paper (those that there is something
    of, if none is named), learning curves, and how many episodes can be played in it."""

    title: str = ""
    tables: tuple[int, ...] = ()
    curves: bool = True
    replays: int = 8


@dataclass(frozen=True)
class Study:
    """All of a study file."""

    name: str
    trainings: tuple[Training, ...] = ()
    teams: tuple[Teams, ...] = ()
    attackers: tuple[Attackers, ...] = ()
    evaluations: tuple[Evaluate, ...] = ()
    page: Page = field(default_factory=Page)
    engine: str = ""
    """The sources and versions that its results count as made by; "": those that are installed."""


def load_study(path: Path) -> Study:
    """Read a study file, or that of a folder. Raises ConfigError: one sentence with file, line and field."""
    path = Path(path)
    path = path / STUDY_FILE if path.is_dir() else path
    try:
        text = reading.text(path, reading.TOML)
        table = reading.toml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; a study is a TOML file (ibal grid new paper writes one)") from None
    except (OSError, reading.Unreadable) as error:
        said = str(error) if isinstance(error, reading.Unreadable) else f"{path} cannot be read: {error.strerror}"
        raise ConfigError(said) from None
    return read_study(table, path.parent.name or "study", Lines(text), str(path))


def studies_in(folder: Path) -> list[Path]:
    """Return the files of the studies that lie in a folder and share what is done there; the configuration of a run is
    none. Raises OSError."""
    texts = {file: file.read_text(encoding="utf-8", errors="replace")
             for file in sorted(folder.glob("*.toml")) if file.is_file()}  # fmt: skip
    return [file for file, text in texts.items() if file.name == STUDY_FILE or _OF_STUDIES.search(text)]


def read_study(
    table: Mapping[str, Any], name: str = "study", lines: Lines | None = None, where: str = "study"
) -> Study:
    """Read a study from the tables of its file, as a program may make them itself. Raises as ``load_study``."""
    return _Reader(table, lines or Lines(""), where).study(name)


class _Wrong(ConfigError):
    """What is wrong, and in which table and field."""

    def __init__(self, message: str, part: str = "", index: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.at = part, index, field


class _Reader:
    """Reads one file; every complaint gets the line that it is about."""

    def __init__(self, table: Mapping[str, Any], lines: Lines, where: str) -> None:
        self.table, self.lines, self.where = dict(table), lines, where

    def study(self, name: str) -> Study:
        try:
            return self._study(name)
        except _Wrong as wrong:
            line = self.lines.of(*wrong.at)
            at = f"{self.where}, line {line}" if line else self.where
            raise ConfigError(f"{at}: {wrong}") from None

    def _study(self, name: str) -> Study:
        self._known(self.table, _TOP, "the top level", "", 0)
        name = _text(self.table.get("name", name), "name")
        page = self._page()
        parts = {part: self._tables(part) for part in ("train", "teams", "attackers", "evaluate")}
        trainings = [made for i, one in enumerate(parts["train"]) for made in self._trainings(one, i)]
        teams = [self._teams(one, i) for i, one in enumerate(parts["teams"])]
        attackers = [self._attackers(one, i) for i, one in enumerate(parts["attackers"])]
        names = list(dict.fromkeys([one.name for one in trainings] + [one.name for one in teams]))
        self._check_names(trainings, teams, attackers)
        for i, one in enumerate(attackers):
            self._refer(one.on, [EACH, *names], "attackers", i, "on", "team")
            if EACH in one.on and len(one.on) > 1:
                raise _Wrong(f'on: "{EACH}" is every team that is attacked; name it alone', "attackers", i, "on")
        evaluations = [self._evaluate(one, i, names, attackers) for i, one in enumerate(parts["evaluate"])]
        self._check_inits(trainings)
        engine = _text(self.table.get("engine", ""), "engine")
        return Study(
            name, tuple(trainings), tuple(teams), tuple(attackers), tuple(evaluations), page, engine
        )  # fmt: skip

    def _tables(self, part: str) -> list[dict[str, Any]]:
        found = self.table.get(part, [])
        if isinstance(found, Mapping):
            found = [found]
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            raise _Wrong(f"{part} must be tables: write [[{part}]]", "", 0, part)
        return [dict(one) for one in found]

    def _known(self, table: Mapping[str, Any], known: Sequence[str], what: str, part: str, index: int) -> None:
        for name in table:
            if name not in known:
                raise _Wrong(unknown(what, name, tuple(known)), part, index, name)

    def _trainings(self, entry: dict[str, Any], index: int) -> list[Training]:
        defaults = self.table.get("defaults", {})
        if not isinstance(defaults, Mapping):
            raise _Wrong("defaults must be a table: write [defaults]", "", 0, "defaults")
        usual = tuple(name for name in _TRAIN if name != "name")
        self._known(defaults, usual, "[defaults]", "defaults", 0)
        self._known(entry, _TRAIN, "[[train]]", "train", index)
        whole = _over(dict(defaults), entry)

        def of(field: str) -> tuple[str, int, str]:
            """Where a field stands: in the entry, or else among the defaults."""
            return ("train", index, field) if field in entry else ("defaults", 0, field)

        choices = {one: _strings(whole.get(one, _FIRST[one]), one, of(one)) for one in ("env", "method")}
        learner = whole.get("learner", "")
        kinds = [learner] if isinstance(learner, Mapping) else _strings(learner, "learner", of("learner"))
        seeds = _seeds(whole.get("seeds", 1), of("seeds"))
        pack, init = whole.get("pack", 1), whole.get("init", "")
        if isinstance(pack, bool) or not isinstance(pack, int) or pack < 1:
            raise _Wrong(f"pack must be a whole number of at least 1, not {shown(pack)}", *of("pack"))
        init = _text(init, "init", of("init"))
        made: list[Training] = []
        several = len(choices["method"]) * len(kinds) > 1
        for env in choices["env"]:
            for method in choices["method"]:
                for kind in kinds:
                    config = _config(whole, env, method, kind, bool(init), of)
                    usual_name = label_of(config)
                    name = _text(entry["name"], "name", of("name")) if "name" in entry else usual_name
                    name = f"{name}-{usual_name}" if several and "name" in entry else name
                    made.append(Training(name, config, seeds, pack, init))
        return made

    def _teams(self, entry: dict[str, Any], index: int) -> Teams:
        self._known(entry, _TEAMS, "[[teams]]", "teams", index)
        for needed in _TEAMS:
            if needed not in entry:
                raise _Wrong(f"[[teams]] lacks {needed}", "teams", index)
        name = _text(entry["name"], "name", ("teams", index, "name"))
        return Teams(name, _strings(entry["files"], "files", ("teams", index, "files")))

    def _attackers(self, entry: dict[str, Any], index: int) -> Attackers:
        here = "attackers", index
        self._known(entry, _ATTACKERS, "[[attackers]]", *here)
        for needed in ("attack", "on"):
            if needed not in entry:
                raise _Wrong(f"[[attackers]] lacks {needed}", *here)
        attacks = _strings(entry["attack"], "attack", (*here, "attack"))
        for one in attacks:
            _check_attack(one, (*here, "attack"))
        plan = {name: entry[name] for name in ("episodes", "steps", "rounds", "epsilon", "seed") if name in entry}
        for name, value in plan.items():
            low, kind = (0.0, int | float) if name == "epsilon" else (0 if name == "seed" else 1, int)
            if isinstance(value, bool) or not isinstance(value, kind) or value < low:
                raise _Wrong(f"{name} must be a number of at least {low:g}, not {shown(value)}", *here, name)
        seeds = _seeds(entry["seeds"], (*here, "seeds")) if "seeds" in entry else ()
        on = _strings(entry["on"], "on", (*here, "on"))
        name = _text(entry.get("name", "attackers"), "name", (*here, "name"))
        return Attackers(name, attacks, on, seeds, tuple(sorted(plan.items())))

    def _evaluate(
        self, entry: dict[str, Any], index: int, names: list[str], attackers: Sequence[Attackers]
    ) -> Evaluate:  # fmt: skip
        here = "evaluate", index
        self._known(entry, _EVALUATE, "[[evaluate]]", *here)
        lists = {
            name: _strings(entry[name], name, (*here, name))
            for name in ("teams", "attacks", "perturbations") if name in entry
        }  # fmt: skip
        made = replace(Evaluate(tuple(names)), **lists)
        self._refer(made.teams, names, *here, "teams", "team")
        for one in made.attacks:
            _check_attack(one, (*here, "attacks"))
        for name, low in (("episodes", 1), ("seed", 0)):
            if name in entry:
                value = entry[name]
                if isinstance(value, bool) or not isinstance(value, int) or value < low:
                    raise _Wrong(f"{name} must be a whole number of at least {low}, not {shown(value)}", *here, name)
                made = replace(made, **{name: value})
        if "seeds" in entry:
            made = replace(made, seeds=_seeds(entry["seeds"], (*here, "seeds")))
        if "env" in entry:
            made = replace(made, env=self._envs(entry["env"], (*here, "env")))
        if "snapshots" in entry:
            if not isinstance(entry["snapshots"], bool):
                raise _Wrong(f"snapshots must be true or false, not {shown(entry['snapshots'])}", *here, "snapshots")
            made = replace(made, snapshots=entry["snapshots"])
        if "attackers" in entry:
            one = _text(entry["attackers"], "attackers", (*here, "attackers"))
            self._refer([one], [known.name for known in attackers], *here, "attackers", "[[attackers]]")
            made = replace(made, attackers=one)
        return made

    def _envs(self, value: Any, at: tuple[str, int, str]) -> tuple[str, ...]:
        try:
            return tuple(envs.named(name)[0] for name in _strings(value, "env", at))
        except _Wrong:
            raise
        except ValueError as error:
            raise _Wrong(str(error), *at) from None

    def _page(self) -> Page:
        table = self.table.get("page", {})
        if not isinstance(table, Mapping):
            raise _Wrong("page must be a table: write [page]", "", 0, "page")
        self._known(table, _PAGE, "[page]", "page", 0)
        kinds = {"title": str, "curves": bool, "replays": int}
        for name, kind in kinds.items():
            if name in table and (not isinstance(table[name], kind) or isinstance(table[name], bool) != (kind is bool)):
                raise _Wrong(f"{name} cannot be {shown(table[name])}", "page", 0, name)
        made = Page(**{name: table[name] for name in kinds if name in table})
        tables = table.get("tables", [])
        if not isinstance(tables, list) or not all(type(one) is int for one in tables):
            raise _Wrong(f"tables must be numbers of the paper's tables, as [7, 9], not {shown(tables)}", "page", 0,
                         "tables")  # fmt: skip
        return replace(made, tables=tuple(tables))

    def _refer(
        self, named_: Sequence[str], known: Sequence[str], part: str, index: int, field: str, kind: str
    ) -> None:  # fmt: skip
        for name in named_:
            if name not in known:
                what = ", ".join(dict.fromkeys(known)) or "none"
                raise _Wrong(f"{field}: there is no {kind} {quoted(name)}.{hint(name, known)} There are: {what}",
                             part, index, field)  # fmt: skip

    def _check_names(
        self, trainings: Sequence[Training], teams: Sequence[Teams], attackers: Sequence[Attackers]
    ) -> None:  # fmt: skip
        seen: set[tuple[str, str]] = set()
        for one in trainings:
            options = dict(one.config.env_options)
            which = one.name, f"{one.config.env} {sorted(options.items())}"
            if which in seen:
                raise _Wrong(f'two trainings on {one.config.env} are called "{one.name}"; give them names', "train")
            seen.add(which)
        for kind, found in (("teams", [*{one.name for one in trainings}, *(one.name for one in teams)]),
                            ("attackers", [one.name for one in attackers])):  # fmt: skip
            if twice := [name for i, name in enumerate(found) if name in found[:i]]:
                raise _Wrong(f'the name "{twice[0]}" is given twice', kind, found.index(twice[0]), "name")

    def _check_inits(self, trainings: Sequence[Training]) -> None:
        known = {(one.name, one.config.env): one for one in trainings}
        for one in trainings:
            chain, at = [one.name], one
            while at.init:
                before = known.get((at.init, at.config.env))
                if before is None:
                    there = [name for name, env in known if env == at.config.env and name != at.name]
                    raise _Wrong(
                        f'init: there is no training "{at.init}" on {at.config.env}.{hint(at.init, there)} '
                        f"There are: {', '.join(there) or 'none'}",
                        "train", self._index(at), "init",
                    )  # fmt: skip
                if before.name in chain:
                    raise _Wrong(f"init: {' begins with '.join([*chain, before.name])}; one of them must begin anew",
                                 "train", self._index(at), "init")  # fmt: skip
                chain.append(before.name)
                at = before

    def _index(self, training: Training) -> int:
        tables = self._tables("train")
        return next((i for i, one in enumerate(tables) if one.get("init") == training.init), 0)


_FIRST = {"env": RunConfig().env, "method": RunConfig().method}


def label_of(config: RunConfig) -> str:
    """Name what a configuration trains: the method, and the learner where it is not QMIX."""
    learner = config.learner
    method = config.method.rpartition(":")[2]
    if not isinstance(learner, ValueConfig):
        return learner.name if method == "vanilla" else f"{learner.name}-{method}"
    return method if learner.mixer == "qmix" else f"{method}-{learner.mixer}"


def _config(whole: Mapping[str, Any], env: str, method: str, learner: Any, begins: bool, of: Any) -> RunConfig:
    """Put the configuration of a training together: preset, then what the entry says."""
    at = "env"
    try:
        name, options = envs.named(env)
        options = {**envs.newest(name), **_table(whole, "env_options", of), **options}
        base = replace(RunConfig(), env=name, env_options=tuple(sorted(options.items())))
        at = "learner"
        fields_ = dict(learner) if isinstance(learner, Mapping) else {"name": learner} if learner else {}
        if "name" in fields_:
            base = replace(base, learner=named(fields_.pop("name"), ValueConfig()))
        if "preset" in whole:
            at = "preset"
            base = apply_preset(_text(whole["preset"], "preset", of("preset")), base)
        if begins:  # begun again at 1, it would unlearn what it knows among random team mates
            base = replace(base, train=replace(base.train, epsilon_start=base.train.epsilon_end))
        at = "method"
        base = apply_overrides(base, {"method": method})
        base = replace(base, method=Own(method))
        for at, given in (("learner", fields_), ("train", _table(whole, "train", of)),
                          ("method_options", _table(whole, "method_options", of))):  # fmt: skip
            base = apply_overrides(base, {f"{at}.{key}": value for key, value in given.items()})
        at = "method"
        base = replace(base, learner=learner_of(Own(method), base.learner))
        if not base.train.parts and not isinstance(base.learner, PpoConfig):
            # "As many as there are cores" would make what comes out depend on where it is done.
            base = replace(base, train=replace(base.train, parts=1))
        return base
    except _Wrong:
        raise
    except ValueError as error:
        raise _Wrong(str(error), *of(at)) from None


def _table(whole: Mapping[str, Any], name: str, of: Any) -> dict[str, Any]:
    found = whole.get(name, {})
    if not isinstance(found, Mapping):
        raise _Wrong(f"{name} must be a table of fields, not {shown(found)}: write {name}.<field> = …", *of(name))
    return dict(found)


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another; tables in them are laid over each other."""
    out = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(out.get(name), Mapping)
        out[name] = _over(dict(out[name]), value) if both else value
    return out


def _check_attack(name: str, at: tuple[str, int, str]) -> None:
    """Refuse a name that no attack has; its options are looked at where jax is imported anyhow."""
    base = name.partition("[")[0]
    if base not in TABLE and ":" not in base and not is_faulty(name):
        near = hint(base, TABLE)
        raise _Wrong(f"{at[2]}: unknown attack {quoted(base)}.{near} Attacks: {', '.join(TABLE)}", *at)


def _strings(value: Any, name: str, at: tuple[str, int, str]) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found) or not found:
        raise _Wrong(f"{name} must be a name or a list of names, not {shown(value)}", *at)
    if twice := [one for i, one in enumerate(found) if one in found[:i]]:
        raise _Wrong(f'{name}: "{twice[0]}" is named twice', *at)
    return tuple(found)


def _seeds(value: Any, at: tuple[str, int, str]) -> tuple[int, ...]:
    """Read ``3`` (the seeds 0, 1 and 2) or a list of seeds."""
    found = list(range(value)) if type(value) is int and 0 < value <= 10_000 else value
    if not isinstance(found, list) or not found or not all(type(one) is int and 0 <= one < 2**32 for one in found):
        raise _Wrong(f"seeds must be how many (3) or a list of them ([0, 1, 2]), not {shown(value)}", *at)
    if len(set(found)) < len(found):
        raise _Wrong("seeds: one is named twice", *at)
    return tuple(found)


def _text(value: Any, name: str, at: tuple[str, int, str] | None = None) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"{name} must be a text in quotes, not {shown(value)}", *(at or ("", 0, name)))
    return value
