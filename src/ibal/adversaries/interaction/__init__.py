"""The interaction-breaking attack: options, the attack itself, what it hides and what it learns."""

from ibal.adversaries.interaction.attack import (
    InteractionConfig,
    LiteralInteractionConfig,
    OccludeRetreatConfig,
    RandomGroupConfig,
    fixed,
    interaction,
)
from ibal.adversaries.interaction.learn import State, fit, init, replace_scores

__all__ = [
    "InteractionConfig", "LiteralInteractionConfig", "OccludeRetreatConfig", "RandomGroupConfig", "State", "fit",
    "fixed", "init", "interaction", "replace_scores",
]  # fmt: skip
