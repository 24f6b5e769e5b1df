"""What an audit makes of its trials: where curves fall, whose loss costs most, and what it says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ibal.adversaries import built, configured
from ibal.analysis import audit as plan
from ibal.analysis.trials import BATCH, Bench, OutOfTime, Scores
from ibal.evaluation.attack_sets import STANDARD_1
from ibal.evaluation.episodes import episode_keys, play
from unit.evaluation.test_subset import workers


def points(*scores: float) -> list[dict[str, Any]]:
    return [{"x": float(i), "score": score} for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "threshold", "where"),
    [((1, 0.9, 0.5), 0.7, 1.5), ((1, 0.9, 0.8), 0.7, None), ((0.5, 0.4), 0.7, 0.0), ((1.0, 0.0, 1.0), 0.25, 0.75)],
)
def test_a_curve_falls_below_where_the_line_between_two_points_does(
    scores: tuple[float, ...], threshold: float, where: float | None
) -> None:
    assert plan.crossing(points(*scores), threshold) == where


def test_the_usual_faults_are_those_of_the_standard_suite() -> None:
    assert set(plan.SUITE) <= set(STANDARD_1)


@pytest.fixture(scope="module")
def bench() -> Bench:
    """A team of four whose agents earn 3, 1, 5 and 2 a step, for two steps."""
    found = Bench(workers(4))
    found.play("natural")
    for stage in plan.stages(found):
        for trial in stage.trials:
            found.play(trial)
    return found


def test_a_trial_is_the_evaluation_of_the_same_fault(bench: Bench) -> None:
    team, alone = bench.team, built(configured("stop[who=0 2]"), bench.spec)
    done = play(team.env, team.player, episode_keys(0, BATCH), team.params, adversary=alone)
    np.testing.assert_array_equal(bench.play("stop[who=0 2]").score, done.returns)
    assert set(bench.play("natural").score) == {22.0}


def test_what_a_world_cannot_have_is_left_out_with_the_reason(bench: Bench) -> None:
    assert {"lost", "burst", "range", "vanish"} <= set(bench.cannot)
    assert not bench.can("lost-30")
    assert not bench.can("hp-15")
    assert "no initial health" in bench.cannot["hp"]


def test_the_costs_are_those_of_the_game(bench: Bench) -> None:
    found = plan.summary(bench, None, {})
    assert [one["cost"] for one in found["agents"]] == [6, 2, 10, 4]
    assert found["pairs"]["worst"]["agents"] == [0, 2]
    assert not found["pairs"]["fresh"]  # nothing was played but the episodes on which it was found
    assert found["pairs"]["mean"] == pytest.approx(22 - 11)
    assert found["threshold"] == pytest.approx(0.8 * 22)
    stop = next(one for one in found["curves"] if one["kind"] == "stop")
    assert stop["drops"] == pytest.approx((22 - 17.6) / (22 - stop["points"][1]["score"]))
    assert found["lowest"]["trial"] == "late-1"  # of two steps the first is idle: half is left
    assert found["lowest"]["score"] == 11
    assert plan.next_method(found) == "late-1"


def test_the_worst_pair_is_measured_on_fresh_episodes_where_there_are_some(bench: Bench) -> None:
    name = "stop[who=0 2]"
    bench.keep(name, 1, Scores(np.full(BATCH, 9.0), np.full(BATCH, 2)))
    try:
        found = plan.summary(bench, None, {})["pairs"]
    finally:
        del bench.batches(name)[1]
    assert found["fresh"]
    assert (found["worst"]["score"], found["worst"]["episodes"]) == (9.0, BATCH)


def test_the_verdict_is_three_sentences_with_the_numbers_in_it(bench: Bench) -> None:
    said = plan.verdict(plan.summary(bench, None, {}), "return")
    assert len(said) == 3
    assert "earns 22.0 a game; 12.0 when agent 2 stops" in said[0]
    assert "and 6.0 when agents 0 and 2 stop" in said[0]
    assert '"late-1" leaves least, 11.0' in said[1]
    assert 'Train it against "late-1" next' in said[2]


def test_where_any_loss_costs_the_same_no_agent_is_named(bench: Bench) -> None:
    found = plan.summary(bench, None, {})
    found["agents"] = [one | {"score": 12.0, "cost": 10.0} for one in found["agents"]]
    assert "12.0 when any one agent stops." in plan.verdict(found, "return")[0]


def test_a_limit_that_is_given_is_the_threshold_and_decides(bench: Bench) -> None:
    assert plan.summary(bench, 12.0, {})["passed"] is False
    assert plan.summary(bench, 10.0, {})["passed"] is True
    assert plan.summary(bench, None, {})["passed"] is None


def test_nothing_begins_after_the_deadline() -> None:
    late = Bench(workers(4), deadline=0.0)
    with pytest.raises(OutOfTime):
        late.play("natural")
    assert plan.summary(late, None, {}) == {"natural": None}
