"""The part of SMAC's interface that looks at the game between two steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ibal.compat._process import require_jax
from ibal.compat._sizes import Sizes
from ibal.envs.smac.layout import REACH, SIGHT
from ibal.envs.smac.units import UNITS

if TYPE_CHECKING:
    from ibal.compat._compiled import View


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


class Looking(Sizes):
    """Attributes and methods of ``StarCraft2Env`` that tell what is there now. Copies: callers may write into them."""

    _view: View | None = None
    _state: Any = None
    _last: list[int] | None = None  # the actions that led here
    _closed = False

    def _open(self) -> None:
        require_jax()
        if self._closed:
            raise ValueError("this environment has been closed: make a new StarCraft2Env")

    def _current(self) -> View:
        self._open()
        if self._view is None:
            raise ValueError("no episode has been started: call reset() first")
        return self._view

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

    def unit_shoot_range(self, agent_id: int) -> float:
        """How far target actions reach, for every agent."""
        return int(REACH)

    def unit_sight_range(self, agent_id: int) -> float:
        """How far agents see, for every agent."""
        return int(SIGHT)

    def unit_max_cooldown(self, unit: Unit) -> float:
        """What the state divides the unit's cooldown (a medivac's energy) by."""
        return UNITS[unit.unit_type].cooldown_scale

    def unit_max_shield(self, unit: Unit) -> float:
        """Full shield of the unit's type."""
        return UNITS[unit.unit_type].shield

    @property
    def last_action(self) -> np.ndarray:
        """The actions that led here, one-hot [n, a]; zeros after a reset."""
        hot = np.zeros((self.n_agents, self.n_actions))
        if self._last is not None:
            hot[np.arange(self.n_agents), self._last] = 1
        return hot

    @property
    def death_tracker_ally(self) -> np.ndarray:
        """1 for every agent that is dead, else 0."""
        return self._dead(slice(None, self.n_agents), self.n_agents)

    @property
    def death_tracker_enemy(self) -> np.ndarray:
        """1 for every enemy that is dead, by the id that agents know it by, else 0."""
        return self._dead(slice(self.n_agents, None), self.n_enemies)

    def _dead(self, rows: slice, count: int) -> np.ndarray:
        return np.zeros(count) if self._view is None else (self._view.units[rows, 2] <= 0).astype(float)
