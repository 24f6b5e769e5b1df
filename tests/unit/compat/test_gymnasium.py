"""Every environment as a Gymnasium id, played as EPyMARL's gymma plays it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ibal
from seeing import choose, seeing

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium comes with the dev group: python3 dev.py setup")


def made(name: str, **options: Any) -> Any:
    """As gymma does it: by an id that names its module, with a limit around it."""
    return gymnasium.make(f"ibal.compat.gymnasium:{name}", max_episode_steps=500, **options)


def test_every_environment_has_an_id() -> None:
    made("toy/leak")
    from ibal.compat.gymnasium import identifier

    names = {identifier(name) for name in ibal.environments()}
    assert len(names) == len(ibal.environments())
    assert names <= set(gymnasium.registry)
    assert identifier("lbf/Foraging-20x20-5p-6f-s3-v3") == "lbf/Foraging-20x20-5p-6f-s3.v3"


@pytest.mark.parametrize("attack", ["natural", "random[p=0.5,sigma=0.5]"])
def test_games_as_gymma_plays_them_are_the_episodes_of_an_evaluation(attack: str) -> None:
    env = made("toy/leak", attack=attack)
    assert env.unwrapped.n_agents == len(env.action_space) == len(env.observation_space)
    assert {space.n for space in env.action_space} == {env.unwrapped._series.spec.n_actions}
    table = ibal.evaluate(seeing, attack, env="toy/leak", episodes=4, seed=9, quiet=True)
    env.unwrapped.seed(9)
    for wanted in table.rows["return"]:
        obs, info = env.reset()
        total, over = 0.0, False
        while not over:
            actions = choose(env.unwrapped._series.spec, np.stack(obs), env.unwrapped.get_avail_actions())
            obs, reward, terminated, truncated, info = env.step([int(a) for a in actions])
            assert isinstance(reward, float)  # one for the team: gymma would add up several
            total, over = total + reward, terminated or truncated
        assert total == pytest.approx(wanted)
        assert all(isinstance(value, float) for value in info.values())  # EPyMARL adds them up
    assert env.unwrapped.get_state().shape == (env.unwrapped.state_size,)


def test_wrong_actions_are_answered_with_one_sentence() -> None:
    env = made("toy/leak").unwrapped
    with pytest.raises(ValueError, match="call reset"):
        env.step([0] * env.n_agents)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="got 9 actions, but toy/leak has"):
        env.step([0] * 9)
