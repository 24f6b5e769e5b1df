"""``ibal curves``: what trainings have logged, and their snapshots under attacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ibal.cli.main import main
from ibal.report.curves import as_text, final, logged
from ibal.viz.curves import of_rows

TINY = ["--preset", "smoke", "--env", "climbing", "--steps", "400", "--learner.hidden", "8", "--train.chunk", "1",
        "--train.eval-every", "100", "--train.eval-episodes", "4"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training that kept snapshots, and the same under another name without them."""
    folder = tmp_path_factory.mktemp("runs")
    kept = ["--train.snapshot-every", "200"]
    assert main(["train", *TINY, *kept, "--out", str(folder / "kept"), "--quiet"]) == 0
    shutil.copytree(folder / "kept", folder / "bare", ignore=shutil.ignore_patterns("snapshots"))
    config = (folder / "bare" / "config.toml").read_text()
    (folder / "bare" / "config.toml").write_text(config.replace('"vanilla"', '"rand-act"'))
    return folder / "kept", folder / "bare"


def test_curves_and_the_table(runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", *map(str, runs), "--out", str(tmp_path / "c"), "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["final"]
    assert [(row["method"], row["attack"], row["env"]) for row in last] == [
        ("rand-act", "natural", "toy/climbing"), ("vanilla", "natural", "toy/climbing"),
    ]  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "c" / "curves.jsonl").read_text().splitlines()]
    steps = [row["env_steps"] for row in rows if row["method"] == "vanilla"]
    assert len(steps) > 2
    assert last[1]["env_steps"] == max(steps)
    assert (tmp_path / "c" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert steps[0] == 0  # what it began with
    svg = (tmp_path / "c" / "curves.svg").read_text()
    assert ">environment steps<" in svg
    assert "vanilla (1 seed)" in svg


def test_snapshots_are_played_under_attacks(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--attacks", "random-act[p=1]", "--episodes", "4", "--out", str(tmp_path / "c")]
    assert main(["curves", str(runs[0]), *asked, "--quiet"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "c" / "curves.jsonl").read_text().splitlines()]
    attacked = [row for row in rows if row["attack"] == "random-act[p=1]"]
    written = json.loads((runs[0] / "snapshots").glob("*.json").__next__().read_text())["env_steps"]
    assert written in [row["env_steps"] for row in attacked]
    assert len(attacked) >= 2
    assert len(attacked) == len({row["env_steps"] for row in attacked})  # 400 steps: snapshot and last policy
    assert all(row["episodes"] == 4 for row in attacked)
    capsys.readouterr()
    assert main(["curves", str(runs[1]), *asked]) == 2
    assert "kept no snapshots to attack; train with --train.snapshot-every" in capsys.readouterr().err


def test_a_missing_run_was_answered_with_toml(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    begun = tmp_path / "begun"
    shutil.copytree(runs[0], begun)
    (begun / "metrics.jsonl").write_text("")
    for given, said in (
        (tmp_path / "nothing", "nothing does not exist; name a run folder, as ibal train --out writes it"),
        (tmp_path / "file", "file is a file; name a run folder"),
        (tmp_path / "empty", "empty is no run folder: it has no config.toml"),
        (runs[0].parent, f"it has no config.toml; there are runs in it: {runs[1]}, {runs[0]}"),
        (begun, "begun has logged no evaluation yet: there is no curve to draw"),
    ):
        assert main(["curves", str(runs[1]), str(given), "--out", str(tmp_path / "c")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1
        assert "TOML" not in error
    assert not (tmp_path / "c").exists()


def test_a_run_that_lost_every_game_was_drawn_as_return() -> None:
    row = {"method": "m", "run": "a", "attack": "natural", "seed": 0, "episodes": 10, "env_steps": 5, "return": 3.0}
    lost, free = of_rows([row | {"env": "smac/3m", "win": 0.0}, row | {"env": "toy/leak", "win": None}])
    assert (lost.score, list(lost.values)) == ("win rate", [0.0])
    assert (free.score, list(free.values)) == ("return", [3.0])


def test_two_runs_of_one_name_were_one_curve(runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "other" / "kept")
    given = [str(runs[0]), str(tmp_path / "other" / "kept")]
    assert main(["curves", *given, "--out", str(tmp_path / "c"), "--quiet"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "c" / "curves.jsonl").read_text().splitlines()]
    assert {row["run"] for row in rows} == {f"{runs[0].parent.name}/kept", "other/kept"}


def test_rows_become_curves_and_ends(runs: tuple[Path, Path]) -> None:
    row = {"env": "e", "method": "m", "run": "a", "attack": "natural", "seed": 0, "episodes": 100, "return": 1.0}
    rows = [row | {"env_steps": 20, "win": 0.5}, row | {"env_steps": 10, "win": 0.25}]
    rows += [row | {"run": "b", "seed": 1, "env_steps": 10, "win": 1.0}]
    curves = of_rows(rows)
    assert [(list(c.steps), list(c.values)) for c in curves] == [([10, 20], [0.25, 0.5]), ([10], [1.0])]
    ends = final(rows)
    assert [(end["run"], end["env_steps"]) for end in ends] == [("a", 20), ("b", 10)]
    lines = as_text(ends).splitlines()
    assert lines[2] == "| e | natural | m | 0 | 20 | 0.500 [0.404, 0.596] | 1.00 |"  # Wilson's
    assert lines[4].startswith("| e | natural | m | 2 seeds | 10 to 20 | 0.750 [")
    assert {row["attack"] for row in logged(runs[0])} == {"natural"}
