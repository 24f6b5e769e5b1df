"""Record an episode of a world or a team that is played in Python."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ibal.adversaries.base import Adversary, natural
from ibal.game.host import Hosted, play
from ibal.types import Env, Frame, HostPolicy, Policy
from ibal.viz.plain import ring
from ibal.viz.trajectory import Overlay, Trajectory


def record_hosted(
    env: Env, policy: Policy | HostPolicy, key: jax.Array, params: Any, adversary: Adversary | None, attacker: Any,
    max_steps: int | None, label: str,
) -> Trajectory:  # fmt: skip
    """Do what ``record`` does. A world in Python is drawn as its agents in a ring, beside what it draws itself."""
    attack = natural() if adversary is None else adversary
    if env.host is None:
        return _in_compiled(env, policy, key, params, attack, attacker, max_steps, label, adversary is not None)
    world = env.host()
    shoot = getattr(world, "picture", None)
    played = play(world, policy, attack, attacker, key=key, max_steps=max_steps, picture=shoot)
    frames = _stacked([ring(alive) for alive in np.asarray(played.steps.alive)])
    shapes = {np.shape(shot) for shot in played.pictures}
    alike = len(shapes) == 1 and all(len(shape) == 3 and shape[2] == 3 for shape in shapes)
    pictures = played.pictures if alike else ()  # some draw nothing, or in a size that changes
    seen = Overlay(seen=np.asarray(played.turns.seen)) if adversary is not None else Overlay()
    return Trajectory(
        frames, played.steps, np.asarray(played.turns.intended), np.asarray(played.turns.executed), seen, label,
        pictures=pictures,
    )  # fmt: skip


def _in_compiled(
    env: Env, policy: Any, key: jax.Array, params: Any, attack: Adversary, attacker: Any, max_steps: int | None,
    label: str, attacked: bool,
) -> Trajectory:  # fmt: skip
    """Record a team in Python in a compiled world, which has a picture."""
    if env.frame is None:
        raise ValueError(f'environment "{env.spec.name}" cannot be drawn: its Env.frame is None')
    world = Hosted(env, params)
    picture = jax.jit(env.frame)
    params = env.params if params is None else params
    played = play(
        world, policy, attack, attacker, key=key, max_steps=max_steps, picture=lambda: picture(world.state, params)
    )
    order = getattr(world.state, "enemy_order", None)
    seen = Overlay(seen=np.asarray(played.turns.seen)) if attacked else Overlay()
    return Trajectory(
        _stacked(list(played.pictures)), played.steps, np.asarray(played.turns.intended),
        np.asarray(played.turns.executed), seen, label,
        None if order is None else np.asarray(order) + env.spec.n_agents,
    )  # fmt: skip


def _stacked(frames: list[Frame]) -> Frame:
    return jax.tree.map(lambda *rows: np.stack([np.asarray(row) for row in rows]), *frames)
