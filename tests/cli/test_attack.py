"""``ibal attack``: attackers for policies, and the list of attacks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from ibal import rng
from ibal.adversaries.config import RandomConfig
from ibal.cli.main import main
from ibal.envs import make
from ibal.nets import agents
from ibal.nets.bundle import save_bundle

SPEC = make("toy/leak").spec
QUICK = ["--episodes", "16", "--steps", "5", "--check", "4", "--set", "masks=dimension", "--set", "dims=1"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    params = agents.init(rng.root(0), SPEC.obs_size + SPEC.n_actions + SPEC.n_agents, SPEC.n_actions, hidden=8)
    save_bundle(tmp_path / "run" / "policy" / "seed-0.safetensors", params, SPEC, {"env": "toy/leak", "seed": 0})
    return tmp_path / "run"


def test_a_policy_gets_an_attacker_that_evaluations_find(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = tmp_path / "bank"
    assert main(["attack", str(run), "--out", str(bank), "--json", *QUICK]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert {"natural", "attacked"} < row.keys()
    about = json.loads(Path(row["attacker"]).with_suffix(".json").read_text())
    assert (about["attack"], about["env"], about["meta"]["steps"]) == ("interaction", "toy/leak", 5)
    assert about["meta"]["check"]["episodes"] == 4
    assert main(["attack", str(run), "--out", str(bank), *QUICK]) == 2  # nothing is overwritten
    assert "exists; name another folder" in capsys.readouterr().err

    out = tmp_path / "x"
    asked = ["--attacks", "interaction,interaction[masks=random,actions=off]", "--episodes", "4"]
    assert main(["evaluate", str(run), *asked, "--attackers", str(bank), "--out", str(out), "--quiet"]) == 0
    rows = pl.read_parquet(out / "episodes.parquet")
    played = rows["attack"].unique(maintain_order=True).to_list()
    assert played == ["interaction", "interaction[masks=random,actions=off]"]


def test_refitting_needs_a_folder_of_its_own(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--attacks", "interaction", "--refit"]) == 2
    assert "--refit fits attackers of its own into --out FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attack", "interacton"], 'Closest: "interaction"'),
        (["--attack", "random"], '"random" learns nothing: evaluate it as it is, with --attacks "random"'),
        (["--set", "masks=off", "--set", "actions=off"], 'with --attacks "interaction[masks=off,actions=off]"'),
        (["--set", "mask=off"], 'no field "mask"; did you mean "masks"'),
        (["--set", "masks"], '--set "masks" must be a name and a value'),
        (["--steps", "0"], "--steps must be at least 1, not 0"),
        (["--check", "-1"], "--check must be at least 0, not -1"),
        (["--set", "most=9"], "most is 9, but"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bank"
    assert main(["attack", str(run), "--out", str(out), "--episodes", "4", *arguments, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_list_of_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)["attacks"]}
    assert listed["interaction"]["learns"]
    assert listed["interaction"]["options"]["club.negatives"] == 8
    assert not listed["random"]["learns"]
    assert main(["attack", "list"]) == 0
    text = capsys.readouterr().out
    assert "(has to be fitted)" in text
    assert "  sigma = 0.1" in text
    assert "  club.hidden = 128\n" in text  # as --set takes it


def test_the_list_of_attacks_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["attacks"]:
        assert row["options"].keys() == row["option_help"].keys()
        silent = [name for name, text in row["option_help"].items() if len(text) < 15]
        assert not silent, f"{row['name']}: {silent}"
    assert main(["attack", "list", "random-obs", "interaction"]) == 0
    text = capsys.readouterr().out
    assert "  sigma = 0.1\n      Standard deviation of the noise on every entry of the observation; 0: none.\n" in text
    assert "wolfpack" not in text
    assert main(["attack", "list", "randm"]) == 2
    assert 'Closest: "random"' in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Own(RandomConfig):
    """An attack of one's own."""

    late: bool = False
    """Whether it comes
    late."""


def test_the_list_explains_an_attack_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "list", f"{__name__}:Own"]) == 0
    text = capsys.readouterr().out
    assert "An attack of one's own." in text
    assert "  late = false\n      Whether it comes late.\n" in text
    assert "  p = 0.3\n      Share of steps on which" in text
