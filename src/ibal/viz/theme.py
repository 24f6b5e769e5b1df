"""Colours, one table for GIFs and the HTML player. Teams are told apart by hue pairs that survive colour blindness
(blue against vermilion) and by id style, never by red against green."""

from __future__ import annotations

THEMES: dict[str, dict[str, str]] = {
    "light": {
        "page": "#f4f6f9", "panel": "#ffffff", "ink": "#18202c", "muted": "#566173", "line": "#d5dbe4",
        "ground": "#e8edf2", "grid": "#dde3ea", "wall": "#b4beca", "edge": "#8d99a8", "agent": "#1d68cc",
        "enemy": "#cf4a1a", "health": "#2c9c4b", "low": "#d64545", "shield": "#12a5bd", "energy": "#8a55d4",
        "heal": "#139a54", "one": "#c2189b", "two": "#a87400", "swap": "#c2189b", "accent": "#1d68cc",
        "win": "#1f8a45", "loss": "#b93222",
    },
    "dark": {
        "page": "#0e131a", "panel": "#161d27", "ink": "#e7ecf3", "muted": "#98a5b7", "line": "#2b3645",
        "ground": "#1b2430", "grid": "#222d3b", "wall": "#36445a", "edge": "#586a83", "agent": "#5aa5ff",
        "enemy": "#ff8355", "health": "#4ccb71", "low": "#ff6b6b", "shield": "#45d3e8", "energy": "#b78fff",
        "heal": "#46dd8d", "one": "#ff6ed8", "two": "#f4c84d", "swap": "#ff6ed8", "accent": "#5aa5ff",
        "win": "#4ccb71", "loss": "#ff7d6b",
    },
}  # fmt: skip


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#1d68cc"`` -> (29, 104, 204)."""
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def mix(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """Blend ``share`` of ``b`` into ``a``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return (red, green, blue)


def shade(colour: tuple[int, int, int], tone: float) -> tuple[int, int, int]:
    """Darken (``tone`` < 0) or lighten (> 0), as ``Glyph.tone`` asks."""
    return mix(colour, (255, 255, 255) if tone > 0 else (0, 0, 0), abs(tone))
