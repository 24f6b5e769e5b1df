"""Perturbations by the names that tables give them: what changes about a world without any adversary.

    world, params = perturb(env, "hp-15")
    results = play(world, policy, keys, env_params=params)

``none``; ``dis-2``: 2 agents, drawn anew in every episode, stand still; ``abs-1``: 1 agent is not there; ``hp-15``: the
team starts with 15 % less health and shield. An environment says itself what it can follow (``Env.perturb``); any that
has an idle action can disable agents. Source: IBAL section 5 and Appendix F.2.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from ibal.envs import perturb as any_env
from ibal.types import Env

NAMES = ("none", "dis-1", "dis-2", "hp-10", "hp-15", "hp-20", "abs-1")  # those of the paper, and its likely variant
_FORM = re.compile(r"none|(dis|abs|hp)-[1-9][0-9]{0,8}")


def checked(name: str) -> str:
    """Return a perturbation's name if it is written as one. Raises ValueError with the closest one."""
    if _FORM.fullmatch(name):
        return name
    if re.fullmatch(r"(dis|abs|hp)-0+", name):
        raise ValueError(f'"{name}" perturbs nothing; the name of that is "none"')
    near = difflib.get_close_matches(name.lower(), NAMES, 1)
    hint = f' Closest: "{near[0]}".' if near else ""
    raise ValueError(
        f'unknown perturbation "{name}".{hint} Write none, dis-<agents>, abs-<agents> or hp-<percent>, like hp-15'
    )


def perturb(env: Env, name: str) -> tuple[Env, Any]:
    """Return the world and its parameters under a perturbation.

    The world is ``env`` itself where its parameters can follow, so that nothing is compiled anew. Raises ValueError for
    a name that is none, or that this environment cannot follow.
    """
    kind, _, amount = checked(name).partition("-")
    if kind == "none":
        return env, env.params
    try:
        if kind == "abs" and int(amount) >= env.spec.n_agents:
            raise ValueError(f"the team has {env.spec.n_agents} agents, and one must be there")
        if env.perturb is not None:
            return env, env.perturb(env.params, name)
        if kind == "dis":
            world = any_env.disable(env, int(amount))
            return world, world.params
    except ValueError as error:
        raise ValueError(f"{name} on {env.spec.name}: {error}") from error
    what = "initial health" if kind == "hp" else "agents that can be absent"
    raise ValueError(f"{name} on {env.spec.name}: this environment has no {what}; it can be perturbed by dis-<agents>")
