"""How a unit type looks: a letter and an outline. The GIF and the HTML player share this table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]


def _polygon(corners: int, turn: float = 0.0, stretch: float = 1.0) -> tuple[Point, ...]:
    """Regular polygon of radius ``stretch``, one corner straight up when ``turn`` is 0 (y grows upward)."""
    angles = (math.pi / 2 + turn + 2 * math.pi * i / corners for i in range(corners))
    return tuple((stretch * math.cos(a), stretch * math.sin(a)) for a in angles)


def _star(points: int, inner: float) -> tuple[Point, ...]:
    tips, notches = _polygon(points, 0.0, 1.12), _polygon(points, math.pi / points, inner)
    return tuple(corner for pair in zip(tips, notches, strict=True) for corner in pair)


_CROSS: tuple[Point, ...] = (
    (-0.45, 1.0), (0.45, 1.0), (0.45, 0.45), (1.0, 0.45), (1.0, -0.45), (0.45, -0.45),
    (0.45, -1.0), (-0.45, -1.0), (-0.45, -0.45), (-1.0, -0.45), (-1.0, 0.45), (-0.45, 0.45),
)  # fmt: skip


@dataclass(frozen=True)
class Glyph:
    """``outline`` is a polygon around the origin in units of the body radius; empty = a circle.

    ``energy`` is what a full energy bar means; 0 = no bar. ``tone`` in -1 .. 1 darkens or lightens the team colour, so
    that types differ in colour as well as in shape. ``heals``: its targets are of its own team.
    """

    letter: str
    outline: tuple[Point, ...] = ()
    energy: float = 0.0
    tone: float = 0.0
    heals: bool = False

    def to_json(self) -> dict[str, Any]:
        outline = [[round(x, 3), round(y, 3)] for x, y in self.outline]
        return {"letter": self.letter, "outline": outline, "energy": self.energy, "tone": self.tone,
                "heals": self.heals}  # fmt: skip


_SQUARE = _polygon(4, math.pi / 4, 1.2)
_DIAMOND = _polygon(4, 0.0, 1.25)
_TRIANGLE = _polygon(3, 0.0, 1.3)

KNOWN: dict[str, Glyph] = {
    "marine": Glyph("M"),
    "marauder": Glyph("R", _SQUARE, tone=-0.3),
    "medivac": Glyph("V", _CROSS, energy=200.0, tone=0.35, heals=True),
    "stalker": Glyph("S", _DIAMOND, tone=-0.3),
    "zealot": Glyph("Z", _TRIANGLE),
    "colossus": Glyph("C", _polygon(6), tone=0.3),
    "zergling": Glyph("L", _polygon(5, math.pi, 1.15)),
    "hydralisk": Glyph("H", _polygon(5, 0.0, 1.15), tone=-0.3),
    "baneling": Glyph("B", _polygon(8, math.pi / 8), tone=0.3),
    "spine_crawler": Glyph("P", _star(6, 0.72), tone=-0.3),
}
_SPARE_OUTLINES = ((), _SQUARE, _DIAMOND, _TRIANGLE, _polygon(6), _polygon(5, 0.0, 1.15), _polygon(8, math.pi / 8))
_SPARE_TONES = (0.0, -0.3, 0.3)


def glyphs(kinds: Sequence[str]) -> list[Glyph]:
    """Give every kind its glyph; unknown kinds get the first letter of their name that is still free."""
    taken = {KNOWN[kind].letter for kind in kinds if kind in KNOWN}
    out = []
    for i, kind in enumerate(kinds):
        if kind in KNOWN:
            out.append(KNOWN[kind])
            continue
        letters = [c for c in kind.upper() if c.isalnum()] + list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        letter = next((c for c in letters if c not in taken), "?")
        taken.add(letter)
        out.append(Glyph(letter, _SPARE_OUTLINES[i % len(_SPARE_OUTLINES)], tone=_SPARE_TONES[i % len(_SPARE_TONES)]))
    return out
