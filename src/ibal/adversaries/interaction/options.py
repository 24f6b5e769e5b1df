"""The options of the interaction-breaking attack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ibal.adversaries.groups import GroupConfig
from ibal.adversaries.limits import at_least, within
from ibal.mi.config import ActionConfig, ClubConfig
from ibal.registry import one_of

Masks = Literal["block", "dimension", "random", "truth", "off"]
Sides = Literal["both", "first"]
Fill = Literal["zero", "mean", "gaussian", "fgsm"]
Chooser = Literal["information", "random", "retreat", "off"]
Lessons = Literal["all", "natural"]


@dataclass(frozen=True)
class InteractionOptions(GroupConfig):
    """Break the interaction of G1 with the others: hide from each other what tells most, do what tells least.

    Source: IBAL Definitions 4.4 and 4.5, Algorithm 1, Appendix B.
    """

    masks: Masks = "block"
    """What is hidden from an agent, for as long as the episode lasts. "block": for every agent of the other group the
    block of the observation that tells most about its actions; "dimension": the L entries that tell most, whatever
    they describe (mostly enemies, and it can miss a team completely): the paper's masks, found by the estimators of
    ``club``, which are the paper's in the attack "interaction-literal" only; "random": L random entries; "truth":
    exactly the blocks of the other group's agents; "off": nothing."""
    dims: int | None = None
    """c: an agent loses L = c x (size of the other group) entries. None: the paper's value of the map, else the size of
    one agent's block; "block" and "truth" then hide whole blocks. Below the size of a block they hide its c entries
    that tell most."""
    cut: bool = False
    """Keep "block" and "truth" within the paper's L too, where no ``dims`` is given. On 3s_vs_3z, 1c3s5z and the maps
    of SMACv2 whole blocks are more (6, 9 and 8 or 9 entries per agent; the paper's c is 5, 8 and 5 or 8)."""
    sides: Sides = "both"
    """Who loses sight: both groups of each other, or only the "first" (G1) of the rest."""
    fill: Fill = "zero"
    """What stands in hidden entries: 0, their "mean" over what the team has seen, or themselves with "gaussian" noise
    or a step against the team's best action ("fgsm")."""
    sigma: float = 0.1
    """Standard deviation of the noise of "gaussian"."""
    eps: float = 0.1
    """Size of the step of "fgsm"."""
    actions: Chooser = "information"
    """What G1 does instead: the action that tells the others least, a random legal one, a "retreat" from the nearest
    enemy, or as intended ("off")."""
    club: ClubConfig = field(default_factory=ClubConfig)
    """The model behind "block" and "dimension"."""
    action: ActionConfig = field(default_factory=ActionConfig)
    """The model behind "information"; T1 and T2 are not available here: hidden states are not recorded."""
    warmup: int = 20
    """Iterations in which the models only learn, before the first attack; 0 where no model is needed."""
    warmup_steps: int = 25
    """Gradient steps of each model in each of these iterations."""
    every: int = 1
    """Iterations from one later lesson to the next."""
    steps: int = 1
    """Gradient steps of each model in a later lesson."""
    learn_from: Lessons = "all"
    """Which episodes of a training the models learn from: "all", or only the "natural" ones, in which nobody is
    attacked, as a fitted attacker does."""
    refresh: int = 50
    """Iterations from one estimate of the scores S to the next (the first ends the warm-up)."""
    rows: int = 512
    """Transitions that an estimate is made from."""
    keep: float = 0.5
    """Share of the old scores in the new ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, words in (("masks", Masks), ("sides", Sides), ("fill", Fill), ("actions", Chooser),
                            ("learn_from", Lessons)):  # fmt: skip
            one_of(f"InteractionConfig.{name}", getattr(self, name), words)
        if self.dims is not None:
            at_least("InteractionConfig.dims", self.dims, 0)
        for name in ("sigma", "eps", "warmup"):
            at_least(f"InteractionConfig.{name}", getattr(self, name), 0)
        for name in ("warmup_steps", "every", "steps", "refresh", "rows"):
            at_least(f"InteractionConfig.{name}", getattr(self, name), 1)
        within("InteractionConfig.keep", self.keep, 0, 1)
        if self.actions == "information" and self.action.tau in ("T1", "T2"):
            raise ValueError(
                f"InteractionConfig.action.tau is {self.action.tau}, but hidden states are not recorded (and those of "
                "two teams cannot be compared); use T3, T4 or T5"
            )

    @property
    def learns_masks(self) -> bool:
        return self.masks in ("block", "dimension")

    @property
    def learns_actions(self) -> bool:
        return self.actions == "information"
