"""How faults are written: ``lost-30``, ``delay-2@10``, ``stop-1@40-60``, and with a plus what happens together,
``hp-15+lost-30+stop-1@40``. Importing this module imports no jax.

    kind  -number   how much: percent, steps or agents, as the kind has it (left out: the kind's default)
          @first    from this step on, counted from 0 (left out: from the beginning)
          -last     up to this step, which is the last one (left out: to the end of the episode)

Adding a fault is a dataclass in ``ibal.adversaries.faults`` and one line in ``FAULTS``.
"""

from __future__ import annotations

import re
from typing import Any

from ibal.options import ConfigError, bracketed, with_options
from ibal.registry import Entry, Registry, UnknownName, closest, quoted

FAULTS = Registry(
    kind="fault",
    entries={
        "delay": Entry("ibal.adversaries.faults:DelayConfig", "everybody sees what was <steps> steps ago"),
        "jitter": Entry("ibal.adversaries.faults:JitterConfig", "the same, 0 to <steps> steps, drawn at every step"),
        "lost": Entry("ibal.adversaries.faults:LostConfig", "<percent> of what is heard about others is lost"),
        "burst": Entry("ibal.adversaries.faults:BurstConfig", "the same share, lost in bursts"),
        "range": Entry("ibal.adversaries.faults:RangeConfig", "others are heard within a range <percent> shorter"),
        "noise": Entry("ibal.adversaries.faults:NoiseConfig", "sensors err by <percent> of a unit (deviation)"),
        "drop": Entry("ibal.adversaries.faults:DropConfig", "<percent> of the sensors read 0 for a whole episode"),
        "frozen": Entry("ibal.adversaries.faults:FrozenConfig", "the sensors of <agents> agents no longer change"),
        "stop": Entry("ibal.adversaries.faults:StopConfig", "<agents> agents do nothing, in sight of the others"),
        "vanish": Entry("ibal.adversaries.faults:VanishConfig", "<agents> agents do nothing, and no other sees them"),
        "stuck": Entry("ibal.adversaries.faults:StuckConfig", "<agents> agents repeat what they did last"),
        "subset": Entry("ibal.adversaries.faults:SubsetConfig", "the <k> agents whose stopping costs this team most"),
        "sticky": Entry("ibal.adversaries.faults:StickyConfig", "<percent> of all actions repeat the one before"),
        "late": Entry("ibal.adversaries.faults:LateConfig", "everybody's actions are done <steps> steps later"),
    },
    listing="ibal attack list",
    flag="--attacks",
)
WORLD = ("dis", "abs", "hp")  # faults of the world itself, which an environment follows (``game.perturb``)

_SHORT = re.compile(r"(?P<kind>[a-z]+)(-(?P<much>\d{1,6}))?(@(?P<first>\d{1,7})(-(?P<last>\d{1,7}))?)?")
_LIKE_ONE = re.compile(r"\w+(-\d.*|@.*)")
_WORLDLY = re.compile(rf"({'|'.join(WORLD)})-\d+")


def parts(name: str) -> tuple[str, ...]:
    """Split a name at the plus signs outside brackets."""
    return tuple(part.strip() for part in re.split(r"\+(?![^\[]*\])", name))


def split(name: str) -> tuple[str, str]:
    """Split ``hp-15+lost-30`` into what the world itself follows ("hp-15"; "none") and the rest ("lost-30"; "natural").
    Any other name is its own rest."""
    words = parts(name)
    worldly = [word for word in words if _WORLDLY.fullmatch(word)]
    rest = [word for word in words if word not in worldly]
    return "+".join(worldly) or "none", "+".join(rest) if rest else "natural"


def is_faulty(name: str) -> bool:
    """Say whether a name is written as faults are: a kind of the table, a word with numbers as they have them (there
    may be none of this name), or several things that happen together."""
    base = name.partition("[")[0]
    return len(parts(name)) > 1 or base in FAULTS or bool(_LIKE_ONE.fullmatch(base))


def fault(word: str) -> Any:
    """Return the configuration of one fault, ``stop-1@40`` or ``lost[percent=30,agents=2]``.

    Raises UnknownName with the closest kind, ConfigError for an impossible number.
    """
    base, options = bracketed(word, "lost[percent=30]")
    found = _SHORT.fullmatch(base)
    if found is None or found["kind"] not in FAULTS:
        near = closest(re.split(r"[-@]", base)[0], (*FAULTS, *WORLD))
        hint = f' Closest: "{near}".' if near else ""
        raise UnknownName(
            f"unknown fault {quoted(base)}.{hint} Write a kind, its number and when it begins, like lost-30 or "
            f"stop-1@40; kinds: {', '.join(FAULTS)}. List them: {FAULTS.listing}"
        )
    default = FAULTS.make(found["kind"])
    given = {default.amount: found["much"], "first": found["first"], "last": found["last"]}
    given = {name: text for name, text in given.items() if text is not None}
    if twice := sorted(set(given) & set(options)):
        raise ConfigError(f'{quoted(word)}: "{twice[0]}" is given twice, before the brackets and in them')
    try:
        return with_options(default, {**given, **options})
    except ConfigError as error:
        raise ConfigError(f"{quoted(word)}: {error}") from error
