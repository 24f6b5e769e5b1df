"""The studies of this repository come to what one counts by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ibal.cli.main import main
from ibal.evaluation.suites import STANDARD_1
from ibal.experiments import runs
from ibal.experiments.methods import DEFENDERS, METHODS
from ibal.experiments.runs import Planned, runs_of
from ibal.experiments.studies import STUDIES, TUNED, named_study
from ibal.experiments.study import read_study
from ibal.options import ConfigError


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Hashing the sources takes a second; here they do not change."""
    monkeypatch.setattr(runs, "_installed", lambda kind: f"1+{kind}")


def planned(tmp_path: Path, name: str, **options) -> Planned:
    return runs_of(read_study(named_study(name, **options)), tmp_path)


def counts(made: Planned) -> tuple[int, int, int]:
    kinds = Counter(run.kind for run in made.runs)
    return kinds["train"], kinds["fit"], kinds["cell"]


def test_the_matrix(tmp_path: Path) -> None:
    made = planned(tmp_path, "matrix", seeds=3)
    # On each of 3 maps: 3 starts, 9 methods x 3 seeds, 1 held-out team; 3 attacks fitted to it; 6 attacks, 3 kinds of
    # masks and 6 perturbations of 27 teams.
    assert counts(made) == (3 * (3 + 27 + 1), 3 * 3, 3 * 27 * (6 + 3 + 6))
    steps = {(name, config.env): config.train.steps for name, config in made.trainings.values()}
    assert (steps["start", "smac/3m"], steps["start", "smac/8m"], steps["start", "smac/2s3z"]) == (
        500_000, 500_000, 1_000_000,
    )  # fmt: skip
    assert steps["ibal", "smac/8m"] == 3_000_000
    assert {run.what["episodes"] for run in made.runs if run.kind == "cell"} == {1024}
    assert {cell.perturbation for cell in made.cells} == {"none", "dis-1", "dis-2", "hp-10", "hp-15", "hp-20", "abs-1"}


def test_the_defenders_beside_the_nine_and_tuned_vanilla(tmp_path: Path) -> None:
    made = planned(tmp_path, "defenders", seeds=2)
    teams = 9 + len(DEFENDERS) + len(TUNED) + 1
    assert counts(made) == (2 * (2 + teams * 2 + 1), 2 * 3, 2 * teams * 2 * (len(STANDARD_1) + 3 + 6))
    # Every team stands under its own name: a vanilla of another learning rate is no further seed of vanilla.
    assert {cell.team: cell.method for cell in made.cells} == {cell.team: cell.team for cell in made.cells}
    rates = {name: config.learner.lr for name, config in made.trainings.values()}
    assert (rates["vanilla"], rates["vanilla-slow"], rates["vanilla-fast"]) == (5e-4, 2.5e-4, 1e-3)
    assert {config.train.steps for name, config in made.trainings.values() if name == "vanilla-long"} == {6_000_000}


def test_studies_of_one_folder_share_their_trainings(tmp_path: Path) -> None:
    matrix, defenders = planned(tmp_path, "matrix", seeds=2), planned(tmp_path, "defenders", seeds=2)
    trained = [{run.id for run in made.runs if run.kind == "train"} for made in (matrix, defenders)]
    assert len(trained[0] & trained[1]) == 2 * (2 + 9 * 2 + 1)  # all of the matrix on 8m and 2s3z


def test_the_ablations_have_their_own_sizes_on_every_map(tmp_path: Path) -> None:
    made = planned(tmp_path, "ablations", seeds=1)
    of = {env: {name for name, config in made.trainings.values() if config.env == f"smac/{env}"}
          for env in ("8m", "2s3z")}  # fmt: skip
    assert {name for name in of["2s3z"] if "-k" in name} == {"ibal-k1", "ibal-k2"}
    assert {name for name in of["8m"] if "-k" in name} == {"ibal-k1", "ibal-k2", "ibal-k3", "ibal-k4"}
    assert {name for name in of["2s3z"] if "-l" in name} == {f"ibal-l{c}" for c in (0, 2, 5, 8, 12)}
    assert {"ibal-gaussian", "ibal-fgsm", "ibal-no-obs"} <= of["8m"] - of["2s3z"]
    played = {(cell.attack, cell.perturbation) for cell in made.cells if cell.team == "ibal-k2"}
    assert played == {("natural", "none"), ("natural", "dis-1"), ("interaction", "none")}
    # One variant is not counted as a seed of another.
    assert {cell.method for cell in made.cells if cell.team == "ibal-p0.5"} == {"ibal-p0.5"}


def test_some_methods_on_other_maps(tmp_path: Path) -> None:
    made = planned(tmp_path, "matrix", maps=("3m", "2s3z"), methods=("vanilla", "ibal"), seeds=3, budget="paper")
    assert counts(made) == (2 * (3 + 6 + 1), 6, 2 * 6 * 15)
    assert {config.train.updates_per_episode for _, config in made.trainings.values()} == {1.0}
    for wrong, said in (({"methods": ("ibl",)}, 'unknown method "ibl".*"ibal"'), ({"budget": "lapto"}, '"laptop"')):
        with pytest.raises(ConfigError, match=said):
            named_study("matrix", **wrong)
    with pytest.raises(ConfigError, match=r'no study "matix".*"matrix"'):
        named_study("matix")


def test_the_methods_of_a_study_are_there() -> None:
    assert set(DEFENDERS) <= set(METHODS)
    assert all(set(study.methods) <= set(METHODS) for study in STUDIES.values())


def test_the_command_writes_a_file_beside_another_and_says_how_much_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "paper" / "long.toml"
    words = ["grid", "new", "matrix", "--maps", "3m", "--methods", "vanilla,ibal", "--seeds", "2", "--budget", "smoke"]
    assert main([*words, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["train"], said["env_steps"]) == (7, {"smac/3m": 7 * 4000})
    assert out.is_file()
    assert main([*words, "--out", str(out)]) == 2
    assert "there is a long.toml already" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main(["grid", "new", "matix", "--out", str(tmp_path / "x")]) == 2
    assert 'Closest: "matrix"' in capsys.readouterr().err
    assert main(["grid", "new", "defenders", "--tables", "7", "--out", str(tmp_path / "x")]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["matrix", "--maps", ""], '--maps "": a name is missing'),
        (["paper", "--tables", "7,,9"], '--tables "7,,9": a name is missing'),
        (["paper", "--tables", "7", "--maps", "4m"], 'none of these is about "4m". Closest: "3m"'),
        (["defenders", "--methods", "wall,"], '--methods "wall,": a name is missing'),
        (["matrix", "--maps", "4m"], 'unknown environment "4m". Closest: "smac/'),
        (["matrix", "--seeds", "100000"], "seeds must be 1 to 1000, not 100000"),
    ],
)
def test_a_study_that_nobody_can_mean_is_not_written(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grid", "new", *words, "--out", str(tmp_path / "x")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_study_is_a_folder_or_a_toml_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["grid", "new", "matrix", "--maps", "3m", "--budget", "smoke", "--seeds", "1"]
    assert main([*words, "--out", str(tmp_path / "x.yaml")]) == 2
    assert f"name {tmp_path}/x or {tmp_path}/x.toml" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*words, "--out", str(tmp_path / "v1.2")]) == 0
    assert (tmp_path / "v1.2" / "study.toml").is_file()
