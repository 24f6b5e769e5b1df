"""``ibal evaluate``: rows with intervals for run folders, bundles, PyMARL files and scripted policies."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest

from ibal import rng
from ibal.cli.evaluate import as_text
from ibal.cli.main import main
from ibal.envs import make
from ibal.evaluation.episodes import play
from ibal.evaluation.stats import wilson
from ibal.evaluation.summary import of_team
from ibal.evaluation.teams import teams_of
from ibal.nets import agents, pymarl
from ibal.nets.bundle import save_bundle

SPEC = make("toy/climbing").spec


def weights(seed: int) -> agents.PyMarlAgent:
    return agents.init(rng.root(seed), SPEC.obs_size + SPEC.n_actions + SPEC.n_agents, SPEC.n_actions, hidden=8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for seed in (0, 1):
        path = tmp_path / "run" / "policy" / f"seed-{seed}.safetensors"
        save_bundle(path, weights(seed), SPEC, {"env": "toy/climbing", "env_options": {}, "seed": seed})
    return tmp_path / "run"


def test_means_and_their_intervals() -> None:
    rows = pl.DataFrame({"win": [1.0, 0.0, 1.0, 1.0], "return": [1.0, 2.0, 3.0, 6.0], "length": [5, 5, 5, 5]})
    row = of_team(rows)
    half = 3.18245 * math.sqrt((4 + 1 + 0 + 9) / 3 / 4)  # t of 3 degrees of freedom, sample variance over n, mean 3
    assert (row["episodes"], row["win_rate"], row["return"], row["length"]) == (4, 0.75, 3.0, 5.0)
    assert row["return_interval"] == pytest.approx([3 - half, 3 + half], abs=1e-4)
    assert row["length_interval"] == [5.0, 5.0]
    nothing_to_win = pl.DataFrame({"win": [None, None], "return": [1.0, 2.0], "length": [5, 5]})
    assert of_team(nothing_to_win)["win_rate"] is None


def test_a_run_folder_gives_a_row_per_seed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", "6", "--seed", "3", "--json"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert (data["episodes"], data["seed"]) == (6, 3)
    assert [row["policy"] for row in data["rows"]] == [f"{run} seed-0", f"{run} seed-1"]
    assert [row["trained_seed"] for row in data["rows"]] == [0, 1]
    assert f"[1/2] {run} seed-0 (seed 0): natural, none …" in streams.err
    agent = pymarl.pymarl_agent(SPEC, 8)
    for seed, row in enumerate(data["rows"]):
        results = play(make("toy/climbing"), agent, rng.episodes(rng.root(3), 6), weights(seed))
        assert row["win_rate"] == float(results.win.mean())
        assert row["return"] == pytest.approx(float(results.returns.mean()))
        assert row["win_rate_interval"] == pytest.approx(wilson(int(results.win.sum()), 6))


def test_files_and_scripted_policies(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pymarl.save_agent(weights(0), tmp_path / "theirs.safetensors")
    files = [str(tmp_path / "theirs.safetensors"), str(run / "policy" / "seed-0.safetensors")]
    assert main(["evaluate", *files, "random", "--env", "climbing", "--episodes", "4", "--quiet"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    head, *lines = streams.out.splitlines()
    assert head.split() == ["policy", "environment", "win", "rate", "return", "length"]
    names = [line.split()[:2] for line in lines[:3]]
    assert names == [[name, "toy/climbing"] for name in ("theirs", "seed-0", "random")]
    assert lines[0].split()[2:] == lines[1].split()[2:]  # the same weights
    assert all(line.count("[") == 3 for line in lines[:3])
    assert lines[-2:] == [f"theirs: {files[0]}", f"seed-0: {files[1]}"]


def test_no_win_rate_where_nothing_can_be_won() -> None:
    row = {"policy": "p", "env": "e", "win_rate": None, "return": 1.0, "return_interval": [0.5, 1.5], "length": 2.0,
           "length_interval": [2.0, 2.0]}  # fmt: skip
    assert as_text([row]).splitlines()[1].split() == [
        "p", "e", "-", "1.00", "[0.50,", "1.50]", "2.00", "[2.00,", "2.00]",
    ]  # fmt: skip


def test_a_matrix_has_one_row_per_policy_and_attack(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x"
    asked = ["--attacks", "natural,random", "--episodes", "5", "--out", str(out)]
    assert main(["evaluate", str(run), *asked, "--json"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert f"[4/4] {run} (seed 1): random, none" in streams.err
    names = [(row["policy"], row["perturbation"], row["attack"], row["seeds"]) for row in data["rows"]]
    assert names == [(str(run), "none", attack, [0, 1])
                     for attack in ("natural", "random", "worst attack", "hindsight minimum", "mean")]  # fmt: skip
    assert pl.read_parquet(out / "episodes.parquet").height == 2 * 2 * 5
    agent, keys = pymarl.pymarl_agent(SPEC, 8), rng.episodes(rng.root(0), 5)
    returns = [float(play(make("toy/climbing"), agent, keys, weights(seed)).returns.mean()) for seed in (0, 1)]
    assert data["rows"][0]["return_per_seed"] == pytest.approx(returns)
    assert json.loads((out / "card.json").read_text())["policies"][1]["file"].endswith("seed-1.safetensors")

    assert main(["evaluate", str(run), *asked]) == 0  # nothing left to play
    streams = capsys.readouterr()
    assert "[" not in streams.err
    head, _, _, first = streams.out.splitlines()[:4]
    assert (head, first.split()[0]) == ("toy/climbing", "natural")
    assert f"run: {run}" in streams.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attacks", "natrual"], 'unknown attack "natrual". Closest: "natural".'),
        (["--attacks", "natural,,random"], '--attacks "natural,,random": a name is missing'),
        (["--attacks", "random,random"], '"random" is named twice'),
        (["--attacks", ""], '--attacks "": a name is missing'),
        (["--attacks", "random["], "options stand in brackets, as in interaction[fill=mean]"),
        (["--attacks", "random[]"], "options stand in brackets, as in interaction[fill=mean]"),
        (["--attacks", "random[p=0.1,p=0.2]"], '"random[p=0.1,p=0.2]": "p" is given twice'),
        (["--attacks", "random[sigma=inf]"], "sigma must be a finite number, not inf"),
        (["--attacks", "random[agents=99]"], 'RandomConfig.agents is 99, but "toy/climbing" has 2 agents'),
        (["--attacks", "fgsm[agents=3]"], 'FgsmConfig.agents is 3, but "toy/climbing" has 2 agents'),
        (["--attacks", "random[sgima=1]"], 'RandomConfig has no field "sgima"; did you mean "sigma"?'),
        (["--attacks", "paper"], '"paper" needs attackers of ega, wolfpack, interaction'),
        (["--perturbations", ""], '--perturbations "": a name is missing'),
        (["--perturbations", "dis-0"], '"dis-0" perturbs nothing; the name of that is "none"'),
        (["--perturbations", "dis-01"], 'unknown perturbation "dis-01". Closest: "dis-1".'),
        (["--perturbations", "abs-2"], "abs-2 on toy/climbing: the team has 2 agents, and one must be there"),
        (["--out", ""], "is empty; name a file or a folder"),
        (["--perturbations", "hp15"], 'unknown perturbation "hp15". Closest: "hp-15".'),
        (["--perturbations", "hp-15"], "hp-15 on toy/climbing: this environment has no initial health"),
        (["--perturbations", "dis-9"], "dis-9 on toy/climbing: "),
        (["--attacks", "interaction"], '"interaction" has to be fitted before it attacks toy/climbing'),
        (["--attackers", "nowhere"], "--attackers nowhere: there is no such folder"),
        (["--out", __file__], "this is a file; name a folder"),
    ],
)
def test_wrong_use_of_a_matrix(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "random", "--env", "climbing", *arguments]) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
    assert "Traceback" not in streams.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["random"], '"random" does not say which environment it plays; add --env NAME'),
        (["randm", "--env", "climbing"], 'unknown policy "randm". Closest: "random".'),
        (["none.safetensors", "--env", "climbing"], "policy none.safetensors does not exist; wanted a run folder or"),
        (["random", "--env", "climbin"], 'unknown environment "climbin". Closest: "toy/climbing".'),
        (["nearest", "--env", "climbing"], '"nearest": '),
        (["random", "--env", "climbing", "--episodes", "0"], "--episodes must be at least 1"),
        ([], "the following arguments are required: POLICY"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
    assert "Traceback" not in streams.err


def test_a_policy_of_another_environment_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--env", "smac/3m"]) == 2
    assert "smac/3m needs 42 inputs" in capsys.readouterr().err


def test_a_team_of_another_mixer_is_no_row_of_the_papers_tables(run: Path) -> None:
    for mixer, method in (("qmix", "ibal"), ("vdn", "ibal-vdn")):
        path = run / f"{mixer}.safetensors"
        config = {"learner": {"mixer": mixer}}
        save_bundle(path, weights(0), SPEC, {"env": "toy/climbing", "method": "ibal", "config": config})
        assert teams_of([str(path)], None)[0][1].method == method
