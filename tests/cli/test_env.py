"""``ibal env`` and the dispatch of ``ibal``: what is printed, where, and with which exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ibal
from ibal.cli.main import COMMANDS, main
from ibal.envs.smac.rules import NEWEST

OWN = """
import jax.numpy as jnp
from ibal.envs.toy import climbing

def good():
    return climbing()

def bad():
    env = climbing()
    def reset(key, params):
        state, step = env.reset(key, params)
        return state, step._replace(obs=jnp.zeros((2, 4)))
    return env._replace(reset=reset)
"""


def test_list_names_every_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["smac/3m", "3", "agents", "against", "3,", "60", "steps,", "rules", NEWEST]
    assert len(lines) == 23 + 15 + 13 + 9
    assert main(["env", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["environments"]
    assert [row["name"] for row in rows] == [line.split()[0] for line in lines]


def test_describe_names_every_index(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "describe", "smac/MMM", "--json"]) == 0
    streams = capsys.readouterr()
    data = json.loads(streams.out)
    assert streams.err == ""
    assert (data["n_agents"], data["n_actions"], data["horizon"]) == (10, 16, 150)
    # Sizes of the real map: observation 160, state 290.
    assert [row["index"] for row in data["observation"]] == list(range(160))
    assert [row["index"] for row in data["state"]] == list(range(290))
    assert data["observation"][0] == {"index": 0, "entity": "move[0]", "feature": "can_north"}
    assert data["actions"][data["noop_action"]] == "no-op"
    assert len(data["actions"]) == 16


def test_describe_says_what_a_short_name_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "describe", "climbing"]) == 0
    streams = capsys.readouterr()
    assert streams.err == '"climbing" is short for "toy/climbing"\n'
    assert streams.out.splitlines() == [
        "toy/climbing: 2 agents, 3 actions, observation 1, state 3, at most 1 steps",
        "metrics: win",
        "",
        "actions",
        "     0  action_0",
        "     1  action_1",
        "     2  action_2",
        "",
        "observation of one agent",
        "     0  game[0]  constant",
        "",
        "state",
        "     0  clock[0]  step_0",
        "     1  clock[0]  step_1",
        "     2  game[0]   only",
    ]
    assert main(["env", "describe", "climbing", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_check_passes_and_fails_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_worlds.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # main adds the current folder
    assert main(["env", "check", "my_worlds:good", "--json", "--seed", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["ok"], data["name"], data["steps"], data["episode_length"]) == (True, "toy/climbing", 3, 1)
    assert main(["env", "check", "my_worlds:bad"]) == 1
    assert "BROKEN  reset() gave obs (2, 4) but spec says n_agents=2, obs_size=1" in capsys.readouterr().out
    assert main(["env", "check", "my_worlds:bad", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["env", "check", "my_worlds:god"]) == 2
    assert 'ibal env: "my_worlds:god": "my_worlds" has no "god"; did you mean "good"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: ibal <command>"),
        (["evn"], 'ibal: unknown command "evn". Closest: "env". Commands: demo, env, replay'),
        (["env"], "the following arguments are required: list | describe | check"),
        (["env", "check", "3m", "--steps", "0"], "ibal env: --steps must be at least 1, not 0"),
        (["env", "list", "--jsn"], 'unknown option "--jsn". Closest: "--json"'),
        (
            ["env", "describe", "3mm"],
            'ibal env: unknown environment "3mm". Closest: "smac/3m". List them: ibal env list.',
        ),
    ],
)
def test_wrong_use_is_status_2_and_a_sentence_on_standard_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: ibal {command}" in capsys.readouterr().out


def test_the_program_lists_its_commands_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(f"\n  {name} " in usage for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ibal {ibal.__version__}\n"


def test_nobody_reading_on_is_no_failure() -> None:
    command = [sys.executable, "-m", "ibal", "env", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0
