"""The part of SMAC's interface that is known before anything is played."""

from __future__ import annotations

from typing import Any

from ibal.envs.smac.layout import MOVES, env_spec
from ibal.envs.smac.reward import max_reward
from ibal.envs.smac.rules import Interface
from ibal.envs.smac.scenarios import Scenario


class Sizes:
    """Attributes and methods of ``StarCraft2Env`` that only tell sizes and names."""

    def __init__(self, scenario: Scenario, interface: Interface) -> None:
        self._scenario, self._interface = scenario, interface
        self._spec = env_spec(scenario, interface)
        self.n_agents, self.n_enemies = scenario.n_agents, scenario.n_enemies
        self.n_actions, self.episode_limit = scenario.n_actions, scenario.limit
        self.max_reward = max_reward(scenario, interface)
        self.unit_type_bits = len(scenario.ally_bits)
        self.shield_bits_ally = int(scenario.ally_race == "P")
        self.shield_bits_enemy = int(scenario.enemy_race == "P")
        bits = [f"type_{bit}" for bit in range(self.unit_type_bits)]
        position, shield = ["rel_x", "rel_y"], ["shield"]
        self.ally_state_attr_names = ["health", "energy/cooldown", *position, *shield * self.shield_bits_ally, *bits]
        self.enemy_state_attr_names = ["health", *position, *shield * self.shield_bits_enemy, *bits]

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
        return len(MOVES) + 8 * self._interface.obs_pathing_grid + 9 * self._interface.obs_terrain_height

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
