"""Write trajectories as one HTML page that plays them: no server, no network, no other file."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ibal.types import EnvSpec, Scene
from ibal.viz.files import replace_file
from ibal.viz.theme import THEMES
from ibal.viz.trajectory import SCHEMA, Trajectory, to_json
from ibal.webpage import embed, pieces

# They share one scope; app.js starts the page, so it comes last.
_SCRIPTS = ("data.js", "camera.js", "view.js", "strip.js", "panel.js", "app.js")
MOST = 4  # episodes side by side that a screen has room for


def write_player(
    trajectories: Trajectory | Sequence[Trajectory],
    scene: Scene | None,
    spec: EnvSpec,
    path: str | Path,
    *,
    title: str = "",
    summary: str = "",
) -> Path:
    """Write the page at ``path`` (replaced atomically) and return the path.

    Several trajectories of one environment stand side by side under shared controls; ``Trajectory.label`` names each.
    ``scene`` replaces ``spec.scene``. ``title`` and ``summary`` stand at the top of the page.
    """
    return replace_file(path, player_html(trajectories, scene, spec, title=title, summary=summary).encode())


def write_comparison(
    trajectories: Sequence[Trajectory], scene: Scene | None, spec: EnvSpec, path: str | Path, *,
    title: str = "", summary: str = "",
) -> Path:  # fmt: skip
    """Write one page with two to four episodes side by side, played in step by one control bar; return the path.

    ``Trajectory.label`` tells them apart, so there must be one each. Meant for episodes of one key, which meet the same
    world. Raises ValueError for another number of them, or a label that is missing or comes twice.
    """
    labels = [trajectory.label for trajectory in trajectories]
    if not 2 <= len(labels) <= MOST:
        raise ValueError(f"a comparison shows 2 to {MOST} episodes side by side, not {len(labels)}")
    if wrong := [label for i, label in enumerate(labels) if not label or label in labels[:i]]:
        what = f'the label "{wrong[0]}" is given twice' if wrong[0] else "an episode has no label"
        raise ValueError(f"{what}; give each episode of a comparison a label of its own (Trajectory.label)")
    title = title or f"{spec.name}: {' · '.join(labels)}"
    return write_player(trajectories, scene, spec, path, title=title, summary=summary)


def player_html(
    trajectories: Trajectory | Sequence[Trajectory],
    scene: Scene | None,
    spec: EnvSpec,
    *,
    title: str = "",
    summary: str = "",
) -> str:
    """Return the page that ``write_player`` writes."""
    return "".join(player_pieces(trajectories, scene, spec, title=title, summary=summary))


def player_pieces(
    trajectories: Trajectory | Sequence[Trajectory],
    scene: Scene | None,
    spec: EnvSpec,
    *,
    title: str = "",
    summary: str = "",
) -> list[str]:
    """Return the same page as texts one after the other: those that all players have in common are equal texts, so that
    a page with several players can keep them once."""
    many = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    if not many:
        raise ValueError("a player needs at least one trajectory")
    data = {
        "schema": SCHEMA,
        "summary": summary,
        "trajectories": [to_json(trajectory, spec, scene) for trajectory in many],
    }
    return drawn(html.escape(title or spec.name), embed(data))


def drawn(title: str, data: str) -> list[str]:
    """Return the page of a title and data as they stand in it, escaped: those of an older page are drawn anew so."""
    web = resources.files("ibal.viz") / "web"
    parts = {
        "title": title,
        "theme": _theme_css(),
        "style": (web / "player.css").read_text("utf-8"),
        "script": f"const COLOURS = {json.dumps(list(THEMES['light']))};\n"
        + "\n".join((web / name).read_text("utf-8") for name in _SCRIPTS),
        "data": data,
    }
    return pieces((web / "player.html").read_text("utf-8"), parts)


def _theme_css() -> str:
    def variables(theme: str) -> str:
        on_accent = "#ffffff" if theme == "light" else "#0b1016"
        colours = {**THEMES[theme], "on-accent": on_accent}
        return ":root { " + " ".join(f"--{name}: {value};" for name, value in colours.items()) + " }"

    return f"{variables('light')}\n@media (prefers-color-scheme: dark) {{ {variables('dark')} }}"
