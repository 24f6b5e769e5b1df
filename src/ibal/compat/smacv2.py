"""``StarCraft2Env`` and ``StarCraftCapabilityEnvWrapper`` with the interface of smacv2 (oxwhirl/smacv2), on our engine.

As with ``ibal.compat.smac``, neither importing this module nor making an environment nor asking for its sizes imports
jax.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from ibal.compat import smac
from ibal.compat._looking import Position, Unit
from ibal.compat._process import require_jax
from ibal.envs.smac.layout import MOVES, REACH, SIGHT
from ibal.envs.smac.rules import Rules
from ibal.envs.smacv2 import armies
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.layout import env_spec, expected_max_reward, first_target
from ibal.envs.smacv2.options import Options

if TYPE_CHECKING:
    from ibal.compat._compiled import Compiled

__all__ = ["Position", "StarCraft2Env", "StarCraftCapabilityEnvWrapper", "Unit"]

_RACES = {"10gen_terran": "T", "10gen_zerg": "Z", "10gen_protoss": "P"}
_MAP_TYPES = {"T": "terran_gen", "Z": "zerg_gen", "P": "protoss_gen"}


class StarCraft2Env(smac.StarCraft2Env):
    """SMACv2's environment, without StarCraft II.

    Arguments, defaults, methods and return types are those of ``smacv2.env.StarCraft2Env``; what is said of
    ``ibal.compat.smac.StarCraft2Env`` holds here, too, and docs/compat.md lists what is there. What differs:

    - ``map_name`` is 10gen_terran, 10gen_zerg or 10gen_protoss; maps of SMAC are in ``ibal.compat.smac``.
    - ``capability_config`` needs "team_gen" with "weighted_teams" and "start_positions" with "surrounded_and_reflect",
      the distributions of all published configurations. ``reset()`` draws by them; ``reset(config)`` plays the teams
      and places of ``config`` instead, as the original does. Places outside the playable rectangle are pulled in.
    - Rewards are scaled by the enemies that are expected, not by those of the first episode.
    - ``kill_unit_step_mul``, ``obs_starcraft`` and ``log_more_stats`` have no effect; ``heuristic_ai`` is not there.
    """

    _known = frozenset(field.name for field in fields(Options)) - {"step_mul", "move_amount"}

    def __init__(
        self,
        map_name: str = "10gen_terran",
        step_mul: int | None = 8,
        move_amount: float = 2,
        difficulty: str = "7",
        game_version: str | None = None,
        seed: SupportsIndex | None = None,
        continuing_episode: bool = False,
        obs_all_health: bool = True,
        obs_own_health: bool = True,
        obs_last_action: bool = False,
        obs_pathing_grid: bool = False,
        obs_terrain_height: bool = False,
        obs_instead_of_state: bool = False,
        obs_timestep_number: bool = False,
        obs_own_pos: bool = False,
        obs_starcraft: bool = True,
        conic_fov: bool = False,
        num_fov_actions: int = 12,
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
        use_unit_ranges: bool = False,
        min_attack_range: float = 2,
        kill_unit_step_mul: int = 2,
        fully_observable: bool = False,
        capability_config: Mapping[str, Any] | None = None,
        replay_dir: str | None = "",
        replay_prefix: str | None = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
        prob_obs_enemy: float = 1.0,
        action_mask: bool = True,
        log_more_stats: bool = False,
    ) -> None:
        require_jax()
        if heuristic_ai:
            raise ValueError("heuristic_ai is not there for SMACv2; ibal.compat.smac has it for the maps of SMAC")
        self._army, self._surrounded = read_army(map_name, capability_config or {})
        options = Options(
            step_mul=8 if step_mul is None else int(step_mul),
            move_amount=float(move_amount),
            continuing_episode=continuing_episode,
            obs_all_health=obs_all_health,
            obs_own_health=obs_own_health,
            obs_last_action=obs_last_action,
            obs_pathing_grid=obs_pathing_grid,
            obs_terrain_height=obs_terrain_height,
            obs_instead_of_state=obs_instead_of_state,
            obs_timestep_number=obs_timestep_number,
            obs_own_pos=obs_own_pos,
            conic_fov=conic_fov,
            num_fov_actions=num_fov_actions,
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
            use_unit_ranges=use_unit_ranges,
            min_attack_range=float(min_attack_range),
            fully_observable=fully_observable,
            prob_obs_enemy=float(prob_obs_enemy),
            action_mask=action_mask,
        )
        self.capability_config = capability_config or {}
        self._drawn: Any = None  # teams and places that were given for this episode, and for the last one that began
        self._drawn_last: Any = None
        self._sizes(options)
        self._begin_counting(
            map_name, difficulty, game_version, debug, (window_size_x, window_size_y), replay_dir, replay_prefix, seed
        )

    def _sizes(self, options: Options) -> None:
        """What ``_sizes.Sizes`` sets for a map of SMAC."""
        army = self._army
        self._interface, self._spec = options, env_spec(army, options, Rules.of(self.version))
        self.n_agents, self.n_enemies = army.n_agents, army.n_enemies
        self.n_actions, self.episode_limit = self._spec.n_actions, army.limit
        self.n_fov_actions = options.turns
        self.n_actions_no_attack, self.n_actions_move = first_target(options), len(MOVES)
        self.max_reward = expected_max_reward(army, options)
        self.map_type = _MAP_TYPES[army.race]
        self._step_mul, self._move_amount = options.step_mul, options.move_amount
        self._agent_race = self._bot_race = army.race
        self.unit_type_bits = len(army.types)
        self.shield_bits_ally = self.shield_bits_enemy = int(army.shields)
        bits = [f"type_{bit}" for bit in range(self.unit_type_bits)]
        position, shield = ["rel_x", "rel_y"], ["shield"] * self.shield_bits_ally
        view = ["fov_x", "fov_y"] if options.conic_fov else []
        self.ally_state_attr_names = ["health", "energy/cooldown", *position, *shield, *view, *bits]
        self.enemy_state_attr_names = ["health", *position, *shield, *bits]

    # -- playing

    def reset(self, episode_config: Mapping[str, Any] | None = None) -> tuple[list[np.ndarray], np.ndarray]:
        """Start a new episode; return (observations of all agents, state).

        ``episode_config``: {"team_gen": {"ally_team": names, "enemy_team": names}, "start_positions":
        {"ally_start_positions": [n, 2], "enemy_start_positions": [m, 2]}}; what it does not say is drawn.
        """
        given = dict(episode_config or {})
        self._drawn = read_episode(self._army, given) if given else None
        return super().reset()

    def _begun(self, game: Compiled) -> tuple[Any, Any]:
        return self._of(game, self._drawn).reset(self._key, np.uint32(self._episode))

    @staticmethod
    def _of(game: Compiled, drawn: Any) -> Compiled:
        if drawn is None or game.begin is None:
            return game
        begin = game.begin
        return replace(game, reset=lambda key, episode: begin(key, episode, drawn))

    def _play(self, chosen: list[int]) -> list[float]:
        if not self._episode_steps:
            self._drawn_last = self._drawn
        return super()._play(chosen)

    @property
    def _game(self) -> Compiled:
        from ibal.compat._compiled import compiled_army

        return compiled_army(self._army, self._interface, Rules.of(self.version), self._surrounded)

    @property
    def _recorded(self) -> Compiled:
        return self._of(self._game, self._drawn_last)

    # -- looking

    def _names(self) -> list[str]:
        """The types of all units, agents first, then enemies by enemy id."""
        self._current()
        n, kind = self.n_agents, np.asarray(self._state.kind)
        kind = np.concatenate([kind[:n], kind[n:][np.asarray(self._state.enemy_order)]])
        return [self._army.kinds[k].name for k in kind]

    def get_unit_by_id(self, a_id: int) -> Unit:
        """One agent's unit."""
        return self._unit(a_id, self._names()[a_id])

    @property
    def enemies(self) -> dict[int, Unit]:
        """All enemies by the id that agents know them by."""
        names = self._names()
        return {j: self._unit(self.n_agents + j, names[self.n_agents + j]) for j in range(self.n_enemies)}

    def unit_sight_range(self, agent_id: int) -> float:
        """How far an agent sees."""
        return armies.SIGHT[self._names()[agent_id]] if self._interface.use_unit_ranges else SIGHT

    def unit_shoot_range(self, agent_id: int) -> float:
        """How far an agent's target actions reach."""
        if not self._interface.use_unit_ranges:
            return REACH
        return max(armies.REACH[self._names()[agent_id]], self._interface.min_attack_range)

    def get_visibility_matrix(self) -> np.ndarray:
        """bool[n, n + m]: which units are in each agent's sight (itself excluded, as in SMACv2)."""
        units, n = self._current().units, self.n_agents
        sight = np.array([self.unit_sight_range(i) for i in range(n)])
        alive = units[:, 2] > 0
        distance = np.hypot(units[:n, None, 0] - units[None, :, 0], units[:n, None, 1] - units[None, :, 1])
        seen = (distance < sight[:, None]) & alive[None, :] & alive[:n, None]
        seen[:, :n] &= ~np.eye(n, dtype=bool)
        return seen

    @property
    def fov_directions(self) -> np.ndarray:
        """Where agents look, [n, 2]; of meaning with ``conic_fov``."""
        self._current()
        return np.array(self._state.view)

    def get_obs_feature_names(self) -> list[str]:
        """A name for every entry of an observation."""
        return list(self._spec.obs_layout.names)

    def get_state_feature_names(self) -> list[str]:
        """A name for every entry of the state."""
        return list(self._spec.state_layout.names)

    def get_env_info(self) -> dict[str, Any]:
        """Sizes that learners ask for."""
        return {**super().get_env_info(), "n_fov_actions": self.n_fov_actions}

    @property
    def pathing_grid(self) -> np.ndarray:
        """bool[32, 32], indexed [x, y]: the cells that can be walked on."""
        from ibal.envs.smac.terrain import terrain

        return terrain(self._army.terrain).walkable.T.copy()


