"""Switches: every quirk of SMAC and every rule of the engine known only by inference, one documented field each.

The defaults are the real behaviour as far as it is known. ``Interface`` mirrors the constructor of SMAC's
``StarCraft2Env`` (same names, same defaults); ``Rules`` are this engine's own discrete switches, ``Quantities`` its
numbers. A set of both is a version of the engine: ``Rules.of("2026-11")``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar

from ibal.registry import quoted


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

    def __post_init__(self) -> None:
        _check_bounds(self)


class Quantities(NamedTuple):
    """Every inferred rule that is a number: a leaf of ``EnvParams``, swept without compiling anew.

    Lengths are world units, times game loops, angles degrees; a share is between 0 and 1, a flag 0 or 1. The defaults
    are those of version "2026-11".
    """

    # Whom an enemy takes, and when.
    scan_own: float = 0.0  # share of the searcher's radius that lengthens its scan range (1 and 1: edge to edge)
    scan_other: float = 0.0  # the same of the target's radius
    scan_more: float = 0.0  # added to every scan range
    near: float = 0.0  # weight of the edge distance in the choice of a target ...
    chance: float = 1.0  # ... and of a uniform random number: 0 and 1 take anybody in scan range, 1 and 0 the nearest
    attackers: float = 100.0  # how much nearer than it is an agent counts that hits the searcher
    keep_scan: float = 1.0  # a target is kept within this share of the scan range and the rest of the weapon's range
    keep_more: float = 0.0  # ... and so much further
    switch: float = 0.0  # flag: a target that does not attack the searcher is dropped for one that does
    medivacs: float = 0.0  # flag: an agents' medivac counts as hitting everybody (its data say: always threatens)
    answer_marching: float = 0.0  # flag: who is shot at from beyond scan range turns on the shooter while it marches,
    answer_holding: float = 1.0  # ... and once it has reached its goal (the response Acquire of the unit data)
    help_radius: float = 4.0  # how far away a team mate that is shot at is heard
    leash: float = 21.0  # how far from its goal a unit follows a target out of scan range
    cadence: float = 1.0  # loops between two looks for a target of who has none
    cadence_again: float = 1.0  # ... and of who has one
    memory: float = 0.0  # an agent attacks who fired in so many loops; 0: who has the order and its target in range
    wake: float = 0.0  # loops between finding a target, having had none, and the start of the first attack
    turn: float = 0.0  # the same when one target follows another
    # How attacks begin and end.
    order_delay: float = 0.0  # loops between an agent's new attack order and the start of the attack
    recut: float = 0.0  # flag: an attack order that is sent again cuts the backswing
    second_kept: float = 0.0  # flag: a new order does not stop the second hit of a swing
    slop: float = 1.0  # share of the weapon's range slop that is tolerated until the damage point
    backswing: float = 1.0  # share of the backswing during which nobody walks
    turret: float = 0.0  # degrees a loop that a spine crawler's turret turns before it shoots; 0: it need not
    crawler_bonus: float = 1.0  # share of a spine crawler's bonus against armoured units that it deals
    melee_reach: float = 0.0  # added to the range of melee weapons
    # How bodies move.
    melee_detour: float = 40.0  # largest detour around a blocking unit of melee units
    ranged_detour: float = 80.0  # the same of ranged units
    cosine: float = 1.0  # share to which a detour at an angle advances only its cosine of a full step
    look: float = 1.0  # steps ahead at which the way is tested against bodies that stand firm
    look_melee: float = 0.0  # so many more for melee units
    look_past: float = 0.0  # steps ahead that ranged units look even where less way is left until they are in range
    full_detours: float = 0.0  # flag: a ranged unit goes around in full steps, even where less way is left
    squeeze: float = 0.49  # square of the share of their common room that no step toward a walking team mate enters
    push: float = 0.12  # furthest that crowding pushes a unit in one loop
    push_planted: float = 0.0  # share to which team mates that attack can be pushed, too
    yields: float = 0.0  # of two team mates who walk into each other the one that presses takes this share more back


_NUMBERS = Quantities()


@dataclass(frozen=True)
class Rules:
    """How the engine decides what StarCraft II does not tell; numbers are in ``quantities``."""

    enemy_ids: str = "unimodal"  # numbering of enemies at reset: "unimodal" shuffle, uniform "permutation", "creation"
    head_start: int = 1  # loops that the enemies march before the first observation
    abs_reward: bool = True  # SMAC takes |damage|, so regenerating enemies pay; False: max(damage, 0)
    state_extent: float = 28.0  # divisor of positions in the state vector (SMAClite and others: 32)
    flip_enemy_bits: bool = True  # stalker and zealot bits exchanged on the enemy side, as in SMAC
    jitter: bool = True  # cooldown of every shot varies by -1 .. +2 loops
    check_actions: bool = True  # an unavailable action becomes stop; False: ordered all the same (scripted teams)
    formation: str = "lattice"  # where units are created: cells of a "lattice", or pulled inward until in "contact"
    shrink: str = "share"  # a body's disc is its radius times 235/256 ("share") or less 63/2048 ("margin")
    slot: str = "separation"  # the room a unit takes at creation: its "inner", "separation" or full "radius"
    body: str = "radius"  # what two units may not share later: the disc of one of the same three radii
    march_offsets: bool = True  # every enemy keeps its place in the formation at the goal (False: all go to one point)
    turning: bool = False  # shots wait until the unit faces its target (62.5 degrees a loop, 11.25 tolerated)
    detour_step: int = 20  # degrees between the detours that a unit tries
    detour_most: int = 80  # the largest of them
    swept: bool = False  # the whole way ahead is tested (True), or only its end
    middles: bool = True  # no step ends over the middle of another body
    turrets: bool = False  # agents' colossi shoot by themselves, standing or walking, unless ordered to attack
    data: str = "liberty"  # the unit data: Wings of Liberty's, or what the "multiplayer" data change in them
    colossus: str = "data"  # its weapon is of those data (range 6 or 7), or the multiplayer one with range 9: "lances"
    colossus_near: str = "self"  # an enemy colossus takes whom it stands nearest to, or of those in range its "goal"
    colossus_calls: bool = False  # an agents' colossus that shoots counts as attacking every enemy
    quantities: Quantities = _NUMBERS

    def __post_init__(self) -> None:
        _check_bounds(self)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                word = str(getattr(self, name))
                near = difflib.get_close_matches(word[:100], allowed, 1, 0.0)[0]
                raise ValueError(f'{name} is {quoted(word)}; did you mean "{near}"? (choices: {", ".join(allowed)})')

    @property
    def discrete(self) -> Rules:
        """These rules with the numbers of the defaults: what is compiled."""
        return replace(self, quantities=_NUMBERS)

    @staticmethod
    def of(version: str) -> Rules:
        """Return the rules of a version of the engine, or of one with changes as ``version`` names it.

        Raises ValueError that names the closest version or rule.
        """
        name, *changes = version.split("+")
        if name not in VERSIONS:
            near = difflib.get_close_matches(name[:100], VERSIONS, 1, 0.0)[0]
            raise ValueError(
                f'no version {quoted(name)} of the engine; did you mean "{near}"? (versions: {", ".join(VERSIONS)})'
            )
        rules = VERSIONS[name]
        mine, numbers = _flat(rules), rules.quantities
        for change in changes:
            key, equals, text = change.partition("=")
            if key not in mine or not equals:
                near = difflib.get_close_matches(key[:100], mine, 1, 0.0)[0]
                raise ValueError(
                    f"version {quoted(version)}: {quoted(change)} is no rule and its value; did you mean {near}=...?"
                )
            value = _read(mine[key], text, version)
            if key in Quantities._fields:
                numbers = numbers._replace(**{key: value})
            else:
                rules = replace(rules, **{key: value})
        return replace(rules, quantities=numbers)

    @property
    def version(self) -> str:
        """Name these rules: a version, or the version that they differ least from, with every difference.

        ``check_actions`` does not count: it is about who plays, not about the world.
        """
        mine = _flat(self)
        changes = {
            name: [f"{key}={_said(value)}" for key, value in mine.items() if value != other[key]]
            for name, other in ((name, _flat(rules)) for name, rules in VERSIONS.items())
        }
        nearest = min(changes, key=lambda name: len(changes[name]))
        return "+".join([nearest, *changes[nearest]])


# A file may give these: more would not end, or not fit into memory.
_BOUNDS = {"step_mul": (1, 1000), "head_start": (0, 1000), "detour_step": (1, 180), "detour_most": (0, 180)}


AnyInterface = TypeVar("AnyInterface", bound=Interface)


def changed(
    game: str, interface: AnyInterface, rules: Rules | None, version: str, given: Mapping[str, Any]
) -> tuple[AnyInterface, Rules]:
    """Return the interface and the rules of an environment with the fields that are ``given`` by name.

    Args:
        game: What a message calls the game.
        interface: What is changed where a name is a field of it.
        rules: What is changed otherwise; None for those of ``version``, or of the newest where that is empty too.
        version: A version of the rules, or empty.
        given: Values by field of the interface, of ``Rules`` or of ``Quantities``.

    Raises:
        ValueError: Both rules and a version, or a name that is no field of any.
    """
    if rules is not None and version:
        raise ValueError(f'give rules or version="{version}", not both: a version is a set of rules')
    rules = Rules.of(version or NEWEST) if rules is None else rules
    mine, switches = ({field.name for field in fields(part)} for part in (interface, rules))
    known = [*mine, *switches, *Quantities._fields]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            title = type(interface).__name__
            raise ValueError(
                f'{game} has no option "{name}"; did you mean "{near[0]}"? (fields of {title}, Rules and Quantities)'
            )
    numbers = given.get("quantities", rules.quantities)
    numbers = numbers._replace(**{n: value for n, value in given.items() if n in Quantities._fields})
    rules = replace(rules, **{n: value for n, value in given.items() if n in switches} | {"quantities": numbers})
    return replace(interface, **{n: value for n, value in given.items() if n in mine}), rules


def _check_bounds(record: Interface | Rules) -> None:
    for name, (least, most) in _BOUNDS.items():
        if not least <= (value := getattr(record, name, least)) <= most:
            raise ValueError(f"{name} is {value}; {least} to {most} was expected")


def _flat(rules: Rules) -> dict[str, object]:
    own = {f.name: getattr(rules, f.name) for f in fields(rules) if f.name not in ("quantities", "check_actions")}
    return own | rules.quantities._asdict()


def _said(value: object) -> str:
    """Write a value so that ``_read`` gives the same back, without a plus sign: that parts the changes."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    short = f"{value:g}"
    return (short if float(short) == value else repr(value)).replace("e+", "e")


