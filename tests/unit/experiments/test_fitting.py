"""Fitting an attack to a victim on a game whose leaking dimensions are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Adversary, Feedback, Threat, adversary
from ibal.adversaries.bundle import load_attacker
from ibal.adversaries.config import InteractionConfig, RandomConfig
from ibal.evaluation.matrix import Team
from ibal.evaluation.scripted import random_policy
from ibal.experiments.fitting import FitPlan, exploring, fit_attacker, natural_episodes, save_fitted
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.types import EnvSpec, Episodes

LEAK = make("toy/leak", n_agents=3, noise=1)
SMALL = InteractionConfig(
    masks="dimension", most=1, dims=1, club=ClubConfig(hidden=(32,), batch=256),
    action=ActionConfig(hidden=(32,), batch=64), rows=256,
)  # fmt: skip


def test_a_fitted_attack_finds_what_leaks(tmp_path: Path) -> None:
    team = Team("p", "m", 3, LEAK, "toy/leak", random_policy(LEAK.spec), None, "d", {})
    plan = FitPlan(episodes=200, steps=400, epsilon=0.0, seed=5)
    state = save_fitted(tmp_path / "a.safetensors", "interaction", SMALL, team, plan)
    owner = LEAK.spec.obs_layout.agents(3)  # [n, o]: whose action an entry shows, -1 for none
    for i in range(3):
        for j in range(3):
            if i != j:
                assert owner[i, int(jnp.argmax(state.scores[i, j]))] == j
    held = load_attacker(tmp_path / "a.safetensors", LEAK.spec)
    assert held.meta["victim"] == "p"
    assert (held.meta["victim_seed"], held.meta["episodes"], held.meta["seed"]) == (3, 200, 5)
    jax.tree.map(np.testing.assert_array_equal, held.state, state)
    again = fit_attacker(SMALL, LEAK, random_policy(LEAK.spec), plan)
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_episodes_come_in_the_number_asked_for_and_explore() -> None:
    played = natural_episodes(rng.root(0), LEAK, random_policy(LEAK.spec), 130, 0.0)
    assert played.length.shape == (130,)  # two batches of 65
    avail = jnp.array([[True, True, False, True]] * 2)
    still, scores = random_policy(LEAK.spec), jnp.zeros((2, 4))
    for epsilon, share in ((0.0, 0.0), (0.6, 0.6 * 2 / 3)):
        policy = exploring(still._replace(select=lambda key, scores, avail: jnp.zeros(2, jnp.int32)), epsilon)
        keys = rng.episodes(rng.root(1), 4000)
        chosen = np.asarray(jax.vmap(lambda k, p=policy: p.select(k, scores, avail))(keys))
        assert not (chosen == 2).any()  # illegal
        assert abs((chosen != 0).mean() - share) < 0.03  # a third of the random ones are what it does anyway


@dataclass(frozen=True)
class Listening:
    """Learns by playing: what it was told of the share of its fitting that is over."""

    rounds: int = 4
    learns_by_playing: bool = True
    evaluation: bool = False

    def build(self, spec: EnvSpec) -> Adversary:
        def update(key: jax.Array, state: jax.Array, episodes: Episodes, told: Feedback) -> tuple[jax.Array, dict]:
            return state.at[told.now].set(told.part), {}

        return adversary(threat=Threat(), init=lambda key: jnp.zeros(4), update=update)


def test_an_attack_that_learns_by_playing_is_told_how_much_of_it_is_over() -> None:
    fitted = fit_attacker(Listening(), LEAK, random_policy(LEAK.spec), FitPlan())
    np.testing.assert_allclose(fitted, [0.25, 0.5, 0.75, 1.0])
    fitted = fit_attacker(Listening(), LEAK, random_policy(LEAK.spec), FitPlan(rounds=2))
    np.testing.assert_allclose(fitted, [0.5, 1.0, 0.0, 0.0])


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="RandomConfig learns nothing"):
        fit_attacker(RandomConfig(), LEAK, random_policy(LEAK.spec), FitPlan())
    with pytest.raises(ValueError, match="episodes must be at least 1, not 0"):
        FitPlan(episodes=0)
