"""Defaults, the paper's reading, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibal.mi import config
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.registry import one_of


def test_the_papers_reading_is_one_word() -> None:
    club, action = ClubConfig.literal(), ActionConfig.literal()
    assert (club.tau, club.residual, club.dead, club.negatives) == ("none", False, "partners", 1)
    assert (action.marginal, action.tau) == ("M1", "T3")
    assert (ActionConfig().marginal, ActionConfig().tau) == ("M3", "T4")
    assert (club.identity, club.negative) == ("one-hot", "batch")
    assert ClubConfig.literal(hidden=(64,), dead="include") == replace(club, hidden=(64,), dead="include")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": "none"}, 'use tau="obs" or residual=False'),
        ({"hidden": ()}, "one or more positive layer sizes"),
        ({"log_variance": (2.0, -6.0)}, "low < high"),
        ({"negatives": -1}, "negatives is -1"),
    ],
)
def test_impossible_choices_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClubConfig(**options)


def test_unknown_words_are_refused_with_the_nearest() -> None:
    # Called directly: in the tests the type checker is faster.
    with pytest.raises(ValueError, match=r'ClubConfig.tau is "ob"; did you mean "obs"\? \(one of: none, time, obs\)'):
        one_of("ClubConfig.tau", "ob", config.Tau)
    with pytest.raises(ValueError, match="one of: T1, T2, T3, T4, T5"):
        one_of("ActionConfig.tau", "T9", config.ActionTau)
    with pytest.raises(ValueError, match="batch is 0"):
        ActionConfig(batch=0)
