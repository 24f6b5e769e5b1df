"""Damaged, hostile and absurd files of every format that is read: one sentence each, or the right result.

Bits flip, ends are cut off, entries are replaced by others of any type, deleted and added; checksums are made to fit
where somebody could do that. Whatever comes of it is one sentence of an error that commands print (``SENTENCES``) or
a result that is the true one or at least of its types; never another error, a long wait, or code that runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import socket
import time
import zlib
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ibal
from fuzz.cases import COUNT, share
from ibal import make, rng
from ibal.adversaries.bundle import load_attacker, save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.cli.main import main
from ibal.cli.output import CommandError
from ibal.evaluation.bank import attackers_in
from ibal.evaluation.matrix import Plan, _found, _keep
from ibal.evaluation.results import COLUMNS, VERSION, read_episodes
from ibal.evaluation.teams import teams_of
from ibal.experiments.config import RunConfig, load_toml, to_toml
from ibal.files import CLAIM, Busy, claimed
from ibal.nets import agents
from ibal.nets.bundle import save_bundle
from ibal.report.curves import logged
from ibal.training import checkpoint
from ibal.training.log import Log, LogError, read_metrics

SENTENCES = (ValueError, OSError, CommandError, LogError, checkpoint.CheckpointError, Busy)
SLOW = 20.0  # seconds of a processor for one case: most take a hundredth of one
TESTS = 12

SPEC, LEAK = make("toy/climbing").spec, make("toy/leak").spec
ATTACK = InteractionConfig(masks="dimension", actions="off", most=1, dims=1)
STATE = {"w": jnp.arange(6.0).reshape(2, 3), "keys": jax.random.split(rng.root(1), 2), "n": jnp.int32(7)}
PAYLOAD = "fuzz_payload:fire"

# What stands in a file where something else should.
DEEP: Any = 1
for _ in range(200):
    DEEP = [DEEP]
WORDS = (
    PAYLOAD, "os:abort", "smac/3m", "toy/leak", "interaction", "../../etc/passwd", "/dev/zero", "", " ", "a" * 5000,
    "\x1b[2J", "\u202e", "nan", "1e999", "{name}", "%s", "$x^$", "[a]", "\ud800",
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.sampled_from((-1, 0, 2**31, 2**63, 2**64, 10**30, 10**400))
    | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
)  # fmt: skip
ODD = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=3) | st.just(DEEP)
)


@cache
def weights() -> Any:
    """Not of the module: it would be compiled by everybody who only looks for tests."""
    size = SPEC.obs_size + SPEC.n_actions + SPEC.n_agents
    return jax.jit(lambda key: agents.init(key, size, SPEC.n_actions, hidden=4))(rng.root(0))


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """Flip bits, cut, repeat, replace."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(len(content), at + draw(st.integers(1, 40)))
        how = draw(st.sampled_from(("flip", "cut", "drop", "repeat", "fill", "all")))
        if how == "flip" and content:
            content = content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
        elif how == "cut":
            content = content[:at]
        elif how == "drop":
            content = content[:at] + content[end:]
        elif how == "repeat":
            content = content[:end] + content[at:end] + content[end:]
        elif how == "fill":
            content = content[:at] + draw(st.binary(min_size=end - at, max_size=end - at)) + content[end:]
        elif how == "all":
            content = draw(st.binary(max_size=64))
    return content


def places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of everything in what JSON holds."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(place for key, each in inner for place in places(each, (*where, key)))]


