"""Faults: what breaks in the field without anybody's intention. They know nothing of the team and of the world beyond
its ``ObsLayout``, and are adversaries like all others: they can be evaluated, trained against and put together.

A fault is a frozen dataclass of options and up to three functions, for one environment:

    begin(key, setting, step) -> memory                            once per episode
    observe(key, setting, memory, view, hit) -> (obs~, memory)     what is seen; ``hit`` [n]: who has the fault now
    act(key, setting, memory, view, hit) -> (a~, memory)           what is done

Numbers that may be swept (how much, who, when) are the adversary's state, ``Setting``: another number compiles nothing.
Names, and the table to enter a new fault in: ``fault_names``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.adversaries.base import ActView, Adversary, ObsView, Threat, adversary
from ibal.adversaries.limits import among, at_least, within
from ibal.types import Actions, EnvSpec, TimeStep

FOREVER = int(np.iinfo(np.int32).max)


class Setting(NamedTuple):
    """``named`` agents have the fault, and ``drawn`` of the others, drawn anew in every episode; from step ``first`` to
    step ``last``, both included. ``share`` is the fault's rate, 0 to 1, where it has one."""

    named: Bool[Array, "n"]
    drawn: Int[Array, ""]
    first: Int[Array, ""]
    last: Int[Array, ""]
    share: Float[Array, ""]


class Memory(NamedTuple):
    """Who has the fault in this episode, and what the fault itself remembers."""

    who: Bool[Array, "n"]
    own: Any


class Functions(NamedTuple):
    """What a fault does; None: nothing of the kind. ``agents``: how many it can touch at a step (None: all)."""

    begin: Callable[..., Any] | None = None
    observe: Callable[..., tuple[jax.Array, Any]] | None = None
    act: Callable[..., tuple[jax.Array, Any]] | None = None
    agents: int | None = None


@dataclass(frozen=True)
class FaultConfig:
    """Options of all faults."""

    amount: ClassVar[str] = "percent"  # the option that the number of a short name means

    first: int = 0
    """The first step with the fault, counted from 0."""
    last: int | None = None
    """The last step with it; None: the end of the episode. Whoever had it is as before afterwards."""
    who: tuple[int, ...] | None = None
    """The agents that have it, by number; None: as ``agents`` says."""
    agents: int | None = None
    """How many agents have it, drawn anew in every episode; None: all."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        at_least(f"{name}.first", self.first, 0)
        if self.last is not None:
            at_least(f"{name}.last", self.last, self.first)
        if self.agents is not None:
            at_least(f"{name}.agents", self.agents, 0)
        if self.who is not None and len(set(self.who)) < len(self.who):
            raise ValueError(f"{name}.who names an agent twice: {' '.join(map(str, self.who))}")

    @property
    def share(self) -> float:
        """The rate, 0 to 1, of faults that have one."""
        return getattr(self, "percent", 0.0) / 100

    def functions(self, spec: EnvSpec) -> Functions:
        """Return what the fault does in an environment. Raises ValueError where it cannot be."""
        raise NotImplementedError

    def build(self, spec: EnvSpec) -> Adversary:
        """Make the adversary. Raises ValueError where the environment cannot have the fault."""
        chosen = setting(self, spec)
        # All settings of a fault share these functions, and so what is compiled of them.
        touched = len(self.who) if self.who is not None else self.agents
        changes: dict[str, Any] = {"percent": 0.0} if hasattr(self, "percent") else {}
        shape = replace(self, first=0, last=None, who=None, agents=touched, **changes)
        return _shared(shape, spec)._replace(init=lambda key: chosen)


def setting(config: FaultConfig, spec: EnvSpec) -> Setting:
    """Return the numbers of a fault in an environment. Raises ValueError for agents that it does not have."""
    name, n = type(config).__name__, spec.n_agents
    if config.who is None:
        drawn = n if config.agents is None else among(f"{name}.agents", config.agents, spec)
        return _setting((), drawn, config, n)
    if wrong := [i for i in config.who if not 0 <= i < n]:
        raise ValueError(f'{name}.who is {wrong[0]}, but the agents of "{spec.name}" are 0 to {n - 1}')
    return _setting(config.who, 0, config, n)


def _setting(named: tuple[int, ...], drawn: int, config: FaultConfig, n: int) -> Setting:
    last = FOREVER if config.last is None else config.last
    who = jnp.array([i in named for i in range(n)])
    return Setting(who, jnp.int32(drawn), jnp.int32(config.first), jnp.int32(last), jnp.float32(config.share))


@lru_cache(maxsize=256)
def _shared(config: FaultConfig, spec: EnvSpec) -> Adversary:
    does = config.functions(spec)

    def begin(key: jax.Array, state: Setting, step: TimeStep) -> Memory:
        # The named ones come first and are not counted.
        ticket = jnp.where(state.named, -1.0, jax.random.uniform(rng.stream(key, "who"), state.named.shape))
        rank = jnp.argsort(jnp.argsort(ticket))
        who = rank < state.named.sum() + state.drawn
        return Memory(who, () if does.begin is None else does.begin(rng.stream(key, "own"), state, step))

    def hit(state: Setting, memory: Memory, view: ObsView | ActView) -> Bool[Array, "n"]:
        return memory.who & view.step.alive & (state.first <= view.time) & (view.time <= state.last)

    def observe(key: jax.Array, state: Setting, memory: Memory, view: ObsView) -> tuple[jax.Array, Memory]:
        assert does.observe is not None
        obs, own = does.observe(key, state, memory.own, view, hit(state, memory, view))
        return jnp.where(view.step.alive[:, None], obs, view.step.obs), memory._replace(own=own)

    def act(key: jax.Array, state: Setting, memory: Memory, view: ActView) -> tuple[jax.Array, Memory]:
        assert does.act is not None
        actions, own = does.act(key, state, memory.own, view, hit(state, memory, view))
        return actions, memory._replace(own=own)

    channels = ("obs",) * (does.observe is not None) + ("act",) * (does.act is not None)
    return adversary(
        threat=Threat(channels=channels, agents=does.agents),
        begin=begin,
        observe=None if does.observe is None else observe,
        act=None if does.act is None else act,
    )


# What the team sees


@dataclass(frozen=True)
class StepsConfig(FaultConfig):
    """A fault that is measured in steps."""

    amount: ClassVar[str] = "steps"

    steps: int = 1
    """How many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within(f"{type(self).__name__}.steps", self.steps, 0, 1000)


