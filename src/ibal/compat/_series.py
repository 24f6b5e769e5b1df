"""Seeds of other libraries as episodes of this one: a seed begins a series, every reset goes on with it."""

from __future__ import annotations

import operator
import secrets
from typing import Any

import jax
import numpy as np

from ibal import rng
from ibal.api.given import GivenAttack, GivenEnv
from ibal.api.given import world as given_world
from ibal.game.host import Hosted
from ibal.options import check_seed
from ibal.types import Env, TimeStep


def world_of(env: GivenEnv, attack: GivenAttack | None = None, **options: Any) -> Env:
    """Return the environment that is meant, under an attack if one is given. Raises as ``ibal.make`` and
    ``ibal.attacked``."""
    from ibal.api.attacked import attacked

    made = given_world(env, options).env
    return made if attack is None else attacked(made, attack)


class Series:
    """Games of a world one after the other: number ``i`` of a seed is episode ``i`` of ``ibal evaluate --seed``."""

    def __init__(self, env: Env) -> None:
        self.spec = env.spec
        self._game = Hosted(env)
        self._now: TimeStep | None = None
        self.seed(None)

    def seed(self, seed: Any) -> int:
        """Take a seed, or draw one; ``begin`` then plays its first game. Raises ValueError for a seed out of range."""
        chosen = secrets.randbits(32) if seed is None else check_seed("seed", operator.index(seed))
        self._root, self._episode = rng.root(chosen), -1
        return chosen

    def begin(self, seed: Any = None) -> TimeStep:
        """Begin the next game of the series, or the first one of ``seed``."""
        if seed is not None:
            self.seed(seed)
        self._episode += 1
        self._now = _on_host(self._game.reset(rng.episode(self._root, self._episode)))
        return self._now

    def step(self, actions: np.ndarray) -> TimeStep:
        """Play on. Raises ValueError if there is no game, or it is over, or for an action that does not exist."""
        if self._now is None or self._now.terminated or self._now.truncated:
            raise ValueError("there is no game to play on: call reset() first")
        a = self.spec.n_actions
        if wrong := [int(one) for one in actions if not 0 <= one < a]:
            raise ValueError(f"step() got action {wrong[0]}; the actions of {self.spec.name} are 0 to {a - 1}")
        self._now = _on_host(self._game.step(actions))
        return self._now

    @property
    def now(self) -> TimeStep:
        """The moment that was shown last, in NumPy. Raises ValueError before the first reset."""
        if self._now is None:
            raise ValueError("no game has been started: call reset() first")
        return self._now


def _on_host(step: TimeStep) -> TimeStep:
    return jax.tree.map(np.array, step)  # copies: callers may write into them
