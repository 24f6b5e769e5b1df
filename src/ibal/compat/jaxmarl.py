"""Every environment of this library as one of JaxMARL, compiled: its learners train in it unchanged.

    from ibal.compat.jaxmarl import JaxMARLGame
    env = JaxMARLGame("smac/3m")                                     # or an ibal.Env, or ibal.attacked(...)
    obs, state = env.reset(key)                                      # obs["agent_0"] [o], obs["world_state"] [s]
    obs, state, rewards, dones, infos = env.step(key, state, actions)         # resets by itself, as JaxMARL's do

Needs the package jaxmarl. ``infos`` has the world's metrics, ``truncated`` (the flag that JaxMARL's ``dones`` do not
tell) and ``alive``, each [n]; ``step_env`` is the step that does not reset.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibal.api.given import GivenAttack, GivenEnv
from ibal.compat._series import world_of
from ibal.envs.adapters.optional import library
from ibal.envs.base import renewing
from ibal.game.keys import opened
from ibal.types import TimeStep

MultiAgentEnv = library("jaxmarl", "jaxmarl.environments.multi_agent_env").MultiAgentEnv
spaces = library("jaxmarl", "jaxmarl.environments.spaces")

__all__ = ["JaxMARLGame", "State"]


class State(NamedTuple):
    """The world's state, and the moment that was shown last."""

    env: Any
    moment: TimeStep


class JaxMARLGame(MultiAgentEnv):
    """A world, under an attack if one is given, with JaxMARL's functions and names. ``options`` as of ``ibal.make``.

    ``reset(key)``: with ``key = rng.episode(rng.root(S), i)`` it begins episode ``i`` of ``ibal evaluate --seed S``.
    """

    def __init__(self, env: GivenEnv, attack: GivenAttack | None = None, **options: Any) -> None:
        self.env = world_of(env, attack, **options)
        spec = self.env.spec
        self._renew = renewing(lambda key, params: State(*opened(self.env, key, params)))
        super().__init__(num_agents=spec.n_agents)
        self.obs_size, self.state_size, self.max_steps = spec.obs_size, spec.state_size, spec.horizon
        seen = spaces.Box(-jnp.inf, jnp.inf, (spec.obs_size,))
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = {name: spaces.Discrete(spec.n_actions) for name in self.agents}

    @partial(jax.jit, static_argnums=0)
    def reset(self, key: jax.Array) -> tuple[dict[str, jax.Array], State]:
        """Begin a game."""
        state = State(*opened(self.env, _typed(key), self.env.params))
        return self.get_obs(state), state

    @partial(jax.jit, static_argnums=0)
    def step(
        self, key: jax.Array, state: State, actions: dict[str, jax.Array], reset_state: State | None = None
    ) -> tuple[Any, ...]:
        """Play on; a game that has ended begins anew, or at ``reset_state``. As JaxMARL's own step, with the same keys,
        but in a batch on a processor only the games that have ended are begun."""
        if reset_state is not None:
            return super().step(key, state, actions, reset_state)
        key, fresh = jax.random.split(key)
        _, after, rewards, dones, infos = self.step_env(key, state, actions)
        after = self._renew(dones["__all__"], _typed(fresh), self.env.params, after)
        return self.get_obs(after), after, rewards, dones, infos

    @partial(jax.jit, static_argnums=0)
    def step_env(self, key: jax.Array, state: State, actions: dict[str, jax.Array]) -> tuple[Any, ...]:
        """Play on; never reset."""
        joint = jnp.stack([jnp.asarray(actions[name]).reshape(()) for name in self.agents]).astype(jnp.int32)
        after = State(*self.env.step(_typed(key), state.env, joint, self.env.params))
        step = after.moment
        over = step.terminated | step.truncated
        dones = {name: over | ~step.alive[i] for i, name in enumerate(self.agents)}
        infos = step.metrics | {"truncated": step.truncated, "alive": step.alive}
        each = {name: jnp.broadcast_to(value, (self.num_agents,)) for name, value in infos.items()}
        rewards = dict.fromkeys(self.agents, step.reward)
        return self.get_obs(after), after, rewards, dones | {"__all__": over}, each

    def get_obs(self, state: State) -> dict[str, jax.Array]:
        """Return what the agents see, and the true state as "world_state"."""
        step = state.moment
        return {name: step.obs[i] for i, name in enumerate(self.agents)} | {"world_state": step.state}

    def get_avail_actions(self, state: State) -> dict[str, jax.Array]:
        """Return the masks: 1 where an action is legal."""
        return {name: state.moment.avail[i].astype(jnp.uint8) for i, name in enumerate(self.agents)}

    @property
    def name(self) -> str:
        """The environment's name here."""
        return self.env.spec.name

    @property
    def agent_classes(self) -> dict[str, list[str]]:
        """All agents are of one class."""
        return {"agents": self.agents}


def _typed(key: jax.Array) -> jax.Array:
    """JaxMARL's programs pass keys of the old form, two whole numbers."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