@st.composite
def altered(draw: Callable[..., Any], value: Any) -> Any:
    """Replace, delete or add entries of what JSON holds."""
    for _ in range(draw(st.integers(1, 2))):
        value = json.loads(json.dumps(value))
        *path, last = draw(st.sampled_from(places(value)[1:] or [("x",)]))
        inner: Any = value if isinstance(value, dict | list) and value else {"x": 1}
        for step in path:
            inner = inner[step]
        how = draw(st.sampled_from(("replace", "replace", "replace", "delete", "add", "all")))
        if how == "delete":
            del inner[last]
        elif how == "add" and isinstance(inner, dict):
            inner[draw(st.text(max_size=5) | st.sampled_from(WORDS))] = draw(ODD)
        elif how == "all":
            return draw(ODD)
        else:
            inner[last] = draw(ODD)
    return value


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A folder with a valid file of each format, and a module that leaves a mark when it is imported."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "fuzz_payload.py").write_text(
        "from pathlib import Path\nMARK = Path(__file__).with_name('MARK')\nMARK.write_text('imported')\n"
        "def fire(*args, **options):\n    MARK.write_text('called')\n"
    )
    meta = {
        "env": "toy/climbing", "env_options": {}, "method": "ibal", "seed": 0, "env_steps": 10, "config_hash": "abc",
        "config": {"env": "toy/climbing", "learner": {"mixer": "vdn"}},
    }  # fmt: skip
    save_bundle(folder / "policy.safetensors", weights(), SPEC, meta)
    state = ATTACK.build(LEAK).init(rng.root(0))
    save_attacker(folder / "bank" / "a.safetensors", "interaction", ATTACK, LEAK, state, {"victim": "x", "seed": 0})
    checkpoint.save(folder / "checkpoints", 3, STATE, extra={"config_hash": "abc"})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        yield folder


@contextlib.contextmanager
def sentence(here: Path, name: str) -> Generator[list[str]]:
    """Let a sentence pass, and nothing else; the list holds it, or is empty where all went well."""
    COUNT[name] += 1
    said: list[str] = []
    begun = time.process_time()
    try:
        yield said
    except SENTENCES as error:
        said.append(str(error))
        quotes_the_file = isinstance(error, UnicodeError)
    else:
        quotes_the_file = False
    for text in said:
        assert not quotes_the_file, text
        assert text.strip()
        assert len(text.splitlines()) == 1, text
        assert len(text) < 2000, text
    assert time.process_time() - begun < SLOW
    assert not (here / "MARK").exists(), "a file ran code"


def same(left: Any, right: Any) -> None:
    def plain(leaf: Any) -> np.ndarray:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(plain(a), plain(b)), left, right)


@share(TESTS)
@given(data=st.data())
def test_policy_json(here: Path, data: st.DataObject) -> None:
    file, beside = here / "policy.safetensors", here / "policy.json"
    good = beside.read_bytes()
    try:
        about = json.loads(good)
        beside.write_bytes(data.draw(damaged(good) | altered(about).map(text_of)))
        with sentence(here, "policy.json"):
            team = ibal.load_policy(file)
            same(team.params, weights())  # what the weights are is for their file to say
            assert team.checked
            assert isinstance(team.meta.get("seed", 0), int | None)
            ((_, one),) = teams_of([str(file)], None)
            assert one.env.spec.name in ("toy/climbing", "toy/two-step")
            assert all(word.isprintable() for word in (one.method, one.world))
            json.dumps([one.method, one.seed, one.world, dict(one.about)], allow_nan=False)
    finally:
        beside.write_bytes(good)


@share(TESTS)
@given(data=st.data())
def test_policy_weights(here: Path, data: st.DataObject) -> None:
    file = here / "policy.safetensors"
    good = file.read_bytes()
    try:
        file.write_bytes(data.draw(damaged(good)))
        with sentence(here, "policy.safetensors") as said:
            same(ibal.load_policy(file).params, weights())
        assert said or file.read_bytes() == good
    finally:
        file.write_bytes(good)


@share(TESTS)
@given(data=st.data())
def test_weights_of_pymarl(here: Path, data: st.DataObject) -> None:
    """Nothing lies beside them: other finite numbers of fitting sizes are other weights, and said to be unchecked."""
    file = here / "theirs.safetensors"
    good = (here / "policy.safetensors").read_bytes()
    head = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])
    rest = good[8 + int.from_bytes(good[:8], "little") :]

    def put(value: Any) -> bytes:
        text = text_of(value)
        return len(text).to_bytes(8, "little") + text + rest

    file.write_bytes(data.draw(damaged(good) | altered(head).map(put)))
    with sentence(here, "agent.safetensors"):
        team = ibal.load_policy(file)
        assert not team.checked
        assert team.meta == {}
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(team.params))
        teams_of([str(file)], "toy/climbing")


