"""A SMAC map as two compiled calls that return one flat array each: what makes a step from NumPy cheap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng
from ibal.envs.smac.env import make
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smacv2 import env as smacv2
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.options import Options
from ibal.game.keys import world_key
from ibal.types import Env, EnvSpec, Frame, TimeStep


class View(NamedTuple):
    """Everything a caller may ask for between two steps, float32.

    ``units`` [u, 6]: x, y, health, shield, energy, cooldown; agents, then enemies by enemy id. ``result`` [7]: reward,
    terminated, truncated, win, dead allies, dead enemies, timeout.
    """

    obs: Any  # [n, o]
    state: Any  # [s]
    avail: Any  # [n, a]
    units: Any
    result: Any


class Record(NamedTuple):
    """An episode, as what it can be played again from."""

    key: Any  # of the run
    seed: int
    episode: int
    actions: list[np.ndarray]


@dataclass(frozen=True)
class Compiled:
    """``reset(key, episode)`` and ``step(key, episode, state, actions)`` give (state, flat); ``unpack`` reads it.

    ``frame(state)`` is what a picture of that moment needs; it is compiled when first asked for. ``begin(key, episode,
    drawn)`` is ``reset`` with teams and places that are given, where a world has any to draw.
    """

    spec: EnvSpec
    reset: Callable[..., tuple[Any, jax.Array]]
    step: Callable[..., tuple[Any, jax.Array]]
    frame: Callable[[Any], Frame]
    shapes: tuple[tuple[int, ...], ...]
    begin: Callable[..., tuple[Any, jax.Array]] | None = None

    def unpack(self, flat: jax.Array) -> View:
        """Copy to the host (the caller may write into it) and cut into arrays."""
        host = np.array(flat)
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        starts = (0, *ends[:-1])
        return View(*(host[a:b].reshape(shape) for a, b, shape in zip(starts, ends, self.shapes, strict=True)))


def _view(state: Any, step: TimeStep) -> View:
    units, n = state.units, step.avail.shape[0]
    table = jnp.stack([units.x, units.y, units.health, units.shield, units.energy, units.cooldown], axis=1)
    names = ("win", "dead_allies", "dead_enemies", "timeout")
    result = [step.reward, step.terminated, step.truncated, *(step.metrics[name] for name in names)]
    return View(
        obs=step.obs,
        state=step.state,
        avail=step.avail,
        units=jnp.concatenate([table[:n], table[n:][state.enemy_order]]),
        result=jnp.stack([value.astype(jnp.float32) for value in result]),
    )


def _flat(view: View) -> jax.Array:
    return jnp.concatenate([part.astype(jnp.float32).reshape(-1) for part in view])


@cache
def compiled(map_name: str, interface: Interface, rules: Rules) -> Compiled:
    """Compile a map of SMAC once per process and set of options."""
    return _compiled(make(scenario(map_name), interface=interface, rules=rules))


@cache
def compiled_army(army: Army, options: Options, rules: Rules, surrounded: float = 0.5) -> Compiled:
    """Compile a scenario of SMACv2 once per process and set of options; what differs in an episode compiles nothing."""
    env = smacv2.make(army, options=options, rules=rules)
    env = env._replace(params=env.params._replace(surrounded=jnp.float32(surrounded)))
    return _compiled(env, smacv2.starter(army, options, rules))


def _compiled(env: Env, starter: Callable[..., tuple[Any, TimeStep]] | None = None) -> Compiled:
    """The key is the run's; episodes and steps are folded in.

    They are folded in as everywhere in this library, so these are the episodes of ``ibal evaluate`` for the same seed.
    """

    def begin(key: jax.Array, episode: jax.Array, drawn: Any) -> tuple[Any, View]:
        assert starter is not None
        state, step = starter(world_key(rng.episode(key, episode), 0), env.params, drawn)
        return state, _view(state, step)

    def reset(key: jax.Array, episode: jax.Array) -> tuple[Any, View]:
        state, step = env.reset(world_key(rng.episode(key, episode), 0), env.params)
        return state, _view(state, step)

    def step(key: jax.Array, episode: jax.Array, state: Any, actions: jax.Array) -> tuple[Any, View]:
        world = world_key(rng.episode(key, episode), state.step + 1)
        state, step = env.step(world, state, actions, env.params)
        return state, _view(state, step)

    def packed(function: Callable[..., tuple[Any, View]]) -> Callable[..., tuple[Any, jax.Array]]:
        def flattened(*args: Any) -> tuple[Any, jax.Array]:
            state, view = function(*args)
            return state, _flat(view)

        return jax.jit(flattened)

    def frame(state: Any) -> Frame:
        assert env.frame is not None  # every SMAC map can be drawn
        return env.frame(state, env.params)

    shapes = jax.eval_shape(reset, rng.root(0), jnp.uint32(0))[1]
    shape = tuple(part.shape for part in shapes)
    return Compiled(env.spec, packed(reset), packed(step), jax.jit(frame), shape, packed(begin) if starter else None)
