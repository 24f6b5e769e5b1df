"""A team of Stable-Baselines3 (torch) on a world of PettingZoo, trained there and audited here.

    pip install stable-baselines3 "ibal[pettingzoo]" mpe2
    python examples/torch_on_pettingzoo.py --steps 600000 --out spread.zip       # some minutes on two cores
    ibal audit sb3:spread.zip --env pettingzoo:mpe2.simple_spread_v3

One network for all agents: every agent of every game is an environment of its own for PPO.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from mpe2 import simple_spread_v3
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv


class Shared(VecEnv):
    """Games of a PettingZoo parallel environment in which all agents are alike and play to the end."""

    def __init__(self, make: Callable[[], Any], games: int) -> None:
        self._games = [make() for _ in range(games)]
        self._names = list(self._games[0].possible_agents)
        one = self._names[0]
        size = games * len(self._names)
        super().__init__(size, self._games[0].observation_space(one), self._games[0].action_space(one))

    def reset(self) -> np.ndarray:
        seed = self._seeds[0] or 0
        return self._rows([game.reset(seed=seed + i)[0] for i, game in enumerate(self._games)])

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions.reshape(len(self._games), -1)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        seen, rewards, over, infos = [], [], [], []
        for game, actions in zip(self._games, self._actions, strict=True):
            now, paid, ended, cut, _ = game.step(dict(zip(self._names, map(int, actions), strict=True)))
            done = not game.agents
            for name in self._names:
                rewards.append(paid[name])
                over.append(done)
                timed_out = done and cut[name] and not ended[name]
                infos.append({"terminal_observation": now[name], "TimeLimit.truncated": timed_out} if done else {})
            seen.append(game.reset()[0] if done else now)
        return self._rows(seen), np.array(rewards, np.float32), np.array(over), infos

    def _rows(self, seen: list[dict[str, np.ndarray]]) -> np.ndarray:
        return np.stack([one[name] for one in seen for name in self._names]).astype(np.float32)

    def close(self) -> None:
        for game in self._games:
            game.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._games[0], attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **named: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def main(steps: int = 600_000, out: str = "spread.zip", games: int = 16, seed: int = 0) -> Any:
    """Train for ``steps`` games' steps (of all games together), save the archive and return the model."""
    world = Shared(simple_spread_v3.parallel_env, games)
    length = 128
    model = PPO(
        "MlpPolicy", world, n_steps=length, batch_size=length * world.num_envs // 4, n_epochs=6, gamma=0.95,
        gae_lambda=0.9, ent_coef=0.01, learning_rate=1e-3, seed=seed, device="cpu", verbose=1,
    )  # fmt: skip
    model.learn(steps * world.num_envs // games)
    model.save(out)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600_000)
    parser.add_argument("--out", default="spread.zip")
    main(**vars(parser.parse_args()))
