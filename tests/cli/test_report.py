"""``ibal report``: evaluations beside the paper's tables, in every format; what it says when there is nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from ibal.cli import report
from ibal.cli.main import main
from ibal.report.published import numbers


def write(folder: Path, method: str, rates: dict[str, int], seed: int = 0, policy: str | None = None) -> str:
    """Write an evaluation of ten episodes per attack, the first ``rates[attack]`` of them won."""
    parts = [
        pl.DataFrame({"policy": policy or f"runs/{method}", "method": method, "seed": seed, "env": "smac/3m",
                      "attack": attack, "perturbation": "none", "episode": range(10), "key_seed": 0, "attacker": 0,
                      "win": [i < rate for i in range(10)], "return": [20.0 * (i < rate) for i in range(10)],
                      "length": 30, "attacked": 0.0})
        for attack, rate in rates.items()
    ]  # fmt: skip
    folder.mkdir()
    pl.concat(parts).write_parquet(folder / "episodes.parquet")
    written = hashlib.sha256((folder / "episodes.parquet").read_bytes()).hexdigest()
    (folder / "summary.json").write_text(json.dumps({"episodes_sha256": written}))
    return str(folder)


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    return (
        write(tmp_path / "a", "ibal", {"natural": 10, "interaction": 8}),
        write(tmp_path / "b", "vanilla", {"natural": 9, "interaction": 1}),
    )


def test_a_table_of_several_evaluations(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *two, "--table", "7"]) == 0
    streams = capsys.readouterr()
    assert streams.err == "nothing was evaluated of 3s_vs_3z, 2s3z\n"
    assert streams.out.startswith("## Table 7: Success rates (%) under adversarial attacks")
    assert "**80.0** [" in streams.out
    assert "+1.7 [" in streams.out  # 80.0 - 78.3
    assert main(["report", *two, "--table", "7", "--json", "--quiet"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert (streams.err, data["table"], data["absent"]) == ("", 7, ["3s_vs_3z", "2s3z"])
    found = {(row["method"], row["column"]): row for row in data["rows"]}
    assert found["IBAL", "Interaction"]["difference"] == pytest.approx(1.7)
    assert found["WALL", "EGA"]["ours_mean"] is None


def test_a_start_beside_what_came_of_it_is_pointed_out(
    two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = write(tmp_path / "c", "vanilla", {"natural": 3, "interaction": 0}, policy="runs/start")
    other = write(tmp_path / "d", "vanilla", {"natural": 3, "interaction": 0}, seed=1, policy="runs/other")
    assert main(["report", *two, start, other]) == 0
    assert capsys.readouterr().err == (
        'runs/start, runs/vanilla are counted as runs of one method, "vanilla", and have the same seed 0; '
        "leave out what is not meant\n"
    )


def test_formats_and_the_file(two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "table7.tex"
    assert main(["report", *two, "--table", "7", "--format", "latex", "--out", str(out)]) == 0
    streams = capsys.readouterr()
    assert out.read_text() == streams.out
    assert f"wrote {out}" in streams.err
    assert streams.out.startswith(r"\begin{table*}")
    assert [path.name for path in out.parent.iterdir()] == ["table7.tex"]
    assert main(["report", *two, "--table", "7", "--format", "csv", "--quiet"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {line["scenario"] for line in lines} == {"3m"}
    assert main(["report", *two, "--table", "7", "--out", str(tmp_path)]) == 2
    assert "this is a folder; name a file" in capsys.readouterr().err


def test_without_a_table_all_methods_under_all_attacks(
    two: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *two]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["method", "ibal", "vanilla"] in rows
    assert ["interaction", "80.0", "10.0"] in rows
    assert ["worst attack", "80.0 (interaction)", "10.0 (interaction)"] in rows
    assert main(["report", *two, "--json"]) == 0
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert (part["env"], part["score"], part["tasks"]) == ("smac/3m", "win rate", ["natural", "interaction"])
    assert (part["lines"][0]["improvement"], part["lines"][0]["worst"]) == (1.0, pytest.approx(0.8))


def test_what_is_wrong_is_one_sentence(
    two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "matrix.toml").write_text("[[evaluate]]\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "episodes.parquet").write_text("no table")
    (tmp_path / "other").mkdir()
    pl.DataFrame({"policy": ["a"]}).write_parquet(tmp_path / "other" / "episodes.parquet")
    for arguments, said in (
        ([str(tmp_path / "nothing"), "--table", "7"], "there is no such folder"),
        ([str(tmp_path / "empty")], "is no evaluation: it has no episodes.parquet"),
        ([str(tmp_path / "studies"), "--claims"], f"name one: ibal report {tmp_path / 'studies' / 'matrix.toml'}"),
        ([str(tmp_path / "broken")], "episodes.parquet cannot be read"),
        ([str(tmp_path / "other")], "it has no method, seed, env, attack"),
        ([two[0], "--table", "5"], "there are 1, 7, 8, 9, 10, 11, 12, 13, 14"),
        ([two[0], "--table", "8"], "the evaluation has nothing of table 8 (8m, 1c3s5z, MMM;"),
        ([two[0], "--table", "7", "--format", "latx"], 'unknown format "latx". Closest: "latex". Formats: markdown,'),
        ([two[0], "--format", "csv"], "--format csv is for --table N"),
        ([two[0], two[0], "--table", "7"], 'episodes of "runs/ibal (seed 0)" in smac/3m under natural come twice'),
    ):
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.startswith("ibal report: ")
        assert len(error.splitlines()) == 1


def test_a_terminal_gets_the_narrow_table_and_a_file_markdown(
    two: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["report", *two, "--table", "7", "--format", "text", "--quiet"]) == 0
    narrow = capsys.readouterr().out
    assert narrow.startswith("Table 7: ")
    monkeypatch.setattr(report, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert main(["report", *two, "--table", "7", "--quiet"]) == 0
    assert capsys.readouterr().out == narrow
    assert main(["report", *two, "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("### smac/3m")


def test_the_help_hid_most_of_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    words = capsys.readouterr().out.replace("\n", " ").replace(",", " ").replace(";", " ").split()
    assert all(str(number) in words for number in numbers())


def test_of_a_study_that_is_not_done_it_says_so(tmp_path: Path, capsys, monkeypatch) -> None:
    rows = pl.read_parquet(Path(write(tmp_path / "a", "ibal", {"natural": 9})) / "episodes.parquet")
    runs = [SimpleNamespace(kind="cell") for _ in range(5)]
    study = SimpleNamespace(rows=lambda: rows, missing=lambda: runs[:2], planned=SimpleNamespace(runs=runs))
    monkeypatch.setattr("ibal.experiments.grid.held.Held", lambda folder: study)
    (tmp_path / "study.toml").touch()
    for what in (["--claims"], ["--summary"]):
        assert main(["report", str(tmp_path), *what]) == 0
        assert f"2 of 5 cells of {tmp_path} are not done" in capsys.readouterr().err
    study.rows = lambda: 1 / 0  # a table that there is not is refused before anything is read
    assert main(["report", str(tmp_path), "--table", "6"]) == 2
    assert "there are 1, 7, 8" in capsys.readouterr().err
