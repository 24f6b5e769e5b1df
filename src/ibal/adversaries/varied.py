"""Failures of every kind at random: nothing is estimated, and nothing goes together.

In a share of the episodes some agents are broken, for the whole game or in bursts, and do nothing, something random or
their worst; and apart from that everybody may lose sight of some of the others and of some single entries.

Why, from the tables of methods against attacks (docs/results): each method is the best under its own attack only;
IBAL with *random* masks bore other masks, Dis-1 and HP-20 better than with informed ones; ROMANCE, which never met the
interaction attack, kept half of its games under it, being trained against a varied population; and nobody had met a
team mate that idles in full sight, or several at once for a few steps, as Wolfpack breaks them. So: breadth of failures
in the place of their strength, as domain randomisation has it (Tobin et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal import rng
from ibal.adversaries import masks
from ibal.adversaries.base import ActView, Adversary, ObsView, Tells, Threat, adversary, worst
from ibal.adversaries.faults import idle
from ibal.adversaries.groups import draw_members
from ibal.adversaries.limits import among, at_least, within
from ibal.adversaries.random import coin, legal
from ibal.types import Actions, EnvSpec, PRNGKey, TimeStep

IDLE, RANDOM, WORST = range(3)
WAYS = 3


@dataclass(frozen=True)
class VariedConfig:
    """Failures of every kind at random: who, how, when, and who sees what, each drawn by itself."""

    most: int | None = None
    """The most agents that are broken at a time. None: half of the team, rounded down."""
    breaks: float = 0.6
    """Share of the episodes in which agents are broken."""
    bursts: float = 0.5
    """Share of these in which they are so now and then, for ``length`` steps on average and as long between; in the
    others all the time."""
    length: float = 4.0
    """Mean length of a burst in steps."""
    hides: float = 0.6
    """Share of the episodes in which sight is lost, drawn apart from ``breaks``. Of the blocks about others an agent
    loses a share that is uniform in 0..1, and of single entries one in 0..``entries``, for the whole episode."""
    entries: float = 0.3
    """Largest share of single entries that are lost."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.most is not None:
            at_least(f"{name}.most", self.most, 0)
        for field in ("breaks", "bursts", "hides", "entries"):
            within(f"{name}.{field}", getattr(self, field), 0, 1)
        at_least(f"{name}.length", self.length, 1)

    def build(self, spec: EnvSpec) -> Adversary:
        return varied(self, spec)


class Memory(NamedTuple):
    """Who is broken in the episode and how; whether in bursts, and whether now; what everybody does not see."""

    broken: Bool[Array, "n"]
    way: Int[Array, "n"]
    bursts: Bool[Array, ""]
    now: Bool[Array, ""]
    mask: Bool[Array, "n o"]


def varied(config: VariedConfig, spec: EnvSpec) -> Adversary:
    """Make it for an environment. Raises ValueError where there are not so many agents."""
    n = spec.n_agents
    most = n // 2 if config.most is None else among("VariedConfig.most", config.most, spec)
    members = masks.blocks(spec) if any(b.kind == "ally" for b in spec.obs_layout.blocks) else None

    def begin(key: PRNGKey, state: Any, step: TimeStep) -> Memory:
        breaks = coin(key, "breaks", config.breaks) & (most > 0)
        size = jax.random.randint(rng.stream(key, "size"), (), 1, max(most, 1) + 1)
        ways = jax.random.randint(rng.stream(key, "way"), (n,), 0 if spec.idle_actions else RANDOM, WAYS)
        bursts = coin(key, "bursts", config.bursts)
        mask = lost_sight(rng.stream(key, "sight"), config, spec, members) & coin(key, "hides", config.hides)
        broken = draw_members(rng.stream(key, "who"), n, jnp.where(breaks, size, 0))
        return Memory(broken, ways, bursts, ~bursts, mask)

    def reobserve(memory: Memory, obs: Float[Array, "n o"]) -> Float[Array, "n o"]:
        return jnp.where(memory.mask, jnp.zeros_like(obs), obs)

    def observe(key: PRNGKey, state: Any, memory: Memory, view: ObsView) -> tuple[Array, Memory]:
        return reobserve(memory, view.step.obs), memory

    def act(key: PRNGKey, state: Any, memory: Memory, view: ActView) -> tuple[Actions, Memory]:
        step, meant = view.step, view.actions.astype(jnp.int32)
        on = ~(step.terminated | step.truncated)  # a finished game goes on being computed
        who = memory.broken & step.alive & memory.now & on
        idles, can = idle(spec, view)
        anything = legal(rng.stream(key, "action"), step.avail)
        other = jnp.where(memory.way == RANDOM, anything, worst(view.scores, step.avail))
        done = jnp.where(memory.way == IDLE, jnp.where(can, idles, meant), other)
        turns = memory.bursts & (jax.random.uniform(rng.stream(key, "turn")) < 1 / config.length)
        return jnp.where(who, done, meant), memory._replace(now=memory.now ^ turns)

    def tell(memory: Memory) -> Float[Array, "p"]:
        hidden, ways = memory.mask.any(1), jax.nn.one_hot(memory.way, WAYS) * memory.broken[:, None].astype(jnp.float32)
        words = (hidden.astype(jnp.float32), ways.reshape(-1), memory.bursts[None].astype(jnp.float32))
        return jnp.concatenate(words)

    acts = most > 0 and config.breaks > 0
    sees = config.hides > 0 and (members is not None or config.entries > 0)
    return adversary(
        threat=Threat(knowledge=("scores",) * acts, channels=("obs",) * sees + ("act",) * acts),
        begin=begin,
        observe=observe if sees else None,
        act=act if acts else None,
        reobserve=reobserve if sees else None,
        tells=Tells(n * (1 + WAYS) + 1, tell),
    )


def lost_sight(key: PRNGKey, config: VariedConfig, spec: EnvSpec, members: Any) -> Bool[Array, "n o"]:
    """Draw what everybody does not see: blocks about others (``members`` [s, o]; None: there are none), and entries."""
    n = spec.n_agents
    share = jax.random.uniform(rng.stream(key, "shares"), (2,))
    mask = jax.random.bernoulli(rng.stream(key, "entries"), config.entries * share[1], (n, spec.obs_size))
    if members is None:
        return mask
    gone = jax.random.bernoulli(rng.stream(key, "blocks"), share[0], (n, len(members)))
    return mask | (gone[..., None] & jnp.asarray(members)[None]).any(1)
