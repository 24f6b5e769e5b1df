"""The options of all attacks in one place; each stands beside its attack."""

from __future__ import annotations

from ibal.adversaries.atla import AtlaConfig
from ibal.adversaries.base import NaturalConfig
from ibal.adversaries.ega import EgaConfig
from ibal.adversaries.fgsm import FgsmConfig, PgdConfig
from ibal.adversaries.groups import GroupConfig
from ibal.adversaries.interaction import (
    InteractionConfig,
    LiteralInteractionConfig,
    OccludeRetreatConfig,
    RandomGroupConfig,
)
from ibal.adversaries.random import RandomActConfig, RandomConfig, RandomObsConfig
from ibal.adversaries.wolfpack import RandomWolfpackConfig, WolfpackConfig

__all__ = [
    "AtlaConfig",
    "EgaConfig",
    "FgsmConfig",
    "GroupConfig",
    "InteractionConfig",
    "LiteralInteractionConfig",
    "NaturalConfig",
    "OccludeRetreatConfig",
    "PgdConfig",
    "RandomActConfig",
    "RandomConfig",
    "RandomGroupConfig",
    "RandomObsConfig",
    "RandomWolfpackConfig",
    "WolfpackConfig",
]
