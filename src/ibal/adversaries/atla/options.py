"""The options of ATLA."""

from __future__ import annotations

from dataclasses import dataclass

from ibal.adversaries.limits import at_least, within


@dataclass(frozen=True)
class AtlaOptions:
    """A network that learns by reinforcement how to change what one random agent sees (Zhang et al. 2021)."""

    eps: float = 0.1
    """Largest change of an entry of the observation."""
    hidden: int = 64
    """Size of the two hidden layers of policy and value."""
    lr: float = 3e-4
    """Learning rate (Adam)."""
    every: int = 2
    """One of so many iterations is the attacker's: it alone learns from it, and the steps played are extra ones. 1: it
    learns beside the team in every iteration, from the same episodes."""
    updates: int = 64
    """Gradient steps of a lesson."""
    minibatch: int = 128
    """Steps of the environment in a gradient step."""
    clip: float = 0.2
    """How far PPO lets the probability of a change move in a lesson."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Lambda of the advantages."""
    grad_clip: float = 0.5
    """Largest global norm of the gradient."""
    rounds: int = 400
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: the mean of what was learned, no noise, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key in ("eps", "lr", "clip", "grad_clip"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("hidden", "every", "updates", "minibatch", "rounds"):
            at_least(f"{name}.{key}", getattr(self, key), 1)
        for key in ("gamma", "gae_lambda"):
            within(f"{name}.{key}", getattr(self, key), 0, 1)

    @property
    def learns_by_playing(self) -> bool:
        return True
