"""The comparison with the real game: what counts as far away, and how targets are averaged."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import calibrate
from calibrate import Games, Target

from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.scenarios import SCENARIOS


def target(**changes: object) -> Target:
    start = {"group": "paper", "map": "3m", "team": "random", "world": "natural", "measure": "win", "real": 0.6,
             "error": 0.03, "episodes": 32}  # fmt: skip
    return Target(**{**start, **changes})


def test_too_easy_is_as_bad_as_too_hard():
    easy, hard, right = calibrate.misfit(target(), np.array([0.8, 0.4, 0.6]), np.full(3, 0.05))
    assert easy == pytest.approx(hard)
    assert right == 0
    # 0.2 over the root of 0.03^2 + 0.05^2 + 0.05^2, squared: 6.78; damped by 1 + 6.78 / 9.
    assert easy == pytest.approx(6.780 / (1 + 6.780 / 9), abs=0.01)


def test_a_target_far_off_does_not_outweigh_all_others():
    far, never = calibrate.misfit(target(measure="length", real=40.0), np.array([400.0, np.nan]), np.zeros(2))
    assert 8.9 < far < 9
    assert never == 9


def test_maps_and_groups_are_averaged_before_they_are_added():
    wanted = [target(), target(), target(map="8m"), target(group="random", measure="return")]
    errors = [np.array([x]) for x in (1.0, 3.0, 6.0, 2.0)]
    paper, chance = calibrate.WEIGHTS["paper"], calibrate.WEIGHTS["random"]
    expected = (paper * (2 + 6) / 2 + chance * 2) / (paper + chance)
    assert float(calibrate.loss(wanted, errors)[0]) == pytest.approx(expected)


def test_lengths_of_won_games_leave_lost_ones_out():
    games = Games(np.zeros((2, 4)), np.array([[10.0, 20, 30, 90], [5, 6, 7, 8]]), np.array([[1.0, 1, 1, 0], [0] * 4]),
                  np.zeros((2, 4)))  # fmt: skip
    value, _ = calibrate.measured("won length", [games])
    assert value[0] == pytest.approx(20)
    assert np.isnan(value[1])


def test_a_team_of_two_files_is_their_mean():
    assert calibrate.stems(target(team="qmix+qplex", map="8m")) == ["qmix_8m", "qplex_8m"]
    assert calibrate.stems(target(team="qmixtd04-0100047_5m_vs_6m", map="5m_vs_6m")) == ["qmixtd04-0100047_5m_vs_6m"]
    assert calibrate.stems(target(team="stop")) == ["stop"]


def test_what_is_known_of_the_real_game_is_complete():
    """30 cells of the paper's row, 40 checkpoints with three numbers each, 15 maps of a random team."""
    known = calibrate.targets()
    assert {t.group for t in known} == set(calibrate.WEIGHTS)
    assert {t.map for t in known} <= set(SCENARIOS)
    count = {group: sum(t.group == group for t in known) for group in ("paper", "ladder", "random")}
    assert count == {"paper": 30, "ladder": 120, "random": 30}
    assert all(t.error > 0 for t in known)
    row = {t.world: t.real for t in known if (t.group, t.map) == ("paper", "8m")}
    assert row == {"natural": 0.928, "hp-10": 0.543, "hp-15": 0.525, "hp-20": 0.0, "dis-1": 0.133}


def test_settings_are_numbers_or_discrete_rules():
    numbers, rules = calibrate.rule_set({"push": 0.2, "swept": True}, Rules.of("2026-11"))
    assert numbers == Quantities(push=0.2)
    assert rules.swept
    with pytest.raises(SystemExit, match="no rule called pusch"):
        calibrate.rule_set({"pusch": 1}, Rules())
