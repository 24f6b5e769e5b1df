"""What environment, policy and adversary must keep to, watched in every game that is played.

Shapes and types are looked at while a program is traced and cost nothing when it runs. What only numbers show is
looked at beside the game and said afterwards (``complaint``): a game in which a rule was broken is no result. ``watch``
notes which rule, who and when, at some two percent of the time of a game on 3m; ``glance`` notes only that there was
one, at about one.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ibal import tree
from ibal.contract import ContractError, require_call
from ibal.envs.check import check_kept, kind
from ibal.game.decide import Turn
from ibal.types import KNOWLEDGE, Adversary, Env, EnvSpec, HostPolicy, Policy, Threat, TimeStep

TOLERANCE = 1e-5  # rounding of a projection or of a rebuilt observation, relative where entries are above 1
LARGEST = float(np.finfo(np.float32).max)
STORED_LARGEST = float(np.finfo(np.float16).max)  # of observations and states that are kept for training


class Fault(NamedTuple):
    """The first rule that a game broke: ``code`` is which rule and agent, -1 for none, ``step`` when."""

    code: Int[Array, "*e"]
    step: Int[Array, "*e"]


# In the order in which they are looked at: those of a decision, then those of the world that it leads to.
_DECISION = (
    "observe gave what {agent} sees a number that is NaN or infinite",
    "policy.select chose an action that does not exist for {agent}",
    "act gave {agent} an action that does not exist",
    "act gave {agent} an action that is not available",
    "act replaced the action of {agent}, which is dead",
    "observe changed what {agent} sees, but threat.channels is {threat.channels}",
    "act changed what {agent} does, but threat.channels is {threat.channels}",
    "observe touched more than threat.agents={threat.agents} agents, {agent} among them",
    "act touched more than threat.agents={threat.agents} agents, {agent} among them",
    "observe changed more than threat.dims={threat.dims} entries of what {agent} sees",
    "observe changed what {agent} sees by more than threat.eps={threat.eps}",
)
_WORLD = (
    "the reward is NaN or infinite",
    "the state is {number} in an entry",
    "a metric is NaN or infinite",
    "the observation of {agent} is {number} in an entry",
    "{agent} has no available action",
)
_OF_POLICY = (1,)


def at_start(step: TimeStep, largest: float = LARGEST) -> Fault:
    """Look at the first time-step of a game. Observations and states beyond ``largest`` count as infinite."""
    code = _first([*_nobody(len(_DECISION), step), *_of_world(step, largest)])
    return Fault(code, jnp.int32(0))


def watch(
    fault: Fault, threat: Threat, before: TimeStep, done: Turn, after: TimeStep, t: jax.Array, largest: float = LARGEST
) -> Fault:
    """Look at a decision and at what it led to; the first fault stays."""
    code = _first([*_of_decision(threat, before, done), *_of_world(after, largest)])
    of_world = code >= len(_DECISION) * after.alive.shape[0]
    now = Fault(code, jnp.asarray(t, jnp.int32) + of_world.astype(jnp.int32))
    return tree.where(fault.code >= 0, fault, now)


def glance(
    fault: Fault, threat: Threat, before: TimeStep, done: Turn, after: TimeStep, t: jax.Array, largest: float = LARGEST
) -> Fault:
    """Note only that a rule was broken: code 0. Arguments are those of ``watch``."""
    del t
    rules = [*_of_decision(threat, before, done), *_of_world(after, largest)]
    broken = reduce(operator.or_, rules).any()
    return fault._replace(code=jnp.where(broken & (fault.code < 0), 0, fault.code))


def first(faults: Fault) -> Fault:
    """Return the fault of the first of many games [e] that has one."""
    return tree.at(faults, jnp.argmax(faults.code >= 0))


def complaint(
    fault: Fault, env: EnvSpec, threat: Threat, largest: float = LARGEST, axis: str = "episode"
) -> ContractError | None:
    """Return what was broken first in any of the games [e] of ``fault`` as an error to raise; None: nothing."""
    codes, steps = np.atleast_1d(np.asarray(fault.code)), np.atleast_1d(np.asarray(fault.step))
    games = np.flatnonzero(codes >= 0)
    if not games.size:
        return None
    rule, agent = divmod(int(codes[games[0]]), env.n_agents)
    number = "NaN or infinite"
    if largest < LARGEST:
        number += f" or beyond {largest:g} (training keeps float16)"
    said = (*_DECISION, *_WORLD)[rule].format(agent=f"agent {agent}", threat=threat, number=number)
    whose = "policy" if rule in _OF_POLICY else "attack" if rule < len(_DECISION) else "environment"
    where, note = (f"{env.name}: ", "; step 0 is the reset") if whose == "environment" else ("", "")
    return ContractError(f"{where}{said} (at step {int(steps[games[0]])}, {axis} {int(games[0])}{note})", whose)


def require_fair(fault: Fault, env: EnvSpec, threat: Threat) -> None:
    """Raise ContractError if a rule was broken in any of the games."""
    if (error := complaint(fault, env, threat)) is not None:
        raise error


def _nobody(count: int, step: TimeStep) -> list[Bool[Array, "n"]]:
    return [jnp.zeros(step.alive.shape, bool)] * count


def _first(rules: list[Bool[Array, "n"]]) -> Int[Array, ""]:
    flat = jnp.concatenate(rules)
    return jnp.where(flat.any(), jnp.argmax(flat).astype(jnp.int32), jnp.int32(-1))


def _of_world(step: TimeStep, largest: float) -> list[Bool[Array, "n"]]:
    def everybody(bad: jax.Array) -> Bool[Array, "n"]:
        return jnp.broadcast_to(bad, step.alive.shape)

    metrics = [~jnp.isfinite(jnp.asarray(value, jnp.float32)) for value in step.metrics.values()]
    return [
        everybody(~jnp.isfinite(step.reward)),
        everybody(~(jnp.abs(step.state) <= largest).all()),  # NaN is not below anything
        everybody(jnp.stack(metrics).any() if metrics else jnp.array(False)),
        ~(jnp.abs(step.obs) <= largest).all(1),
        ~step.avail.any(1),
    ]


def _of_decision(threat: Threat, before: TimeStep, done: Turn) -> list[Bool[Array, "n"]]:
    """What was not touched is the same object: nobody pays for an attack that does nothing."""
    clean, a = before.obs, before.avail.shape[1]
    (no,) = _nobody(1, before)
    out = [no] * len(_DECISION)
    out[1] = _strange(done.intended, a)
    if done.executed is not done.intended:
        replaced = done.executed != done.intended.astype(done.executed.dtype)
        legal = jnp.take_along_axis(before.avail, jnp.clip(done.executed, 0, a - 1)[:, None], axis=1)[:, 0]
        out[2] = replaced & _strange(done.executed, a)
        out[3] = replaced & ~legal
        out[4] = replaced & ~before.alive
        out[6] = no if "act" in threat.channels else replaced
        out[8] = no if threat.agents is None else replaced & (replaced.sum() > threat.agents)
    if done.seen is not clean:
        changed = done.seen != clean
        whose = changed.any(1)
        out[0] = ~jnp.isfinite(done.seen).all(1)
        out[5] = no if "obs" in threat.channels else whose
        out[7] = no if threat.agents is None else whose & (whose.sum() > threat.agents)
        out[9] = no if threat.dims is None else changed.sum(1) > threat.dims
        if threat.eps is not None:
            room = threat.eps + TOLERANCE * jnp.maximum(jnp.abs(clean), 1.0)
            out[10] = (jnp.abs(done.seen - clean) > room).any(1)
    return out


def _strange(actions: Int[Array, "n"], count: int) -> Bool[Array, "n"]:
    return (actions < 0) | (actions >= count)


def seen_of(spec: EnvSpec, name: str, seen: Any, clean: jax.Array) -> jax.Array:
    """Return what an adversary shows the team, if it has the shape of an observation."""
    _require_kind(f"{name} gave", seen, f"float32[{spec.n_agents}, {spec.obs_size}]")
    return seen if seen is clean else jnp.asarray(seen)


def check_scores(spec: EnvSpec, scores: Any, before: Any, carry: Any) -> None:
    """Raise ContractError unless ``policy.scores`` gave a number per agent and action, and a carry like ``before``."""
    check_kept("policy.scores changes", "the carry", before, carry, "policy")
    if jnp.shape(scores) != (spec.n_agents, spec.n_actions):
        raise ContractError(
            f"policy.scores gave scores {kind(scores)}; [{spec.n_agents}, {spec.n_actions}] was expected", "policy"
        )


def actions_of(spec: EnvSpec, name: str, actions: Any) -> jax.Array:
    """Return the team's actions, if they are one whole number per agent."""
    check_actions(spec, name, actions)
    return actions if isinstance(actions, jax.Array) else jnp.asarray(actions)


