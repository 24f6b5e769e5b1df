"""Attacks by name: those that learn nothing, and those that a folder of fitted attackers has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig, NaturalConfig, RandomGroupConfig
from ibal.evaluate.bank import Bank, as_evaluated, learns
from ibal.evaluate.matrix import Team
from ibal.evaluate.scripted import random_policy

ENV = make("toy/leak")
TEAM = Team("p", "m", None, ENV, "toy/leak", random_policy(ENV.spec), None, "digest", {})
CONFIG = InteractionConfig(masks="dimension", actions="off", most=1, dims=1)  # learned, and small


def put(folder: Path, name: str, config: InteractionConfig = CONFIG) -> None:
    state = config.build(ENV.spec).init(rng.root(len(name)))
    save_attacker(folder / f"{name}.safetensors", "interaction", config, ENV.spec, state, {"victim": f"runs/{name}"})


def test_an_attack_that_learns_nothing_needs_no_folder() -> None:
    bank = Bank()
    attack = bank.attack("random", TEAM)
    assert attack is bank.attack("random", TEAM)  # one object, one compilation
    assert bank.on("random", ENV.spec).adversary is attack.adversary  # whoever plays there
    assert attack.about["config"]["p"] == 0.3
    assert len(attack.attackers) == 1
    assert attack.digest != bank.attack("random-act", TEAM).digest
    assert not learns(NaturalConfig())
    assert as_evaluated(NaturalConfig()) == NaturalConfig()
    assert as_evaluated(RandomGroupConfig()).evaluation


def test_all_attackers_of_the_environment_are_found(tmp_path: Path) -> None:
    put(tmp_path / "one", "a")
    put(tmp_path, "bb")
    (tmp_path / "notes.json").write_text('{"something": "else"}')
    attack = Bank(tmp_path).attack("interaction", TEAM)
    assert [about["victim"] for about in attack.about["fitted"]] == ["runs/bb", "runs/a"]
    for name, state in zip(("bb", "a"), attack.attackers, strict=True):
        wanted = CONFIG.build(ENV.spec).init(rng.root(len(name)))
        jax.tree.map(np.testing.assert_array_equal, state, wanted)
    assert attack.about["config"]["evaluation"] is True
    assert attack.adversary.threat.channels == ("obs",)
    before = attack.digest
    put(tmp_path, "ccc")
    assert Bank(tmp_path).attack("interaction", TEAM).digest != before


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"interaction" has to be fitted before it attacks toy/leak; fit it with'):
        Bank().attack("interaction", TEAM)
    with pytest.raises(ValueError, match=r'no attacker "interaction" fitted on toy/leak \(it has: no attacker\)'):
        Bank(tmp_path).attack("interaction", TEAM)
    put(tmp_path, "a")
    elsewhere = TEAM._replace(env=ENV._replace(spec=replace(ENV.spec, name="smac/3m")))
    with pytest.raises(ValueError, match=r"fitted on smac/3m \(it has: interaction for toy/leak\)"):
        Bank(tmp_path).attack("interaction", elsewhere)
    put(tmp_path, "b", replace(CONFIG, dims=2))
    with pytest.raises(ValueError, match="were fitted with different options"):
        Bank(tmp_path).attack("interaction", TEAM)


def test_a_fitted_attacker_can_be_played(tmp_path: Path) -> None:
    from ibal.evaluate.matrix import Plan, cells, run

    put(tmp_path, "a")
    rows = run(cells([TEAM], Bank(tmp_path).attack, ("interaction",), ("none",)), Plan(episodes=4))
    assert rows["attack"].to_list() == ["interaction"] * 4
    assert jnp.isfinite(jnp.asarray(rows["return"].to_numpy())).all()
