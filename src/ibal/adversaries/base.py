"""What an adversary is, what it may see, and the defaults of everything it leaves alone.

An adversary is written for one environment and one episode; rollouts vmap it. A pure action attack is one function:

    adversary(act=lambda key, state, memory, view: (replacement(view), memory), threat=Threat(channels=("act",)))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ibal.game.host import UNTOUCHED
from ibal.game.referee import refusal
from ibal.types import Actions, ActView, Adversary, EnvSpec, Feedback, ObsView, Tells, Threat

__all__ = [
    "ActView", "Adversary", "Feedback", "NaturalConfig", "ObsView", "Tells", "Threat", "adversary", "natural",
    "refusal", "worst",
]  # fmt: skip


def adversary(
    *, threat: Threat, init: Any = None, begin: Any = None, observe: Any = None, act: Any = None, update: Any = None,
    reobserve: Any = None, alone: Any = None, world: Any = None, tells: Tells | None = None,
) -> Adversary:  # fmt: skip
    """Fill everything that is not given with an identity."""
    if observe is None and reobserve is None:
        reobserve = lambda memory, obs: obs  # noqa: E731
    return Adversary(
        threat,
        init or (lambda key: ()),
        begin or (lambda key, state, step: ()),
        observe or _show,
        act or _let,
        update or (lambda key, state, episodes, feedback: (state, {})),
        reobserve,
        alone,
        world,
        tells,
    )


def _show(key: Any, state: Any, memory: Any, view: ObsView) -> tuple[Any, Any]:
    return view.step.obs, memory


def _let(key: Any, state: Any, memory: Any, view: ActView) -> tuple[Any, Any]:
    return view.actions, memory


for _function in (_show, _let):
    setattr(_function, UNTOUCHED, True)


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
