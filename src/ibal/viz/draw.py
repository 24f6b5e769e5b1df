"""Draw one moment of a trajectory with Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ibal.types import EnvSpec, Frame, Scene
from ibal.viz.glyphs import Glyph, glyphs
from ibal.viz.theme import THEMES, mix, rgb, shade
from ibal.viz.trajectory import Trajectory

SUPERSAMPLE = 2
HEADER, FOOTER = 30, 22  # pixels of the finished picture
CROWD = 12  # with more enemies than this, their ids would hide them
LEAST = 8.0  # pixels: the radius of a unit that has room
NEARBY = 8  # steps
MARGIN = 2.2  # world units kept free around the action
SLIVER = 3.0  # world units: a strip of the field narrower than this is not left out where nobody fights
# The four sides of a cell: the neighbour's direction and the corners of the line between.
_SIDES = ((0, 1, (0, 1), (1, 1)), (0, -1, (0, 0), (1, 0)), (-1, 0, (0, 0), (0, 1)), (1, 0, (1, 0), (1, 1)))
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Camera:
    """The rectangle of the world that is shown, and how many (supersampled) pixels a world unit is."""

    left: float
    top: float
    width: int
    height: int
    scale: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """World to pixel; y grows upward in the world and downward in the picture."""
        return (x - self.left) * self.scale, HEADER * SUPERSAMPLE + (self.top - y) * self.scale


def aim(position: np.ndarray, alive: np.ndarray, scene: Scene, width: int) -> Camera:
    """Frame every place where someone lived during the episode (``position`` [t, u, 2]), ``width`` pixels wide."""
    flat = np.asarray(position, float)[np.asarray(alive, bool)]
    if not len(flat):
        flat = np.array([[0.0, 0.0], [scene.width, scene.height]])
    end, sliver = np.array([scene.width, scene.height]), SLIVER if scene.others[0] != "enemy" else 0.0
    low, high = flat.min(0) - MARGIN, flat.max(0) + MARGIN
    low, high = np.where(low < sliver, 0.0, low), np.where(high > end - sliver, end, high)
    span = high - low
    # Between 4:3 and 2:1, whatever the shape of the fight: extend the short side around its middle.
    middle, span_x, span_y = (low + high) / 2, max(span[0], span[1] * 4 / 3), max(span[1], span[0] / 2)
    scale = width / span_x
    return Camera(
        float(middle[0] - span_x / 2), float(middle[1] + span_y / 2), width * SUPERSAMPLE,
        round(float(span_y * scale)) * SUPERSAMPLE, float(scale * SUPERSAMPLE),
    )  # fmt: skip


def elbow_room(position: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return float[t]: the smallest distance between two living units within ``NEARBY`` steps; inf if there are none.

    Over a window, so that marks do not change their form from one step to the next and back.
    """
    gap = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    pair = np.triu(np.ones(gap.shape[1:], bool), 1) & alive[:, :, None] & alive[:, None]
    least = np.where(pair, gap, np.inf).min(axis=(1, 2))
    return np.array([least[max(0, t - NEARBY) : t + NEARBY + 1].min() for t in range(len(least))])


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


