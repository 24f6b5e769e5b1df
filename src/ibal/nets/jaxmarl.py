"""Teams of JaxMARL's baselines, out of the parameter files that they save: ``--policy jaxmarl:actor.safetensors``.

Known are their recurrent networks: the actors of IPPO and MAPPO (``Dense_0``, a GRU, ``Dense_1``, ``Dense_2``) and the
agents of Q-learning (``Dense_0``, a GRU, ``Dense_1``). They act greedily. Q-learning's see their own number after the
observation, as its wrapper adds it. Weights are known, so that attacks may ask for scores and gradients.

Source: JaxMARL 0.2, ``baselines/IPPO/ippo_rnn_smax.py`` (ActorCriticRNN), ``baselines/QLearning/qmix_rnn.py``
(RNNQNetwork), ``wrappers/baselines.py`` (save_params); flax ``GRUCell``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import reading
from ibal.types import EnvSpec, Policy


class Dense(NamedTuple):
    """A layer ``x @ w + b``."""

    w: Float[Array, "i h"]
    b: Float[Array, "h"]


class Weights(NamedTuple):
    """``gates`` are those of the input and ``hidden`` those of the state, in the order reset, update, candidate."""

    first: Dense
    gates: tuple[Dense, Dense, Dense]
    hidden: tuple[Dense, Dense, Dense]
    last: tuple[Dense, ...]


def team(path: str, spec: EnvSpec) -> Policy:
    """Return the team of a parameter file. Raises ValueError for a file that is none, or of another environment."""
    weights = read(Path(path))
    size, n = weights.first.w.shape[0], spec.n_agents
    if size not in (spec.obs_size, spec.obs_size + n) or weights.last[-1].b.size != spec.n_actions:
        raise ValueError(
            f"{path} is for observations of {size} and {weights.last[-1].b.size} actions; {spec.name} has "
            f"{spec.obs_size} and {spec.n_actions}"
        )
    numbered = size != spec.obs_size

    def start() -> jax.Array:
        return jnp.zeros((n, weights.hidden[0].w.shape[0]))

    def apply(weights: Any, carry: Any, obs: Any, avail: Any, last: Any) -> tuple[Any, Any]:
        return scores(weights, carry, jnp.concatenate([obs, jnp.eye(n)], axis=1) if numbered else obs)

    def select(key: jax.Array, values: Any, avail: Any) -> Any:
        return jnp.argmax(jnp.where(avail, values, -jnp.inf), axis=1).astype(jnp.int32)

    return Policy(
        start, lambda carry, obs, avail, last: apply(weights, carry, obs, avail, last), select,
        weights=lambda: weights, apply=apply, kind="logit" if len(weights.last) == 2 else "value",
    )  # fmt: skip


def scores(weights: Weights, hidden: Float[Array, "n h"], obs: Float[Array, "n o"]) -> tuple[Any, Any]:
    """Return the new hidden state [n, h] and logits or values [n, a]."""
    x = jax.nn.relu(_dense(weights.first, obs))
    reset, update, candidate = (_dense(one, x) for one in weights.gates)
    by = [_dense(one, hidden) for one in weights.hidden]
    update = jax.nn.sigmoid(update + by[1])
    candidate = jnp.tanh(candidate + jax.nn.sigmoid(reset + by[0]) * by[2])
    hidden = (1 - update) * candidate + update * hidden
    x = hidden
    for layer in weights.last[:-1]:
        x = jax.nn.relu(_dense(layer, x))
    return hidden, _dense(weights.last[-1], x)


def _dense(layer: Dense, x: jax.Array) -> jax.Array:
    return x @ layer.w + layer.b[None, :]


def read(path: Path) -> Weights:
    """Read a file of ``save_params``. Raises ValueError where there is none, or for other networks."""
    held = {tuple(name.split(",")): values for name, values in reading.tensors(reading.existing(path)).items()}

    def layer(*ends: str) -> Dense | None:
        found = {name[-1]: values for name, values in held.items() if name[-len(ends) - 1 : -1] == ends}
        if "kernel" not in found:
            return None
        w = jnp.asarray(found["kernel"], jnp.float32)
        return Dense(w, jnp.asarray(found["bias"], jnp.float32) if "bias" in found else jnp.zeros(w.shape[1]))

    dense = [layer(f"Dense_{i}") for i in range(5)]
    gates = [layer(name) for name in ("ir", "iz", "in", "hr", "hz", "hn")]
    if dense[0] is None or dense[1] is None or any(gate is None for gate in gates):
        raise ValueError(
            f"{path} holds none of JaxMARL's recurrent networks (Dense_0, a GRU, Dense_1, …): give the module itself "
            "with ibal.black_box"
        )
    last = (dense[1],) if dense[2] is None else (dense[1], dense[2])
    return Weights(dense[0], tuple(gates[:3]), tuple(gates[3:]), last)  # type: ignore[arg-type]  (none is None)
