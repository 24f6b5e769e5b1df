"""Put adversaries together: one after the other, in some episodes only, during some steps only.

both = chain(RandomObsConfig().build(spec), InteractionConfig().build(spec))
half = with_probability(0.5, both)
late = during(both, first=20)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ibal import rng, tree
from ibal.adversaries.base import ActView, Adversary, Feedback, ObsView, Threat
from ibal.types import KNOWLEDGE, EnvSpec, Episodes, TimeStep


def chain(*parts: Adversary) -> Adversary:
    """Let each attack what the ones before it have left: the attacked observations, the replaced actions.

    States and memories are tuples, one entry per part; metrics carry the part's number ("0/p_max").
    """
    if not parts:
        raise ValueError("chain: no adversary given; natural() is the one that does nothing")
    if any(part.world is not None for part in parts):
        raise ValueError("chain: an adversary that changes the world for whole iterations goes with no other one")

    def keys(key: jax.Array) -> list[jax.Array]:
        return [rng.stream(key, str(k)) for k in range(len(parts))]

    def init(key: jax.Array) -> Any:
        return tuple(part.init(k) for part, k in zip(parts, keys(key), strict=True))

    def begin(key: jax.Array, state: Any, step: TimeStep) -> Any:
        return tuple(part.begin(k, s, step) for part, k, s in zip(parts, keys(key), state, strict=True))

    def observe(key: jax.Array, state: Any, memory: Any, view: ObsView) -> tuple[jax.Array, Any]:
        after = []
        for part, k, s, m in zip(parts, keys(key), state, memory, strict=True):
            obs, m = part.observe(k, s, m, view)
            view = view._replace(step=view.step._replace(obs=obs))
            after.append(m)
        return view.step.obs, tuple(after)

    def act(key: jax.Array, state: Any, memory: Any, view: ActView) -> tuple[jax.Array, Any]:
        after = []
        for part, k, s, m in zip(parts, keys(key), state, memory, strict=True):
            actions, m = part.act(k, s, m, view)
            view = view._replace(actions=actions)
            after.append(m)
        return view.actions, tuple(after)

    def update(key: jax.Array, state: Any, episodes: Episodes, feedback: Feedback) -> tuple[Any, dict[str, Array]]:
        states, metrics = [], {}
        for number, (part, k, s) in enumerate(zip(parts, keys(key), state, strict=True)):
            s, said = part.update(k, s, episodes._replace(memory=episodes.memory[number]), feedback)
            states.append(s)
            metrics |= {f"{number}/{name}": value for name, value in said.items()}
        return tuple(states), metrics

    def reobserve(memory: Any, obs: jax.Array) -> jax.Array:
        for again, m in zip(rebuilds, memory, strict=True):
            obs = again(m, obs)
        return obs

    own = [part.alone for part in parts if part.alone is not None]
    rebuilds = [part.reobserve for part in parts if part.reobserve is not None]
    known = len(rebuilds) == len(parts)
    threat = _together([part.threat for part in parts])
    alone = (lambda iteration: jnp.stack([f(iteration) for f in own]).any()) if own else None
    return Adversary(threat, init, begin, observe, act, update, reobserve if known else None, alone)


@dataclass(frozen=True)
class ChainConfig:
    """Several attacks and faults at once, in this order."""

    parts: tuple[Any, ...] = ()
    """Their configurations."""

    def build(self, spec: EnvSpec) -> Adversary:
        return chain(*(part.build(spec) for part in self.parts))


class Sometimes(NamedTuple):
    """Whether the adversary is there in this episode, and its own memory."""

    on: Bool[Array, ""]
    memory: Any


def with_probability(p: float, inner: Adversary) -> Adversary:
    """Let the adversary attack an episode with probability ``p``; ``inner`` draws what it would draw alone."""
    if not 0 <= p <= 1:
        raise ValueError(f"with_probability: p is {p}; a number from 0 to 1 was expected")

    def begin(key: jax.Array, state: Any, step: TimeStep) -> Sometimes:
        return Sometimes(jax.random.bernoulli(rng.stream(key, "on"), p), inner.begin(key, state, step))

    def update(key: jax.Array, state: Any, episodes: Episodes, feedback: Feedback) -> tuple[Any, dict[str, Array]]:
        return inner.update(key, state, episodes._replace(memory=episodes.memory.memory), feedback)

    again = inner.reobserve
    rebuild = None if again is None else lambda memory, obs: jnp.where(memory.on, again(memory.memory, obs), obs)
    gated = _gated(
        inner, lambda memory, view: memory.on, lambda memory: memory.memory, lambda m, new: Sometimes(m.on, new)
    )
    return gated._replace(begin=begin, update=update, reobserve=rebuild)


def during(inner: Adversary, first: int = 0, last: int | None = None) -> Adversary:
    """Let the adversary attack only at steps ``first`` to ``last`` (None: to the end), both included, from 0."""
    if first < 0 or (last is not None and last < first):
        raise ValueError(f"during: first is {first} and last {last}; 0 <= first <= last was expected")

    def on(memory: Any, view: ObsView | ActView) -> jax.Array:
        return (view.time >= first) & (view.time <= (jnp.iinfo(jnp.int32).max if last is None else last))

    # What was seen depends on the step now, which nobody hands to reobserve.
    known = inner.reobserve if "obs" not in inner.threat.channels else None
    return _gated(inner, on, lambda memory: memory, lambda memory, new: new)._replace(reobserve=known)


def _gated(
    inner: Adversary, on: Callable[[Any, Any], jax.Array], read: Callable[[Any], Any],
    write: Callable[[Any, Any], Any],
) -> Adversary:  # fmt: skip
    """Let ``inner`` act, and remember, only where ``on(memory, view)``."""

    def observe(key: jax.Array, state: Any, memory: Any, view: ObsView) -> tuple[jax.Array, Any]:
        obs, after = inner.observe(key, state, read(memory), view)
        here = on(memory, view)
        return jnp.where(here, obs, view.step.obs), write(memory, tree.where(here, after, read(memory)))

    def act(key: jax.Array, state: Any, memory: Any, view: ActView) -> tuple[jax.Array, Any]:
        actions, after = inner.act(key, state, read(memory), view)
        here = on(memory, view)
        intended = view.actions.astype(actions.dtype)
        return jnp.where(here, actions, intended), write(memory, tree.where(here, after, read(memory)))

    return inner._replace(observe=observe, act=act)


def _together(threats: list[Threat]) -> Threat:
    """Add budgets up; None, no limit, stays None."""
    attacking = [t for t in threats if t.channels] or threats[:1]
    seen = [t for t in attacking if "obs" in t.channels]

    def total(values: list[Any]) -> Any:
        return None if not values or None in values else sum(values)

    return replace(
        threats[0],
        knowledge=tuple(word for word in KNOWLEDGE if any(word in t.knowledge for t in threats)),
        channels=tuple(c for c in ("obs", "act") if any(c in t.channels for t in threats)),
        agents=total([t.agents for t in attacking]),
        eps=total([t.eps for t in seen]),
        dims=total([t.dims for t in seen]),
        p=min(1.0, sum(t.p for t in attacking)),
    )
