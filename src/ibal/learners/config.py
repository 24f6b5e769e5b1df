"""What a value learner is made of. Every field is one documented choice; the defaults are PyMARL's QMIX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ibal.options import check_count, check_fields, check_positive, check_within


@dataclass(frozen=True)
class ValueConfig:
    """Recurrent double-Q learning over a mixer. Source: PyMARL ``q_learner.py``, ``qmix.yaml``, ``default.yaml``."""

    mixer: Literal["iql", "vdn", "qmix", "qplex"] = "qmix"
    """How the agents' values become the team's; "iql": every agent learns alone from the team's reward."""
    hidden: int = 64
    """Size of the agents' recurrent layer."""
    gamma: float = 0.99
    """Discount per step."""
    td_lambda: float = 0.0
    """0: one-step targets (PyMARL); above: TD(lambda) along the whole episode."""
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    """RMSProp as in PyTorch (decay 0.99, eps 1e-5 outside the root), or Adam (eps 1e-5)."""
    lr: float = 5e-4
    """Learning rate."""
    lr_anneal: bool = False
    """Let the learning rate fall linearly to zero at the end of the training (PyMARL keeps it). A run that is resumed
    with more steps then starts again from a higher rate."""
    grad_clip: float = 10.0
    """Largest global norm of the gradient, agent and mixer together."""
    target: Literal["hard", "ema"] = "hard"
    """How the targets follow: a copy every ``target_every`` updates, or a moving average of rate ``ema_tau``."""
    target_every: int = 200
    """Updates between two hard copies."""
    ema_tau: float = 0.01
    """Rate of the moving average per update."""
    batch: int = 32
    """Episodes per update."""
    smooth: float = 0.0
    """Weight of ERNIE's penalty on values that change with small changes of what is seen; 0: none."""
    smooth_eps: float = 0.1
    """Largest change of an entry of the observation that the penalty looks at."""
    smooth_init: float = 0.01
    """Standard deviation of the noise that the search for the worst change begins with."""
    smooth_rows: int = 2
    """Rows of a batch, of one horizon each, that the penalty is estimated on (a batch fills about 15)."""
    smooth_every: int = 5
    """Updates from one with the penalty to the next; it counts as many times as much there."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be run, whoever makes it."""
        check_fields(self, "learner")
        for name in ("hidden", "target_every", "batch", "smooth_rows", "smooth_every"):
            check_count(f"learner.{name}", getattr(self, name), 1)
        for name in ("gamma", "td_lambda", "ema_tau"):
            check_within(f"learner.{name}", getattr(self, name), 0.0, 1.0)
        for name in ("lr", "grad_clip", "ema_tau"):
            check_positive(f"learner.{name}", getattr(self, name))
        for name in ("smooth", "smooth_eps", "smooth_init"):
            check_positive(f"learner.{name}", getattr(self, name), zero=True)
