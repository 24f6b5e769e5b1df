"""Retreat: the action of an agent that leaves the fight, with nothing learned. The other half of ``occlude-retreat``,
hiding the groups from each other, is ``masks.truth``."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ibal.types import Actions, EnvSpec

TOWARDS = {"north": (0.0, 1.0), "south": (0.0, -1.0), "east": (1.0, 0.0), "west": (-1.0, 0.0)}
SEEN = ("distance", "dx", "dy")


def retreat(spec: EnvSpec) -> Callable[[Float[Array, "n o"], Bool[Array, "n a"], Actions], Actions]:
    """Return ``away(obs, avail, actions) -> actions``: everybody's legal move that leads farthest from the nearest
    enemy it sees.

    Who sees none, or cannot move, idles if that is legal, and does as intended if not. Raises ValueError where the
    environment declares no moves or no enemies to move away from.
    """
    moves = [a for a, name in enumerate(spec.action_names) if name in TOWARDS]
    enemies = [b for b in spec.obs_layout.blocks if b.kind == "enemy" and set(SEEN) <= set(b.features)]
    if not moves or not enemies:
        raise ValueError(
            f'"{spec.name}" has {"no" if not moves else len(moves)} actions named {", ".join(TOWARDS)} and '
            f'{"no" if not enemies else len(enemies)} blocks of kind "enemy" with {", ".join(SEEN)} in its observation '
            "(EnvSpec): there is nothing to retreat from, or no way to"
        )
    columns = [np.array([b.start + b.features.index(feature) for b in enemies]) for feature in SEEN]
    steps = np.array([TOWARDS[spec.action_names[a]] for a in moves], np.float32)
    idle = np.array([a for a in spec.idle_actions if a != spec.noop_action], int)

    def away(obs: Float[Array, "n o"], avail: Bool[Array, "n a"], actions: Actions) -> Actions:
        distance, dx, dy = (obs[:, c] for c in columns)
        # What is out of sight is all zeros; what is seen is never at distance 0.
        nearest = jnp.argmin(jnp.where(distance > 0, distance, jnp.inf), axis=1)[:, None]
        enemy = jnp.concatenate([jnp.take_along_axis(d, nearest, axis=1) for d in (dx, dy)], axis=1)
        legal = avail[:, np.array(moves)]
        best = jnp.argmin(jnp.where(legal, enemy @ steps.T, jnp.inf), axis=1)
        flees = (distance > 0).any(1) & legal.any(1)
        instead = actions
        if idle.size:
            first = jnp.asarray(idle, actions.dtype)[jnp.argmax(avail[:, idle], axis=1)]
            instead = jnp.where(avail[:, idle].any(1), first, actions)
        return jnp.where(flees, jnp.asarray(moves, actions.dtype)[best], instead)

    return away
