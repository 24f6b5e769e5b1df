"""The "leak" game: every mutual information between an observation dimension and an action is known in closed form.

Agent 0 is shown a cue and must choose it; the others must repeat what agent 0 did one step before, which they know
only from the dimensions that leak it. So an attack that hides those dimensions costs reward, and an estimator that is
right finds exactly them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.types import Actions, Block, Env, EnvSpec, ObsLayout, PRNGKey, TimeStep


@dataclass(frozen=True)
class Leak:
    """Options of the game.

    Each agent has one dimension per entry of ``flips`` for each other agent: it shows that agent's last action, but a
    uniformly random one with that probability (0: always the truth, 1: no information). ``noise`` further dimensions
    per other agent are standard normal.
    """

    n_agents: int = 3
    n_actions: int = 4
    flips: tuple[float, ...] = (0.0, 0.5)
    noise: int = 3
    horizon: int = 10

    def __post_init__(self) -> None:
        if self.n_agents < 2 or self.n_actions < 2 or self.horizon < 1:
            raise ValueError("leak needs n_agents >= 2, n_actions >= 2 and horizon >= 1")
        if max(self.n_agents, self.n_actions, self.noise) > 100 or self.horizon > 10_000 or self.noise < 0:
            raise ValueError("leak takes at most 100 agents, actions and noise, none below 0, and 10000 steps")
        if any(not 0 <= p <= 1 for p in self.flips):
            raise ValueError(f"leak: flips are probabilities, got {self.flips}")

    @property
    def ally_features(self) -> tuple[str, ...]:
        """Names of the dimensions about one other agent: leaks and noise take turns."""
        leaks, noises = len(self.flips), self.noise
        names: list[str] = []
        for k in range(max(leaks, noises)):
            names += [f"noise_{k}"] * (k < noises) + [f"leak_{k}"] * (k < leaks)
        return tuple(names)

    @property
    def obs_layout(self) -> ObsLayout:
        """Blocks ``ally[0..n-2]`` (skipping oneself), then ``own[0]``: the cue and the agent's own last action."""
        features, others = self.ally_features, self.n_agents - 1
        allies = tuple(Block("ally", s, s * len(features), features) for s in range(others))
        return ObsLayout((*allies, Block("own", 0, others * len(features), ("cue", "action"))), "skip-self")


class LeakState(NamedTuple):
    """``cue`` is what each agent is shown (only agent 0's counts), ``last`` what each agent did last."""

    t: Int[Array, ""]
    cue: Int[Array, "n"]
    last: Int[Array, "n"]


def leak(**options: Any) -> Env:
    """Make the game; ``options`` are the fields of ``Leak``."""
    game = Leak(**options)
    n, n_actions, layout = game.n_agents, game.n_actions, game.obs_layout

    def reset(key: PRNGKey, params: tuple[()]) -> tuple[LeakState, TimeStep]:
        last = jax.random.randint(rng.stream(key, "last"), (n,), 0, n_actions)
        return _look(game, key, jnp.int32(0), last, jnp.zeros(n, bool))

    def step(key: PRNGKey, state: LeakState, actions: Actions, params: tuple[()]) -> tuple[LeakState, TimeStep]:
        wanted = jnp.full(n, state.last[0]).at[0].set(state.cue[0])
        actions = actions.astype(jnp.int32)
        right = (actions == wanted) & (state.t < game.horizon)
        return _look(game, key, jnp.minimum(state.t + 1, game.horizon), actions, right)

    state_blocks = tuple(Block("ally", j, 2 * j, ("cue", "action")) for j in range(n))
    spec = EnvSpec(
        name="toy/leak",
        n_agents=n,
        n_actions=n_actions,
        obs_size=layout.size,
        state_size=2 * n,
        horizon=game.horizon,
        action_names=tuple(f"action_{a}" for a in range(n_actions)),
        metric_names=("led", "followed"),
        obs_layout=layout,
        state_layout=ObsLayout(state_blocks, "all"),
    )
    return Env(spec, (), reset, step)


def leak_information(game: Leak) -> np.ndarray:
    """Return float[n, n, o]: I(obs of i at t+1, dimension d ; action of j at t) in nats, for uniformly random actions.

    A leaked dimension is a symmetric channel: with q = flip / a and p = 1 - flip + q,
    I = log a + p log p + (a - 1) q log q. An agent's own last action has log a about itself; all else is independent.
    """
    n, layout = game.n_agents, game.obs_layout
    owner = layout.agents(n)
    information = np.zeros((n, n, layout.size))
    per_dimension = {f"leak_{k}": channel_information(game.n_actions, flip) for k, flip in enumerate(game.flips)}
    per_dimension["action"] = math.log(game.n_actions)
    for block in layout.blocks:
        for d, feature in enumerate(block.features, block.start):
            for i in range(n):
                information[i, owner[i, d], d] = per_dimension.get(feature, 0.0)
    return information


def channel_information(n_symbols: int, flip: float) -> float:
    """Return the mutual information in nats of a uniform symbol and its copy, redrawn with probability ``flip``."""
    wrong = flip / n_symbols
    right = 1.0 - flip + wrong
    lost = -right * math.log(right) - ((n_symbols - 1) * wrong * math.log(wrong) if wrong else 0.0)
    return math.log(n_symbols) - lost


def _look(
    game: Leak, key: PRNGKey, t: Int[Array, ""], last: Int[Array, "n"], right: Array
) -> tuple[LeakState, TimeStep]:
    n, n_actions = game.n_agents, game.n_actions
    state = LeakState(t, jax.random.randint(rng.stream(key, "cue"), (n,), 0, n_actions), last)
    own = jnp.stack([_level(state.cue, n_actions), _level(last, n_actions)], axis=1)
    reward = right.mean(dtype=jnp.float32)
    return state, TimeStep(
        obs=jnp.concatenate([_about_others(game, key, last), own], axis=1),
        state=own.reshape(-1),
        avail=jnp.ones((n, n_actions), bool),
        alive=jnp.ones(n, bool),
        reward=reward,
        terminated=t >= game.horizon,
        truncated=jnp.array(False),
        metrics={"led": right[0].astype(jnp.float32), "followed": right[1:].mean(dtype=jnp.float32)},
    )


def _about_others(game: Leak, key: PRNGKey, last: Int[Array, "n"]) -> Float[Array, "n d"]:
    """Return the ally blocks of every agent, side by side."""
    n, leaks = game.n_agents, len(game.flips)
    slot, agent = np.arange(n - 1)[None, :], np.arange(n)[:, None]
    other = slot + (slot >= agent)  # [n, n-1]: whom a slot is about
    shape = (n, n - 1, leaks)
    flipped = jax.random.uniform(rng.stream(key, "flip"), shape) < jnp.array(game.flips)[None, None, :]
    lie = jax.random.randint(rng.stream(key, "lie"), shape, 0, game.n_actions)
    shown = _level(jnp.where(flipped, lie, last[other][:, :, None]), game.n_actions)
    noise = jax.random.normal(rng.stream(key, "noise"), (n, n - 1, game.noise))
    names = [f"leak_{k}" for k in range(leaks)] + [f"noise_{k}" for k in range(game.noise)]
    order = np.array([names.index(feature) for feature in game.ally_features], int)
    return jnp.concatenate([shown, noise], axis=2)[:, :, order].reshape(n, -1)


def _level(action: Int[Array, "*s"], n_actions: int) -> Float[Array, "*s"]:
    """Spread the actions evenly over [-1, 1]."""
    return action.astype(jnp.float32) * (2.0 / (n_actions - 1)) - 1.0
