"""Frames -> animated GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ibal.types import EnvSpec, Scene
from ibal.viz.draw import Painter, aim
from ibal.viz.files import replace_file
from ibal.viz.theme import THEMES, rgb
from ibal.viz.trajectory import Trajectory

LAST_FRAME_MS = 2500  # long enough to read the outcome before the picture starts over
_SEEN = ("position", "alive")
GAP = 4  # pixels between two replays
_SAMPLE = 6  # frames that the palette is made from


def write_gif(
    trajectories: Trajectory | Sequence[Trajectory],
    scene: Scene | None,
    spec: EnvSpec,
    path: str | Path,
    *,
    fps: float = 8.0,
    width: int = 640,
    theme: str = "light",
) -> Path:
    """Write one picture per time-step, ``fps`` of them a second, ``width`` pixels wide; replaces ``path`` atomically.

    Several trajectories of one environment stand side by side in one picture, each ``width`` wide and seen through one
    camera; those that end earlier wait at their last step. GIF counts time in hundredths of a second and viewers slow
    down anything faster than 50 a second, so ``fps`` is at most 50 and rounded to a whole number of hundredths.
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps must lie in (0, 50], got {fps}")
    if width < 160:
        raise ValueError(f"width must be at least 160 pixels, got {width}")
    scene = scene or spec.scene
    if scene is None:
        raise ValueError(f'environment "{spec.name}" has no scene (EnvSpec.scene), so there is nothing to draw')
    many = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    if not many:
        raise ValueError("a GIF needs at least one trajectory")
    places, alive = (np.concatenate([np.asarray(getattr(one.frames, name)) for one in many]) for name in _SEEN)
    camera = aim(places, alive, scene, width)
    film = [Painter(one, spec, scene, width, theme, camera) for one in many]
    length = max(one.length for one in many)
    palette = _palette(film, length, theme)
    pictures = [
        _picture(film, t).quantize(palette=palette, dither=Image.Dither.NONE) for t in range(length + 1)
    ]  # fmt: skip
    durations = [round(100 / fps) * 10] * length + [LAST_FRAME_MS]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False, disposal=1
    )
    return replace_file(path, buffer.getvalue())


def _picture(film: list[Painter], t: int) -> Image.Image:
    """Draw all replays at time ``t``, or at their last step."""
    if len(film) == 1:
        return film[0].frame(t)
    width, height = film[0].size
    out = Image.new("RGB", (len(film) * (width + GAP) - GAP, height), film[0].colours["line"])
    for i, painter in enumerate(film):
        out.paste(painter.frame(min(t, painter.trajectory.length)), (i * (width + GAP), 0))
    return out


def _palette(film: list[Painter], length: int, theme: str) -> Image.Image:
    """One palette for the whole film, from frames spread over it and a generous patch of every named colour.

    A palette per frame would flicker, and thin coloured lines would lose their colour to the many greys around them.
    """
    samples = [_picture(film, t) for t in sorted({round(i * length / (_SAMPLE - 1)) for i in range(_SAMPLE)})]
    width, height = samples[0].size
    patch = 24
    sheet = Image.new("RGB", (width, height * len(samples) + patch))
    for row, picture in enumerate(samples):
        sheet.paste(picture, (0, row * height))
    colours = list(THEMES[theme].values())
    step = width // len(colours)
    for i, colour in enumerate(colours):
        sheet.paste(rgb(colour), (i * step, height * len(samples), (i + 1) * step, height * len(samples) + patch))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
