"""``ibal demo``: its commands are the commands a user would write, and its table names the teams."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ibal.cli import demo
from ibal.cli.main import COMMANDS, main
from ibal.cli.train import parse


def test_the_trainings_share_start_and_budget() -> None:
    commands = demo.commands(Path("d"), 1.0, 3)
    assert [name for name, _ in commands] == ["train", "attack", "train", "train", "evaluate", "curves", "replay"]
    assert all(name in COMMANDS for name, _ in commands)
    start, vanilla, ibal = (parse(arguments) for name, arguments in commands if name == "train")
    assert (start[1].seed, start[1].train.steps) == (3, demo.START)
    assert vanilla[0].init == ibal[0].init == Path("d/start")
    assert (vanilla[1].method, ibal[1].method) == ("vanilla", "ibal")
    assert vanilla[1].learner == ibal[1].learner
    assert vanilla[1].train == ibal[1].train
    smaller = [arguments for name, arguments in demo.commands(Path("d"), 0.1, 0) if name == "train"]
    assert parse(smaller[0])[1].train.steps == demo.START // 10
    elsewhere = [arguments for name, arguments in demo.commands(Path("d"), 1.0, 0, "smac/2s3z") if name == "train"]
    assert {parse(arguments)[0].env for arguments in elsewhere} == {"smac/2s3z"}


@pytest.mark.parametrize(
    ("vanilla", "ibal", "episode"),
    [([0, 0, 1, 0], [0, 0, 1, 1], 3), ([1, 0, 0, 1], [0, 0, 1, 1], 0), ([0, 1], [0, 1], 0), ([None], [None], 0)],
)
def test_the_replay_shows_a_game_that_sets_the_teams_apart(
    tmp_path: Path, vanilla: list[int | None], ibal: list[int | None], episode: int
) -> None:
    rows = [
        {"policy": who, "attack": attack, "perturbation": harm, "episode": index, "win": None if won is None else
         bool(won) if (attack, harm) == ("interaction", "none") else who == "ibal"}
        for who, games in (("vanilla", vanilla), ("ibal", ibal))
        for attack, harm in (("natural", "none"), ("interaction", "dis-1"), ("interaction", "none"))
        for index, won in enumerate(games)
    ]  # fmt: skip
    pl.DataFrame(rows, schema_overrides={"win": pl.Boolean}).write_parquet(tmp_path / "episodes.parquet")
    assert demo.telling_episode(tmp_path) == episode


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--scale", "0"], "--scale is 0.0"), (["--out", "."], "--out . exists; name another")]
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_command_that_fails_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "commands", lambda out, scale, seed, env: [("evaluate", ["nothing", "--quiet"])])
    assert main(["demo", "--out", str(tmp_path / "d"), "--quiet"]) == 2
