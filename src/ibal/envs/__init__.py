"""Environments by name. Adding one is one line in ``TABLE``; ``make("my_pkg.mod:make")`` needs no line at all.

Importing this module imports no jax: ``ibal env list`` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ibal.envs.smac.scenarios import SCENARIOS
from ibal.registry import Entry, Registry

if TYPE_CHECKING:
    from ibal.types import Env

_TOY = {
    "two-step": Entry("ibal.envs.toy:two_step", "two-step game of the QMIX paper: VDN gets 7, QMIX gets 8"),
    "climbing": Entry("ibal.envs.toy:climbing", "climbing matrix game: the best joint action is the riskiest"),
    "probe-value": Entry("ibal.envs.toy:probe_value", "one step, reward always 1: is a constant learned?"),
    "probe-observation": Entry("ibal.envs.toy:probe_observation", "one step, reward is the observation"),
    "probe-discount": Entry("ibal.envs.toy:probe_discount", "two steps, reward at the end: is it discounted back?"),
    "probe-action": Entry("ibal.envs.toy:probe_action", "one step, reward for each agent's own action"),
    "probe-joint": Entry("ibal.envs.toy:probe_joint", "one step, reward if all agents choose what they see"),
    "probe-memory": Entry("ibal.envs.toy:probe_memory", "a cue at the start is asked for at the end: needs recurrence"),
    "leak": Entry("ibal.envs.leak:leak", "observation dimensions with known mutual information with others' actions"),
}

TABLE = Registry(
    kind="environment",
    entries={
        **{
            f"smac/{name}": Entry(
                "ibal.envs.smac.env:make",
                f"{scenario.n_agents} agents against {scenario.n_enemies}, {scenario.limit} steps",
                args=(name,),
            )
            for name, scenario in SCENARIOS.items()
        },
        **{f"toy/{name}": entry for name, entry in _TOY.items()},
    },
    listing="ibal env list",
    flag="--env",
    prefixes=("smac/", "toy/"),
)


def resolve(name: str) -> str:
    """Return the full name of an environment: ``"3m"`` means ``"smac/3m"``; ``my_pkg.mod:make`` stays as it is."""
    return TABLE.resolve(name)


def make(name: str, **options: Any) -> Env:
    """Make the environment ``name``: a name of the table, or ``"my_pkg.mod:make"``, a function returning an ``Env``.

    Raises UnknownName (a ValueError) that says which name is closest and how to list them.
    """
    from ibal.types import Env

    env = TABLE.make(name, **options)
    if not isinstance(env, Env):
        raise TypeError(f'"{name}" returned a {type(env).__name__}; an environment function returns an ibal.types.Env')
    return env
