"""The Wolfpack attack: options, the attack, the planner of its starts and the planner's networks."""

from ibal.adversaries.wolfpack.attack import RandomWolfpackConfig, WolfpackConfig, wolfpack

__all__ = ["RandomWolfpackConfig", "WolfpackConfig", "wolfpack"]
