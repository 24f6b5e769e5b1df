"""One recorded episode, and its JSON form: what the GIF and the HTML player are drawn from."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ibal.types import EnvSpec, Frame, ObsLayout, Scene, TimeStep
from ibal.viz.glyphs import glyphs

SCHEMA = 1  # raised whenever a reader of version n could misread the file


class Overlay(NamedTuple):
    """What an attack did, all optional; row ``t`` belongs to the decision at time ``t``.

    ``groups`` int[t, n]: 0 = there are none, 1 = G1 (attacked), 2 = G2 (the others). ``seen`` float
    [t, n, o]: the observation handed to the policy. ``masked`` bool[t, n, o]: which entries the attack replaced
    (without it: where ``seen`` differs from the clean observation). ``notes``: one line of text per step.
    """

    groups: np.ndarray | None = None
    seen: np.ndarray | None = None
    masked: np.ndarray | None = None
    notes: tuple[str, ...] | None = None


class Trajectory(NamedTuple):
    """An episode of ``t`` decisions: ``frames`` and ``steps`` have ``t + 1`` rows, actions ``t``.

    ``intended`` int[t, n] is what the policy chose, ``executed`` what the environment was given. ``enemy_units``
    int[m] is the unit index of the enemy that agents call ``enemy[j]``, when that is not ``n + j``. ``pictures`` uint8
    [h, w, 3], one per frame: what a world that is not ours draws of itself.
    """

    frames: Frame
    steps: TimeStep
    intended: np.ndarray
    executed: np.ndarray
    overlay: Overlay = Overlay()
    label: str = ""
    enemy_units: np.ndarray | None = None
    pictures: tuple[np.ndarray, ...] = ()

    @property
    def length(self) -> int:
        return int(self.executed.shape[0])

    @property
    def rewards(self) -> np.ndarray:
        """float[t]: the reward that each decision earned (the first time-step's reward belongs to no decision)."""
        return np.asarray(self.steps.reward, float)[1:]

    @property
    def episode_return(self) -> float:
        return float(self.rewards.sum())

    @property
    def win(self) -> bool | None:
        """Whether the last time-step reports a win (no share of one); None where the environment has none."""
        won = self.steps.metrics.get("win")
        return None if won is None else bool(np.asarray(won)[-1] >= 1)

    @property
    def combat(self) -> bool:
        """Whether there is a fight to tell of: somebody to fight against, or health that is lost."""
        frames = self.frames
        whole = np.asarray(frames.health) >= np.asarray(frames.max_health)
        return np.asarray(frames.kind).shape[1] > self.executed.shape[1] or not bool(whole.all())

    @property
    def outcome(self) -> str:
        """How it ended, in a word: WIN, LOSS, TIME UP, END (no win to speak of) or CUT (recorded up to here only)."""
        over = bool(np.asarray(self.steps.terminated)[-1])
        timeout = np.asarray(self.steps.metrics.get("timeout", self.steps.truncated))[-1] > 0
        if not over and not timeout:
            return "CUT"
        if self.win is None:
            return "END"
        return "WIN" if self.win else "TIME UP" if timeout else "LOSS"


def pack(array: Any, unit: float = 1.0) -> dict[str, Any]:
    """Write an array as whole multiples of ``unit``: ``{shape, unit, data}``, or with ``gaps`` when mostly zero.

    Integers are a third shorter than rounded decimals. ``gaps[k]`` is the distance of entry ``k`` from the one before
    (the first from -1); all entries not listed are 0.
    """
    values = np.asarray(array)
    if not np.isfinite(values.astype(float)).all():
        raise ValueError("cannot write a trajectory that contains NaN or infinity")
    whole = np.rint(values.astype(float).ravel() / unit).astype(np.int64)
    packed: dict[str, Any] = {"shape": list(values.shape), "unit": unit}
    at = np.flatnonzero(whole)
    if len(at) * 2 < len(whole):
        packed["gaps"] = np.diff(at, prepend=-1).tolist()
        whole = whole[at]
    packed["data"] = whole.tolist()
    return packed


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Undo ``pack`` (up to its rounding)."""
    shape, data = tuple(packed["shape"]), np.asarray(packed["data"], float) * packed["unit"]
    if "gaps" not in packed:
        return data.reshape(shape)
    flat = np.zeros(int(np.prod(shape)))
    flat[np.cumsum(np.asarray(packed["gaps"], int)) - 1] = data
    return flat.reshape(shape)


# World units to a hundredth, life to a tenth, features to a thousandth: finer than a pixel or a printed digit.
_FRAME_UNITS = {
    "position": 0.01, "radius": 0.001, "kind": 1.0, "health": 0.1, "max_health": 0.1, "shield": 0.1, "max_shield": 0.1,
    "energy": 0.1, "alive": 1.0, "target": 1.0,
}  # fmt: skip
_FEATURE_UNIT = 0.001
_REWARD_UNIT = 0.0001


def _once(values: Any) -> np.ndarray:
    """Leave one row of what never changes over time."""
    values = np.asarray(values)
    return values[:1] if len(values) > 1 and bool((values == values[:1]).all()) else values


def _frames_json(frames: Frame) -> dict[str, Any]:
    """Pack each field; one that never changes keeps a time axis of length 1."""
    return {name: pack(_once(getattr(frames, name)), unit) for name, unit in _FRAME_UNITS.items()}


def _scene_json(scene: Scene) -> dict[str, Any]:
    looks = glyphs(scene.kinds)
    return {
        "title": scene.title,
        "width": scene.width,
        "height": scene.height,
        "sight": scene.sight,
        "square": scene.square,
        "kinds": [{"name": name, **glyph.to_json()} for name, glyph in zip(scene.kinds, looks, strict=True)],
        "teams": list(scene.teams),
        "others": list(scene.others),
        "walkable": ["".join("1" if cell else "0" for cell in row) for row in scene.walkable],
    }


def _layout_json(layout: ObsLayout) -> dict[str, Any]:
    blocks = [[b.kind, b.slot, b.start, list(b.features)] for b in layout.blocks]
    return {"allies": layout.allies, "blocks": blocks}


def _overlay_json(trajectory: Trajectory) -> dict[str, Any]:
    """Pack what there is to tell: an attack that never struck leaves nothing."""
    overlay, out = trajectory.overlay, {}
    masked, groups = overlay.masked, overlay.groups
    if groups is not None and np.any(groups):
        out["groups"] = pack(_once(groups))
    if overlay.seen is not None:
        change = np.asarray(overlay.seen) - np.asarray(trajectory.steps.obs)[: trajectory.length]
        masked = change != 0 if masked is None else masked
        if change.any():
            out["change"] = pack(change, _FEATURE_UNIT)  # what was added to ``obs``: nearly always sparse
    if masked is not None and np.any(masked):
        out["masked"] = pack(_once(masked))
    if overlay.notes is not None:
        out["notes"] = list(overlay.notes)
    return out


def to_json(trajectory: Trajectory, spec: EnvSpec, scene: Scene | None = None) -> dict[str, Any]:
    """Describe a trajectory in plain JSON values, readable without this library (``unpack`` shows how).

    ``scene`` replaces ``spec.scene``. Raises ValueError when there is none, or when arrays do not fit the spec.
    """
    scene = scene or spec.scene
    if scene is None:
        raise ValueError(f'environment "{spec.name}" has no scene (EnvSpec.scene), so there is nothing to draw')
    _check(trajectory, spec, scene)
    steps, frames = trajectory.steps, trajectory.frames
    n, units = spec.n_agents, np.asarray(frames.kind).shape[1]
    enemy_units = trajectory.enemy_units if trajectory.enemy_units is not None else np.arange(n, units)
    same = bool((np.asarray(trajectory.intended) == np.asarray(trajectory.executed)).all())
    return {
        "schema": SCHEMA,
        "label": trajectory.label,
        "env": {
            "name": spec.name,
            "version": spec.version,
            "n_agents": n,
            "horizon": spec.horizon,
            "action_names": list(spec.action_names),
            "noop_action": spec.noop_action,
        },
        "scene": _scene_json(scene),
        "layout": _layout_json(spec.obs_layout),
        "enemy_units": np.asarray(enemy_units).tolist(),
        "length": trajectory.length,
        "frames": _frames_json(frames),
        "obs": pack(steps.obs, _FEATURE_UNIT),
        "reward": pack(trajectory.rewards, _REWARD_UNIT),
        "executed": pack(trajectory.executed),
        "intended": None if same else pack(trajectory.intended),
        "metrics": {name: pack(value, _REWARD_UNIT) for name, value in steps.metrics.items()},
        "outcome": {
            "return": round(trajectory.episode_return, 4),
            "win": trajectory.win,
            "word": trajectory.outcome,
        },
        "overlay": _overlay_json(trajectory),
        "pictures": _pictures_json(trajectory.pictures),
    }


WIDEST = 400  # pixels of a picture that a world draws of itself, the longer side: pages stay small
COLOURS = 64


def _pictures_json(shots: Sequence[np.ndarray]) -> dict[str, Any] | None:
    """Write what a world draws of itself as PNG files of few colours, in the page itself."""
    if not shots:
        return None
    tall, wide = shots[0].shape[:2]
    shrink = min(1.0, WIDEST / max(tall, wide))
    size = max(1, round(wide * shrink)), max(1, round(tall * shrink))
    held = []
    for shot in shots:
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(shot)).resize(size, Image.Resampling.BOX)
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        held.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    return {"size": list(size), "data": held}


def _check(trajectory: Trajectory, spec: EnvSpec, scene: Scene) -> None:
    """Refuse arrays that the player would misread."""
    t, n, u, o = trajectory.length, spec.n_agents, len(scene.teams), spec.obs_size
    overlay = trajectory.overlay
    wanted: list[tuple[str, Any, tuple[int, ...]]] = [
        ("executed", trajectory.executed, (t, n)),
        ("intended", trajectory.intended, (t, n)),
        ("steps.obs", trajectory.steps.obs, (t + 1, n, o)),
        ("frames.position", trajectory.frames.position, (t + 1, u, 2)),
        ("overlay.groups", overlay.groups, (t, n)),
        ("overlay.seen", overlay.seen, (t, n, o)),
        ("overlay.masked", overlay.masked, (t, n, o)),
    ]
    for name, array, shape in wanted:
        if array is not None and np.shape(array) != shape:
            raise ValueError(f"trajectory.{name} has shape {np.shape(array)} but {spec.name} asks for {shape}")
    shots, shapes = trajectory.pictures, {np.shape(shot) for shot in trajectory.pictures}
    if shots and (len(shapes) > 1 or len(shots) != t + 1 or np.shape(shots[0])[2:] != (3,)):
        raise ValueError(
            f"trajectory.pictures has {len(shots)} of shapes {sorted(shapes)}; {t + 1} of one shape [h, w, 3] were "
            "expected"
        )
    if overlay.notes is not None and len(overlay.notes) != t:
        raise ValueError(f"trajectory.overlay.notes has {len(overlay.notes)} lines but the episode has {t} steps")