class StarCraftCapabilityEnvWrapper:
    """SMACv2's wrapper that draws an episode's teams and places: here, the environment does so itself."""

    def __init__(self, **kwargs: Any) -> None:
        if "capability_config" not in kwargs:
            raise ValueError(
                "give StarCraftCapabilityEnvWrapper a capability_config: which teams, and where they start"
            )
        self.distribution_config = kwargs["capability_config"]
        self.env = StarCraft2Env(**kwargs)

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start a new episode with teams and places of its own."""
        return self.env.reset()

    def __getattr__(self, name: str) -> Any:
        if name == "env" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.env, name)


def read_army(map_name: str, config: Mapping[str, Any]) -> tuple[Army, float]:
    """Return the scenario of a ``capability_config``, and the chance that the agents begin surrounded.

    Raises ValueError for a map, a distribution or a type that is not there.
    """
    if map_name not in _RACES:
        near = difflib.get_close_matches(str(map_name), _RACES, 1, 0.0)[0]
        raise ValueError(f'SMACv2 has no map "{map_name}"; did you mean "{near}"? Maps of SMAC: ibal.compat.smac')
    race = _RACES[map_name]
    known = {"n_units", "n_enemies", "team_gen", "start_positions"}
    if other := sorted(set(config) - known):
        raise ValueError(f'capability_config: "{other[0]}" is not there; it may have {", ".join(sorted(known))}')
    teams, places = (_part(config, name, wanted) for name, wanted in _DISTRIBUTIONS.items())
    if teams.get("observe") is False:
        raise ValueError("capability_config: team_gen with observe=False is not there; every agent sees types")
    types, exception = armies.RACES[race]
    weights = dict(zip(teams.get("unit_types", ()), teams.get("weights", ()), strict=False))
    if set(weights) != set(types):
        raise ValueError(f"capability_config: {map_name} needs a weight in team_gen for each of {', '.join(types)}")
    exceptions = teams.get("exception_unit_types", ())
    if set(exceptions) - {exception}:
        raise ValueError(f'capability_config: exception_unit_types is {list(exceptions)}, not ["{exception}"] or []')
    n, m = (int(config.get(name, teams.get(name, 0)) or 0) for name in ("n_units", "n_enemies"))
    share = tuple(float(weights[name]) for name in types)
    name = f"{map_name.removeprefix('10gen_')}_{n}_vs_{m}"
    army = Army(name, n, m, race, types, share, exception if exceptions else "")
    return army, float(places.get("p", 0.5))


_DISTRIBUTIONS = {"team_gen": "weighted_teams", "start_positions": "surrounded_and_reflect"}


def _part(config: Mapping[str, Any], name: str, wanted: str) -> Mapping[str, Any]:
    part = config.get(name)
    if not isinstance(part, Mapping) or part.get("dist_type") != wanted:
        found = part.get("dist_type") if isinstance(part, Mapping) else part
        raise ValueError(f'capability_config: "{name}" must have dist_type "{wanted}", the one there is, not {found!r}')
    return part


def read_episode(army: Army, config: Mapping[str, Any]) -> Any:
    """Return the teams and places of an ``episode_config``. Raises ValueError where it does not fit the scenario."""
    import jax.numpy as jnp

    from ibal.envs.smacv2.draw import Draw

    teams, places = config.get("team_gen"), config.get("start_positions")
    if not isinstance(teams, Mapping) or not isinstance(places, Mapping):
        raise ValueError('an episode_config has "team_gen" and "start_positions"; give none to have them drawn')
    order = [kind.name for kind in army.kinds]
    kinds: list[int] = []
    points: list[np.ndarray] = []
    for side, count in (("ally", army.n_agents), ("enemy", army.n_enemies)):
        names: Sequence[str] = teams.get(f"{side}_team", ())
        where = np.asarray(places.get(f"{side}_start_positions", ()), np.float32)
        if len(names) != count or where.shape != (count, 2) or not np.isfinite(where).all():
            raise ValueError(
                f"episode_config: {army.name} needs {count} names in {side}_team and an array of shape ({count}, 2) in "
                f"{side}_start_positions; there are {len(names)} and one of shape {where.shape}"
            )
        if wrong := [name for name in names if name not in order]:
            raise ValueError(f'episode_config: "{wrong[0]}" in {side}_team is none of {", ".join(order)}')
        kinds += [order.index(name) for name in names]
        points.append(where)
    place = np.concatenate(points)
    return Draw(jnp.array(kinds, jnp.int32), jnp.asarray(place[:, 0]), jnp.asarray(place[:, 1]))
