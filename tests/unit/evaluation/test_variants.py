"""Attacks with options in their names, and attacks fitted to the very team they attack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import variant
from ibal.adversaries.bundle import adapted, save_attacker
from ibal.adversaries.config import InteractionConfig
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Team
from ibal.evaluation.scripted import random_policy

ENV = make("toy/leak")
TEAM = Team("p", "m", None, ENV, "toy/leak", random_policy(ENV.spec), None, "digest", {})
CONFIG = InteractionConfig(masks="dimension", most=1, dims=1)


def bundle(folder: Path, name: str = "a") -> Path:
    state = CONFIG.build(ENV.spec).init(rng.root(len(name)))
    save_attacker(folder / f"{name}.safetensors", "interaction", CONFIG, ENV.spec, state)
    return folder / f"{name}.safetensors"


def test_names_carry_options() -> None:
    assert variant("interaction") == ("interaction", {})
    assert variant("interaction[fill=mean,masks=random]") == ("interaction", {"fill": "mean", "masks": "random"})
    for wrong in ("interaction[fill=mean", "interaction[fill]"):
        with pytest.raises(ValueError, match="interaction"):
            variant(wrong)


def test_a_variant_plays_with_what_the_attackers_have_learned(tmp_path: Path) -> None:
    bundle(tmp_path)
    bank = Bank(tmp_path)
    whole, half = bank.attack("interaction", TEAM), bank.attack("interaction[masks=off]", TEAM)
    assert whole.adversary.threat.channels == ("obs", "act")
    assert half.adversary.threat.channels == ("act",)
    assert half.digest != whole.digest
    assert half.attackers[0].theta is None
    jax.tree.map(np.testing.assert_array_equal, half.attackers[0].phi, whole.attackers[0].phi)
    nothing_learned = Bank().attack("interaction[masks=random,actions=random]", TEAM)
    assert nothing_learned.about["config"]["evaluation"]
    assert Bank().attack("random[p=0.7]", TEAM).about["config"]["p"] == 0.7
    with pytest.raises(ValueError, match='no field "fil"; did you mean "fill"'):
        bank.attack("interaction[fil=mean]", TEAM)


def test_what_was_not_learned_cannot_be_played(tmp_path: Path) -> None:
    bundle(tmp_path)
    with pytest.raises(ValueError, match="have not learned phi"):
        Bank(tmp_path).attack("interaction[action.hidden=32]", TEAM)
    smaller = replace(CONFIG, masks="off").build(ENV.spec).init(rng.root(0))
    with pytest.raises(ValueError, match="have not learned theta"):
        adapted(smaller, CONFIG.build(ENV.spec).init)


def test_refitting_makes_an_attacker_per_team(tmp_path: Path) -> None:
    asked: list[tuple[str, Any, str]] = []

    def refit(attack: str, config: Any, team: Team) -> Path:
        asked.append((attack, config, team.policy))
        return bundle(tmp_path, team.policy)

    bank, other = Bank(refit=refit), TEAM._replace(policy="qq", digest="other")
    mine, theirs = bank.attack("interaction", TEAM), bank.attack("interaction", other)
    assert bank.attack("interaction", TEAM) is mine
    assert asked == [("interaction", InteractionConfig(), "p"), ("interaction", InteractionConfig(), "qq")]
    assert mine.adversary is theirs.adversary  # one compilation
    assert mine.digest != theirs.digest
    assert [len(attack.attackers) for attack in (mine, theirs)] == [1, 1]
