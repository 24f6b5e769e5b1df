"""``ibal replay`` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image

from ibal.cli.main import main

SKIRMISH = "unit.viz.skirmish:make"


def replay(*words: object) -> int:
    return main(["replay", *(str(word) for word in words)])


def test_help_is_immediate():
    code = (
        "import sys; from ibal.cli.main import main; status = main(['replay', '--help']);"
        "assert not {'jax', 'PIL', 'numpy'} & set(sys.modules), 'heavy import'; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_plain_environment())
    assert done.returncode == 0, done.stderr
    assert "--policy" in done.stdout


def _plain_environment() -> dict[str, str]:
    import os
    from pathlib import Path

    import ibal

    return {**os.environ, "PYTHONPATH": str(Path(ibal.__file__).parents[1])}


def test_page_and_gif_of_one_episode(tmp_path, capsys):
    page, film = tmp_path / "a.html", tmp_path / "a.gif"
    status = replay(
        "--env", SKIRMISH, "--policy", "random", "--out", page, "--out", film, "--max-steps", 4, "--width", 200,
        "--json",
    )  # fmt: skip
    assert status == 0
    out, messages = capsys.readouterr()
    result = json.loads(out)
    assert result == {
        "path": str(page),
        "paths": [str(page), str(film)],
        "steps": 4,
        "return": pytest.approx(result["return"]),
        "win": False,
    }
    assert "wrote" in messages
    assert page.read_text().startswith("<!doctype html>")
    with Image.open(film) as picture:
        assert (getattr(picture, "n_frames", 0), picture.width) == (5, 200)
    assert sorted(tmp_path.iterdir()) == [film, page]


def test_own_policy_and_quiet(tmp_path, capsys):
    assert (
        replay("--env", SKIRMISH, "--policy", "unit.viz.skirmish:brawler", "--out", tmp_path / "a.html", "--quiet") == 0
    )
    out, messages = capsys.readouterr()
    assert messages == ""
    assert "a.html: " in out
    assert "steps, return" in out


def test_same_seed_and_episode_give_the_same_file(tmp_path):
    common = ("--env", SKIRMISH, "--policy", "unit.viz.skirmish:brawler", "--quiet")
    for name, episode in (("a.html", 0), ("b.html", 0), ("c.html", 1)):
        assert replay(*common, "--episode", episode, "--out", tmp_path / name) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_bytes() != (tmp_path / "c.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--env", "smac/MMMM", "--out", "x.html"), 'unknown environment "smac/MMMM". Closest: "smac/MMM"'),
        (("--env", SKIRMISH, "--out", "x.mp4"), 'cannot write ".mp4". Allowed: .html, .gif'),
        (("--env", SKIRMISH, "--out", "x"), "cannot write a file without an extension"),
        (("--env", SKIRMISH, "--out", "nowhere/x.gif"), 'there is no folder "nowhere"'),
        (("--env", SKIRMISH, "--policy", "randm", "--out", "x.gif"), 'unknown policy "randm". Closest: "random"'),
        (("--env", SKIRMISH, "--policy", "gone.th", "--out", "x.gif"), "there is no such file"),
        (("--env", SKIRMISH, "--policy", "unit.viz.skirmish:nope", "--out", "x.gif"), 'has no "nope"'),
        (("--env", SKIRMISH, "--policy", "builtins:str", "--out", "x.gif"), "must return an ibal.types.Policy"),
        (("--env", SKIRMISH, "--policy", "unit.viz.skirmish:N", "--out", "x.gif"), "not a function of the EnvSpec"),
        (("--env", SKIRMISH, "--policy", "nearest", "--out", "x.gif"), "needs one block per attack"),
        (("--env", "toy/climbing", "--out", "x.gif"), "cannot be drawn"),
        (("--env", SKIRMISH, "--fps", "0", "--out", "x.gif"), "must be between 0.1 and 50"),
        (("--env", SKIRMISH, "--max-steps", "0", "--out", "x.gif"), "must be at least 1"),
        (("--env", SKIRMISH), "--out"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused_in_a_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert replay(*words) == 2
    out, messages = capsys.readouterr()
    assert sentence in messages
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_a_failure(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device", str(tmp_path / "x.html"))

    monkeypatch.setattr("ibal.viz.files.os.replace", full)
    assert replay("--env", SKIRMISH, "--policy", "stop", "--max-steps", 1, "--out", tmp_path / "x.html", "--quiet") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_smac_map(tmp_path, capsys):
    out = tmp_path / "3m.html"
    assert replay("--env", "3m", "--policy", "random", "--out", out, "--max-steps", 3, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3
    data = json.loads(out.read_text().split('id="data">')[1].split("</script>")[0])["trajectories"][0]
    assert [kind["name"] for kind in data["scene"]["kinds"]] == ["marine"]
    assert sorted(data["enemy_units"]) == [3, 4, 5]
