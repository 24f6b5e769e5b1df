"""Sets of attacks by one word: what they mean here, and what they leave out and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibal import make, rng
from ibal.adversaries import TABLE
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.evaluation.attack_sets import PAPER, SETS, STANDARD_1, expanded
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Team
from ibal.evaluation.scripted import random_policy
from ibal.report.tables import COLUMNS

LEAK = make("toy/leak")
TEAM = Team("p", "m", None, LEAK, "toy/leak", random_policy(LEAK.spec), None, "digest", {})
FREE = ("natural", "random", "random-obs", "random-act", "random-group")  # nothing to fit, nothing to know


@pytest.fixture(scope="module")
def attackers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attackers")
    config = InteractionConfig(masks="random", dims=1, most=1)
    state = config.build(LEAK.spec).init(rng.root(0))
    save_attacker(folder / "a.safetensors", "interaction", config, LEAK.spec, state)
    return folder


def test_standard_is_all_that_needs_no_fitting() -> None:
    names, left_out = expanded(("standard",), [TEAM], Bank())
    assert names == FREE
    # A policy without values cannot be attacked by these; without enemies nobody retreats.
    assert set(left_out) == {"fgsm", "pgd", "wolfpack-random", "occlude-retreat"}
    assert left_out["fgsm"] == 'it needs the scores that have a gradient, and "p" has none'
    assert "nothing to retreat from" in left_out["occlude-retreat"]


def test_all_takes_what_the_folder_has_and_names_what_it_lacks(attackers: Path) -> None:
    names, left_out = expanded(("random-act", "all"), [TEAM], Bank(attackers))
    assert names == ("random-act", *(name for name in FREE if name != "random-act"), "interaction")
    assert set(names) | set(left_out) == set(TABLE)
    assert 'has no attacker "ega" fitted on toy/leak' in left_out["ega"]


def test_paper_is_its_columns_and_has_no_holes(attackers: Path) -> None:
    assert tuple(attack for attack, harm in COLUMNS.values() if harm == "none") == PAPER
    with pytest.raises(ValueError, match=r'"paper" needs attackers of ega, wolfpack: fit them \(ibal attack POLICY'):
        expanded(("paper",), [TEAM], Bank(attackers))
    refitting = Bank(None, lambda attack, config, team: attackers / "a.safetensors")
    assert expanded(("paper",), [TEAM], refitting) == (PAPER, {})


def test_the_first_standard_suite_is_what_it_was(attackers: Path) -> None:
    assert STANDARD_1 == (
        "natural", "random", "fgsm", "pgd", "wolfpack-random", "random-group", "ega", "wolfpack", "interaction",
        "noise-10", "lost-30", "burst-30", "delay-1", "drop-20", "late-1", "stop-1", "subset-1",
    )  # fmt: skip
    with pytest.raises(ValueError, match='"standard-1" needs attackers of ega, wolfpack'):
        expanded(("standard-1",), [TEAM], Bank(attackers))
    refitting = Bank(None, lambda attack, config, team: attackers / "a.safetensors")
    names, left_out = expanded(("standard-1",), [TEAM], refitting)
    assert {*names, *left_out} == set(STANDARD_1)
    assert "cannot stop" in left_out["stop-1"]


def test_no_attack_is_called_like_a_set() -> None:
    assert not SETS.keys() & set(TABLE)
