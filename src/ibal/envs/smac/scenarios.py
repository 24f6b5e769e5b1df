"""The maps: who stands where, where the enemies are sent, how the vectors look. Adding a map is one entry here."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ibal.envs.smac.units import UNITS, UnitType


@runtime_checkable
class Game(Protocol):
    """What the engine asks of a scenario, be its teams fixed (``Scenario``) or drawn (``ibal.envs.smacv2``)."""

    @property
    def n_agents(self) -> int: ...
    @property
    def n_enemies(self) -> int: ...
    @property
    def terrain(self) -> str: ...
    @property
    def march(self) -> str: ...
    @property
    def heals(self) -> bool: ...


@dataclass(frozen=True)
class Group:
    """``count`` units created at one point; the formation rule spreads them (``spawn.formation``)."""

    unit: str
    count: int
    at: tuple[float, float]


@dataclass(frozen=True)
class Scenario:
    """One SMAC map.

    ``allies`` and ``enemies`` are in creation order. ``march`` says what the enemies are ordered at reset:
    ``"point"`` attack-move to ``goal``; ``"segment"`` attack-move to a uniformly random point between ``goal`` and
    ``goal_end``; ``"agents"`` attack the agents wherever they are; ``"trigger"`` none, but every half
    second who is idle is sent at the nearest agent; ``"none"`` no order. ``ally_bits`` / ``enemy_bits``
    list the unit types of the one-hot type bits in index order (empty: no bits); ``heals`` turns on SMAC's special
    rules of the MMM maps (agents' medivacs heal agents, and do not count as survivors). ``terrain`` names an entry of
    ``terrain.TERRAINS``.
    """

    name: str
    limit: int
    allies: tuple[Group, ...]
    enemies: tuple[Group, ...]
    terrain: str = "strip"
    march: str = "point"
    goal: tuple[float, float] = (9.0, 16.0)
    goal_end: tuple[float, float] | None = None
    ally_bits: tuple[str, ...] = ()
    enemy_bits: tuple[str, ...] = ()
    heals: bool = False

    @property
    def n_agents(self) -> int:
        return sum(g.count for g in self.allies)

    @property
    def n_enemies(self) -> int:
        return sum(g.count for g in self.enemies)

    @property
    def n_actions(self) -> int:
        return 6 + self.n_enemies

    @property
    def ally_race(self) -> str:
        return UNITS[self.allies[0].unit].race

    @property
    def enemy_race(self) -> str:
        return UNITS[self.enemies[0].unit].race

    @property
    def ally_types(self) -> tuple[UnitType, ...]:
        """Unit type of every agent in agent-id order (sorted by type name; within a type by position)."""
        return tuple(UNITS[u] for u in sorted(g.unit for g in self.allies for _ in range(g.count)))

    @property
    def enemy_types(self) -> tuple[UnitType, ...]:
        """Unit type of every enemy in creation order."""
        return tuple(UNITS[g.unit] for g in self.enemies for _ in range(g.count))

    @property
    def max_reward(self) -> float:
        """The unscaled return of a won game: 10 a kill, 200 for the win, all enemy health and shield."""
        return 10.0 * self.n_enemies + 200.0 + sum(t.health + t.shield for t in self.enemy_types)


WEST, EAST = (9.0, 16.0), (23.0, 16.0)


def _facing(
    allies: dict[str, int], enemies: dict[str, int] | None = None
) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Two armies on the axis y = 16, in creation order; ``enemies`` equals ``allies`` unless given."""
    west = tuple(Group(u, c, WEST) for u, c in allies.items())
    return west, tuple(Group(u, c, EAST) for u, c in (enemies or allies).items())


# SMAC numbers stalkers and zealots the other way round for enemies (type id - 73); policies were trained with it.
_SZ_ALLY, _SZ_ENEMY = ("stalker", "zealot"), ("zealot", "stalker")
_CSZ = ("colossus", "stalker", "zealot")
_MMM = ("marauder", "marine", "medivac")
_ZERG = ("baneling", "zergling")
_ARMY = {"marine": 7, "marauder": 2, "medivac": 1}
_BIGGER_ARMY = {"marine": 8, "marauder": 3, "medivac": 1}

_ALL = (
    Scenario("3m", 60, *_facing({"marine": 3})),
    Scenario("8m", 120, *_facing({"marine": 8})),
    Scenario("25m", 150, *_facing({"marine": 25})),
    Scenario("5m_vs_6m", 70, *_facing({"marine": 5}, {"marine": 6})),
    Scenario("8m_vs_9m", 120, *_facing({"marine": 8}, {"marine": 9})),
    Scenario("10m_vs_11m", 150, *_facing({"marine": 10}, {"marine": 11})),
    Scenario("27m_vs_30m", 180, *_facing({"marine": 27}, {"marine": 30})),
    Scenario("MMM", 150, *_facing(_ARMY), ally_bits=_MMM, enemy_bits=_MMM, heals=True),
    Scenario("MMM2", 180, *_facing(_ARMY, _BIGGER_ARMY), ally_bits=_MMM, enemy_bits=_MMM, heals=True),
    Scenario("2s3z", 120, *_facing({"stalker": 2, "zealot": 3}), ally_bits=_SZ_ALLY, enemy_bits=_SZ_ENEMY),
    Scenario("3s5z", 150, *_facing({"stalker": 3, "zealot": 5}), ally_bits=_SZ_ALLY, enemy_bits=_SZ_ENEMY),
    Scenario(
        "3s5z_vs_3s6z", 170, *_facing({"stalker": 3, "zealot": 5}, {"stalker": 3, "zealot": 6}),
        ally_bits=_SZ_ALLY, enemy_bits=_SZ_ENEMY,
    ),
    Scenario("3s_vs_3z", 150, *_facing({"stalker": 3}, {"zealot": 3}), terrain="open"),
    Scenario("3s_vs_4z", 200, *_facing({"stalker": 3}, {"zealot": 4}), terrain="open"),
    Scenario("3s_vs_5z", 250, *_facing({"stalker": 3}, {"zealot": 5}), terrain="open"),
    Scenario("1c3s5z", 180, *_facing({"colossus": 1, "stalker": 3, "zealot": 5}), ally_bits=_CSZ, enemy_bits=_CSZ),
    Scenario(
        "2m_vs_1z", 150,
        (Group("marine", 1, (13.0, 12.0)), Group("marine", 1, (19.0, 12.0))),
        (Group("zealot", 1, (16.0, 19.0)),),
        terrain="octagon", march="segment", goal=(13.0, 12.0), goal_end=(19.0, 12.0),
    ),
    Scenario(
        "corridor", 400, (Group("zealot", 6, (19.0397, 19.1198)),), (Group("zergling", 24, (27.91, 28.24)),),
        terrain="corridor", goal=(4.47, 4.3298),
    ),
    Scenario(
        "6h_vs_8z", 150, (Group("hydralisk", 6, (14.5998, 9.49)),), (Group("zealot", 8, (14.41, 16.7597)),),
        terrain="pen_b", goal=(14.5998, 9.49),
    ),
    Scenario(
        "2s_vs_1sc", 300,
        (Group("stalker", 1, (11.1208, 10.338)), Group("stalker", 1, (16.976, 10.3662))),
        (Group("spine_crawler", 1, (13.92, 20.0397)),),
        terrain="pen_a", march="none",
    ),
    Scenario(
        "so_many_baneling", 100, (Group("zealot", 7, (11.469, 12.0234)),), (Group("baneling", 32, (27.91, 28.24)),),
        terrain="diagonal", goal=(4.47, 4.3298),
    ),
    Scenario(
        "bane_vs_bane", 200,
        (Group("zergling", 20, (16.0, 11.0)), Group("baneling", 4, (16.0, 8.0))),
        (Group("zergling", 20, (16.0, 21.0)), Group("baneling", 4, (16.0, 24.0))),
        terrain="octagon", goal=(16.0, 8.0), ally_bits=_ZERG, enemy_bits=_ZERG,
    ),
    Scenario(
        "2c_vs_64zg", 400, (Group("colossus", 2, (16.0, 16.0)),), (Group("zergling", 64, (16.0, 9.0)),),
        terrain="plateau", march="agents",
    ),
)  # fmt: skip

SCENARIOS: dict[str, Scenario] = {s.name: s for s in _ALL}


def scenario(name: str) -> Scenario:
    """Look a map up. Raises ValueError that names the closest map."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, 1, 0.0)
    raise ValueError(f'unknown SMAC map "{name}". Closest: "{near[0]}". List them: ibal env list')
