"""The choices of the two estimators. The defaults are what broke real policies; ``literal()`` is the paper's reading.

Source of the defaults: measurements on policies trained in the real game (see the texts of the fields); of the literal
reading: IBAL Appendix B.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ibal.registry import one_of

Tau = Literal["none", "time", "obs"]
Dead = Literal["exclude", "partners", "include"]
Identity = Literal["pair", "one-hot"]
Negative = Literal["batch", "same-time", "legal", "moment"]
Marginal = Literal["M1", "M2", "M3"]
ActionTau = Literal["T1", "T2", "T3", "T4", "T5"]

BOTTLENECK = {"T2": 16, "T3": 32}  # numbers a history is squeezed to: T2 per agent, T3 for the state


@dataclass(frozen=True)
class ClubConfig:
    """Model of the next observation and CLUB scores (Definition 4.4, Appendix B.1)."""

    hidden: tuple[int, ...] = (128,)
    """Sizes of the hidden layers. One small layer finds the right ally as often as two of 256 (8m), at a quarter of
    the cost."""
    tau: Tau = "obs"
    """What the model knows of the past: nothing, the share of the episode played, or agent i's clean observation."""
    residual: bool = True
    """Predict the change of the observation instead of the observation; needs ``tau`` "obs"."""
    identity: Identity = "pair"
    """How the model knows who is who. "one-hot": the indices i and j as inputs, so that it must learn by itself that an
    action of j means something else to every i; "pair": besides, each pair has weights of its own for the actions of
    j, which costs no product (a row is chosen) and is learned many times faster."""
    dead: Dead = "exclude"
    """"exclude": both agents live; "partners": dead partners stay in the data (their no-op predicts an empty block);
    "include": dead observers too."""
    negatives: int = 8
    """Actions drawn per aligned pair; 0: no draws, the exact mean over the partner's actions."""
    negative: Negative = "moment"
    """Where they come from: any transition of the batch (paper), those of the same time step, those whose action is
    legal at the moment, or both ("moment"). An action from another phase of the game changes the prediction of
    everything, not only of the partner: on 8m "batch" finds the partner's block in 71% of the pairs, "moment" in all;
    on 2s3z and MMM they differ by 5% or less."""
    log_variance: tuple[float, float] = (-6.0, 2.0)
    """Bounds of the log-variance: without the lower one, nearly constant dimensions have exploding densities."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    grad_clip: float = 10.0
    """Largest global norm of the gradient."""
    batch: int = 1024
    """Tuples (episode, t, i, j) per update."""

    def __post_init__(self) -> None:
        _check_sizes("ClubConfig", self.hidden, self.batch)
        one_of("ClubConfig.tau", self.tau, Tau)
        one_of("ClubConfig.identity", self.identity, Identity)
        one_of("ClubConfig.dead", self.dead, Dead)
        one_of("ClubConfig.negative", self.negative, Negative)
        if self.residual and self.tau != "obs":
            raise ValueError(
                f'ClubConfig.residual predicts the change of the observation, which tau="{self.tau}" does not know; '
                'use tau="obs" or residual=False'
            )
        if self.negatives < 0:
            raise ValueError(f"ClubConfig.negatives is {self.negatives}; 0 (exact mean) or more was expected")
        if not self.log_variance[0] < self.log_variance[1]:
            raise ValueError(
                f"ClubConfig.log_variance is {self.log_variance}; (low, high) with low < high was expected"
            )

    @classmethod
    def literal(cls, **options: Any) -> ClubConfig:
        """Return the paper's reading: no present observation as input, dead partners kept, one negative of any time."""
        reading: dict[str, Any] = {
            "hidden": (256, 256), "tau": "none", "residual": False, "identity": "one-hot", "dead": "partners",
            "negatives": 1, "negative": "batch", "lr": 5e-4, "batch": 4096,
        }  # fmt: skip
        return cls(**reading | options)


@dataclass(frozen=True)
class ActionConfig:
    """Model of the other group's actions and the information of a candidate action (Definition 4.5, Appendix B.1)."""

    hidden: tuple[int, ...] = (128,)
    """Sizes of the hidden layers. On held-out episodes one small layer predicts as well as two large ones."""
    marginal: Marginal = "M3"
    """What a candidate is compared with. "M1": the model without any action; "M2": the mean over the agent's actions
    weighted by its policy (Jaques et al. 2019; mostly returns the intended action); "M3": the mean over its legal
    actions."""
    tau: ActionTau = "T4"
    """What the model knows of the past. "T1": all hidden states; "T2": those one step before; "T3": the state one
    step before, without its last actions; "T4": nothing; "T5": nothing, and it predicts the next actions."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    grad_clip: float = 10.0
    """Largest global norm of the gradient."""
    batch: int = 1024
    """Transitions per update."""

    def __post_init__(self) -> None:
        _check_sizes("ActionConfig", self.hidden, self.batch)
        one_of("ActionConfig.marginal", self.marginal, Marginal)
        one_of("ActionConfig.tau", self.tau, ActionTau)

    @classmethod
    def literal(cls, **options: Any) -> ActionConfig:
        """Return the paper's reading: conditioned on a history, compared with the all-zero input."""
        reading: dict[str, Any] = {"hidden": (256, 256), "marginal": "M1", "tau": "T3", "lr": 5e-4, "batch": 4096}
        return cls(**reading | options)


def _check_sizes(name: str, hidden: tuple[int, ...], batch: int) -> None:
    if not hidden or min(hidden) < 1:
        raise ValueError(f"{name}.hidden is {hidden}; one or more positive layer sizes were expected")
    if batch < 1:
        raise ValueError(f"{name}.batch is {batch}; at least 1 was expected")
