"""The scenarios of SMACv2: how many units of which race fight, and how likely each type is. Adding one is one entry."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property

from ibal.envs.smac.units import UNITS, UnitType

# Sight and reach of agents by type; reach is compared between centres, whatever the radii, and not below
# ``Options.min_attack_range``. Source: ``unit_sight_range`` and ``unit_shoot_range`` of oxwhirl/smacv2.
SIGHT = {
    "marine": 9, "marauder": 10, "medivac": 11, "stalker": 10, "zealot": 9, "colossus": 10, "zergling": 8,
    "hydralisk": 9, "baneling": 8,
}  # fmt: skip
REACH = {
    "marine": 5, "marauder": 6, "medivac": 4, "stalker": 6, "zealot": 0.1, "colossus": 7, "zergling": 0.1,
    "hydralisk": 5, "baneling": 0.25,
}  # fmt: skip


@dataclass(frozen=True)
class Army:
    """Two teams of one race whose units are drawn anew in every episode.

    ``types`` are in the order of the type bits, ``weights`` their chances (they are divided by their sum). A team is
    drawn again while all its units are of the type ``exception``. Units are of a *kind*: the index of their type in
    ``kinds``, which is the order that agents are numbered in.
    """

    name: str
    n_agents: int
    n_enemies: int
    race: str
    types: tuple[str, ...]
    weights: tuple[float, ...] = (0.45, 0.45, 0.1)
    exception: str = ""
    limit: int = 200

    terrain = "open"
    march = "trigger"

    def __post_init__(self) -> None:
        if min(self.n_agents, self.n_enemies) < 1:
            raise ValueError(f'"{self.name}" has {self.n_agents} agents and {self.n_enemies} enemies; give at least 1')
        if wrong := [name for name in self.types if name not in UNITS or UNITS[name].race != self.race]:
            raise ValueError(f'"{self.name}": {wrong[0]} is no unit of race {self.race}')
        if len(self.types) != len(self.weights) or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f'"{self.name}" has {len(self.types)} types: give each a weight of 0 or more, not all 0')

    @cached_property
    def kinds(self) -> tuple[UnitType, ...]:
        """The unit types by name: the order of the game's own numbers for its agents' units."""
        return tuple(UNITS[name] for name in sorted(self.types))

    @cached_property
    def bits(self) -> tuple[int, ...]:
        """The type bit of every kind."""
        return tuple(self.types.index(kind.name) for kind in self.kinds)

    @property
    def heals(self) -> bool:
        """Whether medivacs heal agents by their target actions and do not count as survivors."""
        return self.race == "T"

    @property
    def shields(self) -> bool:
        return self.race == "P"

    @property
    def n_targets(self) -> int:
        """Target actions: enemies, and of terran teams agents where these are more."""
        return max(self.n_agents, self.n_enemies) if self.heals else self.n_enemies

    @property
    def mean_life(self) -> float:
        """Expected health and shield of a unit (that a team of exceptions is drawn again changes it by 1e-5)."""
        share = [w / sum(self.weights) for w in self.weights]
        return sum(s * (UNITS[t].health + UNITS[t].shield) for s, t in zip(share, self.types, strict=True))


_RACES = {
    "terran": ("T", ("marine", "marauder", "medivac"), "medivac"),
    "zerg": ("Z", ("zergling", "hydralisk", "baneling"), "baneling"),
    "protoss": ("P", ("stalker", "zealot", "colossus"), ""),
}
_SIZES = ((5, 5), (10, 10), (10, 11), (20, 20), (20, 23))


def _of(title: str, n: int, m: int) -> Army:
    race, types, exception = _RACES[title]
    return Army(f"{title}_{n}_vs_{m}", n, m, race, types, exception=exception)


RACES = {race: (types, exception) for race, types, exception in _RACES.values()}

ARMIES: dict[str, Army] = {
    army.name: army for title in _RACES for army in (_of(title, n, m) for n, m in _SIZES)
}  # fmt: skip


def army(name: str) -> Army:
    """Look a scenario up. Raises ValueError that names the closest."""
    if name in ARMIES:
        return ARMIES[name]
    near = difflib.get_close_matches(name, ARMIES, 1, 0.0)
    raise ValueError(f'unknown SMACv2 scenario "{name}". Closest: "{near[0]}". List them: ibal env list')


def summary(name: str) -> str:
    """Describe a scenario in one line, for lists."""
    chosen = ARMIES[name]
    return (
        f"{chosen.n_agents} agents against {chosen.n_enemies}, types and places drawn in every episode, "
        f"{chosen.limit} steps"
    )
