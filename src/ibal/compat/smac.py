"""``StarCraft2Env`` with the interface of ``smac.env.StarCraft2Env`` (oxwhirl/smac), on this library's engine."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ibal import rng
from ibal.compat._compiled import View, compiled
from ibal.compat._sizes import Sizes
from ibal.compat.heuristic import Heuristic
from ibal.envs.smac.observe import REACH, SIGHT
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.units import UNITS


class Position(NamedTuple):
    """World coordinates, y up."""

    x: float
    y: float


class Unit(NamedTuple):
    """One unit, with the field names of the game's own record; ``unit_type`` is a name, dead units have health 0."""

    unit_type: str
    pos: Position
    health: float
    health_max: float
    shield: float
    shield_max: float
    energy: float
    weapon_cooldown: float


class StarCraft2Env(Sizes):
    """The StarCraft II environment for decentralised micromanagement, without StarCraft II.

    Arguments, defaults, methods and return types are those of ``smac.env.StarCraft2Env``. What differs:

    - ``difficulty``, ``game_version``, ``replay_dir``, ``replay_prefix``, ``window_size_x``, ``window_size_y`` and
      ``debug`` are accepted and have no effect (no computer player and no window exist; difficulty has none in SMAC
      either: the maps contain no AI).
    - Episodes are reproducible: ``seed`` decides everything. Without it one is drawn; ``seed()`` tells which.
    - An unavailable action raises ValueError instead of AssertionError, and so does a step after the end.
    - ``render`` and ``save_replay`` are not available; see ``ibal.viz``.

    The first ``reset`` and ``step`` of a map compile for some seconds, once per process and set of options.
    """

    def __init__(
        self,
        map_name: str = "8m",
        step_mul: int = 8,
        move_amount: float = 2,
        difficulty: str = "7",
        game_version: str | None = None,
        seed: int | None = None,
        continuing_episode: bool = False,
        obs_all_health: bool = True,
        obs_own_health: bool = True,
        obs_last_action: bool = False,
        obs_pathing_grid: bool = False,
        obs_terrain_height: bool = False,
        obs_instead_of_state: bool = False,
        obs_timestep_number: bool = False,
        state_last_action: bool = True,
        state_timestep_number: bool = False,
        reward_sparse: bool = False,
        reward_only_positive: bool = True,
        reward_death_value: float = 10,
        reward_win: float = 200,
        reward_defeat: float = 0,
        reward_negative_scale: float = 0.5,
        reward_scale: bool = True,
        reward_scale_rate: float = 20,
        replay_dir: str = "",
        replay_prefix: str = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
    ) -> None:
        del difficulty, game_version, replay_dir, replay_prefix, window_size_x, window_size_y, debug
        self.map_name = map_name
        interface = Interface(
            step_mul=int(step_mul),
            move_amount=float(move_amount),
            continuing_episode=continuing_episode,
            obs_all_health=obs_all_health,
            obs_own_health=obs_own_health,
            obs_last_action=obs_last_action,
            obs_pathing_grid=obs_pathing_grid,
            obs_terrain_height=obs_terrain_height,
            obs_instead_of_state=obs_instead_of_state,
            obs_timestep_number=obs_timestep_number,
            state_last_action=state_last_action,
            state_timestep_number=state_timestep_number,
            reward_sparse=reward_sparse,
            reward_only_positive=reward_only_positive,
            reward_death_value=float(reward_death_value),
            reward_win=float(reward_win),
            reward_defeat=float(reward_defeat),
            reward_negative_scale=float(reward_negative_scale),
            reward_scale=reward_scale,
            reward_scale_rate=float(reward_scale_rate),
        )
        super().__init__(scenario(map_name), interface)
        self._game = compiled(map_name, interface, Rules(check_actions=not heuristic_ai))
        self._heuristic = Heuristic(self._scenario, heuristic_rest) if heuristic_ai else None
        self._seed = secrets.randbits(31) if seed is None else int(seed)
        self._key = rng.root(self._seed)
        self._state: Any = None
        self._view: View | None = None
        self._over = self._closed = False
        self._episode = -1
        self.battles_won = self.battles_game = self.timeouts = self.force_restarts = 0

    # -- playing

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start a new episode; return (observations of all agents, state)."""
        self._open()
        self._episode += 1
        self._state, flat = self._game.reset(self._key, np.uint32(self._episode))
        self._view, self._over = self._game.unpack(flat), False
        if self._heuristic:
            self._heuristic.reset()
        return self.get_obs(), self.get_state()

    def step(self, actions: Sequence[int] | np.ndarray) -> tuple[float, bool, dict[str, Any]]:
        """Play one action per agent; return (reward, terminated, info).

        With ``heuristic_ai`` the scripted team's actions are played and written into ``actions`` (as SMAC does).
        """
        view = self._current()
        if self._over:
            raise ValueError("the episode is over: call reset() before the next step()")
        chosen = np.array([int(action) for action in actions], np.int32)
        if chosen.shape != (self.n_agents,):
            raise ValueError(f"step() got {len(chosen)} actions, but {self.map_name} has {self.n_agents} agents")
        if self._heuristic:
            chosen = np.array(self._heuristic.act(view.units, view.avail), np.int32)
            if isinstance(actions, (list, np.ndarray)):
                actions[:] = chosen.tolist()
        else:
            self._check(chosen, view.avail)
        self._state, flat = self._game.step(self._key, np.uint32(self._episode), self._state, chosen)
        self._view = self._game.unpack(flat)
        reward, terminated, truncated, won, dead_allies, dead_enemies, timeout = self._view.result.tolist()
        self._over = bool(terminated or truncated)
        info: dict[str, Any] = {
            "battle_won": bool(won),
            "dead_allies": int(dead_allies),
            "dead_enemies": int(dead_enemies),
        }
        if truncated:
            info["episode_limit"] = True
        if self._over:
            self.battles_game += 1
            self.battles_won += int(won)
            self.timeouts += int(timeout)
        return reward, self._over, info

    def _check(self, actions: np.ndarray, avail: np.ndarray) -> None:
        """Raise ValueError for the first agent whose action is not available."""
        names = self._spec.action_names
        for agent, action in enumerate(actions.tolist()):
            if not 0 <= action < self.n_actions or not avail[agent, action]:
                what = f' ("{names[action]}")' if 0 <= action < self.n_actions else ""
                legal = ", ".join(f"{a} ({names[a]})" for a in np.flatnonzero(avail[agent]))
                raise ValueError(f"agent {agent} cannot perform action {action}{what}; available: {legal}")

    def close(self) -> None:
        """End the use of this object; calling it twice is fine."""
        self._closed, self._state, self._view = True, None, None

    def full_restart(self) -> None:
        """Drop the current episode (the game itself has nothing to restart); call reset() next."""
        self._open()
        self.force_restarts += 1
        self._state = self._view = None

    def _open(self) -> None:
        if self._closed:
            raise ValueError("this environment has been closed: make a new StarCraft2Env")

    def _current(self) -> View:
        self._open()
        if self._view is None:
            raise ValueError("no episode has been started: call reset() first")
        return self._view

    # -- looking

    def get_obs(self) -> list[np.ndarray]:
        """Observations of all agents, float32."""
        return list(self._current().obs.copy())

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """Observation of one agent."""
        return self._current().obs[agent_id].copy()

    def get_state(self) -> np.ndarray:
        """The global state, float32; not for use in decentralised execution."""
        return self._current().state.copy()

    def get_state_dict(self) -> dict[str, Any]:
        """The state by parts: "allies" [n, f], "enemies" [m, f], "last_action" [n, a], "timestep"."""
        if self._interface.obs_instead_of_state:
            raise ValueError("with obs_instead_of_state the state is the agents' observations and has no other parts")
        state, layout = self.get_state(), self._spec.state_layout
        parts = {"allies": "ally", "enemies": "enemy", "last_action": "last_action"}
        rows = {"allies": self.n_agents, "enemies": self.n_enemies, "last_action": self.n_agents}
        found = {
            part: state[layout.mask(kind)].reshape(rows[part], -1)
            for part, kind in parts.items()
            if kind in layout.kinds
        }
        return {**found, "timestep": float(state[-1])} if "time" in layout.kinds else found

    def get_avail_actions(self) -> list[list[int]]:
        """Masks of all agents."""
        return self._current().avail.astype(int).tolist()

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """Mask of one agent: 1 where the action is available."""
        return self._current().avail[agent_id].astype(int).tolist()

    def get_visibility_matrix(self) -> np.ndarray:
        """bool[n, n + m]: which units each agent sees (itself excluded, as in SMAC)."""
        units, n = self._current().units, self.n_agents
        alive = units[:, 2] > 0
        distance = np.hypot(units[:n, None, 0] - units[None, :, 0], units[:n, None, 1] - units[None, :, 1])
        seen = (distance < SIGHT) & alive[None, :] & alive[:n, None]
        seen[:, :n] &= ~np.eye(n, dtype=bool)
        return seen

    def get_unit_by_id(self, a_id: int) -> Unit:
        """One agent's unit."""
        return self._unit(a_id, self._scenario.ally_types[a_id].name)

    @property
    def agents(self) -> dict[int, Unit]:
        """All agents' units."""
        return {i: self.get_unit_by_id(i) for i in range(self.n_agents)}

    @property
    def enemies(self) -> dict[int, Unit]:
        """All enemies by the id that agents know them by."""
        self._current()
        types, order = self._scenario.enemy_types, np.asarray(self._state.enemy_order).tolist()
        return {j: self._unit(self.n_agents + j, types[order[j]].name) for j in range(self.n_enemies)}

    def _unit(self, row: int, name: str) -> Unit:
        x, y, health, shield, energy, cooldown = self._current().units[row].tolist()
        kind = UNITS[name]
        return Unit(name, Position(x, y), health, kind.health, shield, kind.shield, energy, max(cooldown, 0.0))

    @staticmethod
    def distance(x1: float, y1: float, x2: float, y2: float) -> float:
        """Distance between two points."""
        return math.hypot(x2 - x1, y2 - y1)

    def unit_shoot_range(self, agent_id: int) -> int:
        """How far target actions reach, for every agent."""
        return int(REACH)

    def unit_sight_range(self, agent_id: int) -> int:
        """How far agents see, for every agent."""
        return int(SIGHT)

    def unit_max_cooldown(self, unit: Unit) -> float:
        """What the state divides the unit's cooldown (a medivac's energy) by."""
        return UNITS[unit.unit_type].cooldown_scale

    def unit_max_shield(self, unit: Unit) -> float:
        """Full shield of the unit's type."""
        return UNITS[unit.unit_type].shield

    # -- statistics

    def get_stats(self) -> dict[str, float]:
        """Counts over all finished episodes; ``battles_draw`` is the number of time-outs, as in SMAC."""
        return {
            "battles_won": self.battles_won,
            "battles_game": self.battles_game,
            "battles_draw": self.timeouts,
            "win_rate": self.battles_won / self.battles_game if self.battles_game else 0.0,
            "timeouts": self.timeouts,
            "restarts": self.force_restarts,
        }

    def seed(self) -> int:
        """The random seed in use."""
        return self._seed

    def render(self, mode: str = "human") -> None:
        """Not available here: record an episode with ``ibal.viz`` instead."""
        raise NotImplementedError("StarCraft2Env draws nothing; record an episode with ibal.viz (ibal replay) instead")

    def save_replay(self) -> None:
        """Not available here: there is no StarCraft II to write an .SC2Replay file."""
        raise NotImplementedError("no .SC2Replay without StarCraft II; record an episode with ibal.viz instead")