class Painter:
    """Draws the frames of one trajectory; holds what does not change between them."""

    def __init__(
        self, trajectory: Trajectory, spec: EnvSpec, scene: Scene, width: int = 640, theme: str = "light",
        camera: Camera | None = None,
    ) -> None:  # fmt: skip
        self.trajectory, self.spec, self.scene = trajectory, spec, scene
        self.colours: dict[str, Colour] = {name: rgb(value) for name, value in THEMES[theme].items()}
        self.glyphs: list[Glyph] = glyphs(scene.kinds)
        self.frames: Any = Frame._make(np.asarray(leaf) for leaf in trajectory.frames)  # NumPy from here on
        alive = self.frames.alive.astype(bool)
        self.camera = camera or aim(self.frames.position, alive, scene, width)
        enemy_units = trajectory.enemy_units
        n, u = spec.n_agents, len(scene.teams)
        slots = np.arange(n, u) if enemy_units is None else np.asarray(enemy_units)
        letter = scene.others[0][0]
        self.names = {i: str(i) for i in range(n)} | {int(unit): f"{letter}{slot}" for slot, unit in enumerate(slots)}
        self.roomy = u - n <= CROWD
        # Death step of every unit (t + 1 = survives): a corpse fades while its age grows.
        self.death = np.where(alive.all(0), len(alive), np.argmin(alive, 0))
        self.combat = trajectory.combat and self.scene.others[0] == "enemy"
        self.crowded, self.least = self._squeeze()
        self.ground = self._ground()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the finished picture in pixels."""
        camera = self.camera
        return camera.width // SUPERSAMPLE, camera.height // SUPERSAMPLE + HEADER + FOOTER

    def _ground(self) -> Image.Image:
        camera, colours = self.camera, self.colours
        width, height = (side * SUPERSAMPLE for side in self.size)
        image = Image.new("RGB", (width, height), colours["wall"])
        draw = ImageDraw.Draw(image)
        free = np.asarray(self.scene.walkable, bool)
        cells = np.argwhere(free).tolist()
        for y, x in cells:
            corners = (*camera.at(float(x), y + 1.0), *camera.at(x + 1.0, float(y)))
            draw.rectangle(corners, fill=colours["ground"])
        around = np.pad(free, 1)
        for y, x in cells:
            for dx, dy, *line in _SIDES:
                wall = not around[y + dy + 1, x + dx + 1]
                ends = [camera.at(float(x + px), float(y + py)) for px, py in line]
                draw.line(ends, fill=colours["edge" if wall else "grid"], width=4 if wall else 1)
        return image

    def frame(self, t: int, between: float = 0.0) -> Image.Image:
        """Draw time ``t`` (0 .. length); ``between`` in 0 .. 1 slides positions toward time ``t + 1``."""
        image = self.ground.copy()
        draw = ImageDraw.Draw(image)
        order = np.argsort(self.frames.radius[t])[::-1].tolist()  # small units stay visible on top of large ones
        places = self._places(t, between)
        alive = self.frames.alive[t].astype(bool)
        for unit in order:
            if not alive[unit]:
                self._corpse(draw, unit, t, places[unit])
        self._targets(draw, t, places)
        for unit in order if self.crowded[t] else ():  # below all bodies: a ring shall not cover who stands beside
            if alive[unit]:
                self._ring(draw, unit, t, places[unit])
        for unit in order:
            if alive[unit]:
                if not self.crowded[t]:
                    self._ring(draw, unit, t, places[unit])
                self._body(draw, unit, t, places[unit])
        for unit in order:
            if alive[unit] and self.combat:
                self._bars(draw, unit, t, places[unit])
        living = [unit for unit in order if alive[unit]]
        for k, unit in enumerate(living):
            self._name(draw, unit, t, places, living[k + 1 :])
        self._frame_text(draw, t)
        return image.resize(self.size, Image.Resampling.BOX)

    def _places(self, t: int, between: float) -> np.ndarray:
        later = min(t + 1, len(self.frames.position) - 1)
        xy = self.frames.position[t] * (1 - between) + self.frames.position[later] * between
        return np.array([self.camera.at(x, y) for x, y in xy.tolist()])

    def _squeeze(self) -> tuple[np.ndarray, np.ndarray]:
        """Say at which times units stand so close that marks would cover them, and how small a unit may be drawn then.

        Numbers, rings and bars have a size of their own. Where they find no room, numbers stand inside the units, rings
        hug them, and only what is not full has a bar.
        """
        alive = self.frames.alive.astype(bool)
        gap = elbow_room(self.frames.position, alive) * self.camera.scale
        radius = np.where(alive, self.frames.radius, np.inf).min(1) * self.camera.scale
        drawn = np.maximum(radius, LEAST * SUPERSAMPLE)
        crowded = (drawn < 24 * SUPERSAMPLE) & (gap < 2 * 1.45 * drawn + 4 * SUPERSAMPLE)
        least = np.where(crowded, np.clip(gap / 2, 5 * SUPERSAMPLE, LEAST * SUPERSAMPLE), LEAST * SUPERSAMPLE)
        return crowded, least

    def _radius(self, unit: int, t: int) -> float:
        return max(float(self.frames.radius[t, unit]) * self.camera.scale, float(self.least[t]))

    def _team(self, unit: int) -> Colour:
        return self.colours["agent" if self.scene.teams[unit] == 0 else "enemy"]

    def _corpse(self, draw: ImageDraw.ImageDraw, unit: int, t: int, place: np.ndarray) -> None:
        share = max(0.25, 0.9 - 0.12 * (t - self.death[unit]))
        colour, arm = mix(self.colours["ground"], self._team(unit), share), self._radius(unit, t) * 0.6
        x, y = place
        for sign in (1, -1):
            draw.line((x - arm, y - sign * arm, x + arm, y + sign * arm), fill=colour, width=3 * SUPERSAMPLE)

    def _targets(self, draw: ImageDraw.ImageDraw, t: int, places: np.ndarray) -> None:
        alive = self.frames.alive[t].astype(bool)
        for unit, target in enumerate(self.frames.target[t].tolist()):
            if target < 0 or not alive[unit]:
                continue
            same = self.scene.teams[unit] == self.scene.teams[target]
            colour = self.colours["heal"] if same else self._team(unit)
            shift = np.zeros(2) if same else self._aside(places[unit], places[target])
            (x0, y0), (x1, y1) = places[unit] + shift, places[target] + shift
            draw.line((x0, y0, x1, y1), fill=colour, width=(3 if same else 2) * SUPERSAMPLE)
            dot = 3 * SUPERSAMPLE
            draw.ellipse((x1 - dot, y1 - dot, x1 + dot, y1 + dot), fill=colour)

    @staticmethod
    def _aside(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Shift to one side of the way, so that two units shooting at each other get two lines."""
        way = end - start
        return np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-6) * 2.5 * SUPERSAMPLE

    def _ring(self, draw: ImageDraw.ImageDraw, unit: int, t: int, place: np.ndarray) -> None:
        if group := self._group(unit, t):
            (x, y), radius = place, self._radius(unit, t)
            ring = radius + 2 * SUPERSAMPLE if self.crowded[t] else radius * 1.45
            draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=self.colours[group], width=3 * SUPERSAMPLE)

    def _body(self, draw: ImageDraw.ImageDraw, unit: int, t: int, place: np.ndarray) -> None:
        x, y = place
        radius, glyph = self._radius(unit, t), self.glyphs[int(self.frames.kind[t, unit])]
        fill = shade(self._team(unit), glyph.tone)
        outline = self.colours["panel"]
        if glyph.outline:
            corners = [(x + dx * radius, y - dy * radius) for dx, dy in glyph.outline]
            draw.polygon(corners, fill=fill)
            draw.line([*corners, corners[0]], fill=outline, width=SUPERSAMPLE, joint="curve")
        else:
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=fill, outline=outline, width=SUPERSAMPLE)
        numbered = self._numbered(unit, t)
        if numbered and self._swapped(unit, t):
            inner = radius * 0.8
            fill = self.colours["swap"]
            draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=fill)
        ink = (255, 255, 255) if fill[0] * 0.3 + fill[1] * 0.59 + fill[2] * 0.11 < 150 else (15, 20, 28)
        text = self.names[unit] if numbered else glyph.letter
        draw.text((x, y), text, fill=ink, font=_font(int(radius * (0.95 if len(text) > 1 else 1.15))), anchor="mm")

    def _numbered(self, unit: int, t: int) -> bool:
        """Whether a unit's id stands inside it, for want of room beside it."""
        legible = self.roomy and self.combat and self._radius(unit, t) >= 10 * SUPERSAMPLE
        return bool(self.crowded[t]) and (unit < self.spec.n_agents or legible)

    def _name(self, draw: ImageDraw.ImageDraw, unit: int, t: int, places: np.ndarray, later: list[int]) -> None:
        """Write a unit's id at its lower right; where it stands inside, only if a unit drawn later covers it, and then
        on the side away from that. Where nobody fights, observations name none of the others, so they have no id."""
        place, radius = places[unit], self._radius(unit, t)
        if not self._numbered(unit, t):
            if unit < self.spec.n_agents or (self.roomy and self.combat and not self.crowded[t]):
                down = max(radius * 0.95, radius * 0.5 + 7 * SUPERSAMPLE)  # clear of the letter inside
                self._tag(draw, unit, t, place + [radius * 0.95, down])
            return
        for other in later:
            away = place - places[other]
            if np.hypot(*away) < self._radius(other, t) + 0.25 * radius:
                self._tag(draw, unit, t, place + radius * 0.95 * np.where(away < 0, -1, 1))
                return

    def _tag(self, draw: ImageDraw.ImageDraw, unit: int, t: int, place: np.ndarray) -> None:
        """The unit's id; in the attack's colour when its action was replaced."""
        (x, y), name, font = place, self.names[unit], _font(10 * SUPERSAMPLE)
        half = draw.textlength(name, font=font) / 2 + 2.5 * SUPERSAMPLE
        box = (x - half, y - 6 * SUPERSAMPLE, x + half, y + 6 * SUPERSAMPLE)
        swapped = self._swapped(unit, t)
        edge, fill = self._team(unit), self.colours["swap" if swapped else "panel"]
        draw.rounded_rectangle(box, 4 * SUPERSAMPLE, fill=fill, outline=edge, width=2)
        ink = self.colours["panel" if swapped else "ink"]
        draw.text((x, y), name, fill=ink, font=font, anchor="mm")

    def _swapped(self, unit: int, t: int) -> bool:
        trajectory = self.trajectory
        if unit >= self.spec.n_agents or t >= trajectory.length:
            return False
        return bool(np.asarray(trajectory.intended)[t, unit] != np.asarray(trajectory.executed)[t, unit])

    def _group(self, unit: int, t: int) -> str:
        groups = self.trajectory.overlay.groups
        if groups is None or unit >= self.spec.n_agents or t >= self.trajectory.length:
            return ""
        return ("", "one", "two")[int(np.asarray(groups)[t, unit])]

    def _bars(self, draw: ImageDraw.ImageDraw, unit: int, t: int, place: np.ndarray) -> None:
        x, y = place
        frames, glyph = self.frames, self.glyphs[int(self.frames.kind[t, unit])]
        radius, crowded = self._radius(unit, t), bool(self.crowded[t])
        half, thick = radius if crowded else max(radius, 11 * SUPERSAMPLE), (2 if crowded else 3) * SUPERSAMPLE
        share = frames.health[t, unit] / max(frames.max_health[t, unit], 1e-6)
        rows = [(share, "health" if share > 1 / 3 else "low")]
        if frames.max_shield[t, unit] > 0:
            rows.append((frames.shield[t, unit] / frames.max_shield[t, unit], "shield"))
        if glyph.energy:
            rows.append((frames.energy[t, unit] / glyph.energy, "energy"))
        if crowded:
            rows = [(value, name) for value, name in rows if value < 1 and name != "energy"]
        top = y - radius * (1 if crowded else 1.3) - 4 * SUPERSAMPLE
        for value, name in rows:
            draw.rectangle((x - half - 2, top - 2, x + half + 2, top + thick + 2), fill=self.colours["panel"])
            draw.rectangle((x - half, top, x + half, top + thick), fill=self.colours["line"])
            end = x - half + 2 * half * float(np.clip(value, 0, 1))
            if value > 0:
                draw.rectangle((x - half, top, end, top + thick), fill=self.colours[name])
            top -= thick + 2 * SUPERSAMPLE

    def _frame_text(self, draw: ImageDraw.ImageDraw, t: int) -> None:
        """Title, clock and return above the picture; what is left of the two teams below it."""
        width, height = (side * SUPERSAMPLE for side in self.size)
        colours, trajectory, s = self.colours, self.trajectory, SUPERSAMPLE
        gained = float(trajectory.rewards[:t].sum())
        draw.rectangle((0, 0, width, HEADER * s), fill=colours["panel"])
        draw.rectangle((0, height - FOOTER * s, width, height), fill=colours["panel"])
        title = " · ".join(part for part in (self.scene.title, trajectory.label) if part)
        middle = HEADER * s / 2
        draw.text((10 * s, middle), title, fill=colours["ink"], font=_font(15 * s), anchor="lm")
        clock = f"step {t}/{trajectory.length}   return {gained:.2f}"
        draw.text((width - 10 * s, middle), clock, fill=colours["ink"], font=_font(14 * s), anchor="rm")
        if t == trajectory.length:
            word = trajectory.outcome
            colour = {"WIN": "win", "LOSS": "loss", "TIME UP": "loss"}.get(word, "muted")
            half = draw.textlength(word, font=_font(15 * s)) / 2 + 8 * s
            place = (width / 2 - half, 4 * s, width / 2 + half, (HEADER - 4) * s)
            draw.rounded_rectangle(place, 6 * s, fill=colours[colour])
            draw.text((width / 2, middle), word, fill=colours["panel"], font=_font(15 * s), anchor="mm")
        if self.combat:
            self._totals(draw, t, width, height)

    def _totals(self, draw: ImageDraw.ImageDraw, t: int, width: int, height: int) -> None:
        teams, frames, s = np.asarray(self.scene.teams), self.frames, SUPERSAMPLE
        y0, y1 = height - (FOOTER - 7) * s, height - 7 * s
        for team, name in enumerate(("agent", "enemy")):
            own = teams == team
            if not own.any():
                continue
            left = (frames.health + frames.shield)[t, own].sum()
            share = left / max((frames.max_health + frames.max_shield)[t, own].sum(), 1e-6)
            x0 = 10 * s + team * width / 2
            x1 = x0 + width / 2 - 20 * s
            draw.rounded_rectangle((x0, y0, x1, y1), 4 * s, fill=self.colours["line"])
            if share > 0:
                draw.rounded_rectangle((x0, y0, x0 + max((x1 - x0) * share, 8 * s), y1), 4 * s, fill=self.colours[name])
