"""Episodes of worlds and teams that are played in Python, counted as those of compiled ones are."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ibal.adversaries.base import Adversary
from ibal.contract import ContractError
from ibal.evaluation.outcome import EpisodeResults
from ibal.game.host import Hosted, Played, World, play
from ibal.nets.agents import Agent
from ibal.types import Env, HostPolicy, Policy


class Broken(ContractError):
    """Something died or broke its contract; ``results`` are those of the episodes before, which are whole, and
    ``rows`` the same as a frame, if they are a part of an evaluation; ``before``: its rows of all cells before."""

    def __init__(self, message: str, whose: str, results: EpisodeResults | None) -> None:
        super().__init__(message, whose)
        self.results = results
        self.rows: Any = None
        self.before: Any = None


def world_of(env: Env, params: Any = None) -> World:
    """Return what the host loop plays in."""
    return Hosted(env, params) if env.host is None else env.host()


def play_hosted(
    env: Env, policy: Policy | HostPolicy | Agent, keys: jax.Array, params: Any, env_params: Any, adversary: Adversary,
    attacker: Any,
) -> EpisodeResults:  # fmt: skip
    """Do what ``episodes.play`` does, one episode after the other. Raises Broken, with what was played before."""
    world = world_of(env, env_params)
    team = policy.bind(params) if isinstance(policy, Agent) else policy
    rows: list[EpisodeResults] = []
    for i in range(len(keys)):
        try:
            played = play(world, team, adversary, attacker, key=keys[i])
        except ContractError as error:
            done = _together(rows) if rows else None
            said = str(error).replace(", episode 0", "")
            raise Broken(f"{said} (episode {i} of {len(keys)})", error.whose, done) from error
        rows.append(_row(played, adversary))
    return _together(rows)


def _row(played: Played, adversary: Adversary) -> EpisodeResults:
    steps, turns = played.steps, played.turns
    alive = np.asarray(steps.alive)[:-1]
    other = (np.asarray(turns.executed) != np.asarray(turns.intended)) & alive
    touched = other
    if "obs" in adversary.threat.channels:
        touched = touched | ((np.asarray(turns.seen) != np.asarray(steps.obs)[:-1]).any(axis=2) & alive)
    chosen = max(int(alive.sum()), 1)
    metrics: Any = {name: np.float32(values[-1]) for name, values in steps.metrics.items()}
    win = np.float32(np.clip(metrics.get("win", 0.0), 0.0, 1.0))
    share = np.float32(touched.sum() / chosen), np.float32(other.sum() / chosen)
    found: Any = (np.float32(played.returns), np.int32(played.length), win, metrics, *share)
    return EpisodeResults(*found)


def _together(rows: list[EpisodeResults]) -> EpisodeResults:
    return jax.tree.map(lambda *values: np.stack(values), *rows)
