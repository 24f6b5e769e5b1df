"""Play one episode and keep everything that a picture of it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng
from ibal.types import Env, Frame, Policy, TimeStep
from ibal.viz.trajectory import Overlay, Trajectory


def _see_all(key: jax.Array, memory: Any, step: TimeStep, carry: Any) -> tuple[jax.Array, Any]:
    return step.obs, memory


def _obey(key: jax.Array, memory: Any, step: TimeStep, scores: Any, actions: jax.Array) -> tuple[jax.Array, Any]:
    return actions, memory


class Tamper(NamedTuple):
    """Someone between the environment and the policy, as three functions and what they want shown.

    ``begin(key) -> memory`` once; ``observe(key, memory, step, carry) -> (obs, memory)`` before the policy looks;
    ``act(key, memory, step, scores, actions) -> (actions, memory)`` after it chose. ``overlay(memory)`` returns any of
    ``{"groups": int[n], "masked": bool[n, o]}`` for the step just decided.
    """

    begin: Callable[[jax.Array], Any] = lambda key: ()
    observe: Callable[[jax.Array, Any, TimeStep, Any], tuple[jax.Array, Any]] = _see_all
    act: Callable[[jax.Array, Any, TimeStep, jax.Array, jax.Array], tuple[jax.Array, Any]] = _obey
    overlay: Callable[[Any], dict[str, jax.Array]] = lambda memory: {}


class _Row(NamedTuple):
    """What one decision adds to the recording."""

    intended: jax.Array
    executed: jax.Array
    seen: jax.Array
    shown: dict[str, jax.Array]


class _Game(NamedTuple):
    """An episode at one time: the world, what it shows, and what its players remember."""

    state: Any
    step: TimeStep
    carry: Any
    memory: Any
    last: jax.Array


def record(
    env: Env,
    policy: Policy,
    key: jax.Array,
    params: Any = None,
    *,
    tamper: Tamper | None = None,
    max_steps: int | None = None,
    label: str = "",
) -> Trajectory:
    """Play one episode of ``policy`` in ``env`` and return it, cut where it terminated or was truncated.

    The world and the policy draw what ``evaluate.episodes.play`` draws for the same key, so a replay shows the very
    episode that was counted. ``params`` replaces ``env.params``; ``max_steps`` cuts earlier than ``spec.horizon``. Runs
    on the host, one compiled step at a time: this stops with the episode, and compiles faster than a scan.
    """
    if env.frame is None:
        raise ValueError(f'environment "{env.spec.name}" cannot be drawn: its Env.frame is None')
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    limit = min(max_steps or env.spec.horizon, env.spec.horizon)
    params = env.params if params is None else params
    meddler = tamper or Tamper()
    game, frame = _start(env, policy, meddler, key, params)
    enemy_units = _enemy_units(game.state, env.spec.n_agents)
    frames, steps, rows = [frame], [game.step], []
    for t in range(limit):
        game, frame, row = _step(env.step, env.frame, policy, meddler, key, jnp.int32(t), game, params)
        frames.append(frame)
        steps.append(game.step)
        rows.append(row)
        if bool(game.step.terminated) or bool(game.step.truncated):
            break
    return _assemble(frames, steps, rows, enemy_units, tamper is not None, label)


def _start(env: Env, policy: Policy, tamper: Tamper, key: jax.Array, params: Any) -> tuple[_Game, Frame]:
    state, step, frame = _reset(env.reset, env.frame, key, params)
    memory = tamper.begin(rng.stream(rng.stream(key, "attack"), "begin"))
    last = jnp.full((env.spec.n_agents,), -1, jnp.int32)
    return _Game(state, step, policy.start(), memory, last), frame


# Compiled once for the same functions: recording the same policy again, or under another key, compiles nothing.
@partial(jax.jit, static_argnums=(0, 1))
def _reset(reset: Any, frame: Any, key: jax.Array, params: Any) -> tuple[Any, TimeStep, Frame]:
    state, step = reset(rng.world_key(key, 0), params)
    return state, step, frame(state, params)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _step(
    step: Any, frame: Any, policy: Policy, tamper: Tamper, key: jax.Array, t: jax.Array, game: _Game, params: Any
) -> tuple[_Game, Frame, _Row]:
    """One decision of everybody: attack on observations, policy, attack on actions, world."""
    now = rng.at(rng.stream(key, "attack"), t)
    seen, memory = tamper.observe(rng.stream(now, "observe"), game.memory, game.step, game.carry)
    carry, scores = policy.scores(game.carry, seen, game.step.avail, game.last)
    intended = policy.select(rng.team_key(key, t), scores, game.step.avail)
    executed, memory = tamper.act(rng.stream(now, "act"), memory, game.step, scores, intended)
    state, after = step(rng.world_key(key, t + 1), game.state, executed, params)
    # Agents are told what they chose, not what was made of it.
    game = _Game(state, after, carry, memory, intended.astype(jnp.int32))
    return game, frame(state, params), _Row(intended, executed, seen, tamper.overlay(memory))


def _enemy_units(state: Any, n_agents: int) -> np.ndarray | None:
    """Read how agents number the enemies, from environments that shuffle the numbers at reset."""
    order = getattr(state, "enemy_order", None)
    return None if order is None else np.asarray(order) + n_agents


def _stack(records: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *records)


def _assemble(
    frames: list[Any], steps: list[TimeStep], rows: list[_Row], enemy_units: np.ndarray | None, attacked: bool,
    label: str,
) -> Trajectory:  # fmt: skip
    row = _stack(rows)
    overlay = Overlay()
    if attacked:
        overlay = Overlay(groups=row.shown.get("groups"), seen=row.seen, masked=row.shown.get("masked"))
    return Trajectory(_stack(frames), _stack(steps), row.intended, row.executed, overlay, label, enemy_units)
