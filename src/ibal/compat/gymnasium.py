"""Every environment of this library as a Gymnasium id, as EPyMARL takes them: importing this module registers them.

    gymnasium.make("ibal.compat.gymnasium:smac/3m")                            # in a program
    python src/main.py --config=qmix --env-config=gymma with env_args.time_limit=60 \
        env_args.key="ibal.compat.gymnasium:smac/3m"                             # EPyMARL
    gymnasium.make("ibal.compat.gymnasium:smac/3m", attack="random[p=0.3]")     # under attack

Needs the package gymnasium. Spaces are joint (a ``Tuple`` with one space for each agent), the reward is the team's.
EPyMARL's ``gymma`` knows neither masks nor a state: it takes all observations in a row for one, and sends actions that
are not legal, which the world answers by its own rules. For Level-Based Foraging ``ibal.compat.lbf`` gives each
player's own reward.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ibal import envs
from ibal.api.given import GivenAttack, GivenEnv
from ibal.compat._actions import joint_action
from ibal.compat._series import Series, world_of
from ibal.envs.adapters.optional import library

gymnasium = library("gymnasium")

__all__ = ["JointGame", "identifier", "register"]


class JointGame(gymnasium.Env):
    """A world whose agents act together. ``options`` are those of ``ibal.make``.

    ``reset(seed)`` -> (observations of all agents, metrics); ``step(actions)`` -> (observations, the team's reward,
    terminated, truncated, metrics). ``seed`` begins the games of ``ibal evaluate --seed``; further resets go on with
    them.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (gymnasium's own form)

    def __init__(self, env: GivenEnv, attack: GivenAttack | None = None, **options: Any) -> None:
        self._series = Series(world_of(env, attack, **options))
        spec = self._series.spec
        self.n_agents, self.state_size = spec.n_agents, spec.state_size
        box = gymnasium.spaces.Box(-np.inf, np.inf, (spec.obs_size,), np.float32)
        self.observation_space = gymnasium.spaces.Tuple([box] * self.n_agents)
        self.action_space = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(spec.n_actions)] * self.n_agents)

    def seed(self, seed: Any = None) -> list[int]:
        """Take a seed, or draw one: the next ``reset`` starts the first game of its series."""
        return [self._series.seed(seed)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a new game."""
        step = self._series.begin(seed)
        return tuple(step.obs), self._metrics()

    def step(self, actions: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play one action for each agent."""
        chosen = joint_action(actions, self.n_agents, self._series.spec.name)
        step = self._series.step(np.array(chosen, np.int32))
        return tuple(step.obs), float(step.reward), bool(step.terminated), bool(step.truncated), self._metrics()

    def get_state(self) -> np.ndarray:
        """Return the true state [s], float32."""
        return np.asarray(self._series.now.state)

    def get_avail_actions(self) -> np.ndarray:
        """Return the masks [n, a]: 1 where an action is legal."""
        return np.asarray(self._series.now.avail, np.int8)

    def render(self) -> None:
        """Draw nothing: ``ibal.watch`` makes a page that plays a game."""
        raise NotImplementedError("nothing is drawn here; ibal.watch makes a page that plays a game")

    def _metrics(self) -> dict[str, float]:
        """Numbers only: EPyMARL adds up whatever it finds here."""
        return {name: float(value) for name, value in self._series.now.metrics.items()}


def identifier(name: str) -> str:
    """Return the id of an environment: its name. Gymnasium has none with a version beside the same one without: such a
    one ends with ".v3" instead of "-v3"."""
    plain = re.sub(r"-v\d+$", "", name)
    return name if plain == name or plain not in envs.TABLE else f"{plain}.{name.removeprefix(plain + '-')}"


def register() -> None:
    """Register the names of ``ibal.environments()``; one that exists already is replaced."""
    for name in envs.TABLE:
        gymnasium.registry.pop(identifier(name), None)
        gymnasium.register(
            identifier(name),
            entry_point="ibal.compat.gymnasium:JointGame",
            kwargs={"env": name},
            disable_env_checker=True,
        )  # a checker would want no joint spaces


register()
