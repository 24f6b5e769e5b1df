"""What commands do with files that are damaged, unchecked, hostile or have odd names, and when the disk is full."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ibal
from ibal import make, rng
from ibal.adversaries.bundle import load_attacker, save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.cli.main import main
from ibal.cli.output import Output, printable
from ibal.evaluation.matrix import Team
from ibal.experiments import fitting
from ibal.experiments.refit import refitting
from ibal.files import CLAIM, appear_bytes, claimed, replace_text
from ibal.nets import agents
from ibal.nets.bundle import save_bundle

SPEC = make("toy/climbing").spec
LEAK = make("toy/leak").spec
ATTACK = InteractionConfig(masks="dimension", actions="off", most=1, dims=1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    params = agents.init(rng.root(0), SPEC.obs_size + SPEC.n_actions + SPEC.n_agents, SPEC.n_actions, hidden=4)
    meta = {"env": "toy/climbing", "env_options": {}, "seed": 0, "method": "vanilla"}
    save_bundle(tmp_path / "run" / "policy" / "seed-0.safetensors", params, SPEC, meta)
    return tmp_path / "run"


@pytest.fixture
def attacker(tmp_path: Path) -> Path:
    state = ATTACK.build(LEAK).init(rng.root(0))
    save_attacker(tmp_path / "bank" / "a.safetensors", "interaction", ATTACK, LEAK, state, {"victim": "x"})
    return tmp_path / "bank" / "a.safetensors"


def test_brackets_in_a_folders_name_are_no_pattern(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run.rename(tmp_path / "run [b]")
    words = ["evaluate", "run [b]", "random", "--env", "climbing", "--episodes", "3", "--out", "ev [a]"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "[1/2]" in first.err
    assert main(words) == 0
    second = capsys.readouterr()
    assert "[1/2]" not in second.err  # found again
    assert second.out == first.out
    assert "run [b]" in first.out  # nor markup
    assert main(["report", "ev [a]", "--out", "re[p]ort.md", "--quiet"]) == 0
    assert (tmp_path / "re[p]ort.md").is_file()


def test_a_full_disk_during_an_evaluation_is_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), "--episodes", "3", "--out", str(tmp_path / "x")]
    true = Path.write_bytes
    for full in (".parquet", "episodes.parquet", ".json"):  # a part, the rows, the summary

        def write(path: Path, content: bytes, full: str = full) -> int:
            if full in path.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return true(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            patch.setattr(Path, "write_text", lambda path, text, **_: write(path, text.encode()))
            assert main(words) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error == (
            f"ibal evaluate: cannot write {tmp_path / 'x'}: the disk is full; make room and give the same command again"
        )
        assert not list((tmp_path / "x").rglob("*.writing*"))
    assert main([*words, "--quiet"]) == 0


def test_weights_without_their_json_play_and_are_said_to_be_unchecked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "policy" / "seed-0.safetensors"
    assert ibal.load_policy(file).checked
    file.with_suffix(".json").unlink()
    assert not ibal.load_policy(file).checked
    assert main(["evaluate", str(file), "--env", "climbing", "--episodes", "2", "--out", str(tmp_path / "x")]) == 0
    assert f"{file}: unchecked: no .json lies beside it" in capsys.readouterr().err
    assert json.loads((tmp_path / "x" / "card.json").read_text())["policies"][0]["checked"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "x"}, '"seed" is "x"; a whole number or null was expected'),
        ({"config": 3}, '"config" is 3; a table was expected'),
        ({"env_options": [1]}, '"env_options" is a list; a table or null was expected'),
        ({"env": None}, '"env" is null; a text was expected'),
        ({"method": "\x1b[2Jhello"}, "a text without control characters was expected"),
        ({"hidden": 1e300}, '"hidden" is 1e+300; a whole number was expected'),
        ({"n_agents": True}, '"n_agents" is true; a whole number was expected'),
        ({"format": 7}, "has format 7; this version reads format 2"),
    ],
)
def test_a_policys_json_of_wrong_types_is_one_sentence(
    change: dict[str, Any], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = run / "policy" / "seed-0.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    assert main(["evaluate", str(run), "--episodes", "2"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(beside) in error
    assert error.count("\n") == 1
    assert "\x1b" not in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {}}, '"config" lacks "most"'),
        ({"config": asdict(ATTACK) | {"sigma": "x"}}, '"sigma" is "x"; a number was expected'),
        ({"config": asdict(ATTACK) | {"club": {"hidden": [0]}}}, '"club" lacks "tau"'),
        ({"config": asdict(ATTACK) | {"masks": "bloc"}}, '"masks" is "bloc"; one of block, dimension'),
        ({"config": asdict(ATTACK) | {"p": 7}}, "InteractionConfig.p is 7"),
        ({"config": asdict(ATTACK) | {"more": 7}}, 'has an entry "more", which InteractionConfig does not know'),
        ({"attack": 3}, '"attack" is 3; a text was expected'),
        ({"meta": []}, '"meta" is a list; a table was expected'),
    ],
)
def test_an_attackers_json_of_wrong_types_is_one_sentence(change: dict[str, Any], message: str, attacker: Path) -> None:
    beside = attacker.with_suffix(".json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    with pytest.raises(ValueError, match="it the attacker again") as error:
        load_attacker(attacker, LEAK)
    assert message in str(error.value)
    assert str(beside) in str(error.value)


def test_an_attacker_whose_numbers_are_none_is_refused(attacker: Path) -> None:
    state = ATTACK.build(LEAK).init(rng.root(0))
    broken = state._replace(scores=state.scores * np.float32(np.nan))
    save_attacker(attacker, "interaction", ATTACK, LEAK, broken)
    with pytest.raises(ValueError, match="scores holds NaN; fit the attacker again"):
        load_attacker(attacker, LEAK)


def test_a_link_in_a_folder_of_somebody_elses_is_not_written_through(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "config.toml.writing").symlink_to(mine)
    (tmp_path / ".a.json.writing.json").symlink_to(mine)
    replace_text(tmp_path / "config.toml", "x")
    appear_bytes(tmp_path / "a.json", b"{}")
    (tmp_path / "b.json").symlink_to(mine)
    appear_bytes(tmp_path / "b.json", b"{}")
    assert mine.read_text() == "precious"
    assert not (tmp_path / "b.json").is_symlink()


def test_a_claim_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CLAIM).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=CLAIM), claimed(tmp_path / "run"):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_a_file_says_does_not_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b[2J\u202eb\nc\tü") == "a\\x1b[2J\\u202eb\nc\tü"
    Output().note("x\x9b1m")
    Output().result({}, "y\x07")
    assert main(["evaluate", "no\x1b[2Jne"]) == 2
    streams = capsys.readouterr()
    assert not {"\x1b", "\x9b", "\x07"} & set(streams.out + streams.err)


def test_a_refitted_attacker_is_of_these_options_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder, another environment option or another version: fitted anew; the user's own code always."""
    fitted: list[Path] = []

    def save(path: Path, *_: Any) -> None:
        fitted.append(path)
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".json").write_text("{}")

    monkeypatch.setattr(fitting, "save_fitted", save)
    refit = refitting(tmp_path / "attackers", print)
    team = Team("p", "m", 0, make("toy/leak"), "toy/leak []", None, None, "d" * 64, {})
    for config, who in (
        (ATTACK, team), (ATTACK, team._replace(world="toy/leak [('noise', 2)]")), (InteractionConfig(), team),
    ):  # fmt: skip
        assert refit("interaction", config, who) == refit("interaction", config, who)
    assert len(fitted) == len(set(fitted)) == 3
    monkeypatch.setattr("ibal.evaluation.sources.digest", lambda *_: "others")
    refit = refitting(tmp_path / "attackers", print)
    for _ in range(2):
        refit("interaction", ATTACK, team)
    assert len(fitted) == 4
    for _ in range(2):
        refit("interaction", ATTACK, team._replace(own=True))
    assert len(fitted) == 6
