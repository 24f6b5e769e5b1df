"""The stored numbers of ``make_pymarl_vectors.py``, as records of this library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ibal.nets.agents import PyMarlAgent
from ibal.nets.layers import Linear
from ibal.nets.mixers.qmix import QmixParams
from ibal.nets.mixers.qplex import QplexParams
from ibal.nets.mixers.vdn import VdnParams

FIXTURES = Path(__file__).parent / "fixtures"
Arrays = Mapping[str, np.ndarray]


def load(name: str) -> dict[str, np.ndarray]:
    """Read a fixture, e.g. ``load("pymarl_mixers")``."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        return dict(file)


def agent(arrays: Arrays, prefix: str = "agent.") -> PyMarlAgent:
    """Weights of the agent under ``prefix`` (``"agent."``, ``"target.agent."``, ``"0.6/after/agent."`` ...)."""
    names = ("fc1.weight", "fc1.bias", "rnn.weight_ih", "rnn.bias_ih", "rnn.weight_hh", "rnn.bias_hh", "fc2.weight",
             "fc2.bias")  # fmt: skip
    return PyMarlAgent(*(jnp.asarray(arrays[prefix + name].T) for name in names))


def mixer(name: str, arrays: Arrays, prefix: str = "mixer.") -> Any:
    """Parameters of the mixer ``name`` under ``prefix``; gradients have the same shape, so they are read alike."""

    def layer(tensor: str) -> Linear:
        return Linear(jnp.asarray(arrays[f"{prefix}{tensor}.weight"].T), jnp.asarray(arrays[f"{prefix}{tensor}.bias"]))

    return _MIXERS[name](layer)


def _qmix(layer: Callable[[str], Linear]) -> QmixParams:
    names = ("hyper_w_1.0", "hyper_w_1.2", "hyper_b_1", "hyper_w_final.0", "hyper_w_final.2", "V.0", "V.2")
    return QmixParams(*map(layer, names))


def _qplex(layer: Callable[[str], Linear]) -> QplexParams:
    def side_by_side(extractor: str) -> Linear:
        kernels = [layer(f"{extractor}.{k}") for k in range(3)]
        return Linear(jnp.concatenate([k.w for k in kernels], 1), jnp.concatenate([k.b for k in kernels]))

    hyper = map(layer, ("hyper_w_final.0", "hyper_w_final.2", "V.0", "V.2"))
    return QplexParams(*hyper, *map(side_by_side, ("key", "agents", "action")))


_MIXERS: dict[str, Callable[[Callable[[str], Linear]], Any]] = {
    "vdn": lambda layer: VdnParams(),
    "qmix": _qmix,
    "qplex": _qplex,
}
