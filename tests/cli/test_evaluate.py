"""``ibal evaluate``: rows with intervals for run folders, bundles, PyMARL files and scripted policies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ibal import rng
from ibal.cli.evaluate import as_text, summary, wilson
from ibal.cli.main import main
from ibal.envs import make
from ibal.evaluate.episodes import play
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


def test_wilson_is_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29 (method 3, score without continuity correction).
    for wins, episodes, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                      (1, 29, 0.0061, 0.1718)):  # fmt: skip
        np.testing.assert_allclose(wilson(wins, episodes), (low, high), atol=5e-5)


def test_means_and_their_intervals() -> None:
    results = SimpleNamespace(
        win=np.array([True, False, True, True]), returns=np.array([1.0, 2.0, 3.0, 6.0]), length=np.array([5, 5, 5, 5])
    )
    row = summary(results, True)
    half = 1.959964 * math.sqrt((4 + 1 + 0 + 9) / 3 / 4)  # sample variance over n, mean 3
    assert (row["episodes"], row["win_rate"], row["return"], row["length"]) == (4, 0.75, 3.0, 5.0)
    assert row["return_interval"] == pytest.approx([3 - half, 3 + half])
    assert row["length_interval"] == [5.0, 5.0]
    assert summary(results, False)["win_rate"] is None


def test_a_run_folder_gives_a_row_per_seed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", "6", "--seed", "3", "--json"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert (data["episodes"], data["seed"]) == (6, 3)
    assert [row["policy"] for row in data["rows"]] == [f"{run} seed-0", f"{run} seed-1"]
    assert [row["trained_seed"] for row in data["rows"]] == [0, 1]
    assert f"playing 6 episodes of toy/climbing with {run} seed-0" in streams.err
    agent = pymarl.pymarl_agent(SPEC, 8)
    for seed, row in enumerate(data["rows"]):
        results = play(make("toy/climbing"), agent, rng.episodes(rng.root(3), 6), weights(seed))
        assert row["win_rate"] == float(results.win.mean())
        assert row["return"] == pytest.approx(float(results.returns.mean()))
        assert row["win_rate_interval"] == list(wilson(int(results.win.sum()), 6))


def test_files_and_scripted_policies(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pymarl.save_agent(weights(0), tmp_path / "theirs.safetensors")
    files = [str(tmp_path / "theirs.safetensors"), str(run / "policy" / "seed-0.safetensors")]
    assert main(["evaluate", *files, "random", "--env", "climbing", "--episodes", "4", "--quiet"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    head, *lines = streams.out.splitlines()
    assert head.split() == ["policy", "environment", "win", "rate", "return", "length"]
    assert [line.split()[:2] for line in lines] == [[name, "toy/climbing"] for name in (*files, "random")]
    assert lines[0].split()[2:] == lines[1].split()[2:]  # the same weights
    assert all("[" in line and "±" in line for line in lines)


def test_no_win_rate_where_nothing_can_be_won() -> None:
    row = {"policy": "p", "env": "e", "win_rate": None, "return": 1.0, "return_interval": [0.5, 1.5], "length": 2.0,
           "length_interval": [2.0, 2.0]}  # fmt: skip
    assert as_text([row]).splitlines()[1].split() == ["p", "e", "-", "1.00", "±", "0.50", "2.00", "±", "0.00"]


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
