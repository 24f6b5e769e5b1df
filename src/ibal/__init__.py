"""ibal: robust cooperative multi-agent reinforcement learning in JAX, from the environment to the result card.

Names below are resolved on first use, so that ``import ibal`` costs nothing (importing jax alone takes about 2 s).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibal.envs import make
    from ibal.envs.check import check_env
    from ibal.nets.bundle import load_policy
    from ibal.types import Block, Env, EnvSpec, Frame, ObsLayout, Policy, Scene, TimeStep

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Env",
    "EnvSpec",
    "Frame",
    "ObsLayout",
    "Policy",
    "Scene",
    "TimeStep",
    "__version__",
    "check_env",
    "load_policy",
    "make",
]

_HOME = {"make": "ibal.envs", "check_env": "ibal.envs.check", "load_policy": "ibal.nets.bundle"}


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'ibal' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME.get(name, "ibal.types")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
