"""Level-Based Foraging as Gymnasium environments: importing this module registers the ids of ``lbforaging``.

    gymnasium.make("ibal.compat.lbf:Foraging-8x8-2p-2f-coop-v3")                # in a program
    python src/main.py --config=qmix --env-config=gymma with env_args.time_limit=50 \
        env_args.key="ibal.compat.lbf:Foraging-20x20-5p-6f-s3"                    # EPyMARL

Needs the package gymnasium. Spaces, observations, rewards (one for each player) and flags are those of lb-foraging
2.0.0; the games come from this library's keys, so a seed gives other games than there. For speed, play batches of
``ibal.make("lbf/...")`` instead: here a step is one call from Python.
"""

from __future__ import annotations

import operator
import secrets
from functools import cache
from itertools import product
from typing import Any

import jax
import numpy as np

from ibal import rng
from ibal.compat._actions import joint_action
from ibal.envs.adapters.optional import library
from ibal.envs.lbf import moves
from ibal.envs.lbf.env import make
from ibal.envs.lbf.rules import PAPER, Rules, rules, with_options
from ibal.envs.lbf.state import ACTIONS, State
from ibal.game.keys import world_key
from ibal.options import check_seed

gymnasium = library("gymnasium")

__all__ = ["ForagingEnv", "register"]


class ForagingEnv(gymnasium.Env):
    """A game by its id, ``options`` being fields of ``Rules`` (``ibal.envs.lbf``) by name.

    ``reset(seed)`` -> (observations of all players, {}); ``step(actions)`` -> (observations, rewards of all players,
    over, truncated, {}). Vector observations are flat, those of the grid have the shape (3, w, w). ``seed`` begins a
    series of games, which further resets go on with; without one it is drawn.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (gymnasium's own form)

    def __init__(self, game: str = PAPER[0], **options: Any) -> None:
        self.game, self.rules = game, with_options(rules(game), options)
        self.n_agents, window = self.rules.players, self.rules.window
        self._shape = (3, window, window) if self.rules.observation == "grid" else None
        size = make(self.rules).spec.obs_size
        shape = self._shape or (size,)
        most = float(max(self.rules.rows, self.rules.cols, 3 * self.rules.max_player_level, self.rules.max_food_level))
        box = gymnasium.spaces.Box(-1.0, most, shape, np.float32)
        self.observation_space = gymnasium.spaces.Tuple([box] * self.n_agents)
        self.action_space = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(len(ACTIONS))] * self.n_agents)
        self._state: Any = None
        self._over = False
        self.seed(None)

    def seed(self, seed: Any = None) -> list[int]:
        """Take a seed, or draw one: the next ``reset`` starts the first game of its series."""
        self._seed = secrets.randbits(32) if seed is None else check_seed("seed", operator.index(seed))
        self._key, self._episode = rng.root(self._seed), -1
        return [self._seed]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a new game."""
        if seed is not None:
            self.seed(seed)
        self._episode += 1
        self._state, obs = _compiled(self.rules)[0](self._key, np.uint32(self._episode))
        self._over = False
        return self._split(obs), {}

    def step(self, actions: Any) -> tuple[Any, list[float], bool, bool, dict[str, Any]]:
        """Play one action for each player; what cannot be done does nothing."""
        if self._state is None or self._over:
            raise ValueError("there is no game to play on: call reset() first")
        chosen = joint_action(actions, self.n_agents, self.game)
        if wrong := [a for a in chosen if not 0 <= a < len(ACTIONS)]:
            raise ValueError(f"step() got action {wrong[0]}; actions are 0 to 5: {', '.join(ACTIONS)}")
        played = _compiled(self.rules)[1](self._key, np.uint32(self._episode), self._state, np.array(chosen, np.int32))
        self._state, obs, rewards, over, truncated = played
        self._over = bool(over) or bool(truncated)
        return self._split(obs), np.asarray(rewards).tolist(), bool(over), bool(truncated), {}

    def _split(self, obs: Any) -> tuple[np.ndarray, ...]:
        rows = np.array(obs)
        return tuple(rows.reshape(self.n_agents, *self._shape) if self._shape else rows)

    def render(self) -> None:
        """Draw nothing: ``ibal replay --env lbf/...`` writes a page that plays a game."""
        raise NotImplementedError('nothing is drawn here; "ibal replay --env lbf/..." writes a page that plays a game')


@cache
def _compiled(game: Rules) -> tuple[Any, Any]:
    """Reset and step of a game, compiled once per process; a step gives every player's own reward."""
    env = make(game)

    def reset(key: jax.Array, episode: jax.Array) -> tuple[State, jax.Array]:
        state, shown = env.reset(world_key(rng.episode(key, episode), 0), env.params)
        return state, shown.obs

    def step(key: jax.Array, episode: jax.Array, state: State, actions: jax.Array) -> tuple[Any, ...]:
        world = world_key(rng.episode(key, episode), state.step + 1)
        after, shown = env.step(world, state, actions, env.params)
        each = moves.load(state, after.action, after.place, env.params).reward
        return after, shown.obs, each, shown.terminated, shown.truncated

    return jax.jit(reset), jax.jit(step)


def register() -> None:
    """Register the ids that lbforaging has, and those of the paper; one that exists already is replaced.

    Gymnasium has no id with a version beside the same one without: the paper's games in the other reading, of
    lb-foraging 2.0.0, are Foraging-3s-20x20-{5,10,15}p-6f-v3.
    """
    sizes, players, foods = range(5, 20), range(2, 10), range(1, 10)
    usual = (
        f"Foraging{'-2s' if near else ''}-{size}x{size}-{n}p-{m}f{'-coop' if coop else ''}-v3"
        for size, n, m, coop, near in product(sizes, players, foods, (False, True), (False, True))
    )
    other = (f"Foraging-3s-20x20-{n}p-6f-v3" for n in (5, 10, 15))
    for name in dict.fromkeys((*PAPER, *other, *usual)):
        gymnasium.registry.pop(name, None)
        gymnasium.register(
            name, entry_point="ibal.compat.lbf:ForagingEnv", kwargs={"game": name}, disable_env_checker=True
        )  # a checker would complain of a reward for each player, which lbforaging gives, too


register()
