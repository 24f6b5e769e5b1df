"""``ibal replay`` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ibal import rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.cli.main import main
from ibal.cli.replay import _team
from ibal.envs import TABLE
from ibal.evaluation.episodes import play
from ibal.nets import agents
from ibal.nets.bundle import save_bundle
from ibal.nets.pymarl import load_agent, pymarl_agent
from ibal.registry import Entry
from ibal.viz.trajectory import unpack
from unit.viz import skirmish

SKIRMISH = "unit.viz.skirmish:make"
LISTED = "test/skirmish"  # the same under a name of the table, as a file may say it


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
        "version": "",
        "episodes": [
            {"policy": "random", "attack": "natural", "steps": 4, "return": result["episodes"][0]["return"],
             "win": False},
        ],
    }  # fmt: skip
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


def data_of(page: Path) -> dict:
    return json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run folders "a" (seeds 0 and 2) and "b" (seed 0) of the skirmish, and "other" of another environment."""
    monkeypatch.setitem(TABLE.entries, LISTED, Entry(SKIRMISH))
    size = skirmish.SPEC.obs_size + skirmish.SPEC.n_actions + skirmish.N
    for name, seed in (("a", 0), ("a", 2), ("b", 0), ("other", 0)):
        params = agents.init(rng.root(seed + len(name)), size, skirmish.SPEC.n_actions, hidden=8)
        meta = {"env": "smac/8m" if name == "other" else LISTED, "env_options": {}, "seed": seed}
        save_bundle(tmp_path / "runs" / name / "policy" / f"seed-{seed}.safetensors", params, skirmish.SPEC, meta)
    return tmp_path / "runs"


def test_a_run_folder_plays_where_it_was_trained(runs, tmp_path, capsys):
    page, agent = tmp_path / "x.html", pymarl_agent(skirmish.SPEC, 8)  # weights apart: compiled once for both
    for words, label, file in (
        ((), "a seed-0", "a/policy/seed-0"), (("--policy-seed", 2), "a seed-2", "a/policy/seed-2"),
    ):  # fmt: skip
        assert replay("--policy", runs / "a", *words, "--episode", 1, "--out", page, "--json", "--quiet") == 0
        (said,) = json.loads(capsys.readouterr().out)["episodes"]
        weights = load_agent(runs / f"{file}.safetensors")
        counted = play(skirmish.make(), agent, rng.episodes(rng.root(0), 2), weights)
        assert (said["policy"], said["steps"]) == (label, int(counted.length[1]))
        assert said["return"] == pytest.approx(float(counted.returns[1]), abs=1e-3)
    assert _team(str(runs / "b" / "policy" / "seed-0.safetensors"), None).label == "b seed-0"


def test_two_policies_under_one_attack_share_a_page_and_a_world(runs, tmp_path, capsys):
    page, film = tmp_path / "both.html", tmp_path / "both.gif"
    out = ("--out", page, "--out", film, "--width", 160)
    assert replay("--policy", runs / "a", "--policy", runs / "b", "--attack", "random", *out, "--quiet") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{page}, {film}"
    assert [line.split(":")[0] for line in said[1:]] == ["  a seed-0", "  b"]
    data = data_of(page)
    assert [one["label"] for one in data["trajectories"]] == ["a seed-0", "b"]
    assert data["summary"] == "seed 0, episode 0 · under random"
    first, second = (unpack(one["frames"]["position"])[0] for one in data["trajectories"])
    np.testing.assert_array_equal(first, second)
    # The same draws: the same agents are hit by the same noise, for as long as all live.
    noise = [unpack(one["overlay"]["change"])[0] for one in data["trajectories"]]
    np.testing.assert_allclose(noise[0], noise[1], atol=0.0011)
    with Image.open(film) as picture:
        assert picture.width == 2 * 160 + 4


def test_one_policy_with_and_without_a_fitted_attack(runs, tmp_path, capsys):
    page, config = tmp_path / "x.html", InteractionConfig(masks="dimension", actions="off", most=1, dims=2)
    state = config.build(skirmish.SPEC).init(rng.root(0))
    save_attacker(tmp_path / "bank" / "a.safetensors", "interaction", config, skirmish.SPEC, state)
    words = ("--policy", runs / "b", "--attack", "natural", "--attack", "interaction", "--out", page)
    assert replay(*words, "--attackers", tmp_path / "bank", "--json", "--quiet") == 0
    said = json.loads(capsys.readouterr().out)["episodes"]
    assert [(one["policy"], one["attack"]) for one in said] == [("b", "natural"), ("b", "interaction")]
    natural, attacked = data_of(page)["trajectories"]
    assert (natural["label"], attacked["label"]) == ("b", "b under interaction")
    assert natural["overlay"] == {}
    groups = unpack(attacked["overlay"]["groups"])
    assert sorted(groups[0].tolist()) == [1, 2, 2]
    masked = unpack(attacked["overlay"]["masked"])[0].sum(axis=1)
    np.testing.assert_array_equal(masked, np.where(groups[0] == 1, 4, 2))  # c = 2 entries per agent of the other group