@dataclass(frozen=True)
class DelayConfig(StepsConfig):
    """Everybody sees what was ``steps`` steps ago; before so many have passed, the first moment."""

    steps: int = 1
    """How old what is seen is."""

    def functions(self, spec: EnvSpec) -> Functions:
        return _delay(self, lambda key, n: jnp.full(n, self.steps))


@dataclass(frozen=True)
class JitterConfig(DelayConfig):
    """What an agent sees is 0 to ``steps`` steps old, all equally likely, drawn for every agent at every step."""

    steps: int = 2
    """How old it is at most."""

    def functions(self, spec: EnvSpec) -> Functions:
        return _delay(self, lambda key, n: jax.random.randint(key, (n,), 0, self.steps + 1))


def _delay(config: DelayConfig, age: Callable[[jax.Array, int], jax.Array]) -> Functions:
    """Remember the last moments, newest first: [steps + 1, n, o]."""

    def begin(key: jax.Array, setting: Setting, step: TimeStep) -> jax.Array:
        return jnp.broadcast_to(step.obs, (config.steps + 1, *step.obs.shape))

    def observe(key: jax.Array, setting: Setting, past: jax.Array, view: ObsView, hit: jax.Array) -> Any:
        past = jnp.concatenate([view.step.obs[None], past[:-1]])
        n = view.step.obs.shape[0]
        old = past[age(key, n), jnp.arange(n)]
        return _shown(hit, old, view), past

    return Functions(begin, observe, agents=config.agents)


