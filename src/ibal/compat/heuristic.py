"""SMAC's scripted team (``heuristic_ai``): everyone attacks the nearest enemy, medivacs heal the nearest wounded."""

from __future__ import annotations

import numpy as np

from ibal.envs.smac.layout import FIRST_MOVE, FIRST_TARGET, NO_OP
from ibal.envs.smac.scenarios import Scenario

_LIMIT = float(np.hypot(28.0, 28.0))  # SMAC looks no further than the diagonal of the playable rectangle


class Heuristic:
    """Chooses actions that ignore the masks, keeping each target until it is dead (healing: or full).

    With ``rest`` an agent whose choice is not available walks toward its target instead, along the longer axis. SMAC
    means marauders to skip enemy medivacs, but compares the wrong type id: they target them, and so do ours.
    Source: ``get_agent_action_heuristic`` of oxwhirl/smac.
    """

    def __init__(self, scenario: Scenario, rest: bool = False) -> None:
        self._n, self._rest = scenario.n_agents, rest
        self._max_health = np.array([t.health for t in (*scenario.ally_types, *scenario.enemy_types)], np.float32)
        self._ally_names = [t.name for t in scenario.ally_types]
        self._heals = scenario.heals
        self.reset()

    def reset(self) -> None:
        """Forget all targets."""
        self._targets: list[int | None] = [None] * self._n

    def act(self, units: np.ndarray, avail: np.ndarray) -> list[int]:
        """Return the team's actions; ``units`` [u, 6] as in ``View`` (enemies by enemy id)."""
        return [self._one(i, units, avail[i]) for i in range(self._n)]

    def _one(self, agent: int, units: np.ndarray, avail: np.ndarray) -> int:
        if units[agent, 2] <= 0:
            return NO_OP
        n, heals = self._n, self._heals and self._ally_names[agent] == "medivac"
        group = units[:n] if heals else units[n:]
        if heals:
            candidates = (group[:, 2] > 0) & (group[:, 2] < self._max_health[:n])
            candidates &= np.array([other != "medivac" for other in self._ally_names])
        else:
            candidates = group[:, 2] > 0
        target = self._targets[agent]
        if target is None or not candidates[target]:
            distance = np.hypot(*(group[:, :2] - units[agent, :2]).T)
            distance = np.where(candidates, distance, np.inf)
            best = int(distance.argmin())
            target = best if distance[best] < _LIMIT else None
            self._targets[agent] = target
        if target is None:
            return NO_OP
        action = FIRST_TARGET + target
        if self._rest and not (action < len(avail) and avail[action]):
            dx, dy = group[target, :2] - units[agent, :2]
            along_x = abs(dx) > abs(dy)
            return FIRST_MOVE + (2 + int(dx <= 0) if along_x else int(dy <= 0))
        return action
