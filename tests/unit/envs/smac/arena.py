"""Whole games on the real maps, several side by side, played by a script or by chance: one program per map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal.envs.smac.env import make
from ibal.envs.smac.observe import available, permitted
from ibal.envs.smac.rules import Interface
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.state import EnvParams, EnvState, Units
from ibal.envs.smac.terrain import terrain
from ibal.types import TimeStep

GAMES = 8  # side by side
_CHUNK_SEED = 1000
CHUNK = 20  # steps that are compiled together
CHANCE = -1  # in a script: any legal action, drawn by the style
QUICK = {"xla_backend_optimization_level": 0}  # on small maps compiling takes longer than playing


class Style(NamedTuple):
    """How chance plays: log-weights of stop, of each move, of each target, and how much weak targets are preferred."""

    stop: float = 0.0
    move: float = 0.0
    target: float = 0.0
    focus: float = 0.0


STAND = Style(stop=1e4)
FIGHT = Style(stop=1e2, move=-1e2, target=1e4, focus=10.0)  # the weakest in reach, else wait
WANDER = Style()
ADVANCE = Style(stop=-1e2, target=3.0)  # move about, attack whatever comes into reach


class Film(NamedTuple):
    """What happened, [game, step, ...]: ``units`` and ``show`` after each step, ``actions`` as they were sent."""

    actions: Any
    units: Units
    show: TimeStep
    enemy_order: Any


class Arena:
    """A map with its compiled functions."""

    def __init__(self, name: str, **rules: Any) -> None:
        self.game, self.env = scenario(name), make(name, **rules)
        self.n = self.game.n_agents
        options = QUICK if self.n + self.game.n_enemies <= 20 else None
        self._reset = jax.jit(jax.vmap(self.env.reset), compiler_options=QUICK)
        self._play = jax.jit(jax.vmap(self._chunk), compiler_options=options)

    def many(self, params: EnvParams | None = None) -> EnvParams:
        """The same parameters for every game."""
        wanted = self.env.params if params is None else params
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (GAMES, *a.shape)), wanted)

    def reset(
        self, seed: int = 0, params: EnvParams | None = None, ids: Sequence[int] = range(GAMES)
    ) -> tuple[EnvState, TimeStep]:
        """Begin games; ``params`` as from ``many``; games with equal seed and id are equal."""
        return self._reset(_keys(seed, ids), self.many() if params is None else params)

    def play(
        self,
        state: EnvState,
        steps: int,
        style: Style = STAND,
        script: np.ndarray | None = None,
        seed: int = 0,
        params: EnvParams | None = None,
        ids: Sequence[int] = range(GAMES),
    ) -> tuple[EnvState, Film]:
        """Play on; ``script`` int[steps, n] or int[games, steps, n] (default: all by chance)."""
        wish = np.full((GAMES, steps, self.n), CHANCE, np.int32)
        if script is not None:
            wish[:] = script
        params = self.many() if params is None else params
        styles = jnp.broadcast_to(jnp.array(style, jnp.float32), (GAMES, 4))
        films = []
        for start in range(0, steps, CHUNK):
            part = wish[:, start : start + CHUNK]
            short = CHUNK - part.shape[1]  # what the program plays beyond the end is thrown away
            states, film = self._play(
                _keys(_CHUNK_SEED * (seed + 1) + start, ids),
                state,
                np.pad(part, ((0, 0), (0, short), (0, 0)), mode="edge"),
                styles,
                params,
            )
            keep = CHUNK - short
            state = jax.tree.map(lambda a, k=keep: a[:, k - 1], states)
            films.append(jax.tree.map(lambda a, k=keep: np.asarray(a[:, :k]), film))
        return state, jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *films)

    def _chunk(
        self, key: jax.Array, state: EnvState, wish: jax.Array, style: jax.Array, params: EnvParams
    ) -> tuple[EnvState, Film]:
        def step(state: EnvState, x: tuple[jax.Array, jax.Array]) -> tuple[EnvState, tuple[EnvState, Film]]:
            wanted, key = x
            world, chance = _world(key), jax.random.fold_in(key, 1)
            actions = jnp.where(wanted == CHANCE, self._by_chance(chance, state, style), wanted)
            state, show = self.env.step(world, state, actions, params)
            return state, (state, Film(actions, state.units, show, state.enemy_order))

        return jax.lax.scan(step, state, (wish, jax.random.split(key, CHUNK)))[1]

    def _by_chance(self, key: jax.Array, state: EnvState, style: jax.Array) -> jax.Array:
        walkable = terrain(self.game.terrain).walkable
        avail = available(state.units, state.enemy_order, self.game, Interface(), walkable)
        kind = np.array([0, 0, *[1] * 4, *[2] * self.game.n_enemies])
        weight = style[kind]
        health = state.units.health[self.n :][state.enemy_order]
        weight = weight.at[6:].add(-style[3] * health)
        legal = permitted(avail, state.disabled)
        return jax.random.categorical(key, jnp.where(legal, weight[None], -jnp.inf)).astype(jnp.int32)


def _keys(seed: int, ids: Sequence[int]) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.array(list(ids), jnp.int32))


def _world(key: jax.Array) -> jax.Array:
    return jax.random.fold_in(key, 0)


def step_keys(game: int, seed: int = 0) -> list[jax.Array]:
    """The keys that ``Arena.play`` gives the environment in the first ``CHUNK`` steps of a game."""
    return [_world(key) for key in jax.random.split(_keys(_CHUNK_SEED * (seed + 1), [game])[0], CHUNK)]


@cache
def arena(name: str, **options: Any) -> Arena:
    """The map with its default options and these; where the head start is a program of its own, without it."""
    return Arena(name, **options) if terrain(scenario(name).terrain).box else Arena(name, head_start=0, **options)