@dataclass(frozen=True)
class PercentConfig(FaultConfig):
    """A fault with a rate."""

    percent: float = 10.0
    """How much of it there is, 0 to 100."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within(f"{type(self).__name__}.percent", self.percent, 0, 100)


@dataclass(frozen=True)
class LostConfig(PercentConfig):
    """Each agent misses what it hears about each other one, drawn anew at every step: it reads 0, as of one that is out
    of sight."""

    percent: float = 30.0
    """How many of the messages are lost, 0 to 100."""

    def functions(self, spec: EnvSpec) -> Functions:
        members = _of_others(spec)

        def observe(key: jax.Array, setting: Setting, memory: Any, view: ObsView, hit: jax.Array) -> Any:
            lost = jax.random.bernoulli(key, setting.share, (spec.n_agents, len(members)))
            return _without(hit, lost, members, view), memory

        return Functions(observe=observe, agents=self.agents)


@dataclass(frozen=True)
class BurstConfig(PercentConfig):
    """The same share of messages is lost, but in bursts: a connection that has failed stays so for ``length`` steps on
    average (the two-state channel of Gilbert, 1960)."""

    percent: float = 30.0
    """How many of the messages are lost, 0 to 100."""
    length: float = 5.0
    """Mean length of a burst in steps; as long as it must be where so many losses leave no shorter ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(f"{type(self).__name__}.length", self.length, 1)

    def functions(self, spec: EnvSpec) -> Functions:
        members = _of_others(spec)

        def begin(key: jax.Array, setting: Setting, step: TimeStep) -> jax.Array:
            return jax.random.bernoulli(key, setting.share, (spec.n_agents, len(members)))

        def observe(key: jax.Array, setting: Setting, down: jax.Array, view: ObsView, hit: jax.Array) -> Any:
            shown = _without(hit, down, members, view)
            fails, mends = burst_rates(setting.share, self.length)
            draw = jax.random.uniform(key, down.shape)
            return shown, jnp.where(down, draw >= mends, draw < fails)

        return Functions(begin, observe, agents=self.agents)


def burst_rates(share: Float[Array, ""], length: float) -> tuple[jax.Array, jax.Array]:
    """Return how likely a working connection fails, and a failed one mends, at a step: ``share`` of the time it is
    down, for ``length`` steps on average."""
    ratio = share / jnp.maximum(1 - share, 1e-6)
    fails = jnp.minimum(1.0, ratio / length)
    return fails, jnp.where(share > 0, fails / jnp.maximum(ratio, 1e-6), 1.0)


@dataclass(frozen=True)
class RangeConfig(PercentConfig):
    """What is farther away than a shortened range is not heard of: of others beyond (100 - percent) % of the largest
    distance that the environment shows as 1, everything reads 0."""

    percent: float = 50.0
    """By how much the range is shorter, 0 to 100."""

    def functions(self, spec: EnvSpec) -> Functions:
        members = _of_others(spec)
        allies = [b for b in spec.obs_layout.blocks if b.kind == "ally"]
        if any("distance" not in b.features for b in allies):
            raise ValueError(
                f'"{spec.name}" does not show how far away others are (no feature "distance" in its blocks of kind '
                '"ally"), so that no range can be shortened'
            )
        column = np.array([b.start + b.features.index("distance") for b in allies])

        def observe(key: jax.Array, setting: Setting, memory: Any, view: ObsView, hit: jax.Array) -> Any:
            return _without(hit, view.step.obs[:, column] > 1 - setting.share, members, view), memory

        return Functions(observe=observe, agents=self.agents)


@dataclass(frozen=True)
class NoiseConfig(PercentConfig):
    """Normal noise on every entry of what is seen, drawn at every step."""

    percent: float = 10.0
    """Its standard deviation in hundredths of a unit of the observation."""

    def functions(self, spec: EnvSpec) -> Functions:
        def observe(key: jax.Array, setting: Setting, memory: Any, view: ObsView, hit: jax.Array) -> Any:
            noise = setting.share * jax.random.normal(key, view.step.obs.shape)
            return _shown(hit, view.step.obs + noise, view), memory

        return Functions(observe=observe, agents=self.agents)


@dataclass(frozen=True)
class DropConfig(PercentConfig):
    """Sensors that are broken for a whole episode read 0: entries of the observation, drawn for every agent."""

    percent: float = 20.0
    """How many of them are broken, 0 to 100."""
    features: str | None = None
    """Only among these, with spaces between them: kinds ("enemy"), features ("health") or full names
    ("ally[2].health") of ``ObsLayout``; None: all."""

    def functions(self, spec: EnvSpec) -> Functions:
        fragile = np.ones(spec.obs_size, bool)
        if self.features is not None:
            fragile = spec.obs_layout.mask(*self.features.split())

        def begin(key: jax.Array, setting: Setting, step: TimeStep) -> jax.Array:
            return jax.random.bernoulli(key, setting.share, step.obs.shape) & jnp.asarray(fragile)[None]

        def observe(key: jax.Array, setting: Setting, broken: jax.Array, view: ObsView, hit: jax.Array) -> Any:
            return _shown(hit, jnp.where(broken, 0.0, view.step.obs), view), broken

        return Functions(begin, observe, agents=self.agents)


