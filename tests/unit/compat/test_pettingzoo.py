"""Our environments as PettingZoo's, held to PettingZoo's own tests and to our own episodes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import ibal
from ibal.adversaries.random import RandomConfig
from seeing import choose, seeing

pytest.importorskip("pettingzoo", reason="pettingzoo comes with the dev group: python3 dev.py setup")
from ibal.compat.pettingzoo import parallel_env

ATTACK = RandomConfig(sigma=0.5, p=0.5)
MAPS = ["smac/3m", "smac/2s3z", "lbf/Foraging-20x20-5p-6f-s3", "smacv2/terran_5_vs_5"]


@pytest.mark.parametrize("name", ["toy/leak", *(pytest.param(name, marks=pytest.mark.thorough) for name in MAPS)])
@pytest.mark.parametrize("inside", [False, True], ids=["infos", "observation"])
def test_pettingzoo_finds_nothing_wrong(name: str, inside: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():  # importing its tests imports a game in its own old way
        warnings.simplefilter("ignore", DeprecationWarning)
        from pettingzoo.test import parallel_api_test, parallel_seed_test
    parallel_api_test(parallel_env(name, mask_in_observation=inside), 150)
    parallel_seed_test(lambda: parallel_env(name, mask_in_observation=inside), 60)
    assert "Passed Parallel API test" in capsys.readouterr().out


def played(game: Any, seed: int, count: int) -> list[float]:
    """The returns of the first games of a seed."""
    out: list[float] = []
    for i in range(count):
        seen, infos = game.reset(seed=seed) if i == 0 else game.reset()
        total = 0.0
        while game.agents:
            obs = np.stack([seen[name] for name in game.agents])
            masks = np.stack([infos[name]["action_mask"] for name in game.agents])
            actions = choose(game._series.spec, obs, masks)
            seen, rewards, _, _, infos = game.step(dict(zip(game.agents, actions, strict=True)))
            total += rewards["agent_0"]
        out.append(total)
    return out


def test_the_games_of_a_seed_are_the_episodes_of_an_evaluation_also_under_attack() -> None:
    for attack in ("natural", ATTACK):
        table = ibal.evaluate(seeing, attack, env="toy/leak", episodes=6, seed=3, quiet=True)
        assert played(parallel_env("toy/leak", attack), 3, 6) == pytest.approx(table.rows["return"].to_list())


def test_the_state_is_the_true_one_and_masks_say_who_can_do_what() -> None:
    game = parallel_env("lbf/Foraging-2s-8x8-2p-2f-coop-v3", ATTACK)
    with pytest.raises(ValueError, match="call reset"):
        game.state()
    seen, infos = game.reset(seed=1)
    assert game.state().shape == game.state_space.shape
    assert set(infos["agent_0"]) >= {"action_mask", "alive"}
    for name in game.agents:
        assert game.observation_space(name).contains(seen[name])
    with pytest.raises(ValueError, match="no action of agent_1"):
        game.step({"agent_0": 0})
    with pytest.raises(ValueError, match=r"got action 9; the actions of .* are 0 to 5"):
        game.step({"agent_0": 9, "agent_1": 0})


def test_an_option_of_a_world_goes_through() -> None:
    assert parallel_env("toy/leak", n_agents=3).possible_agents == ["agent_0", "agent_1", "agent_2"]
