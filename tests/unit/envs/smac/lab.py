"""A proving ground: any unit against any other on open ground, played loop by loop.

Nobody is on the field until a test puts it there. Fields are played side by side, all by one compiled program.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibal.envs.smac.engine import advance, draws
from ibal.envs.smac.orders import command
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, HEAL, IDLE, MOVE, SCAN, Units

LOOPS = 8  # of one environment step
NO_JITTER = 1 / 3  # the uniform number that changes no cooldown: -1 + 3 / 3
STOP, NORTH, SOUTH, EAST, WEST, FIRST_TARGET = 1, 2, 3, 4, 5, 6
HARMLESS = 1e6  # loops until a passive enemy may fire

_COUNT = {
    "baneling": 2, "colossus": 1, "hydralisk": 1, "marauder": 2, "marine": 4, "medivac": 2, "stalker": 2, "zealot": 4,
    "zergling": 2,
}  # fmt: skip
LAB = Scenario(
    "lab",
    100,
    tuple(Group(unit, count, (8.0, 16.0)) for unit, count in _COUNT.items()),
    tuple(Group(unit, count, (24.0, 16.0)) for unit, count in (*_COUNT.items(), ("spine_crawler", 1))),
    terrain="open",
    heals=True,
)
RULES, INTERFACE = Rules(), Interface()
NAMES = [t.name for t in (*LAB.ally_types, *LAB.enemy_types)]
N = LAB.n_agents
WIDE = 8  # fields played side by side


class Field:
    """One game before it starts. Units are numbered as in the engine; agents are idle until ordered."""

    def __init__(self) -> None:
        self.start = {k: np.array(v) for k, v in initial_units(LAB, RULES)._asdict().items()}
        self.start["health"][:] = 0
        self.start["burst"][:] = True  # the banelings that are not here have exploded long ago
        self.script: dict[int, dict[int, int]] = {}

    def ally(self, unit: str, x: float, y: float = 16.0, **values: float) -> int:
        return self._put(NAMES.index(unit), unit, x, y, values)

    def enemy(self, unit: str, x: float, y: float = 16.0, **values: float) -> int:
        """An enemy that holds its place under an attack-move order."""
        return self._put(NAMES.index(unit, N), unit, x, y, {"order": SCAN, "goal_x": x, "goal_y": y} | values)

    def passive(self, unit: str, x: float, y: float = 16.0, **values: float) -> int:
        """An enemy that never fires."""
        return self.enemy(unit, x, y, **{"order": IDLE, "cooldown": HARMLESS} | values)

    def _put(self, index: int, unit: str, x: float, y: float, values: dict[str, float]) -> int:
        while self.start["health"][index] > 0:
            index += 1
        assert NAMES[index] == unit, f"the lab has no further {unit}"
        kind = (*LAB.ally_types, *LAB.enemy_types)[index]
        values = {"x": x, "y": y, "health": kind.health, "shield": kind.shield, "burst": False} | values
        for name, value in values.items():
            self.start[name][index] = value
        return index

    def attack(self, unit: int, target: int, ready: float = 6) -> None:
        """Order an attack; the weapon is ready in loop ``ready``, which leaves time to turn."""
        self.set(unit, order=ATTACK if unit < N else SCAN, target=target, cooldown=ready)

    def heal(self, unit: int, target: int) -> None:
        self.set(unit, order=HEAL if unit < N else SCAN, target=target)

    def move(self, unit: int, x: float, y: float) -> None:
        self.set(unit, order=MOVE if unit < N else SCAN, goal_x=x, goal_y=y, target=-1)

    def set(self, unit: int, **values: float) -> None:
        for name, value in values.items():
            self.start[name][unit] = value

    def say(self, step: int, agent: int, action: int) -> None:
        """Let ``agent`` be given ``action`` before step ``step``; the others keep their orders."""
        self.script.setdefault(step, {})[agent] = action


def aim(target: int) -> int:
    """The action that attacks (medivac: heals) this unit."""
    return FIRST_TARGET + (target - N if target >= N else target)


def play(fields: Sequence[Field], steps: int, *, jitter: bool = False, refill: bool = False, seed: int = 0) -> Units:
    """Play all fields; return every array as [field, loop, unit], loop 0 being the start.

    ``refill`` gives the living their first health, shield and energy back after every step.
    """
    parts = [_play(fields[i : i + WIDE], steps, jitter, refill, seed + i) for i in range(0, len(fields), WIDE)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _play(fields: Sequence[Field], steps: int, jitter: bool, refill: bool, seed: int) -> Units:
    padded = [*fields, *[fields[-1]] * (WIDE - len(fields))]
    start = Units(**{k: np.stack([f.start[k] for f in padded]) for k in Units._fields})
    units, films = start, [jax.tree.map(lambda a: a[:, None], start)]
    for step in range(steps):
        actions, named = np.ones((WIDE, N), np.int32), np.zeros((WIDE, N), bool)
        for i, field in enumerate(padded):
            for agent, action in field.script.get(step, {}).items():
                actions[i, agent], named[i, agent] = action, True
        key = jax.random.fold_in(jax.random.key(seed), step)
        film = jax.tree.map(np.asarray, _program(jitter)(units, actions, named, key))
        units = jax.tree.map(lambda a: a[:, -1], film)
        if refill:
            alive = units.health > 0
            full = {k: np.where(alive, getattr(start, k), getattr(units, k)) for k in ("health", "shield")}
            units = units._replace(**full)
        films.append(film)
    film = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *films)
    return jax.tree.map(lambda a: a[: len(fields)], film)


@cache
def _program(jitter: bool) -> Any:
    if not jitter:
        return lambda *args: _compiled()(*args, jnp.float32(0.0))
    return lambda *args: _compiled()(*args, jnp.float32(1.0))


@cache
def _compiled() -> Any:
    def one(units: Units, actions: jax.Array, named: jax.Array, key: jax.Array, spread: jax.Array) -> Units:
        told = command(units, actions, jnp.arange(LAB.n_enemies), LAB, INTERFACE)
        chosen = jnp.concatenate([named, jnp.zeros(LAB.n_enemies, bool)])
        units = jax.tree.map(lambda new, old: jnp.where(chosen, new, old), told, units)

        def loop(units: Units, key: jax.Array) -> tuple[Units, Units]:
            noise = draws(key, LAB)
            noise = noise._replace(jitter=spread * noise.jitter + (1 - spread) * NO_JITTER)
            units = advance(units, noise, LAB, RULES, 1)
            return units, units

        return jax.lax.scan(loop, units, jax.random.split(key, LOOPS))[1]

    many = jax.vmap(one, in_axes=(0, 0, 0, 0, None))
    # The suite compiles in haste (conftest.py), but this program runs thousands of times.
    well = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    return jax.jit(
        lambda u, a, w, key, spread: many(u, a, w, jax.random.split(key, WIDE), spread), compiler_options=well
    )


def life(film: Units, field: int, unit: int) -> np.ndarray:
    """Health plus shield of a unit over the loops; 0 once dead."""
    health = film.health[field, :, unit]
    return np.where(health > 0, health + film.shield[field, :, unit], 0.0)


def falls(film: Units, field: int, unit: int) -> np.ndarray:
    """The loops in which a unit lost health or shield."""
    return np.flatnonzero(np.diff(life(film, field, unit)) < -1e-4) + 1


def shots(film: Units, field: int, unit: int) -> np.ndarray:
    """The loops in which a unit fired: its cooldown began anew (an unused fraction of a loop ends at 0)."""
    cooldown = film.cooldown[field, :, unit]
    return np.flatnonzero((np.diff(cooldown) > 0) & (cooldown[1:] > 0)) + 1
