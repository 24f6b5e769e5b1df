"""Bounds of the options of attacks; what is beyond them is one sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibal.types import EnvSpec


def at_least(name: str, value: float, low: float) -> None:
    """Raise ValueError if ``value`` is below ``low`` or no finite number."""
    if not low <= value < math.inf:
        raise ValueError(f"{name} is {value}; at least {low} was expected")


def among(name: str, value: int, spec: EnvSpec) -> int:
    """Return a number of agents. Raises ValueError if an environment has not so many."""
    if value > spec.n_agents:
        raise ValueError(f'{name} is {value}, but "{spec.name}" has {spec.n_agents} agents')
    return value


def within(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError if ``value`` is outside ``low..high``."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; a number from {low} to {high} was expected")