@share(TESTS)
@given(data=st.data())
def test_attacker_json(here: Path, data: st.DataObject) -> None:
    beside = here / "bank" / "a.json"
    good = beside.read_bytes()
    try:
        beside.write_bytes(data.draw(damaged(good) | altered(json.loads(good)).map(text_of)))
        with sentence(here, "attacker.json"):
            attackers_in(here / "bank")
            found = load_attacker(here / "bank" / "a.safetensors", LEAK)
            assert type(found.config) is InteractionConfig
            assert found.attack == "interaction"
    finally:
        beside.write_bytes(good)


@share(TESTS)
@given(data=st.data())
def test_attacker_weights(here: Path, data: st.DataObject) -> None:
    file = here / "bank" / "a.safetensors"
    good = file.read_bytes()
    beside = file.with_suffix(".json")
    about = beside.read_text()
    try:
        content = data.draw(damaged(good))
        file.write_bytes(content)
        if data.draw(st.booleans()):  # somebody made the checksum fit
            beside.write_text(json.dumps(json.loads(about) | {"crc32": zlib.crc32(content)}))
        with sentence(here, "attacker.safetensors"):
            found = load_attacker(file, LEAK)
            assert all(not np.isnan(leaf).any() for leaf in jax.tree.leaves(found.state) if leaf.dtype.kind == "f")
    finally:
        file.write_bytes(good)
        beside.write_text(about)


TOML = to_toml(RunConfig(env="toy/climbing", env_options=(("a", 1),), method_options=(("b", 0.5),)))
LITERALS = (
    "true", "-1", "0", "99999999999999999999", "1e308", "inf", "nan", '"x"', "[1]", "{a = 1}", "1979-05-27", "0x7f",
    f'"{PAYLOAD}"', '"smac/3m"', '"ibal"', '"\\u001b[2J"', "'''\n\n'''", "[" * 300, "=", "",
)  # fmt: skip


@st.composite
def toml(draw: Callable[..., Any]) -> bytes:
    """Replace, delete, repeat or add lines."""
    lines = TOML.splitlines()
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        name = lines[at].partition(" = ")[0] or "x"
        how = draw(st.sampled_from(("value", "value", "name", "drop", "repeat", "table")))
        literal, title = draw(st.sampled_from(LITERALS)), draw(st.sampled_from(("x", "train", "a.b.c", "[x]")))
        new = {
            "value": [f"{name} = {literal}"], "name": [f"{draw(st.text(max_size=5))} = 1"], "drop": [],
            "repeat": [lines[at]] * 2, "table": [lines[at], f"[{title}]"],
        }[how]  # fmt: skip
        lines[at : at + 1] = new or ([""] if len(lines) == 1 else [])
    return "\n".join(lines).encode("utf-8", errors="surrogatepass")


@share(TESTS)
@given(content=toml() | damaged(TOML.encode()))
def test_config_toml(here: Path, content: bytes) -> None:
    file = here / "config.toml"
    file.write_bytes(content)
    with sentence(here, "config.toml"):
        config = load_toml(file)
        assert isinstance(config.env, str)
        (here / "again.toml").write_text(to_toml(config))
        assert load_toml(here / "again.toml") == config
    if PAYLOAD.encode() in content:
        with sentence(here, "config.toml") as said:
            main_of_train = main(["train", "--out", str(here), "--resume", "--quiet"])
            assert main_of_train in (1, 2)
        assert not said


METRICS = [
    {"kind": kind, "seed": seed, "env_steps": step, "wall_s": 1.5, "win": 0.5, "return": 1.25, "episodes": 4}
    for step in (10, 20) for kind in ("chunk", "eval") for seed in (0, 1)
]  # fmt: skip