def _read(old: object, text: str, version: str) -> Any:
    """Read a value of the type of ``old``. Raises ValueError."""
    if isinstance(old, bool):
        if text in ("True", "False"):
            return text == "True"
    elif isinstance(old, str):
        return text
    elif isinstance(old, int | float):
        try:
            return type(old)(float(text))
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"version {quoted(version)}: {quoted(text)} cannot be read; a value like {old} was expected")


_CHOICES = {
    "enemy_ids": ("unimodal", "permutation", "creation"),
    "formation": ("lattice", "contact"),
    "shrink": ("share", "margin"),
    "slot": ("inner", "separation", "radius"),
    "body": ("inner", "separation", "radius"),
    "data": ("liberty", "multiplayer"),
    "colossus": ("data", "lances"),
    "colossus_near": ("self", "goal"),
}

# Found in a search against the real game from both sides; README.md beside this says how far it is from it.
_DECEMBER = Rules(
    formation="contact", shrink="margin", slot="radius", head_start=0, detour_step=30, detour_most=120, swept=True,
    turrets=True, colossus="lances", colossus_near="goal", colossus_calls=True,
    quantities=Quantities(
        scan_own=1.0, scan_other=1.0, near=1.0, chance=0.0, keep_scan=0.0, switch=1.0, medivacs=1.0,
        answer_marching=1.0, help_radius=2.0, memory=24.0, wake=3.0, turn=4.0, crawler_bonus=0.0, melee_reach=0.2,
        melee_detour=120.0, ranged_detour=120.0, cosine=0.0, look=6.0, look_melee=10.0, squeeze=0.0,
        push_planted=0.2, yields=1.0,
    ),
)  # fmt: skip

# Every set of rules that results were published with. Never change an entry: add one. (The colossi of 2026-12 came in
# after it; nothing had been published with them but one training on 1c3s5z, which was played again.)
VERSIONS = {
    "2026-11": Rules(),
    "2026-12": _DECEMBER,
    # The same on the unit data that the real maps play with, its numbers fitted again.
    "2026-12b": replace(
        _DECEMBER, data="multiplayer", quantities=_DECEMBER.quantities._replace(
            help_radius=2.5, memory=30.0, wake=2.0, turn=6.0, look_melee=11.0, look_past=6.0, full_detours=1.0,
            push_planted=0.1, yields=0.85,
        ),
    ),
}  # fmt: skip
NEWEST = list(VERSIONS)[-1]  # what is played unless another one is asked for
