"""Every environment of this library as a PettingZoo ``ParallelEnv``.

    from ibal.compat.pettingzoo import parallel_env
    game = parallel_env("smac/3m")                                   # or an ibal.Env, or ibal.attacked(...)
    observations, infos = game.reset(seed=0)                         # infos["agent_0"]["action_mask"]

Needs the package pettingzoo. Agents that are out of the game stay in ``agents`` until it ends: nothing but the no-op is
in their masks. ``reset(seed=S)`` begins the games of ``ibal evaluate --seed S``; later resets go on with them. All
agents get the team's reward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ibal.api.given import GivenAttack, GivenEnv
from ibal.compat._series import Series, world_of
from ibal.envs.adapters.optional import library
from ibal.types import TimeStep

pettingzoo, spaces = library("pettingzoo"), library("gymnasium").spaces

__all__ = ["ParallelGame", "parallel_env"]


def parallel_env(
    env: GivenEnv, attack: GivenAttack | None = None, *, mask_in_observation: bool = False, **options: Any
) -> ParallelGame:
    """Return an environment, under an attack if one is given, as a ``ParallelEnv``.

    ``mask_in_observation``: an observation is a dict of "observation" and "action_mask"; else the mask is in ``infos``.
    ``options`` are those of ``ibal.make``. Raises as ``ibal.make`` and ``ibal.attacked``.
    """
    return ParallelGame(Series(world_of(env, attack, **options)), mask_in_observation)


class ParallelGame(pettingzoo.ParallelEnv):
    """One game at a time, from Python; for speed, play batches of ``ibal.make(...)`` instead."""

    def __init__(self, series: Series, mask_in_observation: bool = False) -> None:
        spec = series.spec
        self._series, self._mask_inside = series, mask_in_observation
        self.metadata = {"name": spec.name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.possible_agents = [f"agent_{i}" for i in range(spec.n_agents)]
        self.agents: list[str] = []
        box = spaces.Box(-np.inf, np.inf, (spec.obs_size,), np.float32)
        seen = spaces.Dict({"observation": box, "action_mask": spaces.Box(0, 1, (spec.n_actions,), np.int8)})
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen if mask_in_observation else box)
        self.action_spaces = {name: spaces.Discrete(spec.n_actions) for name in self.possible_agents}
        self.state_space = spaces.Box(-np.inf, np.inf, (spec.state_size,), np.float32)

    def observation_space(self, agent: str) -> Any:
        """Return the space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Return the space of an agent's actions; which of them are legal now is in its mask."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin a game; return observations and infos by agent."""
        step = self._series.begin(seed)
        self.agents = self.possible_agents[:]
        return self._seen(step), self._infos(step)

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Play an action of every agent. What is not legal is answered by the world's own rules."""
        if missing := [name for name in self.agents if name not in actions]:
            raise ValueError(f"step() got no action of {missing[0]}: every agent acts until the game ends")
        step = self._series.step(np.array([int(actions[name]) for name in self.agents], np.int32))
        names = self.agents
        if step.terminated or step.truncated:
            self.agents = []
        return (
            self._seen(step), dict.fromkeys(names, float(step.reward)), dict.fromkeys(names, bool(step.terminated)),
            dict.fromkeys(names, bool(step.truncated)), self._infos(step),
        )  # fmt: skip

    def state(self) -> np.ndarray:
        """Return the true state [s], float32: of the world, whatever an attack shows."""
        return np.asarray(self._series.now.state)

    def render(self) -> None:
        """Draw nothing: ``ibal.watch`` makes a page that plays a game."""
        raise NotImplementedError("nothing is drawn here; ibal.watch makes a page that plays a game")

    def _seen(self, step: TimeStep) -> dict[str, Any]:
        if not self._mask_inside:
            return dict(zip(self.possible_agents, step.obs, strict=True))
        return {
            name: {"observation": obs, "action_mask": mask}
            for name, obs, mask in zip(self.possible_agents, step.obs, step.avail.astype(np.int8), strict=True)
        }

    def _infos(self, step: TimeStep) -> dict[str, dict[str, Any]]:
        metrics = {name: float(value) for name, value in step.metrics.items()}
        return {
            name: {"action_mask": mask, "alive": bool(alive), **metrics}
            for name, mask, alive in zip(self.possible_agents, step.avail.astype(np.int8), step.alive, strict=True)
        }
