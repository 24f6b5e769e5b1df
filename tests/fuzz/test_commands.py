"""Command lines with wrong, absurd and too many words, made of the parsers themselves: every option of every command.

Whatever is typed, a command ends with 0, 1 or 2, and unless it is done it says why in one sentence on standard error:
never a traceback, never another exception, never a long wait. A single wrong value is wrong use: 2. What is expensive
(playing, fitting, training, drawing) is replaced by a stop: here it is the way there that is tried.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_origin

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cases import COUNT, share
from ibal import make, rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.api.zoo import Checked, keep, row_of
from ibal.cli import (
    analyse,
    attack,
    attack_check,
    audit,
    bench_train,
    curves,
    demo,
    env,
    evaluate,
    grid,
    replay,
    report,
    train,
    zoo,
)  # fmt: skip
from ibal.cli.main import COMMANDS, main
from ibal.cli.output import OK, CommandError
from ibal.envs import TABLE
from ibal.experiments.config import RunConfig, save_toml
from ibal.learners.config import ValueConfig
from ibal.nets import agents
from ibal.nets.bundle import save_bundle
from ibal.options import field_types
from ibal.training.config import TrainConfig
from ibal.zoo import Zoo

# What the place holds.
THERE = {"run", "leak.safetensors", "leak.json", "attackers", "evaluation", "claimed", "study", "zoo"}
SLOW = 20.0  # seconds of the processor for one command line; most take a hundredth of one
TESTS = 3

# What is stopped at: where a command line has been understood, and the work begins.
WORK = (
    "ibal.evaluation.episodes:play", "ibal.evaluation.results:evaluate", "ibal.evaluation.matrix:run",
    "ibal.viz.record:record", "ibal.experiments.fitting:save_fitted", "ibal.experiments.fitting:natural_episodes",
    "ibal.envs.check:check_env", "ibal.adversaries.check:check_adversary", "ibal.training.runner:run",
    "ibal.training.bench:matmul_peak", "ibal.report.tables:alike", "ibal.viz.curves:draw",
    # The same by the names under which modules hold them, whatever was imported first: nothing stays stopped.
    "ibal.api.watch:record", "ibal.evaluation.results:run", "ibal.evaluation.matrix:play", "ibal.training.runner:play",
    "ibal.experiments.grid.execute:save_fitted",
    "ibal.experiments.grid.held:check", "ibal.api.zoo:evaluate",
    "ibal.analysis.trials:play",
)  # fmt: skip

HUGE = ("9" * 30, "9" * 5000, "4294967296", "18446744073709551616")
NO_COUNT = ("-1", "1.5", "x", "nan", "inf", "", " ", "0x10", "1e3", "--", "٣.5", *HUGE)
NO_NUMBER = ("x", "nan", "inf", "-inf", "", "-1", "1,5", "1e999")
NO_ATTACK = (
    "", ",", "random,", "random,random", "natrual", "random[", "random[]", "random]", "random[[sigma=1]", "random[=1]",
    "random[sigma]", "random[sigma=]", "random[sigma=x]", "random[sigma=inf]", "random[sigma=nan]", "random[sigma=-1]",
    "random[sigma=1e999]", "random[p=2]", "random[agents=0]", "random[agents=99]", "random[agents=1.5]",
    "random[sigma=0.1,sigma=0.2]", "random[sgima=1]", "interaction[club.hidden=0]", "[sigma=1]", "my_no:such", "json:",
    "json:no", ":", "a:b:c", "./json.py:dumps", "json:dumps", "math:pi", "builtins:dict", "\u00b1", "x" * 5000,
)  # fmt: skip
NO_ENV = (
    "", " ", "3mm", "smac/", "toy/", "my_no:such", "json:", ":make", "json:no", "./my_env.py:make", "../x:y", "a b:c",
    "math:pi", "builtins:dict", "json:dumps", "\u00e9", "x" * 5000, "smac/3m\n",
)  # fmt: skip
NO_PERTURBATION = (
    "", "dis-0", "dis-00", "dis-01", "dis--1", "dis-", "dis-1.5", "dis-99", "hp-0", "hp-100", "hp-101", "abs-0",
    "abs-99", "none,none", "Dis-1", "dis-\u0661", "dis-" + "9" * 5000, "nothing",
)  # fmt: skip
NO_OPTION = ("", "x", "=", "=1", "x=", "sigma", "no_such=1", "a=b=c", "\u00b1=1")
NO_FOLDER = ("", "missing", "x" * 5000, "\0")
NO_ATTACKERS = (*NO_FOLDER, "zoo:missing", "zoo:../x", "zoo:\0")
NO_OUT = ("", "x" * 5000, "a/" + "b" * 300, "\0")
# Port 9 of this machine, where nobody answers, is the only place on the network.
NO_PLACE = ("", "leak.json", "x" * 5000, "\0", "http://127.0.0.1:9", "http://127.0.0.1:x", "http://[", "http://",
            "https://", "http:// ", "http://127.0.0.1:9/\n", "hf:", "hf:me", "hf:a/b/c", "hf:../x")  # fmt: skip
NO_ZOO = (*NO_PLACE, "missing", "run", "file:///etc", "//127.0.0.1:9/x")
NO_ENTRY = ("", "missing", "zoo:", "zoo:missing", "../x", "/", "x", "a//b", "a/../b", "a/b\0", "\0", "x" * 5000)

# Wrong values of options by their names, where they have to be more than of a wrong type; {command: …} goes first.
WRONG: dict[str, tuple[str, ...]] = {
    "attacks": NO_ATTACK, "attack": NO_ATTACK, "env": NO_ENV, "perturbations": NO_PERTURBATION,
    "perturbation": NO_PERTURBATION, "attackers": NO_ATTACKERS, "attacker": NO_FOLDER, "attacker2": NO_FOLDER,
    "out": NO_OUT, "set": NO_OPTION, "theme": ("", "blue"), "format": ("", "word"),
    "team": ("", "randm", "missing.th", "x/y", *NO_ENV[3:8]),
    "audit out": (*NO_OUT, "x", "x.htm", "run", "leak.json/x.html"),
    "minutes": NO_NUMBER, "fail-under": ("x", "nan", "inf", "-inf", "", "1,5", "1e999"),
    "policy": ("", "randm", "x.th", "x/y", *NO_ENV[3:8]),
    "method": ("", "ibl", "vanilla,ibal", *NO_ATTACK[-10:]), "preset": ("", "lap top"),
    "config": ("", "missing.toml", "."), "init": ("", "missing", "."), "env-option": NO_OPTION,
    "method-option": NO_OPTION, "maps": NO_ENV, "presets": ("", "x", "laptop,"), "seeds": ("", "x", "-1", "1,"),
    "methods": ("x", "ibal,x", ""), "table": ("0", "99"), "evaluations": ("missing", "."), "runs": ("missing", "."),
    "attack name": NO_ATTACK, "policies": ("", "randm", "missing.th", "x/y", *NO_ENV[3:8]), "name": NO_ENV,
    "study": NO_FOLDER, "on": ("", "locl", "LOCAL", "x"), "memory-gb": NO_NUMBER, "gpus": NO_NUMBER,
    "address": ("", "x"), "partition": ("", "x"), "cluster": ("", "x"), "what": ("", "papr", "x"),
    "tables": ("0", "2", "99", "x", "7,x", "7;8"), "figures": ("0", "7", "99", "x", "8,x"),
    "budget": ("", "x", "paper "), "grid new maps": ("3mm", "3m,3mm", "smac", "json:"), "zoo": NO_ZOO,
    "zoo push zoo": NO_PLACE, "zoo pull zoo": NO_PLACE, "zoo check zoo": NO_PLACE, "zoo name": NO_ENTRY,
    "names": NO_ENTRY,
    "source": NO_ZOO, "candidate": (*NO_ENTRY[1:], *NO_ENV[3:8]),
    "results": ("", "missing", ".", "evaluation", "\0", "x" * 5000), "kind": ("", "x", "teams"),
    "file": ("", "missing", ".", "run", "evaluation/episodes.parquet", "\0", "x" * 5000),
}  # fmt: skip
# Any value of these is right.
FREE = {"title", "json", "quiet", "licence", "note", "zoo env"}


@dataclass(frozen=True)
class Option:
    """``flag``: "--seed", or "" for a word that stands alone, the one ``at`` among those. ``right`` and ``wrong`` are
    values; ``bare``: none."""

    flag: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    bare: bool = False
    at: int = 0


@dataclass(frozen=True)
class Command:
    """``words`` are a whole command line that is right, of which ``named`` say which command it is; ``options`` those
    that may be added or are in it."""

    words: tuple[str, ...]
    options: tuple[Option, ...]
    named: int = 1


RIGHT: dict[str, tuple[str, ...]] = {
    "attacks": ("natural", "random[sigma=0.2]", "standard", "natural,random-act"), "env": ("toy/leak", "leak"),
    "perturbations": ("none",), "perturbation": ("none",), "attackers": ("attackers",), "attacker": ("attackers",),
    "attacker2": ("attackers",), "out": ("new", "new/deep"), "theme": ("dark",), "format": ("markdown",),
    "method": ("vanilla", "rand-act"), "preset": ("smoke", "laptop"), "title": ("x", "±", ""), "maps": ("climbing",),
    "presets": ("smoke",), "seeds": ("1",), "methods": ("rand-act",), "table": ("7",), "cores": ("1",),
    "fps": ("8", "0.5"), "width": ("640",), "policy": ("random", "stop"), "attack": ("natural",),
    "study": ("study", "study/study.toml"), "on": ("local",), "what": ("paper",), "tables": ("7",), "figures": ("8",),
    "budget": ("smoke",), "grid new maps": ("3m,8m",), "zoo": ("zoo",), "source": ("zoo",),
    "file": ("leak.safetensors",), "zoo name": ("toy/climbing/a", "zoo:toy/climbing/a"), "names": ("toy/climbing/a",),
    "candidate": ("leak.safetensors",), "team": ("leak.safetensors",), "audit out": ("x.html", "new/x.html"),
    "audit env": ("toy/leak", "leak"), "results": ("claimed",), "kind": ("team", "attacker"),
}  # fmt: skip


def closest(table: dict[str, tuple[str, ...]], spelled: Sequence[str], none: tuple[str, ...]) -> tuple[str, ...]:
    """What a table says of an option, under the first of its spellings that it has."""
    return next((table[one] for one in spelled if one in table), none)


def of_parser(parser: argparse.ArgumentParser, name: str) -> Iterator[Option]:
    """Make options of what a parser knows."""
    alone = 0
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        key = action.dest.replace("_", "-")
        flag = action.option_strings[0] if action.option_strings else ""
        if action.nargs == 0:
            yield Option(flag, (), (), bare=True)
            continue
        spelled = (f"{name} {key}", f"{name.split()[0]} {key}", key)
        numeric = action.type is not None and getattr(action.type, "__name__", "") != "a_path"
        wrong = closest(WRONG, spelled, NO_COUNT if numeric else ())
        if numeric and isinstance(action.default, float):
            wrong = NO_NUMBER
        right = closest(RIGHT, spelled, ("1",) if numeric else ("x",))
        yield Option(flag, right, () if FREE & set(spelled) else wrong, at=alone)
        alone += not flag


def of_training() -> Iterator[Option]:
    """The same for ``ibal train``, most of whose options are the fields of dataclasses."""
    for option in of_parser(train._parser(ValueConfig()), "train"):
        key = option.flag[2:]
        number = key in ("steps", "seed", "seeds")
        if key == "learner" or "." in key:
            continue
        right = ("1",) if number else RIGHT.get(key, ("x=1",))
        yield option if option.bare else Option(option.flag, right, NO_COUNT if number else WRONG[key])
    for part, record in (("learner", ValueConfig), ("train", TrainConfig)):
        for name, kind in field_types(record).items():
            flag = f"--{part}.{name.replace('_', '-')}"
            if kind is bool:
                yield Option(flag, (), ("maybe", ""), bare=True)
            elif get_origin(kind) is Literal:
                yield Option(flag, (), ("", "x", "QMIX "))
            else:
                yield Option(flag, ("1",), NO_COUNT if kind is int else NO_NUMBER)


def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command's actions."""
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


