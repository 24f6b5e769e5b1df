"""Perturbations by name: what they do to a world, and what is said of names that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ibal import make, rng
from ibal.evaluation.episodes import play
from ibal.evaluation.scripted import random_policy
from ibal.game.perturb import NAMES, checked, perturb
from ibal.types import Env

SMAC = make("smac/3m")


def test_smac_gets_other_parameters_and_stays_the_same_object() -> None:
    assert perturb(SMAC, "none")[1] is SMAC.params
    for name in NAMES:
        assert perturb(SMAC, name)[0] is SMAC  # nothing is compiled anew
    _, weak = perturb(SMAC, "hp-15")
    np.testing.assert_allclose(weak.health_scale, [0.85] * 3)
    np.testing.assert_allclose(weak.shield_scale, [0.85] * 3)
    assert int(perturb(SMAC, "dis-2")[1].n_disabled) == 2
    assert int(perturb(SMAC, "abs-1")[1].n_absent) == 1
    world, both = perturb(SMAC, "dis-1+hp-15")
    assert world is SMAC
    assert int(both.n_disabled) == 1
    np.testing.assert_allclose(both.health_scale, 0.85)


def test_other_worlds_can_disable_agents(walk: Env) -> None:
    # Disabled agents have 0 and 1 to idle with; agent 0 can only play 1 of them.
    world, params = perturb(walk, "dis-2")
    results = play(world, random_policy(world.spec), rng.episodes(rng.root(0), 20), env_params=params)
    assert set(np.asarray(results.metrics["played"]).tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hp15", 'unknown perturbation "hp15". Closest: "hp-15". Write none, dis-<agents>, abs-<agents> or'),
        ("natural", 'unknown perturbation "natural".'),
        ("dis-", 'Closest: "dis-'),
        ("hp-1.5", 'unknown perturbation "hp-1.5"'),
    ],
)
def test_wrong_names(name: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        checked(name)
    assert message in str(error.value)


def test_what_a_world_cannot_follow(walk: Env) -> None:
    with pytest.raises(ValueError, match="dis-4 on smac/3m: the team has 3 agents, not 4"):
        perturb(SMAC, "dis-4")
    with pytest.raises(ValueError, match="hp-100 on smac/3m: health can be lowered by"):
        perturb(SMAC, "hp-100")
    with pytest.raises(ValueError, match="hp-15 on walk: this environment has no initial health"):
        perturb(walk, "hp-15")
    with pytest.raises(ValueError, match='dis-3 on walk: "walk" has 2 agents; 3 cannot be disabled'):
        perturb(walk, "dis-3")
