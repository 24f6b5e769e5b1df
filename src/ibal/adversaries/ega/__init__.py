"""EGA, the evolving population of attackers of ROMANCE: options, the attack, its lessons, its archive."""

from ibal.adversaries.ega.attack import EgaConfig, State, ega

__all__ = ["EgaConfig", "State", "ega"]
