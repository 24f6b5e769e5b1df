"""ATLA, an attacker that learns by reinforcement: options, the attack, its lessons."""

from ibal.adversaries.atla.attack import AtlaConfig, atla
from ibal.adversaries.atla.lesson import State

__all__ = ["AtlaConfig", "State", "atla"]
