"""``ibal demo``: its commands are the commands a user would write, and its table names the teams."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ibal.cli import demo
from ibal.cli.main import COMMANDS, main
from ibal.cli.stages import Speed
from ibal.cli.train import parse


def commands(*arguments: Any) -> list[tuple[str, list[str]]]:
    """What the demo runs, stage by stage and track by track."""
    tracks = [track for stage in demo.stages(*arguments) for track in stage.tracks]
    return [(command.name, list(command.arguments)) for track in tracks for command in track]


def test_the_trainings_share_start_and_budget() -> None:
    found = commands(Path("d"), 1.0, 3)
    assert [name for name, _ in found] == ["train", "attack", "train", "train", "evaluate", "replay", "curves"]
    assert all(name in COMMANDS for name, _ in found)
    assert all(len(stage.tracks) <= 2 for stage in demo.stages(Path("d"), 1.0, 3))  # for two cores
    start, vanilla, ibal = (parse(arguments) for name, arguments in found if name == "train")
    assert (start[1].seed, start[1].train.steps) == (3, demo.START)
    assert vanilla[0].init == ibal[0].init == Path("d/start")
    assert (vanilla[1].method, ibal[1].method) == ("vanilla", "ibal")
    assert vanilla[1].learner == ibal[1].learner
    assert vanilla[1].train == ibal[1].train
    smaller = [arguments for name, arguments in commands(Path("d"), 0.1, 0) if name == "train"]
    assert parse(smaller[0])[1].train.steps == demo.START // 10
    elsewhere = [arguments for name, arguments in commands(Path("d"), 1.0, 0, "smac/2s3z") if name == "train"]
    assert {parse(arguments)[0].env for arguments in elsewhere} == {"smac/2s3z"}


def test_every_command_takes_its_options() -> None:
    for name, arguments in commands(Path("d"), 1.0, 0, "my_pkg.mod:make"):
        if name != "train":  # which test_the_trainings... reads
            options = importlib.import_module(COMMANDS[name][0])._parser().parse_args(arguments)
            assert options.env == "my_pkg.mod:make"


def test_three_gigabytes_of_replay_were_left_behind() -> None:
    trainings = [parse(arguments)[1] for name, arguments in commands(Path("d"), 1.0, 0) if name == "train"]
    assert [training.train.checkpoint_replay for training in trainings] == ["none"] * 3


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
    ("arguments", "message"),
    [
        (["--scale", "0"], "--scale is 0.0"),
        (["--scale", "nan"], "--scale is nan"),
        (["--out", "."], "--out . exists and holds no demo; name another"),
        (["--env", "8mm"], 'unknown environment "8mm". Closest: "smac/8m"'),
        (["--env", "toy/two-step"], '"toy/two-step" cannot be drawn'),
    ],
)
def test_wrong_use(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)  # who has run the demo before has its folder here
    assert main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def done(out: Path, vanilla: float, ibal: float, scale: float = 1.0) -> None:
    """Put a demo there whose commands are all done."""
    entries = [
        {"policy": f"{out}/{team}", "method": team, "env": "smac/8m", "perturbation": "none", "attack": attack,
         "seeds": [0], "episodes": 512, "win_rate": rate, "win_rate_sd": None, "win_rate_per_seed": [rate],
         "win_rate_interval": [rate - 0.04, rate + 0.04], "win_rate_wilson": [rate - 0.04, rate + 0.04],
         "return": 10.0, "return_sd": None, "return_per_seed": [10.0], "return_interval": [9.0, 11.0], "length": 20.0,
         "attacked": 0.1}
        for team, hurt in (("vanilla", vanilla), ("ibal", ibal))
        for attack, rate in (("natural", 0.95), ("interaction", hurt))
    ]  # fmt: skip
    (out / "evaluation").mkdir(parents=True)
    (out / "evaluation" / "summary.json").write_text(json.dumps({"entries": entries}))
    (out / "evaluation" / "card.json").write_text(json.dumps({"policies": [], "attacks": []}))
    labels = [c.label for stage in demo.stages(out, scale, 0) for track in stage.tracks for c in track]
    settings = {"env": "smac/8m", "seed": 0, "scale": scale}
    (out / "demo.json").write_text(json.dumps({"settings": settings, "done": dict.fromkeys(labels, 1.0)}))


def test_its_last_lines_say_in_three_sentences_what_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_check_drawable", lambda name: None)
    out = tmp_path / "d"
    done(out, 0.10, 0.61)
    assert main(["demo", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-3:] == [
        "Left in peace, the team that trained on as before (vanilla) wins 95 % of its games and the one that trained "
        "on under attack (ibal) wins 95 % of its games.",
        "Then an attacker of the kind that ibal trained against, fitted to the team that both began as, cuts some "
        "agents off from the others and steers them (interaction): vanilla wins 10 % of its games, ibal wins 61 % of "
        "its games.",
        "So what a team meets while it learns decides: both began as one team and then trained equally long.",
    ]
    assert f"{out} is complete" in said.err
    assert main(["demo", "--out", str(out), "--scale", "2"]) == 2
    assert "holds what was begun with scale 1.0; name another folder" in capsys.readouterr().err


def test_a_demo_whose_results_are_gone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_check_drawable", lambda name: None)
    done(tmp_path / "d", 0.1, 0.6)
    (tmp_path / "d" / "evaluation" / "card.json").write_text("[")
    assert main(["demo", "--out", str(tmp_path / "d"), "--quiet"]) == 1
    assert "the demo's results are gone" in capsys.readouterr().err


def test_a_difference_that_is_none_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_check_drawable", lambda name: None)
    done(tmp_path / "d", 0.55, 0.61)
    assert main(["demo", "--out", str(tmp_path / "d"), "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("So this run does not show that training under attack")


def test_an_interrupted_training_is_resumed_and_one_that_wrote_nothing_begun_anew(tmp_path: Path) -> None:
    train = demo.Command("start", "train", ("--out", str(tmp_path / "start")), demo.Cost(0, 0))
    assert demo.ready(train, tmp_path) == train
    (tmp_path / "start").mkdir()
    assert demo.ready(train, tmp_path) == train
    assert not (tmp_path / "start").exists()
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "config.toml").touch()
    assert demo.ready(train, tmp_path).arguments[-1] == "--resume"


def test_an_interrupted_demo_says_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_stages", interrupted)
    monkeypatch.setattr(demo, "measure", lambda: Speed(1.0, 1.0))
    monkeypatch.setattr(demo, "_check_drawable", lambda name: None)
    out = tmp_path / "d"
    assert main(["demo", "--out", str(out)]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("about ")
    assert said[-1] == f"ibal demo: interrupted; the same command goes on from {out}"
    assert len((out / "commands.txt").read_text().splitlines()) == 7
    assert main(["demo", "--out", str(out)]) == 130  # not refused
