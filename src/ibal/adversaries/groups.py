"""Who is attacked in an episode, and how often: the groups G1 and G2, and the schedule of the probability P.

Source: IBAL Section 4.4; sizes: Tables 3 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal.adversaries.limits import at_least, within
from ibal.registry import one_of
from ibal.types import EnvSpec, PRNGKey

Signal = Literal["success", "return"]


@dataclass(frozen=True)
class GroupConfig:
    """Who is attacked in an episode (G1), and how often its actions are replaced (Section 4.4)."""

    most: int | None = None
    """K, the largest size of G1; in training its size is uniform in 0..K. None: the paper's value of the map, else one
    that follows from the number of agents. 0: no attack."""
    evaluation: bool = False
    """Attack as in evaluation: G1 always has K members, P is 1/K, nothing is learned."""
    p: float | None = None
    """P of every episode, the share of steps on which the actions of G1 are replaced. None: uniform between ``p_min``
    and P_max."""
    p_min: float | None = None
    """Least P in training, and where P_max begins unless 1/K is more. None: 1/K."""
    alpha: float = 1.1
    """Factor by which P_max grows after a check that the team passed."""
    eta: float = 0.8
    """What the team must reach, on the mean since the last check, to pass it."""
    signal: Signal = "success"
    """What is compared with ``eta``: the share of episodes won, or the return (environments without winning)."""
    check_every: int = 10_000
    """Environment steps between two checks."""
    check_episodes: int = 100
    """Episodes that a check needs."""
    quiet: int = 0
    """Environment steps without any attack at the beginning, for a team that starts from nothing."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        one_of(f"{name}.signal", self.signal, Signal)
        if self.most is not None:
            at_least(f"{name}.most", self.most, 0)
        for key in ("p", "p_min"):
            if getattr(self, key) is not None:
                within(f"{name}.{key}", getattr(self, key), 0, 1)
        at_least(f"{name}.alpha", self.alpha, 1)
        for key in ("check_every", "check_episodes"):
            at_least(f"{name}.{key}", getattr(self, key), 1)
        at_least(f"{name}.quiet", self.quiet, 0)


class Sizes(NamedTuple):
    """``most`` is K, the largest size of G1; ``dims`` is c: an agent loses c entries per agent of the other group."""

    most: int
    dims: int


PAPER = {
    "smac/3m": Sizes(1, 5),
    "smac/3s_vs_3z": Sizes(1, 5),
    "smac/2s3z": Sizes(1, 8),
    "smac/8m": Sizes(4, 5),
    "smac/1c3s5z": Sizes(4, 8),
    "smac/MMM": Sizes(4, 8),
    "smacv2/terran_5_vs_5": Sizes(1, 5),
    "smacv2/zerg_5_vs_5": Sizes(1, 5),
    "smacv2/protoss_5_vs_5": Sizes(1, 8),
    **{
        f"lbf/Foraging-20x20-{n}p-6f-s3{reading}": Sizes(most, 5)
        for n, most in ((5, 1), (10, 3), (15, 5))
        for reading in ("", "-v3")
    },
}


def sizes(spec: EnvSpec) -> Sizes:
    """Return the paper's sizes of a map; of another environment those that follow its rules.

    K: 1 for few agents, 4 from 8 on, a third of many (all but one entry of ``PAPER``), never more than half; c: the
    size of the largest block about one other agent, 0 where the layout names none.
    """
    n = spec.n_agents
    blocks = [len(b.features) for b in spec.obs_layout.blocks if b.kind == "ally"]
    most = max(n // 3, 4 if n >= 8 else 1)
    return PAPER.get(spec.name, Sizes(min(most, n // 2), max(blocks, default=0)))


def largest(config: GroupConfig, spec: EnvSpec) -> int:
    """Return K. Raises ValueError if there are not so many agents."""
    most = sizes(spec).most if config.most is None else config.most
    if most > spec.n_agents:
        raise ValueError(f'most is {most}, but "{spec.name}" has only {spec.n_agents} agents')
    return most


def draw_size(key: PRNGKey, most: int, evaluation: bool = False) -> Int[Array, ""]:
    """Draw the size of G1: uniform in 0..K, in evaluation K."""
    return jnp.int32(most) if evaluation else jax.random.randint(key, (), 0, most + 1)


def draw_members(key: PRNGKey, n_agents: int, size: Int[Array, ""]) -> Bool[Array, "n"]:
    """Draw G1, uniform among the groups of ``size`` agents."""
    order = jnp.argsort(jax.random.uniform(key, (n_agents,)))
    return order < size


class Schedule(NamedTuple):
    """P_max, and what has been counted since the last check: the sum of the signal, the episodes, and the environment
    steps at which it was."""

    p_max: Float[Array, ""]
    signal: Float[Array, ""]
    episodes: Float[Array, ""]
    checked: Float[Array, ""]


def lowest(config: GroupConfig, most: int) -> float:
    """Return P_min: 1/K unless configured, 0 for K = 0."""
    if most == 0:
        return 0.0
    return 1 / most if config.p_min is None else config.p_min


def start(config: GroupConfig, most: int) -> Schedule:
    """Begin with P_max = 1/K, or P_min if that is more."""
    p_max = max(lowest(config, most), 1 / most) if most else 0.0
    return Schedule(jnp.float32(p_max), jnp.float32(0), jnp.float32(0), jnp.float32(0))


def check_signal(config: GroupConfig, spec: EnvSpec) -> None:
    """Raise ValueError where P_max would wait for a success that an environment does not know."""
    grows = config.alpha > 1 and config.p is None and not config.evaluation and largest(config, spec) > 0
    if grows and config.signal == "success" and not spec.has_win:
        raise ValueError(
            f"the attack grows when the team wins, and {spec.name} cannot be won (it has no metric win); set "
            "signal=return and eta to the return that a good team reaches there, or p to a fixed probability"
        )


def advance(
    config: GroupConfig, schedule: Schedule, signal: Float[Array, ""], episodes: int, env_steps: Float[Array, ""]
) -> Schedule:
    """Count ``episodes`` episodes of mean ``signal``; when a check is due and passed, P_max <- min(1, alpha P_max).

    Source: IBAL Section 4.4. The interval between checks is not given there; PyMARL's interval of logging is used.
    """
    total, count = schedule.signal + signal * episodes, schedule.episodes + episodes
    due = (env_steps - schedule.checked >= config.check_every) & (count >= config.check_episodes)
    passed = due & (total >= config.eta * count)
    p_max = jnp.where(passed, jnp.minimum(1.0, config.alpha * schedule.p_max), schedule.p_max)
    zero = jnp.float32(0)
    return Schedule(
        p_max, jnp.where(due, zero, total), jnp.where(due, zero, count), jnp.where(due, env_steps, schedule.checked)
    )


def draw_probability(key: PRNGKey, config: GroupConfig, most: int, schedule: Schedule) -> Float[Array, ""]:
    """Draw P of an episode: uniform between P_min and P_max; fixed if configured; in evaluation 1/K."""
    if most == 0:
        return jnp.float32(0)
    if config.p is not None:
        return jnp.float32(config.p)
    if config.evaluation:
        return jnp.float32(1 / most)
    low = lowest(config, most)
    return low + (schedule.p_max - low) * jax.random.uniform(key)


def greatest_probability(config: GroupConfig, most: int) -> float:
    """Return the largest P that can ever be drawn."""
    if most == 0:
        return 0.0
    if config.p is not None:
        return config.p
    return 1 / most if config.evaluation else 1.0
