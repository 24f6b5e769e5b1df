"""A team of any kind (``Policy``, ``HostPolicy``) that is asked step by step: ``.reset()``, ``.act(obs, avail)``."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ibal import rng
from ibal.game import referee
from ibal.game.keys import team_key
from ibal.types import EnvSpec, HostPolicy, Policy


class Player:
    """A team of any kind that acts in one environment and remembers its episode; ``policy`` is what is asked."""

    def __init__(self, policy: Policy | HostPolicy, spec: EnvSpec) -> None:
        self.policy, self.spec = policy, spec
        self._episode = self._clock = 0
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._episode += self._clock > 0
        self._clock = 0
        self._last = np.full(self.spec.n_agents, -1, np.int32)

    def act(self, obs: Any, avail: Any) -> np.ndarray:
        """Choose the team's actions [n] (int32) for observations [n, o] and available actions [n, a] (bool or 0/1).

        To be called once per step. Raises ValueError for shapes that do not fit, or an agent without any action;
        ContractError where the team breaks its contract.
        """
        obs, avail = np.asarray(obs, np.float32), np.asarray(avail).astype(bool)
        self._check(obs, avail)
        key = team_key(rng.episode(rng.root(0), self._episode), self._clock)
        carry = self.policy.start() if self._clock == 0 else self._carry
        hosted = referee.is_in_python(self.policy)
        draws: Any = np.random.default_rng(np.asarray(jax.random.key_data(key))) if hosted else key
        given: Any = (obs, avail, self._last) if hosted else tuple(map(jax.numpy.asarray, (obs, avail, self._last)))
        asked: Any = self.policy
        self._carry, scores = asked.scores(carry, *given)
        chosen: Any = asked.select(draws, scores, given[1])
        referee.check_actions(self.spec, "policy.select", chosen)
        self._clock += 1
        self._last = np.asarray(chosen, np.int32)
        return self._last.copy()

    def _check(self, obs: np.ndarray, avail: np.ndarray) -> None:
        wanted = (self.spec.n_agents, self.spec.obs_size), (self.spec.n_agents, self.spec.n_actions)
        if (obs.shape, avail.shape) != wanted:
            raise ValueError(
                f"act: obs {obs.shape} and avail {avail.shape} do not fit; in {self.spec.name} they are {wanted[0]} "
                f"and {wanted[1]}"
            )
        if not avail.any(axis=1).all():
            raise ValueError(f"act: agent {int(np.argmin(avail.any(axis=1)))} has no available action")
