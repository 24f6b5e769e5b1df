"""The options of the wolfpack, apart from the attack: its planner reads them as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ibal.adversaries.limits import at_least
from ibal.registry import one_of

Start = Literal["planner", "random"]
Initial = Literal["random", "planner"]
FollowUp = Literal["change", "near"]


@dataclass(frozen=True)
class WolfpackOptions:
    """One agent does its worst, then for some steps those whom that changes most do theirs (Lee et al. 2025)."""

    budget: int | None = None
    """Attacked steps of an episode, the first and the following ones alike. None: 12 in training, 8 in evaluation."""
    follow_steps: int = 3
    """Steps on which the followers are attacked after the first one."""
    followers: int | None = None
    """How many follow. None: (agents - 1) / 2, rounded down."""
    start: Start = "planner"
    """When an attack starts: where a network expects the largest fall of the team's value ("planner"), or anywhere
    alike ("random"); either way at most ``window`` steps after the last start."""
    initial: Initial = "random"
    """Who is attacked first: anyone, or whoever the network expects most of ("planner")."""
    followup: FollowUp = "change"
    """Who follows: those whose values change most with the first action, or those who see most alike ("near")."""
    nudge: float = 5e-4
    """Size of the one step of Adam on a copy of the team's weights that shows whose values change."""
    temperature: float = 0.5
    """How strictly an attack starts at the expected best moment, in units of value: 0 would be always."""
    window: int = 20
    """Steps that the network looks back and ahead; at most the horizon."""
    hidden: int = 64
    """Width of both transformers."""
    lr: float = 5e-4
    """Their learning rate (Adam)."""
    every: int = 2
    """Iterations from one lesson of the planner to the next."""
    updates: int = 16
    """Gradient steps of each transformer in a lesson."""
    windows: int = 16
    """Windows of an episode in a gradient step."""
    rounds: int = 400
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: a smaller budget, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key, words in (("start", Start), ("initial", Initial), ("followup", FollowUp)):
            one_of(f"{name}.{key}", getattr(self, key), words)
        for key in ("budget", "followers"):
            if getattr(self, key) is not None:
                at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("follow_steps", "nudge", "lr"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        at_least(f"{name}.temperature", self.temperature, 1e-3)
        for key in ("window", "hidden", "every", "updates", "windows", "rounds"):
            at_least(f"{name}.{key}", getattr(self, key), 1)

    @property
    def learns_by_playing(self) -> bool:
        return "planner" in (self.start, self.initial)
