"""PettingZoo's parallel environments, played step by step: ``pettingzoo:mpe2.simple_spread_v3``.

    env = ibal.make("pettingzoo:mpe2.simple_spread_v3", max_cycles=25)     # options are those of its parallel_env

The name is that of a module that has ``parallel_env``. Observations of different sizes are filled up with zeros;
actions that an agent lacks, or that its mask forbids (in the observation or in the infos), are not available. An agent
that has left is not alive, and what it does is not passed on. The reward is the mean of the agents' rewards; the state
is the environment's own where it has one, else all observations in a row. An episode is truncated where nobody is left
and not everybody has terminated. The seed of an episode comes from its key: episode ``i`` is the same whoever plays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ibal.envs.adapters.mpe import spread
from ibal.envs.adapters.optional import library, silently
from ibal.game.host import moment, plain_spec
from ibal.game.keys import world_seed
from ibal.options import ConfigError
from ibal.types import Env, EnvSpec, TimeStep

LAYOUTS = {"mpe2.simple_spread_v3": lambda spec: spread(spec.n_agents, (spec.obs_size - 4 * spec.n_agents) // 2)}


def make(name: str, *, horizon: int | None = None, **options: Any) -> Env:
    """Return a parallel environment as one that is played in Python. ``horizon``: its most steps, if it does not say.

    Raises ConfigError for a module that there is not, or an environment that no team with a list of actions can play.
    """
    library("pettingzoo")
    try:
        module = silently(name)
    except ModuleNotFoundError as error:
        package = (error.name or name).partition(".")[0]
        raise ConfigError(f'"pettingzoo:{name}": there is no module "{error.name}"; pip install {package}?') from error
    if not hasattr(module, "parallel_env"):
        raise ConfigError(f'"pettingzoo:{name}": the module has no parallel_env')

    def made() -> Any:
        return module.parallel_env(**{"render_mode": "rgb_array"} | options)

    spec = _spec(f"pettingzoo:{name}", made(), horizon)
    if name in LAYOUTS and (layout := LAYOUTS[name](spec)).size == spec.obs_size:
        spec = replace(spec, obs_layout=layout)

    def refuse(*args: Any) -> Any:
        raise ConfigError(
            f"{spec.name} is played in Python, step by step: it can be evaluated, attacked and watched, but not "
            "trained in; train where it comes from, and give the team here"
        )

    return Env(spec, (), lambda key, params: refuse(), lambda key, state, actions, params: refuse(),
               host=lambda: ParallelWorld(spec, made))  # fmt: skip


class ParallelWorld:
    """A parallel environment as a ``World``; ``picture()`` is what it draws itself, [h, w, 3], or None."""

    def __init__(self, spec: EnvSpec, made: Callable[[], Any]) -> None:
        self.spec = spec
        self._env = made()
        self._names: list[str] = list(self._env.possible_agents)
        self._counts = [int(self._env.action_space(name).n) for name in self._names]

    def reset(self, key: jax.Array) -> TimeStep:
        """Begin the episode of a key."""
        self._clock = 0
        seen, infos = self._env.reset(seed=world_seed(key))
        return self._moment(seen, infos, {}, {}, 0.0)

    def step(self, actions: np.ndarray) -> TimeStep:
        """Let those who are there act."""
        self._clock += 1
        there = set(self._env.agents)
        given = {name: int(actions[i]) for i, name in enumerate(self._names) if name in there}
        seen, rewards, ended, cut, infos = self._env.step(given)
        return self._moment(seen, infos, ended, cut, sum(map(float, rewards.values())) / len(self._names))

    def picture(self) -> np.ndarray | None:
        """Return what the environment draws of this moment."""
        shown = self._env.render() if self._env.render_mode == "rgb_array" else None
        return None if shown is None else np.asarray(shown, np.uint8)

    def _moment(self, seen: Any, infos: Any, ended: Any, cut: Any, reward: float) -> TimeStep:
        spec, there = self.spec, set(self._env.agents)
        obs = np.zeros((spec.n_agents, spec.obs_size), np.float32)
        avail = np.zeros((spec.n_agents, spec.n_actions), bool)
        for i, name in enumerate(self._names):
            avail[i, 0] = name not in there  # who has left may do anything: it is not passed on
            if name not in seen:
                continue
            mine, mask = _parts(seen[name], infos.get(name, {}))
            flat = np.asarray(mine, np.float32).ravel()
            if flat.size > spec.obs_size:
                raise ValueError(f"{name} sees {flat.size} numbers, but its space says at most {spec.obs_size}")
            obs[i, : flat.size] = flat
            if name in there:
                avail[i, : self._counts[i]] = True if mask is None else np.asarray(mask).astype(bool)
        over = self._clock > 0 and not there
        terminated = over and all(ended.get(name, True) for name in self._names)
        return moment(
            spec, obs, avail, reward=reward, terminated=terminated, truncated=over and not terminated,
            alive=[name in there for name in self._names] if there else None, state=_state(self._env, obs),
        )  # fmt: skip


def _parts(seen: Any, info: Any) -> tuple[Any, Any]:
    """Return what an agent sees, and its mask, wherever that is."""
    if isinstance(seen, dict):
        return seen["observation"], seen.get("action_mask", info.get("action_mask"))
    return seen, info.get("action_mask")


def _state(env: Any, obs: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(env.state(), np.float32).ravel()
    except (NotImplementedError, AttributeError):
        return obs.ravel()


def _spec(name: str, env: Any, horizon: int | None) -> EnvSpec:
    env.reset(seed=0)
    names = list(env.possible_agents)
    spaces = [env.action_space(agent) for agent in names]
    if wrong := [type(space).__name__ for space in spaces if type(space).__name__ != "Discrete"]:
        raise ConfigError(f"{name} is acted in by a {wrong[0]}; a team chooses among a list of actions")
    seen = [env.observation_space(agent) for agent in names]
    size = max(int(np.prod(getattr(space, "spaces", {"observation": space})["observation"].shape)) for space in seen)
    inner = getattr(env, "unwrapped", env)
    limit = horizon or getattr(inner, "max_cycles", None) or getattr(getattr(inner, "env", None), "max_cycles", None)
    limit = limit or getattr(getattr(getattr(inner, "env", None), "unwrapped", None), "max_cycles", None)
    if limit is None:
        raise ConfigError(f"{name} does not say how long its episodes are at most; give horizon=…")
    states = _state(env, np.zeros((len(names), size), np.float32)).size
    return plain_spec(name, len(names), max(int(space.n) for space in spaces), size, int(limit), state_size=states)