def check_actions(spec: EnvSpec, name: str, actions: Any) -> None:
    """Raise ContractError unless the actions are one whole number per agent."""
    if jnp.shape(actions) != (spec.n_agents,) or not jnp.issubdtype(jnp.result_type(actions), jnp.integer):
        whose = "policy" if name.startswith("policy") else "attack"
        raise ContractError(f"{name} gave {kind(actions)}; integers [{spec.n_agents}] were expected", whose)


def remembered(name: str, memory: Any, after: Any) -> Any:
    """Return the memory that an adversary gave back, if it is of the kind that ``begin`` made."""
    check_kept(f"{name} changes", "its memory", memory, after, "attack")
    return after


def _require_kind(who: str, value: Any, wanted: str) -> None:
    if kind(value) != wanted:
        raise ContractError(f"{who} {kind(value)}; {wanted} was expected", "attack")


def check_functions(adversary: Any) -> Adversary:
    """Return an adversary whose functions can be called as they will be. Raises ContractError."""
    if not isinstance(adversary, Adversary):
        got = type(adversary).__name__
        raise ContractError(f"build(spec) must return an ibal.adversaries.base.Adversary, got a {got}", "attack")
    if not isinstance(adversary.threat, Threat):
        raise ContractError(f"threat is a {type(adversary.threat).__name__}; a Threat was expected", "attack")
    check_threat(adversary.threat)
    for name, arguments in (
        ("init", "key"), ("begin", "key, state, step"), ("observe", "key, state, memory, view"),
        ("act", "key, state, memory, view"), ("update", "key, state, episodes, feedback"),
    ):  # fmt: skip
        require_call("attack", name, getattr(adversary, name), arguments)
    if adversary.reobserve is not None:
        require_call("attack", "reobserve", adversary.reobserve, "memory, obs")
    if adversary.alone is not None:
        require_call("attack", "alone", adversary.alone, "iteration")
    if adversary.world is not None:
        require_call("attack", "world", adversary.world, "state, env")
    return adversary


