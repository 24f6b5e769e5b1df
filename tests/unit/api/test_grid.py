"""A whole study on a toy, with workers of its own: trained, played, told."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ibal
from ibal.api import zoo as checks
from ibal.cli.main import main
from ibal.evaluation.attack_sets import STANDARD_1
from ibal.experiments.grid import check, held
from ibal.experiments.grid.held import Held
from ibal.zoo import Zoo

STUDY = {
    "engine": "test",
    "defaults": {"preset": "smoke", "seeds": 1, "env": "toy/probe-value", "train": {"steps": 64}},
    "train": [{"name": "start"}, {"name": "more", "init": "start"}],
    "evaluate": [{"teams": ["more"], "episodes": 8}],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = ibal.grid(STUDY, out=folder, workers=1, quiet=True)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    assert done.finished
    assert repr(done).endswith("3 done>")
    return folder


@pytest.mark.slow
def test_a_study_is_done_and_its_rows_are_those_of_an_evaluation(study: Path) -> None:
    done = ibal.grid(study, quiet=True)  # nothing is left to do
    rows = done.rows
    assert rows.select("policy", "method", "env", "attack", "perturbation").unique().rows() == [
        ("more", "more", "toy/probe-value", "natural", "none")  # two vanilla trainings of one world
    ]
    assert rows["episode"].to_list() == list(range(8))
    folder = done.run_folder("more", "toy/probe-value")
    again = ibal.evaluate(folder, episodes=8, quiet=True).rows
    assert again["return"].to_list() == rows["return"].to_list()
    with pytest.raises(ibal.ConfigError, match='no "mor"'):
        done.run_folder("mor", "toy/probe-value")


@pytest.mark.slow
def test_the_command_tells_how_it_stands_cleans_and_writes_the_page(study: Path, capsys) -> None:
    assert main(["grid", "run", str(study)]) == 0
    assert main(["grid", "status", str(study), "--all"]) == 0
    said = capsys.readouterr().out
    assert "3 done" in said
    assert "more on toy/probe-value, seed 0: natural, none" in said
    assert main(["report", str(study)]) == 0
    page = (study / "index.html").read_text()
    assert '"team":"more"' in page
    assert "<svg" in page
    saved = list(study.glob("store/data/*/run/checkpoints/*.safetensors"))
    assert len(saved) == 2
    assert main(["grid", "clean", str(study)]) == 0
    assert not any(path.exists() for path in saved)
    assert not Held(study).missing()


def test_what_cannot_be_run_is_told_before_anything_is(tmp_path: Path, capsys, monkeypatch) -> None:
    def here(command: list[str], **options: Any) -> SimpleNamespace:
        """In this process: ``study`` has shown already that a process of its own can be asked."""
        assert command[:3] == [sys.executable, "-m", check.__name__]
        with redirect_stdout(io.StringIO()) as out:
            return SimpleNamespace(returncode=check.main(command[3:]), stdout=out.getvalue(), stderr="")

    monkeypatch.setattr(held.subprocess, "run", here)
    (tmp_path / "study.toml").write_text('[[train]]\nenv = "toy/climbing"\n[[evaluate]]\nperturbations = ["dis-9"]\n')
    assert main(["grid", "run", str(tmp_path)]) == 2
    assert "dis-9 on toy/climbing" in capsys.readouterr().err
    assert main(["grid", "run", str(tmp_path), "--on", "slrum"]) == 2
    assert 'Closest: "slurm"' in capsys.readouterr().err
    assert main(["grid", "run", str(tmp_path), "--partition", "x"]) == 2
    assert "--partition is not for --on local" in capsys.readouterr().err
    assert main(["grid", "status", str(tmp_path / "nowhere")]) == 2


def test_a_study_of_the_paper_is_written_once(tmp_path: Path, capsys) -> None:
    words = ["grid", "new", "paper", "--tables", "7,9", "--maps", "3m,8m", "--seeds", "3", "--out", str(tmp_path / "p")]
    assert main(words) == 0
    # 9 methods from a start on 3m (tables 7, 9) and 8m (9): 3 seeds each; a held-out team on both
    assert "62 trainings, 3 attackers, 378 cells" in capsys.readouterr().out
    assert main(words) == 2
    assert "there is a study.toml already" in capsys.readouterr().err
    assert main(["grid", "new", "paper", "--tables", "6", "--out", str(tmp_path / "q")]) == 2


@pytest.mark.thorough
def test_a_submission_is_played_again_and_stands_on_the_board_with_its_worst_first(study: Path, tmp_path: Path) -> None:
    team = next(study.glob("store/data/*/run/policy/seed-0.safetensors"))
    zoo = Zoo(tmp_path / "zoo")
    zoo.add("toy/probe-value/mine-0", team, {"licence": "Apache-2.0"})
    done = checks.check(str(zoo.local("toy/probe-value/mine-0")), zoo, episodes=4, refit=())
    played = {one["attack"] for one in done.row["cells"]}
    assert {one["perturbation"] for one in done.row["cells"]} == {"none"}  # nobody can stand still in this world
    assert {"natural", "random", "fgsm", "pgd", "noise-10", "delay-1"} <= played < set(STANDARD_1)
    assert played | set(done.row["about"]["left_out"].split(", ")) == set(STANDARD_1)
    scores = [one["score"] for one in done.row["cells"]]
    assert (scores, done.row["worst"]) == (sorted(scores), done.row["cells"][0])
    page = checks.keep(done, zoo)
    assert done.name in page.read_text()
    assert (tmp_path / "zoo" / "checks").is_dir()
