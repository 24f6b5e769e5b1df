"""Play one episode and keep everything that a picture of it needs."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ibal import rng, tree
from ibal.adversaries.base import Adversary, natural
from ibal.game import referee, turn
from ibal.game.referee import Fault
from ibal.game.turn import Game, Turn
from ibal.types import Env, Frame, HostPolicy, Policy
from ibal.viz.trajectory import Overlay, Trajectory

_NOBODY = natural()  # one object: a new one per recording would compile anew


class _Row(NamedTuple):
    """What one decision adds to the recording: what happened, and what the attack is shown to have done."""

    turn: Turn
    groups: Int[Array, "n"]
    masked: Bool[Array, "n o"]


def record(
    env: Env,
    policy: Policy | HostPolicy,
    key: jax.Array,
    params: Any = None,
    *,
    adversary: Adversary | None = None,
    attacker: Any = None,
    max_steps: int | None = None,
    label: str = "",
) -> Trajectory:
    """Play one episode of ``policy`` in ``env`` and return it, cut where it terminated or was truncated.

    It is the very episode that ``evaluate.episodes.play`` counts for the same key, adversary and attacker (its state;
    None: as its ``init`` makes it). ``params`` replaces ``env.params``; ``max_steps`` cuts earlier than
    ``spec.horizon``. Groups and masks of the overlay are those that the adversary's memory holds in fields ``group``
    bool[n] and ``mask`` bool[n, o]. Raises ValueError for an environment without a picture, ContractError where
    environment, policy or adversary break their contract.

    Runs on the host, one compiled step at a time: this stops with the episode, and compiles faster than a scan.
    """
    if referee.is_hosted(env, policy):
        from ibal.viz.hosted import record_hosted

        return record_hosted(env, policy, key, params, adversary, attacker, max_steps, label)
    if env.frame is None:
        raise ValueError(f'environment "{env.spec.name}" cannot be drawn: its Env.frame is None')
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    limit = min(max_steps or env.spec.horizon, env.spec.horizon)
    params = env.params if params is None else params
    attacking = _NOBODY if adversary is None else adversary
    attacker = attacking.init(rng.root(0)) if attacker is None else attacker
    world, picture = referee.bare(env), env.frame
    game, frame, fault = _begin(world, picture, policy, attacking, key, attacker, params)
    enemy_units = _enemy_units(game.state, env.spec.n_agents)
    frames, steps, rows = [frame], [game.step], []
    for t in range(limit):
        game, frame, row, fault = _advance(
            world, picture, policy, attacking, key, jnp.int32(t), game, fault, attacker, params
        )  # fmt: skip
        frames.append(frame)
        steps.append(game.step)
        rows.append(row)
        if bool(game.step.terminated) or bool(game.step.truncated):
            break
    referee.require_fair(fault, env.spec, attacking.threat)
    row = tree.on_host(rows)
    overlay = Overlay() if adversary is None else Overlay(row.groups, row.turn.seen, row.masked)
    return Trajectory(
        tree.on_host(frames), tree.on_host(steps), row.turn.intended, row.turn.executed, overlay, label, enemy_units
    )  # fmt: skip


# Compiled once for the same functions: recording the same policy again, or under another key, compiles nothing.
@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _begin(
    env: Env, frame: Any, policy: Policy, adversary: Adversary, key: jax.Array, attacker: Any, params: Any
) -> tuple[Game, Frame, Fault]:
    game = turn.begin(env, policy, adversary, attacker, key, params)
    return game, frame(game.state, params), referee.at_start(game.step)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _advance(
    env: Env, frame: Any, policy: Policy, adversary: Adversary, key: jax.Array, t: jax.Array, game: Game, fault: Fault,
    attacker: Any, params: Any,
) -> tuple[Game, Frame, _Row, Fault]:  # fmt: skip
    after, done = turn.advance(env, policy, adversary, attacker, key, t, game, params)
    fault = referee.watch(fault, adversary.threat, game.step, done, after.step, t)
    clean, alive = game.step.obs, game.step.alive
    masked = done.seen != clean
    if (mask := remembered(after.memory, "mask", clean.shape)) is not None:
        # A zero that is hidden by a zero counts too, at steps where the adversary is at work: where another value in
        # its place would not have come through.
        other = game._replace(step=game.step._replace(obs=clean + 1))
        through = turn.look(env.spec, policy, adversary, attacker, key, t, other)[0] == other.step.obs
        masked |= mask & alive[:, None] & ~through
    group = remembered(after.memory, "group", alive.shape)
    groups = jnp.zeros(alive.shape, jnp.int32) if group is None else jnp.where(group, 1, jnp.where(group.any(), 2, 0))
    return after, frame(after.state, params), _Row(done, groups, masked), fault


def remembered(memory: Any, name: str, shape: tuple[int, ...]) -> Bool[Array, "..."] | None:
    """Return the boolean field ``name`` of an adversary's memory, None if there is none of this shape.

    Of adversaries that are chained (a tuple of memories) it is the union, of one that attacks in some episodes only
    (its own memory in the field ``memory``, and ``on``) it is False in the others.
    """
    field = getattr(memory, name, None)
    if isinstance(field, jax.Array) and field.shape == shape and field.dtype == bool:
        return field
    if not isinstance(memory, tuple):
        return None
    inner = getattr(memory, "memory", None)
    parts = memory if inner is None else (inner,)
    found = [one for part in parts if (one := remembered(part, name, shape)) is not None]
    if not found:
        return None
    return jnp.stack(found).any(axis=0) & getattr(memory, "on", True)


def _enemy_units(state: Any, n_agents: int) -> np.ndarray | None:
    """Read how agents number the enemies, from environments that shuffle the numbers at reset."""
    order = getattr(state, "enemy_order", None)
    return None if order is None else np.asarray(order) + n_agents
