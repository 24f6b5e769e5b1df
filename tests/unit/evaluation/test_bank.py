"""Attacks by name: those that learn nothing, and those that a folder of fitted attackers has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from ibal import make, rng
from ibal.adversaries import learns
from ibal.adversaries.bundle import save_attacker
from ibal.adversaries.config import InteractionConfig, NaturalConfig, RandomGroupConfig
from ibal.evaluation.bank import Bank, as_evaluated
from ibal.evaluation.matrix import Plan, Team, cells, run
from ibal.evaluation.scripted import random_policy
from ibal.types import Env, Policy

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


def copycat() -> Policy:
    """Plays the game well: agent 0 does what it is shown, the others what entry ``leak_0`` about agent 0 shows."""
    names = ENV.spec.obs_layout.names
    entry = np.array([names.index("own[0].cue")] + [names.index("ally[0].leak_0")] * 2)

    def scores(carry: jax.Array, obs: jax.Array, avail: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        shown = (obs[np.arange(3), entry] + 1) / 2 * (ENV.spec.n_actions - 1)
        return carry, -jnp.abs(shown[:, None] - jnp.arange(float(ENV.spec.n_actions))[None])

    return Policy(lambda: jnp.zeros(()), scores, lambda key, s, avail: jnp.argmax(s, axis=1).astype(jnp.int32))


def test_what_an_attacker_has_learned_decides_what_its_attack_does(tmp_path: Path) -> None:
    """Two attackers hide one entry per agent of the other group: what leaks, and noise that nobody looks at."""
    names, owner = np.array(ENV.spec.obs_layout.names), ENV.spec.obs_layout.agents(3)
    for name, feature in (("a", "leak_0"), ("b", "noise_0")):
        told = np.array([n.endswith(feature) for n in names])
        scores = (owner[:, None] == np.arange(3)[None, :, None]) * told
        state = CONFIG.build(ENV.spec).init(rng.root(0))._replace(scores=jnp.asarray(scores, jnp.float32))
        save_attacker(tmp_path / f"{name}.safetensors", "interaction", CONFIG, ENV.spec, state, {})
    team = TEAM._replace(player=copycat())
    rows = run(cells([team], Bank(tmp_path).attack, ("natural", "interaction"), ("none",)), Plan(episodes=64))
    calm, struck = (rows.filter(pl.col("attack") == attack) for attack in ("natural", "interaction"))
    assert struck["attacker"].to_list() == [0, 1] * 32
    np.testing.assert_allclose(calm["return"], 10, rtol=1e-5)
    lost = 10 - struck["return"].to_numpy()
    np.testing.assert_allclose(lost[1::2], 0, atol=1e-4)
    # G1 is agent 0 in a third of the games, then both who follow it are blind; in the others one of them is.
    assert lost[::2].mean() == pytest.approx(10 * (2 / 3 + 1 / 3 * 2) / 3 * 3 / 4, abs=1.0)


def test_a_fault_of_the_world_goes_into_the_world_and_the_rest_between(walk: Env) -> None:
    team = Team("stop", "scripted", None, walk, "walk", random_policy(walk.spec), None, "", {})
    cell, alone = cells([team], Bank().attack, ["dis-1+late-1", "late-1"], ["none"])
    assert (cell.attack.name, cell.attack.world, alone.attack.world) == ("dis-1+late-1", "dis-1", "none")
    assert cell.world is not walk
    assert alone.world is walk
    assert cell.attack.digest != alone.attack.digest
