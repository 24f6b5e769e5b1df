"""One action for each agent, out of whatever a learner hands over."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Set
from typing import Any


def joint_action(actions: Any, n_agents: int, map_name: str) -> list[int]:
    """Read one whole number an agent, in the agents' order.

    Takes a list or tuple, a NumPy array, or a tensor on any device, of shape (n,) or with further axes of length 1.
    Raises ValueError: one sentence that says what was given and what is wanted. Whether an action is legal is not
    looked at.
    """
    wanted = f"pass one action for each agent, as a list or an array of shape ({n_agents},) or ({n_agents}, 1)"
    given = actions.tolist() if hasattr(actions, "tolist") else actions
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping, Set)):
        raise ValueError(f"step() got {_named(actions)}: {wanted}")
    rows = list(given)
    if len(rows) != n_agents:
        shape = getattr(actions, "shape", (len(rows),))
        what = f"{len(rows)} actions" if len(shape) == 1 else f"an array of shape {tuple(shape)}"
        raise ValueError(f"step() got {what}, but {map_name} has {n_agents} agents: {wanted}")
    return [_whole(agent, row, wanted) for agent, row in enumerate(rows)]


def write_back(actions: Any, played: list[int]) -> None:
    """Put what was played in the place of ``actions``, keeping their shape. Raises ValueError where that cannot be."""
    try:
        for agent, action in enumerate(played):
            row, at = actions, agent
            while isinstance(row[at], list):
                row, at = row[at], 0
            row[at] = action
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"with heuristic_ai, step() writes the actions it plays into what it is given, and {_named(actions)} "
            "cannot be written into: pass a list, a NumPy array or a tensor"
        ) from error


def _whole(agent: int, value: Any, wanted: str) -> int:
    plain: Any = value.tolist() if hasattr(value, "tolist") else value
    while isinstance(plain, (list, tuple)) and len(plain) == 1:
        plain = plain[0].tolist() if hasattr(plain[0], "tolist") else plain[0]
    if isinstance(plain, (list, tuple)):
        raise ValueError(f"step() got {len(plain)} values for agent {agent}: {wanted}")
    if isinstance(plain, float):
        whole = int(plain) if plain.is_integer() else None
    else:
        whole = operator.index(plain) if hasattr(plain, "__index__") and not isinstance(plain, bool) else None
    if whole is None:
        raise ValueError(f"step() got {plain!r} as the action of agent {agent}, not a whole number")
    return whole


def _named(actions: Any) -> str:
    shape = getattr(actions, "shape", None)
    return f"a value of type {type(actions).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
