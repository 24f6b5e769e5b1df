"""Who draws from which key of an episode. The streams "env", "policy" and "attack" are independent: an attack changes
nothing that the environment or the policy draws.

    world(key, 0)            # the reset
    team(key, t)             # the team's draw at step t
    world(key, t + 1)        # the step that follows
"""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Key

from ibal import rng
from ibal.types import Env, TimeStep


def world_key(key: Key[Array, ""], clock: int | Array) -> Key[Array, ""]:
    """Return the key of the environment's ``clock``-th call in the episode with this key: 0 is the reset."""
    return rng.at(rng.stream(key, "env"), clock)


def opened(env: Env, key: Key[Array, ""], params: Any) -> tuple[Any, TimeStep]:
    """Begin the episode of a key in a world: what compiled games, host loops and other libraries begin with."""
    return env.reset(world_key(key, 0), params) if env.begin is None else env.begin(key, params)


def team_key(key: Key[Array, ""], clock: int | Array) -> Key[Array, ""]:
    """Return the key of the policy's draw at step ``clock``."""
    return rng.at(rng.stream(key, "policy"), clock)


def attack_key(key: Key[Array, ""], hook: str) -> Key[Array, ""]:
    """Return the key of an adversary's function ``hook``: "begin", "observe" or "act"; the last two fold the step
    in."""
    return rng.stream(rng.stream(key, "attack"), hook)


def world_seed(key: Key[Array, ""]) -> int:
    """Return the whole number, 0 to 2^32 - 1, that seeds a world which draws from a generator of its own."""
    return int(jax.random.bits(world_key(key, 0)))