# Of the commands that have actions: a right command line of each.
GRID = {
    "run": "grid run study", "status": "grid status study", "retry": "grid retry study", "stop": "grid stop study",
    "clean": "grid clean study", "new": "grid new paper --tables 7 --maps 3m --out new",
}  # fmt: skip
ZOO = {
    "list": "zoo list --zoo zoo", "show": "zoo show toy/climbing/a --zoo zoo",
    "get": "zoo get toy/climbing/a --out new --zoo zoo",
    "check": "zoo check leak.safetensors --zoo zoo --no-refit", "board": "zoo board --zoo zoo --out new",
    "push": "zoo push toy/leak/b leak.safetensors --zoo new", "pull": "zoo pull zoo toy/climbing/a --zoo new",
}  # fmt: skip


def parsers() -> dict[str, Command]:
    def command(words: str, parser: argparse.ArgumentParser, named: int = 1) -> Command:
        return Command(tuple(words.split()), tuple(of_parser(parser, " ".join(words.split()[:named]))), named)

    def actions(of: dict[str, str], parser: argparse.ArgumentParser) -> dict[str, Command]:
        there = below(parser)
        assert set(of) == set(there)
        return {" ".join(words.split()[:2]): command(words, there[action], 2) for action, words in of.items()}

    return {
        "evaluate": command("evaluate random --env climbing", evaluate._parser()),
        "matrix": command("evaluate run --attacks natural --out new", evaluate._parser()),
        "replay": command("replay random --env 3m --out x.html", replay._parser()),
        "audit": command("audit leak.safetensors --out x.html", audit._parser()),
        "curves": command("curves run --out new", curves._parser()),
        "analyse": command("analyse leak.safetensors --attacker attackers --out new", analyse._parser()),
        "attack": command("attack leak.safetensors --out new", attack._parser()),
        "attack check": command("attack check random", attack_check._parser(), 2),
        "env check": command("env check climbing", below(env._parser())["check"], 2),
        "env describe": command("env describe climbing", below(env._parser())["describe"], 2),
        "report": command("report evaluation", report._parser()),
        "demo": command("demo --out new", demo._parser()),
        "bench": command("bench train --maps climbing --presets smoke --seeds 1", bench_train._parser()),
        **actions(GRID, grid._parser()),
        **actions(ZOO, zoo._parser()),
        "train": Command(("train", "--env", "climbing", "--preset", "smoke", "--out", "new"), tuple(of_training())),
    }