@share(TESTS)
@given(data=st.data())
def test_metrics(here: Path, data: st.DataObject) -> None:
    run = here / "run"
    run.mkdir(exist_ok=True)
    (run / "config.toml").write_text(TOML)
    good = b"".join(text_of(record) + b"\n" for record in METRICS)
    lines = altered(METRICS).map(
        lambda found: b"".join(text_of(each) + b"\n" for each in (found if isinstance(found, list) else [found]))
    )
    (run / "metrics.jsonl").write_bytes(data.draw(damaged(good) | lines))
    with sentence(here, "metrics.jsonl"):
        for record in read_metrics(run):
            assert isinstance(record["kind"], str)
            assert isinstance(record["seed"], int)
            assert isinstance(record["env_steps"], int)
        for row in logged(run):
            assert math.isfinite(row["return"])
            assert row["win"] is None or math.isfinite(row["win"])
        with Log(run, total_steps=20) as log:  # as a resumed training does
            log.begin(10)


@share(TESTS)
@given(data=st.data())
def test_checkpoint(here: Path, data: st.DataObject) -> None:
    (file,) = checkpoint.checkpoints(here / "checkpoints")
    good = file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    head = json.loads(good[8:start])
    about = json.loads(head["__metadata__"]["checkpoint"])

    def put(said: Any) -> bytes:
        text = json.dumps(said)
        changed = text_of(head | {"__metadata__": {"checkpoint": text, "crc": str(zlib.crc32(text.encode()))}})
        return len(changed).to_bytes(8, "little") + changed + good[start:]

    is_made = data.draw(st.booleans())
    try:
        file.write_bytes(data.draw(altered(about).map(put) if is_made else damaged(good)))
        with sentence(here, "checkpoint"):
            found = checkpoint.restore(file.parent, STATE, expect={"config_hash": "abc"})
            assert found is not None
            assert isinstance(found.step, int)
            if not is_made:
                same(found.state, STATE)
    finally:
        file.write_bytes(good)


ROWS = pl.DataFrame(
    {
        "policy": ["p"] * 4, "method": ["ibal"] * 4, "seed": [0, 0, 1, 1], "env": ["smac/3m"] * 4,
        "attack": ["natural", "interaction"] * 2, "perturbation": ["none"] * 4, "episode": [0] * 4, "key_seed": [0] * 4,
        "attacker": [0] * 4, "win": [True, False, True, True], "return": [1.0, 2.0, 3.0, 4.0], "length": [3] * 4,
        "attacked": [0.0] * 4, "version": ["2026-11"] * 4,
    }
)  # fmt: skip
WHOLE = [*COLUMNS, *VERSION]
PART = ROWS.select(
    pl.int_range(4, dtype=pl.Int32).alias("episode"), pl.col("attacker").cast(pl.Int32), "win", "return",
    pl.col("length").cast(pl.Int32), "attacked", pl.lit(0.5).alias("noise"),
)  # fmt: skip
KINDS = (
    pl.Int8,
    pl.UInt64,
    pl.Float32,
    pl.String,
    pl.Boolean,
    pl.Null,
    pl.Binary,
    pl.List(pl.Int8),
    pl.Categorical,
    pl.Date,
)


@st.composite
def rearranged(draw: Callable[..., Any], rows: pl.DataFrame) -> bytes:
    """Give a table other columns, types, values or rows."""
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(rows.columns)) if rows.columns else "x"
        how = draw(st.sampled_from(("cast", "drop", "null", "value", "rename", "head", "twice", "more")))
        with contextlib.suppress(pl.exceptions.PolarsError):
            if how == "cast":
                rows = rows.with_columns(pl.col(name).cast(draw(st.sampled_from(KINDS)), strict=False))
            elif how == "drop":
                rows = rows.drop(name)
            elif how == "null":
                rows = rows.with_columns(pl.lit(None).alias(name))
            elif how == "value":
                odd = draw(st.sampled_from((math.nan, math.inf, -1, 2**62, *WORDS[:-1])))
                rows = rows.with_columns(pl.lit(odd).alias(name))
            elif how == "rename":
                rows = rows.rename({name: draw(st.sampled_from(("x", "^.*$", "*", "seed", "win", "")))})
            elif how == "head":
                rows = rows.head(draw(st.integers(0, 3)))
            elif how == "twice":
                rows = pl.concat([rows, rows])
            else:
                rows = rows.with_columns(pl.lit(1).alias(draw(st.text(max_size=4))))
    held = io.BytesIO()
    rows.write_parquet(held)
    return held.getvalue()


