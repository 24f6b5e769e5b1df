"""Why an interaction-breaking attack works on a team: what ``ibal analyse`` tells.

    numbers = why(key, episodes, env.spec, [attacker], steps=600)

``numbers["dimensions"]``: whether masks hide the other group; ``["actions"]``: what the actions that it chooses tell;
``["redundancy"]``: what a sum over pairs and entries leaves out. Information is in nats. Arrays are NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ibal import rng
from ibal.adversaries import groups
from ibal.adversaries.bundle import Attacker
from ibal.analysis import information
from ibal.analysis.redundancy import ESTIMATES, redundancy
from ibal.options import ConfigError
from ibal.types import EnvSpec, Episodes

RULES = ("block", "dimension")
STRIPS = {"block": "hidden: whole blocks", "dimension": "hidden: largest L (literal)"}


def largest(attacker: Attacker, spec: EnvSpec, agent: int = 0) -> int:
    """Return the size of G1. Raises ConfigError where there are no two groups, or no such agent."""
    most = groups.largest(attacker.config, spec)
    if not 0 < most < spec.n_agents:
        raise ConfigError(f"the attacker attacks {most} of {spec.n_agents} agents; there are no two groups")
    if not 0 <= agent < spec.n_agents:
        raise ConfigError(f"--agent is {agent}; {spec.name} has agents 0..{spec.n_agents - 1}")
    return most


def why(
    key: jax.Array, episodes: Episodes, spec: EnvSpec, attackers: Sequence[Attacker], steps: int = 600, agent: int = 0,
    note: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:  # fmt: skip
    """Return the numbers of one attacker, and of what two fits agree on where there are two.

    ``episodes`` are natural ones of the team; ``steps`` gradient steps of each model that is fitted here; ``agent`` is
    the one that ``["dimensions"]["agent"]`` shows entry by entry. Raises ConfigError as ``largest``, ValueError for
    what the environment does not have.
    """
    first, most = attackers[0], largest(attackers[0], spec, agent)
    out: dict[str, Any] = {}
    for name, part in (
        ("dimensions", lambda k: dimensions(k, episodes, spec, first, most, steps, agent)),
        ("actions", lambda k: actions(k, episodes, spec, attackers, most)),
        ("redundancy", lambda k: sums(k, episodes, spec, first, most, steps)),
    ):
        note(f"{name} …")
        out[name] = part(rng.stream(key, name))
    return out


def dimensions(
    key: jax.Array, episodes: Episodes, spec: EnvSpec, attacker: Attacker, most: int, steps: int, agent: int
) -> dict[str, Any]:
    """Compare what the masks hide with the truth, and measure the information anew under them."""
    config = attacker.config
    scores = np.asarray(attacker.state.scores)
    pairs = information.groups_of(spec.n_agents, most)
    out: dict[str, Any] = {"groups": len(pairs), "rules": {}, "roles": information.by_role(scores, spec)}
    one = _shown(spec.n_agents, most, agent)[None]
    strips: dict[str, np.ndarray] = {}
    for rule in RULES:
        dims = config.dims if rule == config.masks else None
        hidden = information.masks(scores, spec, pairs, rule, dims)
        out["rules"][rule] = information.aim(scores, spec, pairs, hidden)
        strips[rule] = information.masks(scores, spec, one, rule, dims)[0]
    out["pairs"] = information.found(scores, spec, pairs)

    used = strips[config.masks]
    before = information.measured(key, config.club, spec, episodes, steps)
    after = information.measured(key, config.club, spec, episodes, steps, mask=used)
    others = information.apart(one)[0]
    total = [float(np.maximum(np.where(others[..., None], s, 0).sum(1), 0)[one[0]].sum()) for s in (before, after)]
    out["measured"] = {
        "group": np.flatnonzero(one[0]), "before": total[0], "after": total[1],
        "removed": 1 - total[1] / total[0] if total[0] > 0 else math.nan,
    }  # fmt: skip
    about, anew = (np.einsum("jd,j->d", s[agent], others[agent]) for s in (scores, after))
    out["agent"] = {
        "agent": agent, "group": np.flatnonzero(one[0]), "names": list(spec.obs_layout.names), "before": about,
        "after": np.where(used[agent], 0.0, about), "measured": anew,
        **{STRIPS[rule]: mask[agent] for rule, mask in strips.items()},
        "truth: the other group": information.truth(spec, one)[0, agent],
    }  # fmt: skip
    return out


def _shown(n_agents: int, most: int, agent: int) -> np.ndarray:
    """Return the group of the picture: the agent and those after it."""
    return (np.arange(n_agents) - agent) % n_agents < most


def actions(
    key: jax.Array, episodes: Episodes, spec: EnvSpec, attackers: Sequence[Attacker], most: int
) -> dict[str, Any]:
    """Tell what the actions that attackers choose tell the others, and whether two of them agree."""
    found = [
        information.candidates(key, one.config.action, spec, one.state.phi.params, episodes, most) for one in attackers
    ]
    agreement = information.agreement(found[0], found[1]) if len(found) > 1 else None
    return {"attackers": [information.told(each, spec) for each in found], "agreement": agreement}


def sums(
    key: jax.Array, episodes: Episodes, spec: EnvSpec, attacker: Attacker, most: int, steps: int
) -> dict[str, Any]:
    """Compare the information of whole groups with the sums that stand for it."""
    cut = len(episodes.length) * 3 // 4  # the rest is measured on
    train, test = (
        jax.tree.map(lambda leaf, part=part: leaf[part], episodes) for part in (slice(cut), slice(cut, None))
    )
    found = redundancy(key, attacker.config.club, spec, train, test, most, steps)
    mean = {name: float(getattr(found, name).mean()) for name in ESTIMATES}
    return {"mean": mean, "per_step": found.per_step()}
