"""The part of SMAC's interface that is known before anything is played."""

from __future__ import annotations

from typing import Any

import numpy as np

from ibal.envs.smac.layout import FIRST_TARGET, MOVES, env_spec, max_reward
from ibal.envs.smac.rules import Interface
from ibal.envs.smac.scenarios import Scenario
from ibal.envs.smac.terrain import PLAYABLE, SIZE, terrain

_AROUND = 8  # cells looked at around an agent; the height features add its own
# SMAC's names for the kinds of teams that its maps have.
_MAP_TYPES = {
    ("baneling", "zergling"): "bane",
    ("colossus",): "colossus",
    ("colossus", "stalker", "zealot"): "colossi_stalkers_zealots",
    ("hydralisk",): "hydralisks",
    ("marauder", "marine", "medivac"): "MMM",
    ("marine",): "marines",
    ("stalker",): "stalkers",
    ("stalker", "zealot"): "stalkers_and_zealots",
    ("zealot",): "zealots",
}


class Sizes:
    """Attributes and methods of ``StarCraft2Env`` that only tell sizes and names. None of them needs jax.

    ``marine_id`` and its like are what ``Unit.unit_type`` says of such a unit: here, its name.
    """

    n_actions_no_attack, n_actions_move = FIRST_TARGET, len(MOVES)
    n_obs_pathing, n_obs_height = _AROUND, _AROUND + 1
    map_x = map_y = SIZE
    max_distance_x = max_distance_y = PLAYABLE[1] - PLAYABLE[0]
    marine_id, marauder_id, medivac_id = "marine", "marauder", "medivac"
    stalker_id, zealot_id, colossus_id = "stalker", "zealot", "colossus"
    hydralisk_id, zergling_id, baneling_id = "hydralisk", "zergling", "baneling"

    def __init__(self, scenario: Scenario, interface: Interface) -> None:
        self._scenario, self._interface = scenario, interface
        self._spec = env_spec(scenario, interface)
        self.n_agents, self.n_enemies = scenario.n_agents, scenario.n_enemies
        self.n_actions, self.episode_limit = scenario.n_actions, scenario.limit
        self.max_reward = max_reward(scenario, interface)
        self.map_type = _MAP_TYPES.get(tuple(sorted({unit.name for unit in scenario.ally_types})), scenario.name)
        self._step_mul, self._move_amount = interface.step_mul, interface.move_amount
        self._agent_race, self._bot_race = scenario.ally_race, scenario.enemy_race
        self.unit_type_bits = len(scenario.ally_bits)
        self.shield_bits_ally = int(scenario.ally_race == "P")
        self.shield_bits_enemy = int(scenario.enemy_race == "P")
        bits = [f"type_{bit}" for bit in range(self.unit_type_bits)]
        position, shield = ["rel_x", "rel_y"], ["shield"]
        self.ally_state_attr_names = ["health", "energy/cooldown", *position, *shield * self.shield_bits_ally, *bits]
        self.enemy_state_attr_names = ["health", *position, *shield * self.shield_bits_enemy, *bits]

    @property
    def pathing_grid(self) -> np.ndarray:
        """bool[32, 32], indexed [x, y]: the cells that can be walked on."""
        return terrain(self._scenario.terrain).walkable.T.copy()

    def get_total_actions(self) -> int:
        """Number of actions of an agent."""
        return self.n_actions

    def get_obs_size(self) -> int:
        """Length of an observation."""
        return self._spec.obs_size

    def get_state_size(self) -> int:
        """Length of the state."""
        return self._spec.state_size

    def get_obs_move_feats_size(self) -> int:
        """Length of the movement part of an observation."""
        pathing, height = self._interface.obs_pathing_grid, self._interface.obs_terrain_height
        return len(MOVES) + self.n_obs_pathing * pathing + self.n_obs_height * height

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        """(rows, width) of the enemy part of an observation."""
        return self.n_enemies, self._width("enemy")

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        """(rows, width) of the ally part of an observation."""
        return self.n_agents - 1, self._width("ally")

    def get_obs_own_feats_size(self) -> int:
        """Length of the agent's own part of an observation; counts the time, as SMAC does."""
        return self._width("own") + self._width("time")

    def _width(self, kind: str) -> int:
        return next((len(b.features) for b in self._spec.obs_layout.blocks if b.kind == kind), 0)

    def get_ally_num_attributes(self) -> int:
        """Width of an ally row of the state."""
        return len(self.ally_state_attr_names)

    def get_enemy_num_attributes(self) -> int:
        """Width of an enemy row of the state."""
        return len(self.enemy_state_attr_names)

    def get_env_info(self) -> dict[str, Any]:
        """Sizes that learners ask for."""
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "agent_features": self.ally_state_attr_names,
            "enemy_features": self.enemy_state_attr_names,
        }
