"""The hunt for loopholes: what is read off a game, and which game is shown."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import loopholes
from loopholes import Game, look, suspect, told

from ibal.types import Frame, TimeStep
from ibal.viz.trajectory import Trajectory


def game() -> Trajectory:
    """Two agents of 40 life and 10 shield against one enemy of 45: it is hurt first at row 2, from 5 away."""
    frames, actions = 4, np.zeros((3, 2), int)
    health = np.array([[40, 40, 45], [40, 40, 45], [40, 10, 39], [30, 0, 0]], float)
    shield = np.array([[10, 10, 0], [10, 10, 0], [0, 0, 0], [0, 0, 0]], float)
    position = np.zeros((frames, 3, 2))
    position[2] = [[0, 0], [20, 0], [3, 4]]
    target = np.array([[-1, -1, -1], [2, -1, 1], [2, -1, 0], [2, -1, 0]])
    ones, zero = np.ones((frames, 3)), np.zeros(frames)
    frame = Frame(position, ones, ones, health, ones * 45, shield, ones, ones, health > 0, target)
    win = np.array([0, 0, 0, 1.0])
    step = TimeStep(np.zeros((frames, 2, 1)), zero, zero, health[:, :2] > 0, zero, win > 0, win > 1, {"win": win})
    return Trajectory(frame, step, actions, actions)


def test_a_game_is_read_off_its_frames():
    # Taken: 10 + 10 shield and 30 health, then 10 and 10, of 100.
    assert look(game()) == Game(won=True, losses=1, taken=pytest.approx(0.7), first=5.0, length=3)


def test_only_won_games_tell_how_they_were_won():
    clean, dear, lost = Game(True, 0, 0.0, 6.0, 30), Game(True, 2, 0.5, 4.0, 20), Game(False, 3, 1.0, 5.0, 10)
    assert told([clean, dear, lost]) == {
        "won": pytest.approx(2 / 3), "losses": 1.0, "taken": 0.25, "first shot": 5.0, "without a loss": 0.5,
        "length": 25.0,
    }  # fmt: skip
    assert told([lost])["losses"] is None
    assert suspect([lost, dear, clean]) == 2
    assert suspect([lost, lost._replace(length=20)]) == 1
    assert suspect([lost._replace(first=float("nan")), clean._replace(first=7.0), clean]) == 1


@pytest.mark.thorough  # a training and two programs more, for a benchmark
def test_a_hunt_trains_watches_and_writes(tmp_path, monkeypatch, capsys):
    words = ["--maps", "3m", "--against", "abs-2", "--steps", "200", "--preset", "smoke", "--games", "2"]
    monkeypatch.setattr(sys, "argv", ["loopholes.py", *words, "--out", str(tmp_path), "--json"])
    loopholes.main()
    out, said = capsys.readouterr()
    assert '"world": "abs-2"' in out
    assert "3m abs-2: won" in said
    assert (tmp_path / "3m-abs-2" / "suspect.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "3m-abs-2" / "policy" / "seed-0.safetensors").is_file()
