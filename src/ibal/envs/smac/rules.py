"""Switches: every quirk of SMAC and every rule of the engine known only by inference, one documented field each.

The defaults are the real behaviour as far as it is known. ``Interface`` mirrors the constructor of SMAC's
``StarCraft2Env`` (same names, same defaults); ``Rules`` are this engine's own switches.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    """What agents see and are paid for: the constructor options of ``StarCraft2Env`` that change vectors or rewards."""

    step_mul: int = 8  # game loops per environment step
    move_amount: float = 2.0  # distance of the point a move action orders
    continuing_episode: bool = False  # a time-out is truncated instead of terminated
    obs_all_health: bool = True
    obs_own_health: bool = True
    obs_last_action: bool = False
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_instead_of_state: bool = False
    obs_timestep_number: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False
    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_death_value: float = 10.0
    reward_win: float = 200.0
    reward_defeat: float = 0.0
    reward_negative_scale: float = 0.5
    reward_scale: bool = True
    reward_scale_rate: float = 20.0


@dataclass(frozen=True)
class Rules:
    """How the engine decides what StarCraft II does not tell."""

    enemy_ids: str = "unimodal"  # numbering of enemies at reset: "unimodal" shuffle, uniform "permutation", "creation"
    head_start: int = 1  # loops that the enemies march before the first observation
    abs_reward: bool = True  # SMAC takes |damage|, so regenerating enemies pay; False: max(damage, 0)
    state_extent: float = 28.0  # divisor of positions in the state vector (SMAClite and others: 32)
    flip_enemy_bits: bool = True  # stalker and zealot bits exchanged on the enemy side, as in SMAC
    jitter: bool = True  # cooldown of every shot varies by -1 .. +2 loops
    check_actions: bool = True  # an unavailable action becomes stop; False: ordered all the same (scripted teams)
    # Motion and targeting: chosen by how policies trained in the real game fare, among discrete physical alternatives.
    slot: str = "separation"  # the room a unit takes at creation: its "inner", "separation" or full "radius"
    body: str = "radius"  # what two units may not share later: the disc of one of the same three radii
    march_offsets: bool = (
        True  # every enemy keeps its place in the formation at the goal (False: all head for one point)
    )
    acquire: str = "random"  # a searching enemy takes a "random" agent in scan range, or the "nearest"
    prefer_attackers: bool = True  # ... but first one that is hitting it
    scan_measure: str = "centre-centre"  # scan range: "edge-edge" (like weapons), "centre-edge", "centre-centre"
    answer: str = (
        "holding"  # who turns on agents that shoot from beyond scan range: those "holding" their goal, "all", "none"
    )
    sticky: str = "scan"  # a target is kept while within "scan" range, within "weapon" range, or until "death"
    turning: bool = False  # shots wait until the unit faces its target (62.5 degrees a loop, 11.25 tolerated)
    melee_detour: int = 40  # largest detour around a blocking unit, degrees, of melee units
    ranged_detour: int = 80  # the same for ranged units
    detour_cosine: bool = True  # a detour at an angle advances only its cosine of a full step
    push: float = 0.12  # furthest that crowding pushes a unit in one loop
    squeeze: float = 0.7  # share of its room inside which nobody walks up to a team mate; 0: pressing on without end
    push_planted: bool = False  # attacking team mates can be pushed too

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                near = difflib.get_close_matches(str(getattr(self, name)), allowed, 1, 0.0)[0]
                raise ValueError(
                    f'{name} is "{getattr(self, name)}"; did you mean "{near}"? (choices: {", ".join(allowed)})'
                )


_CHOICES = {
    "enemy_ids": ("unimodal", "permutation", "creation"),
    "slot": ("inner", "separation", "radius"),
    "body": ("inner", "separation", "radius"),
    "acquire": ("random", "nearest"),
    "scan_measure": ("edge-edge", "centre-edge", "centre-centre"),
    "answer": ("none", "holding", "all"),
    "sticky": ("scan", "weapon", "death"),
}