ALL = parsers()


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one of everything that a command reads, and nothing that works for long."""
    folder = tmp_path_factory.mktemp("commands")
    spec, leak = make("toy/climbing").spec, make("toy/leak").spec
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        for where, of in ((folder / "run" / "policy" / "seed-0", spec), (folder / "leak", leak)):
            params = agents.init(rng.root(0), of.obs_size + of.n_actions + of.n_agents, of.n_actions, hidden=4)
            save_bundle(where.with_suffix(".safetensors"), params, of, {"env": of.name, "seed": 0, "env_steps": 1})
        save_toml(RunConfig(env="toy/climbing"), folder / "run" / "config.toml")
        line = {"kind": "eval", "seed": 0, "env_steps": 1, "episodes": 2, "win": 0.5, "return": 1.0, "length": 1.0}
        (folder / "run" / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        config = InteractionConfig(masks="dimension", most=1, dims=1)
        state = config.build(leak).init(rng.root(0))
        save_attacker(folder / "attackers" / "a.safetensors", "interaction", config, leak, state, {"victim": "x"})
        names = {"policy": "run", "method": "vanilla", "env": "smac/3m", "attack": "natural", "perturbation": "none"}
        row = names | {"seed": 0, "episode": 0, "key_seed": 0, "win": True, "return": 1.0, "length": 1, "attacked": 0.0}
        (folder / "evaluation").mkdir()
        pl.DataFrame([row, row | {"episode": 1}]).write_parquet(folder / "evaluation" / "episodes.parquet")
        (folder / "claimed").mkdir()
        pl.DataFrame([row | {"policy": "leak"}]).write_parquet(folder / "claimed" / "episodes.parquet")
        leak_sha = hashlib.sha256((folder / "leak.safetensors").read_bytes()).hexdigest()
        card = {"policies": [{"policy": "leak", "seed": 0, "sha256": leak_sha}], "attacks": [], "key_seed": 0}
        (folder / "claimed" / "card.json").write_text(json.dumps(card))
        (folder / "study").mkdir()
        (folder / "study" / "study.toml").write_text(STUDY)
        kept = Zoo(folder / "zoo")
        kept.add("toy/climbing/a", folder / "run" / "policy" / "seed-0.safetensors", {})
        rows = pl.DataFrame([row, row | {"episode": 1}]).with_columns(
            policy=pl.lit("toy/climbing/a"), version=pl.lit("2026-11")
        )
        keep(Checked("toy/climbing/a", rows, row_of("toy/climbing/a", {}, rows, 2, 0)), kept)
        patch.setenv("IBAL_ZOO", str(folder / "zoo"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "run" / "cache"))
        patch.setattr("ibal.cli.grid.time", SimpleNamespace(monotonic=time.monotonic, sleep=done))  # --watch
        held = [(importlib.import_module(module), name) for module, name in (target.split(":") for target in WORK)]
        for module, name in held:
            patch.setattr(module, name, done)
        patch.setattr("ibal.cli.demo._run", done, raising=False)
        yield folder


STUDY = """
[[train]]
env = "toy/climbing"
preset = "smoke"
[[evaluate]]
attacks = ["natural"]
"""


def done(*args: Any, **kwargs: Any) -> None:
    """Stands for the work: the command line was understood."""
    raise CommandError("understood", OK)


def run(words: list[str]) -> tuple[int, str, str]:
    """Give a command line; return its status and what it printed, and hold it to what every command line must do."""
    COUNT["command lines"] += 1
    out, err, begun = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(words))
    took, said = time.process_time() - begun, err.getvalue()
    written = [path for path in Path.cwd().iterdir() if path.name not in THERE]
    for path in written:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not written or status != 2, (words, written)
    assert status in (0, 1, 2), (words, status)
    assert "Traceback" not in said, (words, said)
    assert took < SLOW, (words, took)
    last = said.rstrip("\n").splitlines()[-1:]
    if status != OK:
        assert last, words
        assert last[0].startswith("ibal"), (words, said)
        assert len(last[0]) < 3000, (words, said)
    return status, out.getvalue(), said


def test_what_is_right_is_understood() -> None:
    for command in ALL.values():
        status, _, said = run([*command.words])
        assert status == OK, (command.words, said)


@share(TESTS)
@given(st.data())
def test_one_wrong_value_is_wrong_use(data: st.DataObject) -> None:
    command = ALL[data.draw(st.sampled_from(sorted(ALL)), label="command")]
    option = data.draw(st.sampled_from([o for o in command.options if o.wrong]), label="option")
    value = data.draw(st.sampled_from(option.wrong), label="value")
    words = list(command.words)
    if not option.flag:
        words[command.named + option.at : command.named + option.at + 1] = [value]
    elif option.flag in words:
        words[words.index(option.flag) + 1] = value
    elif data.draw(st.booleans(), label="with =") or value.startswith("-"):
        words.append(f"{option.flag}={value}")
    else:
        words += [option.flag, value]
    status, _, said = run(words)
    assert status == 2, (words, said)


WORDS = st.sampled_from(
    sorted({v for o in (o for c in ALL.values() for o in c.options) for v in (*o.right, *o.wrong)} | {"run", "random"})
) | st.text(st.characters(exclude_characters="/.:", exclude_categories=["Cs"]), max_size=12)


@share(TESTS)
@given(st.data())
def test_no_words_of_any_kind_end_otherwise(data: st.DataObject) -> None:
    command = ALL[data.draw(st.sampled_from(sorted(ALL)), label="command")]
    words = list(command.words if data.draw(st.booleans()) else command.words[: data.draw(st.integers(1, 3))])
    for _ in range(data.draw(st.integers(0, 5), label="more")):
        option = data.draw(st.sampled_from(command.options))
        value = data.draw((st.sampled_from(option.right) if option.right else WORDS) | WORDS)
        form: Callable[[], list[str]] = data.draw(st.sampled_from((
            lambda: [option.flag], lambda: [option.flag, value], lambda: [f"{option.flag}={value}"],  # noqa: B023
            lambda: [value], lambda: [option.flag, value, option.flag, value],  # noqa: B023
        )))  # fmt: skip
        words += [word for word in form() if word != "-h"]
    status, out, said = run(words)
    if status == OK and "--json" in words and "understood" not in said and "--help" not in words:
        json.loads(out)


@share(TESTS)
@given(st.lists(WORDS, max_size=4), st.sampled_from([*COMMANDS, "", "evn", "--version", "--help", "-x", "env list"]))
def test_nor_do_words_without_any_form(words: list[str], first: str) -> None:
    run([*first.split(" "), *words])


def test_every_environment_of_the_table_has_a_right_name() -> None:
    assert run(["env", "list", "--json"])[0] == OK
    assert set(TABLE) == {row["name"] for row in json.loads(run(["env", "list", "--json"])[1])["environments"]}
