"""Data never names code: whatever string of whatever file says ``module:attribute``, nothing is imported or called."""

from __future__ import annotations

import ast
import contextlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import polars as pl
import pytest

import ibal
from ibal import rng
from ibal.adversaries import TABLE as ATTACKS
from ibal.adversaries.bundle import load_attacker, save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.cli.main import main
from ibal.cli.report import read
from ibal.cli.train import parse
from ibal.envs import TABLE, made, make
from ibal.evaluation.bank import Bank, attackers_in
from ibal.evaluation.teams import teams_of
from ibal.experiments.config import RunConfig, save_toml
from ibal.nets import agents
from ibal.nets.bundle import save_bundle
from ibal.options import ConfigError
from ibal.registry import Own, UnknownName
from ibal.report.curves import logged
from ibal.training import checkpoint, runner
from ibal.training.log import read_metrics

SPEC = make("toy/climbing").spec
LEAK = make("toy/leak").spec
ATTACK = InteractionConfig(masks="dimension", actions="off", most=1, dims=1)
PAYLOAD = "planted_payload"
SOURCE = """
from pathlib import Path
MARK = Path(__file__).with_name("MARK")
MARK.write_text("imported")
def fire(*args, **options):
    MARK.write_text("called")
class Fire:
    def __init__(self, *args, **options):
        MARK.write_text("called")
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a mark when it is imported or called, where modules are looked for."""
    here = tmp_path / "here"
    here.mkdir()
    (here / f"{PAYLOAD}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(here)
    monkeypatch.chdir(here)
    yield here / "MARK"
    sys.modules.pop(PAYLOAD, None)


def strings(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every string in what JSON holds, and of every key of a table."""
    if isinstance(value, str):
        return [where]
    if isinstance(value, dict):
        return [place for key in value for place in strings(value[key], (*where, key))]
    if isinstance(value, list):
        return [place for i, each in enumerate(value) for place in strings(each, (*where, i))]
    return []


def planted(value: Any, where: tuple[Any, ...], what: str) -> Any:
    """Return a copy with ``what`` at a place."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = what
    return copy


def quietly(look: Callable[[], Any]) -> None:
    """Read, whatever else happens: how damaged files are refused is tested elsewhere."""
    with contextlib.suppress(Exception):
        look()


def policy(folder: Path, **meta: Any) -> Path:
    params = agents.init(rng.root(0), SPEC.obs_size + SPEC.n_actions + SPEC.n_agents, SPEC.n_actions, hidden=4)
    about = {
        "env": "toy/climbing", "env_options": {"note": "text"}, "method": "vanilla", "seed": 0, "env_steps": 10,
        "config_hash": "abc", "config": {"env": "toy/climbing", "learner": {"mixer": "vdn"}},
    }  # fmt: skip
    save_bundle(folder / "policy" / "seed-0.safetensors", params, SPEC, about | meta)
    return folder / "policy" / "seed-0.safetensors"


def attacker(folder: Path) -> Path:
    state = ATTACK.build(LEAK).init(rng.root(0))
    save_attacker(folder / "a.safetensors", "interaction", ATTACK, LEAK, state, {"victim": "runs/x", "seed": 0})
    return folder / "a.safetensors"


@pytest.mark.parametrize("what", [f"{PAYLOAD}:fire", f"{PAYLOAD}:Fire"])
def test_a_policy_bundle_runs_no_code(what: str, tmp_path: Path, mark: Path) -> None:
    file = policy(tmp_path / "run")
    beside = file.with_suffix(".json")
    about = json.loads(beside.read_text())
    places = strings(about)
    assert {("env",), ("method",), ("config", "learner", "mixer"), ("env_options", "note")} <= set(places)
    for place in places:
        beside.write_text(json.dumps(planted(about, place, what)))
        for look in (
            lambda: ibal.load_policy(file),
            lambda: teams_of([str(tmp_path / "run")], None),
            lambda: teams_of([str(tmp_path / "run")], "toy/climbing"),
        ):
            quietly(look)
            assert not mark.exists(), place


@pytest.mark.parametrize("what", [f"{PAYLOAD}:fire", f"{PAYLOAD}:Fire"])
def test_an_attacker_runs_no_code(what: str, tmp_path: Path, mark: Path) -> None:
    file = attacker(tmp_path)
    beside = file.with_suffix(".json")
    about = json.loads(beside.read_text())
    for place in strings(about):
        beside.write_text(json.dumps(planted(about, place, what)))
        for look in (
            lambda: load_attacker(file, LEAK),
            lambda: attackers_in(tmp_path),
            lambda: Bank(tmp_path).on("interaction", LEAK),
        ):
            quietly(look)
            assert not mark.exists(), place


def test_a_run_folder_runs_no_code(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration, its metrics and its checkpoints; resumed, taken as a start, and drawn."""

    def run(*_: Any, **__: Any) -> Any:
        raise runner.TrainingError("nothing is trained here")

    monkeypatch.setattr(runner, "run", run)
    old, new = tmp_path / "run", str(tmp_path / "new")
    old.mkdir()
    options = (("note", "text"),)
    config = RunConfig(env="toy/climbing", env_options=options, method="rand-obs", method_options=options)
    save_toml(config, old / "all")
    text = (old / "all").read_text()
    words = {line.split(" = ")[1] for line in text.splitlines() if line.endswith('"')}
    assert len(words) > 6  # env, method, option, mixer, optimiser, ...
    record = {"kind": "eval", "seed": 0, "env_steps": 10, "episodes": 4, "win": 0.5, "return": 1.0, "note": "x"}
    places = (*strings(record), ("seed",), ("win",))
    lines = [json.dumps(planted(record, place, f"{PAYLOAD}:fire")) for place in places]
    (old / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for word in words:
        (old / "config.toml").write_text(text.replace(word, f'"{PAYLOAD}:fire"'))
        for command in (
            ["train", "--out", str(old), "--resume"],
            ["train", "--out", new, "--env", "toy/climbing", "--init", str(old)],
        ):
            assert main([*command, "--quiet"]) in (1, 2)
        for look in (logged, read_metrics):
            quietly(lambda look=look: look(old))
        assert not mark.exists(), word


def test_a_checkpoint_runs_no_code(tmp_path: Path, mark: Path) -> None:
    state = {"w": jnp.ones(2), "keys": rng.root(0)}
    path = checkpoint.save(tmp_path, 3, state, extra={"env": "x", "config": {"env": "x"}})
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    about = json.loads(head["__metadata__"]["checkpoint"])
    for place in strings(about):
        said = json.dumps(planted(about, place, f"{PAYLOAD}:fire"))
        head["__metadata__"] = {"checkpoint": said, "crc": str(zlib.crc32(said.encode()))}
        changed = json.dumps(head).encode()
        path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[start:])
        quietly(lambda: checkpoint.restore(tmp_path, state))
        assert not mark.exists(), place


def test_an_evaluation_runs_no_code(tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "policy": "p", "method": "ibal", "seed": 0, "env": "smac/3m", "attack": "natural", "perturbation": "none",
        "episode": 0, "key_seed": 0, "attacker": 0, "win": True, "return": 1.0, "length": 3, "attacked": 0.0,
    }  # fmt: skip
    for place in strings(row):
        for name in ("summary.json", "card.json"):
            (tmp_path / name).write_text(
                json.dumps({"episodes": "x", "entries": [row], **planted(row, place, PAYLOAD)})
            )
        pl.DataFrame([planted(row, place, f"{PAYLOAD}:fire")]).write_parquet(tmp_path / "episodes.parquet")
        quietly(lambda: read([tmp_path]))
        for table in ([], ["--table", "7"]):
            assert main(["report", str(tmp_path), *table, "--quiet"]) in (0, 2)
        assert not mark.exists(), place


def test_the_commands_that_ran_code_say_what_to_do(
    tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{PAYLOAD}:fire"
    run = tmp_path / "run"
    policy(run, env=name, env_options={"command": "touch x"})
    beside = attacker(tmp_path / "bank").with_suffix(".json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"attack": name}))
    save_toml(RunConfig(env=name), run / "config.toml")
    (run / "checkpoints").mkdir()
    fitted = ["--attacker", str(beside.with_suffix(".safetensors")), "--out", str(tmp_path / "analysis")]
    for words, sentence in (
        (["evaluate", str(run)], f"code as its environment; if you trust it, name it yourself: --env {name}"),
        (["replay", "--policy", str(run), "--out", str(tmp_path / "x.html")], f"name it yourself: --env {name}"),
        (["train", "--out", str(run), "--resume"], f"name it yourself: --env {name}"),
        (["attack", str(run), "--out", str(tmp_path / "b")], f"name it yourself: --env {name}"),
        (["analyse", "random", "--env", "toy/leak", *fitted], f"name it yourself: --attack {name}"),
    ):  # fmt: skip
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert not mark.exists()


def test_ones_own_code_is_named_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own environments and attacks go on working: by --env and --attacks, by --resume with --env, by --config."""
    (tmp_path / "mine.py").write_text(
        "from ibal.envs.toy import climbing\n"
        "from ibal.adversaries.config import InteractionConfig\n"
        "def make(size: int = 1, *, hard: bool = False):\n    assert size == 7\n    return climbing()\n"
        "class Mine(InteractionConfig):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    run = policy(tmp_path / "run", env="mine:make", env_options={"size": 7}).parents[1]
    ((_, team),) = teams_of([str(run)], "mine:make")  # with the options of then
    assert team.env.spec.name == "toy/climbing"
    state = ATTACK.build(LEAK).init(rng.root(0))
    config = sys.modules["mine"].Mine(masks="dimension", actions="off", most=1, dims=1)
    save_attacker(tmp_path / "bank" / "a.safetensors", "mine:Mine", config, LEAK, state)
    assert type(load_attacker(tmp_path / "bank" / "a.safetensors", LEAK, Own("mine:Mine")).config) is type(config)
    assert Bank(tmp_path / "bank").on("mine:Mine", LEAK).name == "mine:Mine"
    save_toml(RunConfig(env="mine:make"), run / "config.toml")
    resumed = ["--out", str(run), "--resume"]
    with pytest.raises(UnknownName, match="no file may name code"):
        parse(resumed)
    for argv in ([*resumed, "--env", "mine:make"], ["--config", str(run / "config.toml")], ["--env", "mine:make"]):
        assert isinstance(parse(argv)[1].env, Own), argv
    sys.modules.pop("mine")


def test_options_of_a_file_are_checked_before_the_maker_is_called(tmp_path: Path) -> None:
    for name, options, message in (
        ("toy/probe-memory", {"delay": "x"}, "option delay must be a whole number"),
        ("toy/probe-memory", {"dealy": 2}, 'no option "dealy"; did you mean "delay"'),
        ("toy/climbing", {"x": 1}, r'no option "x" \(options: none\)'),
        ("toy/leak", {"flips": 1}, "option flips cannot be given"),
        ("smac/3m", {"map_name": "8m"}, 'no option "map_name"'),
        ("smac/3m", {"interface": "x"}, "option interface cannot be given"),
        ("smac/3m", {"step_mul": 10**12}, "step_mul is 1000000000000; 1 to 1000 was expected"),
        ("smac/3m", {"head_start": -1}, "head_start is -1; 0 to 1000 was expected"),
        ("smac/3m", {"enemy_ids": "x"}, 'environment "smac/3m": enemy_ids is "x"'),
        ("toy/probe-memory", {"delay": 10**12}, "delay is 1000000000000; sign and"),
        ("toy/leak", {"n_agents": 10**9}, "leak takes at most 100 agents"),
        ("smac/3m", {"step_mul": 1.5}, "option step_mul must be a whole number"),
        ("smac/3m", {"step_mul": [1]}, "must be a number, a word, true or false"),
    ):
        with pytest.raises(ValueError, match=message):
            made(name, options)
        file = policy(tmp_path / name / str(len(options)), env=name, env_options=options)
        with pytest.raises(ConfigError, match=message if "must be a number, a" not in message else "is a list"):
            teams_of([str(file)], None)
    assert made("smac/3m", {"step_mul": 4, "enemy_ids": "creation"}).spec.n_agents == 3


def test_a_library_is_not_taken_from_beside_the_data(mark: Path) -> None:
    """The current folder is looked into only after the user has named a module of his own."""
    sys.path.remove(str(mark.parent))
    assert main(["evaluate", "random", "--env", "nowhere"]) == 2
    assert str(mark.parent) not in sys.path
    with pytest.raises(UnknownName, match="returned a NoneType"):
        made(Own(f"{PAYLOAD}:fire"))
    assert mark.exists()
    assert sys.path[-1] == str(mark.parent)
    sys.path.remove(str(mark.parent))


PACKAGE = Path(ibal.__file__).parent
# Where a user's or a program's own words are taken in; no reader of data is here.
TAKES_IN = {
    "registry.py", "envs/__init__.py", "adversaries/__init__.py", "adversaries/bundle.py", "evaluation/bank.py",
    "evaluation/teams.py", "experiments/config.py", "experiments/study.py", "experiments/runs.py",
    "experiments/grid/execute.py", "experiments/grid/launch.py", "api/fit.py", "api/policy.py", "api/train.py",
    "cli/analyse.py", "cli/attack.py", "cli/attack_check.py", "cli/bench_train.py", "cli/demo.py", "cli/replay.py",
    "cli/train.py",
}  # fmt: skip
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}


def sources() -> list[tuple[str, ast.Module]]:
    return [(p.relative_to(PACKAGE).as_posix(), ast.parse(p.read_text("utf-8"))) for p in PACKAGE.rglob("*.py")]


def test_only_what_takes_in_a_users_words_may_trust_a_name() -> None:
    """A new reader that wants to trust must be added here, and so be looked at."""
    trusting = {"ibal.make", "ibal.envs.make", "ibal.adversaries.build"}  # these take a program's word
    for name, tree in sources():
        nodes = list(ast.walk(tree))
        called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert name in TAKES_IN or "Own" not in called, name
        assert not called & RUNS_CODE, name
        froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
        imported = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names} | {n.module for n in froms}
        assert not {word.split(".")[0] for word in imported if word} & IMPORTS, name
        assert name == "__init__.py" or not trusting & {f"{n.module}.{a.name}" for n in froms for a in n.names}, name


READS = {"loads", "load", "read_parquet", "scan_parquet", "read_parquet_schema", "load_file", "safe_open", "read_csv"}
# Otherwise than by ibal.reading: files of PyTorch, by its own reader for weights alone; the paper's numbers are ours.
READS_ITSELF = {"reading.py", "nets/pymarl.py", "nets/sb3.py", "report/published.py"}


def test_every_reader_of_files_goes_through_one_module() -> None:
    """So that none forgets sizes, depths and types; what is read by another one must be looked at here."""
    libraries = {"json", "tomllib", "pl", "polars", "np", "torch", "safetensors"}
    for name, tree in sources():
        found = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in READS and isinstance(node.value, ast.Name)
            and node.value.id in libraries
        }  # fmt: skip
        assert name in READS_ITSELF or not found, (name, found)
        froms = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert name == "reading.py" or "tomllib" not in froms, name


def test_a_plain_name_is_never_code() -> None:
    for table in (TABLE, ATTACKS):
        with pytest.raises(UnknownName, match="no file may name code"):
            table.resolve("os:system")
        for derived in (Own("os:system")[:], Own("os") + ":system", Own("OS:SYSTEM").lower()):
            with pytest.raises(UnknownName):
                table.load(derived)
    assert replace(RunConfig(), env=Own("a:b")).env == "a:b"
