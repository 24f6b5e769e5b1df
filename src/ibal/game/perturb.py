"""Perturbations by the names that tables give them: what changes about a world without any adversary.

    world, params = perturb(env, "hp-15")
    results = play(world, policy, keys, env_params=params)

``none``; ``dis-2``: 2 agents, drawn anew in every episode, stand still; ``abs-1``: 1 agent is not there; ``hp-15``: the
team starts with 15 % less health and shield; ``dis-1+hp-15``: both. An environment says itself what it can follow
(``Env.perturb``); any that has an idle action can disable agents. Source: IBAL section 5 and Appendix F.2.
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
    """Return a perturbation's name if it is written as one, or as several with plus signs between them. Raises
    ValueError with the closest one."""
    for part in name.split("+"):
        _check(part)
    return name


def together(*names: str) -> str:
    """Return the name of several perturbations at once."""
    return "+".join(name for name in names if name != "none") or "none"


def _check(name: str) -> None:
    if _FORM.fullmatch(name):
        return
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
    world, params = env, env.params
    for part in checked(name).split("+"):
        after, params = _perturbed(world._replace(params=params), part)
        world = world if after.step is world.step else after  # the same object where its parameters can follow
    return world, params


def _perturbed(env: Env, name: str) -> tuple[Env, Any]:
    kind, _, amount = name.partition("-")
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
