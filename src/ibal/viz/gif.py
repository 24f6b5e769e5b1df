"""Frames -> animated GIF."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from ibal.types import EnvSpec, Scene
from ibal.viz.draw import Painter
from ibal.viz.files import replace_file
from ibal.viz.theme import THEMES, rgb
from ibal.viz.trajectory import Trajectory

LAST_FRAME_MS = 2500  # long enough to read the outcome before the picture starts over
_SAMPLE = 6  # frames that the palette is made from


def write_gif(
    trajectory: Trajectory,
    scene: Scene | None,
    spec: EnvSpec,
    path: str | Path,
    *,
    fps: float = 8.0,
    width: int = 640,
    theme: str = "light",
) -> Path:
    """Write one picture per time-step, ``fps`` of them a second, ``width`` pixels wide; replaces ``path`` atomically.

    GIF counts time in hundredths of a second and viewers slow down anything faster than 50 a second, so ``fps`` is at
    most 50 and rounded to a whole number of hundredths.
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps must lie in (0, 50], got {fps}")
    if width < 160:
        raise ValueError(f"width must be at least 160 pixels, got {width}")
    scene = scene or spec.scene
    if scene is None:
        raise ValueError(f'environment "{spec.name}" has no scene (EnvSpec.scene), so there is nothing to draw')
    painter = Painter(trajectory, spec, scene, width, theme)
    palette = _palette(painter, theme)
    pictures = [
        painter.frame(t).quantize(palette=palette, dither=Image.Dither.NONE) for t in range(trajectory.length + 1)
    ]
    durations = [round(100 / fps) * 10] * trajectory.length + [LAST_FRAME_MS]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False, disposal=1
    )
    return replace_file(path, buffer.getvalue())


def _palette(painter: Painter, theme: str) -> Image.Image:
    """One palette for the whole film, from frames spread over it and a generous patch of every named colour.

    A palette per frame would flicker, and thin coloured lines would lose their colour to the many greys around them.
    """
    length = painter.trajectory.length
    times = sorted({round(i * length / (_SAMPLE - 1)) for i in range(_SAMPLE)})
    width, height = painter.size
    patch = 24
    sheet = Image.new("RGB", (width, height * len(times) + patch))
    for row, t in enumerate(times):
        sheet.paste(painter.frame(t), (0, row * height))
    colours = list(THEMES[theme].values())
    step = width // len(colours)
    for i, colour in enumerate(colours):
        sheet.paste(rgb(colour), (i * step, height * len(times), (i + 1) * step, height * len(times) + patch))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT)