def test_a_perturbation_holds(tmp_path):
    page = tmp_path / "x.html"
    walk = ("--policy", "unit.viz.skirmish:brawler", "--perturbation", "dis-3", "--max-steps", 3)
    assert replay("--env", SKIRMISH, *walk, "--out", page, "--quiet") == 0
    data = data_of(page)
    (one,) = data["trajectories"]
    assert data["summary"] == "dis-3"
    assert (unpack(one["executed"]) == 1).all()  # everybody stops


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--policy", "runs/a", "--policy", "runs/other"), "and smac/8m[version=2026-11]; episodes"),
        (("--policy", "runs/other"), "smac/8m needs 102 inputs"),
        (("--policy", "runs/a", "--policy", "runs/a"), "--policy runs/a is given twice"),
        (("--policy", "runs/a", "--policy-seed", "1"), "--policy-seed 1: runs/a has 0, 2"),
        (("--policy", "runs"), "runs holds no policy"),
        (("--policy", "random"), '"random" does not say which environment it plays; add --env NAME'),
        (("--policy", "runs/a", "--attack", "randm"), 'unknown attack "randm". Closest: "random"'),
        (("--policy", "runs/a", "--attack", "random[q=1]"), 'no field "q"'),
        (("--policy", "runs/a", "--attack", "interaction"), "has to be fitted before it attacks"),
        (("--policy", "runs/a", "--attack", "random", "--attackers", "gone"), "--attackers gone: there is no such"),
        (("--policy", "runs/a", "--perturbation", "dis1"), 'unknown perturbation "dis1". Closest: "dis-1"'),
        (("--policy", "runs/a", "--perturbation", "hp-15"), "no initial health"),
        (("--env", SKIRMISH, "--policy-seed", "1"), "no policy is a folder"),
        (
            ("--policy", "runs/a", "--policy", "runs/b", "--attack", "natural", "--attack", "random", "--attack",
             "random-obs"), "2 policies under 3 attacks are 6 episodes; at most 4",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_in_a_sentence(words, sentence, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs.parent)
    assert replay(*words, "--out", "x.html") == 2
    out, messages = capsys.readouterr()
    assert sentence in messages
    assert out == ""
    assert not (runs.parent / "x.html").exists()


def test_policies_may_stand_alone_as_in_every_other_command(runs, tmp_path, monkeypatch, capsys):
    """A word alone is what --policy is, beside it too, and a mistake is told with the words that were typed."""
    monkeypatch.chdir(tmp_path)
    out = ("--out", "x.html", "--max-steps", 2, "--json", "--quiet")
    written = []
    for words in (("runs/a", "runs/b"), ("--policy", "runs/a", "--policy", "runs/b"), ("runs/a", "--policy", "runs/b")):
        assert replay(*words, *out) == 0
        written.append((json.loads(capsys.readouterr().out), data_of(tmp_path / "x.html")))
    assert written[0] == written[1] == written[2]
    for words, sentence in (
        (("gone.th",), "ibal replay: gone.th: there is no such file\n"),
        (("--policy", "gone.th"), "ibal replay: --policy gone.th: there is no such file\n"),
        (("runs/a", "runs/a"), "ibal replay: runs/a is given twice: the two episodes would be the same\n"),
        (("zoo:smac/3m/ibl-0",), 'has no "smac/3m/ibl-0". Closest: "smac/3m/ibal-0"'),
    ):
        assert replay(*words, "--out", "y.html") == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "y.html").exists()


def test_a_team_of_the_zoo_is_found_by_its_name():
    team = _team("zoo:smac/3m/ibal-0", None)
    assert (team.label, team.found.meta["env"], team.found.meta["seed"]) == ("smac/3m/ibal-0", "smac/3m", 0)


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
        (("--env", SKIRMISH, "--policy", "builtins:str", "--out", "x.gif"), "an ibal.types.Policy was expected"),
        (("--env", SKIRMISH, "--policy", "unit.viz.skirmish:N", "--out", "x.gif"), "a function (spec) was expected"),
        (("--env", SKIRMISH, "--policy", "nearest", "--out", "x.gif"), "needs one block per attack"),
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
    assert "x.html: the disk is full; make room" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_smac_map(tmp_path, capsys):
    out = tmp_path / "3m.html"
    assert replay("--env", "3m", "--policy", "random", "--out", out, "--max-steps", 3, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["episodes"][0]["steps"] == 3
    data = data_of(out)["trajectories"][0]
    assert [kind["name"] for kind in data["scene"]["kinds"]] == ["marine"]
    assert sorted(data["enemy_units"]) == [3, 4, 5]