@dataclass(frozen=True)
class AgentsConfig(FaultConfig):
    """A fault that single agents have."""

    amount: ClassVar[str] = "agents"

    agents: int | None = 1
    """How many agents have it, drawn anew in every episode; None: all."""


@dataclass(frozen=True)
class FrozenConfig(AgentsConfig):
    """The agents' sensors stop: they go on showing the last moment before, or the first of the episode."""

    def functions(self, spec: EnvSpec) -> Functions:
        def observe(key: jax.Array, setting: Setting, kept: jax.Array, view: ObsView, hit: jax.Array) -> Any:
            kept = jnp.where(hit[:, None], kept, view.step.obs)
            return kept, kept

        return Functions(lambda key, setting, step: step.obs, observe, agents=self.agents)


# What is done


@dataclass(frozen=True)
class StopConfig(AgentsConfig):
    """The agents do nothing; the others see them stand there. A failure that is silent."""

    def functions(self, spec: EnvSpec) -> Functions:
        return Functions(act=_idling(spec), agents=self.agents)


@dataclass(frozen=True)
class VanishConfig(AgentsConfig):
    """The agents do nothing, and what the others see of them reads 0, as of one that is gone: a failure that is seen.
    The world knows nothing of it: where it has enemies, they see and shoot them as before."""

    def functions(self, spec: EnvSpec) -> Functions:
        owner = spec.obs_layout.agents(spec.n_agents)
        other = (owner >= 0) & (owner != np.arange(spec.n_agents)[:, None])
        if not other.any():
            raise ValueError(
                f'"{spec.name}" does not say which part of an observation is about which other agent '
                "(EnvSpec.obs_layout), so that none can vanish from it"
            )

        def observe(key: jax.Array, setting: Setting, memory: Any, view: ObsView, hit: jax.Array) -> Any:
            return jnp.where(jnp.asarray(other) & hit[np.maximum(owner, 0)], 0.0, view.step.obs), memory

        return Functions(observe=observe, act=_idling(spec))