def check_threat(threat: Threat) -> None:
    """Raise ContractError for words and numbers that mean nothing: a misspelt channel would be none."""
    for name, allowed in (("knowledge", KNOWLEDGE), ("channels", ("obs", "act"))):
        words = getattr(threat, name)
        if isinstance(words, str) or not set(words) <= set(allowed):
            raise ContractError(f"threat.{name} is {words!r}; any of {allowed} were expected, as a tuple", "attack")
    for name in ("agents", "dims"):
        value = getattr(threat, name)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ContractError(f"threat.{name} is {value!r}; None or a whole number was expected", "attack")
    if threat.eps is not None and not threat.eps >= 0:
        raise ContractError(f"threat.eps is {threat.eps!r}; None or a number of at least 0 was expected", "attack")
    if not 0 <= threat.p <= 1:
        raise ContractError(f"threat.p is {threat.p!r}; a share of the steps, 0 to 1, was expected", "attack")


def check_policy(policy: Any) -> Policy | HostPolicy:
    """Return a policy, or one in Python, whose functions can be called as they will be. Raises ContractError."""
    if not (isinstance(policy, Policy) or is_in_python(policy)):
        raise ContractError(f"an ibal.types.Policy was expected, got a {type(policy).__name__}", "policy")
    for name, arguments in (("start", ""), ("scores", "carry, obs, avail, last_action"),
                            ("select", "key, scores, avail")):  # fmt: skip
        require_call("policy", f"policy.{name}", getattr(policy, name), arguments)
    return policy


def is_hosted(env: Env, policy: Any) -> bool:
    """Say whether games of this world and team are played step by step in Python (``game.host``)."""
    return env.host is not None or is_in_python(policy)


def is_in_python(policy: Any) -> bool:
    """Say whether this is a team that is asked in Python and cannot be compiled."""
    return isinstance(policy, HostPolicy)


def refusal(threat: Threat, policy: Any) -> str | None:
    """Say what the attack must know of a victim (a ``Policy``, or another record with ``reveals`` and ``kind``), and
    this one does not show; None: nothing."""
    shown = {"scores": ("scores",), "gradient": ("scores", "gradient")}.get(policy.reveals, ())
    shown += ("values",) * (policy.kind == "value" and policy.reveals != "nothing")
    shown += ("weights",) * (getattr(policy, "weights", None) is not None and policy.apply is not None)
    missing = [word for word in threat.knowledge if word != "state" and word not in shown]
    words = {
        "scores": "scores of its actions", "values": "values of its actions, not probabilities",
        "gradient": "scores that have a gradient", "weights": "weights to work on",
    }  # fmt: skip
    return words[missing[0]] if missing else None


def bare(env: Env) -> Env:
    """Return an environment without its parameters and its picture: what compiled programs are told apart by."""
    return env._replace(params=None, frame=None)
