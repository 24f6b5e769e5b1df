"""A team that chooses by chance: one recurrent network for all, whose scores are log-probabilities of legal actions.

    agent = actor_agent(env.spec, params.hidden_size)        # greedy; ``sampled`` is how it plays while it learns
    policy = agent.bind(params)

What it sees is what the agents of value learners see: the observation, its own last intended action, its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.nets import pymarl, recurrent
from ibal.nets.agents import Agent
from ibal.nets.recurrent import Recurrent
from ibal.ops.categorical import log_policy

if TYPE_CHECKING:
    from pathlib import Path

    from ibal.types import EnvSpec, PRNGKey

GAIN = 0.01  # of the head: at first all actions are nearly alike


def init(key: PRNGKey, spec: EnvSpec, hidden: int, gain: float = GAIN) -> Recurrent:
    """Draw the network of a team for an environment of size ``spec``."""
    return recurrent.init(key, spec.obs_size + spec.n_actions + spec.n_agents, spec.n_actions, hidden, gain)


def actor_agent(spec: EnvSpec, hidden: int) -> Agent:
    """Return the team that plays its likeliest actions; its weights (``Recurrent``) are left open."""

    def start() -> Float[Array, "n h"]:
        return jnp.zeros((spec.n_agents, hidden), jnp.float32)

    return Agent(start, scores, pymarl.greedy, kind="logit")


def scores(
    params: Recurrent,
    carry: Float[Array, "n h"],
    obs: Float[Array, "n o"],
    avail: Bool[Array, "n a"],
    last_action: Int[Array, "n"],
) -> tuple[Float[Array, "n h"], Float[Array, "n a"]]:
    """Advance one step and return the log-probabilities of all actions, those of illegal ones far below any other."""
    carry, logits = recurrent.apply(params, carry, pymarl.inputs(obs, last_action, avail.shape[1]))
    return carry, log_policy(logits, avail)


def sampled(key: PRNGKey, scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Int[Array, "n"]:
    """Draw everybody's action from the probabilities of the legal ones."""
    return jax.random.categorical(rng.stream(key, "action"), jnp.where(avail, scores, -jnp.inf)).astype(jnp.int32)


def tensors(params: Any) -> dict[str, np.ndarray]:
    """Return the weights of a network by name: ``fc1.w`` [in, out], ``gru.h_w``, ``norm_in.scale`` …"""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def is_actor(held: Mapping[str, np.ndarray]) -> bool:
    """Say whether a file of arrays holds such a network."""
    return "norm_in.scale" in held


def from_tensors(path: Path, held: Mapping[str, np.ndarray]) -> Recurrent:
    """Put a network together. Raises ValueError that names ``path`` and says which array is missing or of a wrong
    shape."""
    hidden = held["fc1.b"].shape[-1] if "fc1.b" in held and held["fc1.b"].ndim else 0
    inputs, outputs = (
        held[name].shape[-1] if name in held and held[name].ndim else 0 for name in ("norm_in.scale", "head.b")
    )
    template = jax.eval_shape(lambda: recurrent.init(rng.root(0), max(inputs, 1), max(outputs, 1), max(hidden, 1), 1.0))
    leaves = []
    for where, like in jax.tree_util.tree_leaves_with_path(template):
        name = jax.tree_util.keystr(where, simple=True, separator=".")
        if name not in held or held[name].shape != like.shape:
            found = f"has shape {held[name].shape}" if name in held else "is missing"
            raise ValueError(f"{path} is no network of MAPPO or PQN: {name} {found}; wanted {like.shape}")
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, which is refused below
            array = np.asarray(held[name], np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity")
        leaves.append(jnp.asarray(array))
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
