"""``StarCraft2Env`` with the interface of ``smac.env.StarCraft2Env`` (oxwhirl/smac), on this library's engine.

Neither importing this module nor making an environment nor asking for its sizes imports jax: a program may do all that
and fork its workers afterwards.
"""

from __future__ import annotations

import difflib
import operator
import os
import secrets
import sys
import warnings
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from ibal.compat._actions import joint_action, write_back
from ibal.compat._looking import Looking, Position, Unit
from ibal.compat._process import require_jax, seed_of, worker
from ibal.compat.heuristic import Heuristic
from ibal.envs.smac.rules import NEWEST, Interface, Rules
from ibal.envs.smac.scenarios import scenario
from ibal.options import check_seed

if TYPE_CHECKING:
    from ibal.compat._compiled import Compiled, Record

__all__ = ["Position", "StarCraft2Env", "Unit"]


class StarCraft2Env(Looking):
    """The StarCraft II environment for decentralised micromanagement, without StarCraft II.

    Arguments, defaults, methods and return types are those of ``smac.env.StarCraft2Env``; docs/compat.md lists what is
    there. What differs:

    - ``difficulty``, ``game_version``, ``window_size_x``, ``window_size_y`` and ``debug`` have no effect (no computer
      player and no window exist; difficulty has none in SMAC either: the maps contain no AI).
    - Episodes are reproducible: ``seed`` (0 to 2**32 - 1) decides everything; without it one is drawn. Episode i of a
      main process is episode i of ``ibal evaluate`` for that seed. A worker process of ``multiprocessing`` mixes its
      number in, so eight workers with one seed play eight different series of games, the same ones in every run.
      ``seed()`` tells the seed in use. Two environments of one process with the same seed play the same games, and so
      do processes that something else started (Ray, a shell): give each a seed of its own.
    - A process forked after JAX has started cannot play and says so (RuntimeError); fork before, or spawn.
    - An unavailable action raises ValueError instead of AssertionError, and so does a step after the end.
    - ``save_replay`` writes the last episode as an HTML page into ``replay_dir`` (default: ``replays``); there is no
      .SC2Replay and no window to ``render`` in.

    ``StarCraft2Env.version = "2026-11"``, set before the first ``reset``, plays by older rules of the engine.

    The first ``reset`` and ``step`` of a map compile for some seconds, once per process and set of options.
    """

    version = NEWEST  # of the engine's rules
    heuristic_ai = heuristic_rest = False
    _known = frozenset(field.name for field in fields(Interface)) - {"step_mul", "move_amount"}
    _heuristic: Heuristic | None = None

    def __init__(
        self,
        map_name: str = "8m",
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
        replay_dir: str | None = "",
        replay_prefix: str | None = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
    ) -> None:
        require_jax()
        interface = Interface(
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
        self.heuristic_ai, self.heuristic_rest = heuristic_ai, heuristic_rest
        self._heuristic = Heuristic(self._scenario, heuristic_rest) if heuristic_ai else None
        self._begin_counting(
            map_name, difficulty, game_version, debug, (window_size_x, window_size_y), replay_dir, replay_prefix, seed
        )

    def _begin_counting(
        self, map_name: str, difficulty: str, game_version: str | None, debug: bool, window_size: tuple[int, int],
        replay_dir: str | None, replay_prefix: str | None, seed: SupportsIndex | None,
    ) -> None:  # fmt: skip
        """Set what does not depend on the map."""
        self.map_name, self.difficulty, self.game_version, self.debug = map_name, difficulty, game_version, debug
        self.window_size = window_size
        self.replay_dir, self.replay_prefix = replay_dir, _file_name(replay_prefix or "")
        self._seed = seed
        self._record: Record | None = None
        self._over = self._told = False
        self.reward = 0.0
        self._episode_count = self._episode_steps = self._total_steps = 0
        self.battles_won = self.battles_game = self.timeouts = self.force_restarts = 0

    # -- randomness

    @property
    def _seed(self) -> int:
        """The seed that was given, or drawn. Setting it makes the next ``reset`` start its first episode."""
        return self._given

    @_seed.setter
    def _seed(self, seed: Any) -> None:
        self._given = secrets.randbits(32) if seed is None else _checked(seed)
        self._key: Any = None
        self._episode = -1

    def seed(self, seed: SupportsIndex | None = None) -> int:
        """Return the random seed in use; with an argument, first take that one: the next ``reset`` starts afresh."""
        if seed is not None:
            self._seed = seed
        return seed_of(self._given, worker())

    # -- playing

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start a new episode; return (observations of all agents, state)."""
        self._open()
        game = self._game
        if self._key is None:
            from ibal import rng

            self._key = rng.root(self.seed())
        self._episode += 1
        self._playing = self._key, self.seed(), self._episode  # stays when _seed changes in the middle of an episode
        self._state, flat = self._begun(game)
        self._view, self._over, self._last, self._episode_steps = game.unpack(flat), False, None, 0
        if self._heuristic:
            self._heuristic.reset()
        return self.get_obs(), self.get_state()

    def step(self, actions: Any) -> tuple[float, bool, dict[str, Any]]:
        """Play one action per agent; return (reward, terminated, info).

        ``actions``: whole numbers in the agents' order, a list or an array or tensor of shape (n,) or (n, 1). With
        ``heuristic_ai`` the scripted team's actions are played and written into it (as SMAC does).
        """
        view = self._current()
        if self._over:
            raise ValueError("the episode is over: call reset() before the next step()")
        chosen = joint_action(actions, self.n_agents, self.map_name)
        if self._heuristic:
            chosen = self._heuristic.act(view.units, view.avail)
            write_back(actions, chosen)
        else:
            self._check(chosen, view.avail)
        reward, terminated, truncated, won, dead_allies, dead_enemies, timeout = self._play(chosen)
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
            self._episode_count += 1
        self.reward = reward
        return reward, self._over, info

    def _begun(self, game: Compiled) -> tuple[Any, Any]:
        return game.reset(self._key, np.uint32(self._episode))

    @property
    def _game(self) -> Compiled:
        from ibal.compat._compiled import compiled

        rules = replace(Rules.of(self.version), check_actions=not self.heuristic_ai)
        return compiled(self.map_name, self._interface, rules)

    def _play(self, chosen: list[int]) -> list[float]:
        """Play the actions, note them down for a replay, and return ``View.result``."""
        game, played, (key, seed, episode) = self._game, np.array(chosen, np.int32), self._playing
        self._state, flat = game.step(key, np.uint32(episode), self._state, played)
        if not self._episode_steps:
            from ibal.compat._compiled import Record

            self._record = Record(key, seed, episode, [])
        assert self._record is not None
        self._record.actions.append(played)
        self._view, self._last = game.unpack(flat), chosen
        self._episode_steps += 1
        self._total_steps += 1
        return self._view.result.tolist()

    def _check(self, actions: list[int], avail: np.ndarray) -> None:
        """Raise ValueError for the first agent whose action is not available."""
        names = self._spec.action_names
        for agent, action in enumerate(actions):
            if not 0 <= action < self.n_actions or not avail[agent, action]:
                what = f' ("{names[action]}")' if 0 <= action < self.n_actions else ""
                legal = ", ".join(f"{a} ({names[a]})" for a in np.flatnonzero(avail[agent]))
                raise ValueError(f"agent {agent} cannot perform action {action}{what}; available: {legal}")

    def close(self) -> None:
        """End the use of this object; calling it twice is fine."""
        self._closed, self._state, self._view, self._record = True, None, None, None

    def full_restart(self) -> None:
        """Drop the current episode (the game itself has nothing to restart); call reset() next."""
        self._open()
        self.force_restarts += 1
        self._state = self._view = None

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

    # -- pictures

    @property
    def _recorded(self) -> Compiled:
        """What the last episode was played with."""
        return self._game

    def save_replay(self) -> str | None:
        """Write the last episode that was played as an HTML page, say where on standard error, and return the path.

        The file is ``replay_dir``/``replay_prefix``_seed-S_episode-I.html. Where it cannot be written, that is a
        warning and None is returned: the games before must not be lost for it. Raises ValueError before the first step.
        """
        self._open()
        if self._record is None:
            raise ValueError(
                "no step has been played yet, so there is no replay to save: call reset() and step() first"
            )
        from ibal.compat._replay import write

        folder, prefix = self.replay_dir or "replays", self.replay_prefix or self.map_name
        try:
            path = write(self._recorded, self._record, folder, prefix)
        except OSError as error:
            reason = error.strerror or error
            warnings.warn(f"the replay could not be written to {folder}: {reason}; set replay_dir", stacklevel=2)
            return None
        sys.stderr.write(f"replay: {path}\n")
        return str(path)

    def render(self, mode: str = "human") -> None:
        """Draw nothing, and say so once: there is no window. ``save_replay()`` writes a page that plays the episode."""
        if mode != "human":
            raise NotImplementedError(f'render("{mode}") draws nothing here; {_INSTEAD}')
        if not self._told:
            self._told = True
            warnings.warn(f"StarCraft2Env has no window to render in; {_INSTEAD}", stacklevel=2)

    # -- the rest

    def __getattr__(self, name: str) -> Any:
        """Constructor options by SMAC's names; a sentence for what belongs to StarCraft II itself."""
        if name in self._known and "_interface" in self.__dict__:
            own = name == "obs_own_health" and self._interface.obs_all_health  # SMAC's constructor does the same
            return True if own else getattr(self._interface, name)
        if name.startswith("__"):
            raise AttributeError(name)
        near = difflib.get_close_matches(name, [*dir(type(self)), *self.__dict__, *self._known], 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise AttributeError(
            f'StarCraft2Env has no "{name}"{hint} (no StarCraft II is behind it; docs/compat.md lists what is there)'
        )


_INSTEAD = "save_replay() writes a page that plays the last episode"


def _checked(seed: Any) -> int:
    """Return the seed as an int. Raises ValueError for what is no seed: 0 to 2**32 - 1."""
    try:
        return check_seed("seed", operator.index(seed))
    except TypeError:
        raise ValueError(f"seed must be a whole number, or None to have one drawn, not {seed!r}") from None


def _file_name(prefix: str) -> str:
    """Return the prefix. Raises ValueError where it names a folder, before games are played for a lost replay."""
    if os.path.basename(prefix) != prefix:
        raise ValueError(f'replay_prefix "{prefix}" names a folder; put the folder into replay_dir')
    return prefix
