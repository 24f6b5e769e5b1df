"""Episodes of worlds and teams that are played in Python, recorded as a rollout records compiled ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibal.adversaries.base import Adversary
from ibal.evaluation.hosted import world_of
from ibal.game.host import play
from ibal.game.referee import Fault
from ibal.training.rollout import STORED, Rollout
from ibal.types import Env, Episodes, HostPolicy, Policy


def collect_hosted(
    env: Env, team: Policy | HostPolicy, adversary: Adversary, attacker: Any, keys: jax.Array
) -> Rollout:  # fmt: skip
    """Play one episode per key, one after the other. Raises ContractError where something breaks its contract."""
    world = world_of(env)
    games = [play(world, team, adversary, attacker, key=keys[i]) for i in range(len(keys))]
    horizon, small = env.spec.horizon, np.uint8 if env.spec.n_actions <= 256 else np.int16
    replaced = "act" in adversary.threat.channels

    def stacked(rows: list[Any], count: int, dtype: Any) -> jax.Array:
        return jnp.asarray(np.stack([_padded(np.asarray(one), count) for one in rows]), dtype)

    steps, turns = [game.steps for game in games], [game.turns for game in games]
    seen = None
    if adversary.reobserve is None:
        last = [np.concatenate([t.seen, np.asarray(s.obs)[-1:]]) for s, t in zip(steps, turns, strict=True)]
        seen = stacked(last, horizon + 1, STORED)
    episodes = Episodes(
        obs=stacked([s.obs for s in steps], horizon + 1, STORED), seen=seen,
        state=stacked([s.state for s in steps], horizon + 1, STORED),
        avail=stacked([s.avail for s in steps], horizon + 1, bool),
        action=stacked([t.intended for t in turns], horizon, small),
        executed=stacked([t.executed for t in turns], horizon, small) if replaced else None,
        reward=stacked([s.reward[1:] for s in steps], horizon, jnp.float32),
        terminated=stacked([s.terminated[1:] for s in steps], horizon, bool),
        length=jnp.asarray([game.length for game in games], jnp.int32),
        memory=jax.tree.map(
            lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *(game.memory for game in games)
        ),
    )  # fmt: skip
    metrics = {name: jnp.asarray([s.metrics[name][-1] for s in steps]) for name in env.spec.metric_names}
    returns, none = jnp.asarray([game.returns for game in games], jnp.float32), jnp.full(len(games), -1, jnp.int32)
    return Rollout(episodes, returns, metrics, Fault(none, none))


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    out = np.zeros((count, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out
