"""What an adversary is, what it may see, and the defaults of everything it leaves alone.

An adversary is written for one environment and one episode; rollouts vmap it. A pure action attack is one function:

    adversary(act=lambda key, state, memory, view: (replacement(view), memory), threat=Threat(channels=("act",)))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.types import Actions, EnvSpec, Episodes, Policy, TimeStep


@dataclass(frozen=True)
class Threat:
    """What an adversary may see and change; reports print it and tests hold the adversary to it.

    ``knowledge``: any of "scores" (the victim's), "values" (that they are expected returns), "gradient" (of its
    scores), "weights" (the victim's own) and "state" (the true one). ``channels``: "obs", "act". ``agents``: how many
    agents it may touch at a step (None: all); ``eps``: largest change of one observation entry; ``dims``: largest
    number of changed entries per agent; ``p``: share of steps on which it acts. ``excess``: how many of ``dims`` are
    beyond the budget that the paper gives such an attack.
    """

    knowledge: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    agents: int | None = None
    eps: float | None = None
    dims: int | None = None
    p: float = 1.0
    excess: int = 0


class ObsView(NamedTuple):
    """What an adversary may look at before the team sees: the time-step, the team's hidden state and its policy."""

    step: TimeStep
    carry: Any
    last_action: Actions
    policy: Policy
    time: jax.Array


class ActView(NamedTuple):
    """The same after the team has chosen: the attacked observation, the scores and the intended actions a^."""

    step: TimeStep
    carry: Any
    last_action: Actions
    policy: Policy
    time: jax.Array
    obs: Float[Array, "n o"]
    scores: Float[Array, "n a"]
    actions: Actions


class Feedback(NamedTuple):
    """What an adversary learns about an iteration besides its episodes: how often and how highly the team won, and the
    environment steps played so far (scalars). ``iteration`` counts iterations from 0 and is the same for all seeds that
    train together, so that conditions on it skip work; None: nobody counts. ``part`` is the share of the whole training
    (or fitting) that is over, for schedules that shall be through at its end, whatever it lasts; None: nobody knows."""

    success: Float[Array, ""]
    returns: Float[Array, ""]
    env_steps: Float[Array, ""]
    iteration: jax.Array | None = None
    part: Float[Array, ""] | None = None

    @property
    def now(self) -> jax.Array:
        """The iteration; 0 where nobody counts."""
        return jnp.int32(0) if self.iteration is None else self.iteration


class Adversary(NamedTuple):
    """Seven functions and a declaration. ``state`` is learned and lasts; ``memory`` is drawn for one episode.

    ``init(key) -> state``; ``begin(key, state, step) -> memory`` once per episode, with its first time-step;
    ``observe(key, state, memory, ObsView) -> (obs~[n, o], memory)``; ``act(key, state, memory, ActView) -> (a~[n],
    memory)``; ``update(key, state, episodes, Feedback) -> (state, metrics)`` between rollouts, with a record that holds
    the episodes just played (``memory`` as it stood when they ended).
    ``reobserve(memory, obs[n, o]) -> obs~[n, o]`` rebuilds what the team saw from what is stored; None: cannot, so that
    the rollout stores attacked observations too.
    ``alone(iteration) -> bool[]``: whether this iteration of a training is played for the adversary alone: the team
    learns nothing in it and never sees its episodes again, and its steps do not count towards the budget. None: none
    is.
    """

    threat: Threat
    init: Callable[[jax.Array], Any]
    begin: Callable[[jax.Array, Any, TimeStep], Any]
    observe: Callable[[jax.Array, Any, Any, ObsView], tuple[jax.Array, Any]]
    act: Callable[[jax.Array, Any, Any, ActView], tuple[jax.Array, Any]]
    update: Callable[[jax.Array, Any, Episodes, Feedback], tuple[Any, dict[str, jax.Array]]]
    reobserve: Callable[[Any, jax.Array], jax.Array] | None
    alone: Callable[[jax.Array], Bool[Array, ""]] | None = None


def adversary(
    *, threat: Threat, init: Any = None, begin: Any = None, observe: Any = None, act: Any = None, update: Any = None,
    reobserve: Any = None, alone: Any = None,
) -> Adversary:  # fmt: skip
    """Fill everything that is not given with an identity."""
    if observe is None and reobserve is None:
        reobserve = lambda memory, obs: obs  # noqa: E731
    return Adversary(
        threat,
        init or (lambda key: ()),
        begin or (lambda key, state, step: ()),
        observe or (lambda key, state, memory, view: (view.step.obs, memory)),
        act or (lambda key, state, memory, view: (view.actions, memory)),
        update or (lambda key, state, episodes, feedback: (state, {})),
        reobserve,
        alone,
    )


def refusal(threat: Threat, policy: Policy) -> str | None:
    """Say what the attack must know of a victim and this one does not show; None: nothing."""
    shown = {"scores": ("scores",), "gradient": ("scores", "gradient")}.get(policy.reveals, ())
    shown += ("values",) * (policy.kind == "value" and policy.reveals != "nothing")
    shown += ("weights",) * (policy.weights is not None and policy.apply is not None)
    missing = [word for word in threat.knowledge if word != "state" and word not in shown]
    words = {
        "scores": "scores of its actions", "values": "values of its actions, not probabilities",
        "gradient": "scores that have a gradient", "weights": "weights to work on",
    }  # fmt: skip
    return words[missing[0]] if missing else None


def worst(scores: Float[Array, "n a"], avail: Bool[Array, "n a"]) -> Actions:
    """Return everybody's worst legal action; the lowest index wins a tie."""
    return jnp.argmin(jnp.where(avail, scores, jnp.inf), axis=1).astype(jnp.int32)


def natural() -> Adversary:
    """Nobody interferes."""
    return adversary(threat=Threat())


@dataclass(frozen=True)
class NaturalConfig:
    """Nobody interferes."""

    def build(self, spec: EnvSpec) -> Adversary:
        return natural()