@dataclass(frozen=True)
class SubsetConfig(FaultConfig):
    """The ``k`` agents whose failure costs this very team most have a fault. An evaluation looks for them
    (``evaluation.subset``), on episodes of its own: up to ten agents it tries all groups of k."""

    amount: ClassVar[str] = "k"
    searches: ClassVar[bool] = True

    k: int = 1
    """How many agents fail."""
    fault: str = "stop"
    """How they fail: "stop", "vanish", "frozen" or "stuck", or any fault that does not need all agents."""
    episodes: int = 64
    """Episodes that every group is tried on; those that cost most, on four times as many."""
    tries: int = 128
    """With more than ten agents: how many groups are drawn at random before the worst of them is improved."""
    seed: int = 1_000_003
    """Of the episodes of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("k", "episodes", "tries"):
            at_least(f"SubsetConfig.{name}", getattr(self, name), 1)
        if self.who is not None or self.agents is not None:
            raise ValueError("SubsetConfig.who and .agents are what is looked for; give k")

    def of(self, who: tuple[int, ...] | None) -> Any:
        """Return the fault of these agents; None: of as many as k, drawn anew in every episode."""
        from ibal.adversaries.fault_names import fault

        found = fault(self.fault)
        if not isinstance(found, FaultConfig) or isinstance(found, SubsetConfig):
            raise ValueError(f'SubsetConfig.fault is "{self.fault}", which agents cannot have; write "stop"')
        return replace(found, first=self.first, last=self.last, who=who, agents=self.k)

    def build(self, spec: EnvSpec) -> Adversary:
        """Make the adversary before anybody has searched: it draws the k agents."""
        among("SubsetConfig.k", self.k, spec)
        return self.of(None).build(spec)


@dataclass(frozen=True)
class StuckConfig(AgentsConfig):
    """The agents repeat the last action from before; where that is impossible they do nothing if they can, else what
    they meant. From the beginning of an episode on: their first action."""

    def functions(self, spec: EnvSpec) -> Functions:
        def act(key: jax.Array, setting: Setting, last: jax.Array, view: ActView, hit: jax.Array) -> Any:
            done = _instead(spec, hit & (last >= 0), last, view)
            return done, jnp.where(hit & (last >= 0), last, done)

        return Functions(_nothing_yet, act=act, agents=self.agents)


@dataclass(frozen=True)
class StickyConfig(PercentConfig):
    """At every step an agent repeats its last action at this rate, where that is possible."""

    percent: float = 20.0
    """How many of the actions are repeated, 0 to 100."""

    def functions(self, spec: EnvSpec) -> Functions:
        def act(key: jax.Array, setting: Setting, last: jax.Array, view: ActView, hit: jax.Array) -> Any:
            again = jax.random.bernoulli(key, setting.share, last.shape) & hit & (last >= 0)
            done = jnp.where(again & _is_legal(last, view), last, view.actions.astype(jnp.int32))
            return done, done

        return Functions(_nothing_yet, act=act, agents=self.agents)


@dataclass(frozen=True)
class LateConfig(StepsConfig):
    """Actions are done ``steps`` steps after they were meant; until then, and where that is impossible by now, agents
    do nothing if they can, else what they mean now."""

    steps: int = 1
    """How late they are."""

    def functions(self, spec: EnvSpec) -> Functions:
        def begin(key: jax.Array, setting: Setting, step: TimeStep) -> jax.Array:
            return jnp.full((self.steps, spec.n_agents), -1, jnp.int32)

        def act(key: jax.Array, setting: Setting, queue: jax.Array, view: ActView, hit: jax.Array) -> Any:
            queue = jnp.concatenate([view.actions.astype(jnp.int32)[None], queue])  # newest first
            return _instead(spec, hit, queue[-1], view), queue[:-1]

        return Functions(begin, act=act, agents=self.agents)


def _shown(hit: Bool[Array, "n"], instead: Float[Array, "n o"], view: ObsView) -> Float[Array, "n o"]:
    """Return what is seen: ``instead`` by those who are hit."""
    return jnp.where(hit[:, None], instead, view.step.obs)


def _of_others(spec: EnvSpec) -> np.ndarray:
    """Return bool[s, o]: the entries of each block about another agent. Raises ValueError where there is none."""
    index = np.arange(spec.obs_size)
    found = [(index >= b.start) & (index < b.stop) for b in spec.obs_layout.blocks if b.kind == "ally"]
    if not found:
        raise ValueError(
            f'"{spec.name}" names no part of an observation that is about another agent (blocks of kind "ally" in '
            "EnvSpec.obs_layout), so that no message about others can be lost"
        )
    return np.array(found)


def _without(
    hit: Bool[Array, "n"], lost: Bool[Array, "n s"], members: np.ndarray, view: ObsView
) -> Float[Array, "n o"]:
    """Return what is seen where those who are hit have lost the blocks ``lost`` of ``members`` [s, o]."""
    gone = (lost[..., None] & jnp.asarray(members)[None]).any(1)
    return jnp.where(gone & hit[:, None], 0.0, view.step.obs)


def _nothing_yet(key: jax.Array, setting: Setting, step: TimeStep) -> jax.Array:
    return jnp.full(step.alive.shape, -1, jnp.int32)


def _is_legal(actions: Actions, view: ActView) -> Bool[Array, "n"]:
    inside = jnp.clip(actions, 0, view.step.avail.shape[1] - 1)
    return (actions >= 0) & jnp.take_along_axis(view.step.avail, inside[:, None], axis=1)[:, 0]


def _instead(spec: EnvSpec, hit: Bool[Array, "n"], actions: Actions, view: ActView) -> Actions:
    """Let those who are hit do ``actions``, nothing where these are not legal, or as meant where that is impossible."""
    meant = view.actions.astype(jnp.int32)
    idles, can = idle(spec, view)
    return jnp.where(hit, jnp.where(_is_legal(actions, view), actions, jnp.where(can, idles, meant)), meant)


def idle(spec: EnvSpec, view: ActView) -> tuple[Actions, Bool[Array, "n"]]:
    """Return everybody's first available action that does nothing, and who has one."""
    is_idle = np.array([a in spec.idle_actions for a in range(spec.n_actions)])
    open_ = view.step.avail & jnp.asarray(is_idle)[None]
    return jnp.argmax(open_, axis=1).astype(jnp.int32), open_.any(1)


def _idling(spec: EnvSpec) -> Callable[..., Any]:
    """Return ``act`` of agents that do nothing. Raises ValueError where no action does nothing."""
    if not spec.idle_actions:
        raise ValueError(
            f'the agents of "{spec.name}" cannot stop: EnvSpec.idle_actions is empty, so no action does nothing'
        )

    def act(key: jax.Array, setting: Setting, memory: Any, view: ActView, hit: jax.Array) -> Any:
        idles, can = idle(spec, view)
        return jnp.where(hit & can, idles, view.actions.astype(jnp.int32)), memory

    return act