def parquet(rows: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    rows.write_parquet(held)
    return held.getvalue()


@share(TESTS)
@given(data=st.data())
def test_parts(here: Path, data: st.DataObject) -> None:
    parts = here / "parts"
    _keep(parts, "abc", PART)
    (file,) = parts.glob("abc-*")
    content = data.draw(damaged(parquet(PART)) | rearranged(PART))
    is_made = data.draw(st.booleans())
    if is_made:  # somebody made the checksum fit
        file.unlink()
        file = file.with_name(f"abc-{hashlib.sha256(content).hexdigest()[:16]}.parquet")
    file.write_bytes(content)
    said: list[str] = []
    with sentence(here, "parts/*.parquet") as refused:
        found = _found(parts, "abc", Plan(episodes=4), said.append)
        assert found is None or is_made or found.equals(PART)
        if found is None:
            assert len(said) == 1
            assert len(said[0].splitlines()) == 1
        else:
            assert found["episode"].to_list() == [0, 1, 2, 3]
            assert set(PART.columns[:-1]) <= set(found.columns)
    assert not refused
    for left in parts.glob("abc-*"):
        left.unlink()


@share(TESTS)
@given(data=st.data())
def test_episodes_of_an_evaluation(here: Path, data: st.DataObject, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "ev [a]"
    folder.mkdir(exist_ok=True)
    content = data.draw(damaged(parquet(ROWS)) | rearranged(ROWS))
    (folder / "episodes.parquet").write_bytes(content)
    summary = {"entries": [], "episodes": 4, "episodes_sha256": hashlib.sha256(parquet(ROWS)).hexdigest()}
    is_said = data.draw(st.booleans())
    (folder / "summary.json").unlink(missing_ok=True)
    if is_said:
        (folder / "summary.json").write_text(json.dumps(summary))
    with sentence(here, "episodes.parquet"):
        rows = read_episodes(folder)
        assert rows.schema == pl.Schema(COLUMNS | VERSION)
        assert not is_said or rows.equals(ROWS.select(WHOLE))
    for table in ([], ["--table", "7"], ["--table", "8", "--format", "latex"]):
        assert main(["report", str(folder), "--quiet", *table]) in (0, 2)
        streams = capsys.readouterr()
        assert len(streams.err.splitlines()) <= 1, streams.err
        assert not {"\x1b", "\u202e"} & set(streams.out + streams.err)


@share(TESTS)
@given(data=st.data())
def test_summary(here: Path, data: st.DataObject) -> None:
    folder = here / "summed"
    folder.mkdir(exist_ok=True)
    (folder / "episodes.parquet").write_bytes(parquet(ROWS))
    summary = {"entries": [], "episodes": 4, "episodes_sha256": hashlib.sha256(parquet(ROWS)).hexdigest()}
    (folder / "summary.json").write_bytes(data.draw(damaged(text_of(summary)) | altered(summary).map(text_of)))
    with sentence(here, "summary.json"):
        assert read_episodes(folder).equals(ROWS.select(WHOLE))


@share(TESTS)
@given(content=st.binary(max_size=40) | damaged(f"process 1 on {socket.gethostname()}".encode()))
def test_claim(here: Path, content: bytes) -> None:
    folder = here / "claimed"
    folder.mkdir(exist_ok=True)
    (folder / CLAIM).write_bytes(content)
    with sentence(here, ".claim"), claimed(folder):
        pass
