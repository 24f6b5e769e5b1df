"""Mixers: how the agents' values become the team's. A mixer is a module with

``init(key, n_agents, state_size, n_actions) -> params`` and
``apply(params, q[n], state[s], best[n], actions[n, a]) -> q_tot[]``

where ``q`` are the values of the chosen actions, ``best`` each agent's greatest value over its available actions and
``actions`` the chosen actions one-hot (float). VDN and QMIX ignore the last two; ``iql`` returns ``q`` [n].
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ibal.registry import UnknownName, hint

MIXERS = ("iql", "vdn", "qmix", "qplex")


class Mixer(NamedTuple):
    """The two functions of a mixer, for one sample (see the module); batch ``apply`` with ``jax.vmap``."""

    init: Callable[[jax.Array, int, int, int], Any]
    apply: Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def mixer(name: str) -> Mixer:
    """Return the mixer called ``name``. Raises UnknownName with the closest name."""
    if name not in MIXERS:
        raise UnknownName(f'unknown mixer "{name}".{hint(name, MIXERS)} Choose one of: {", ".join(MIXERS)}')
    module = importlib.import_module(f"{__name__}.{name}")
    return Mixer(module.init, module.apply)
