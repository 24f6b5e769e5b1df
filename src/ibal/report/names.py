"""Short names for what has long ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ENDINGS = (".safetensors", ".json", ".th")


def short(names: Iterable[str]) -> dict[str, str]:
    """Return for every name its last part, and as many parts before it as tell it from the others.

    Parts are folders; the endings of files of weights are left out where that confuses nothing.
    """
    known = list(dict.fromkeys(names))
    parts = {name: [part for part in re.split(r"[\\/]+", name) if part] or [name] for name in known}
    out: dict[str, str] = {}
    for count in range(1, max(map(len, parts.values()), default=0) + 1):
        tails = {name: "/".join(of[-count:]) for name, of in parts.items()}
        for name in known:
            if name not in out and list(tails.values()).count(tails[name]) == 1:
                out[name] = tails[name]
    out = {name: out.get(name, name) for name in known}  # runs/x and runs//x: as they stand
    bare = {name: _bare(text) for name, text in out.items()}
    return bare if len(set(bare.values())) == len(bare) else out


def legend(names: Mapping[str, str]) -> list[str]:
    """Return a line for every name that was shortened."""
    return [f"{text}: {name}" for name, text in names.items() if text != name]


def rules(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the line that says by which version of their rules the environments of some rows were played, if any."""
    found = dict.fromkeys((row["env"], row["version"]) for row in rows if row.get("version"))
    if not found:
        return []
    versions = {version for _, version in found}
    if len(versions) == 1:
        return [f"rules: version {versions.pop()}"]
    return [f"rules: {', '.join(f'{env} version {version}' for env, version in found)}"]


def _bare(text: str) -> str:
    return next((text.removesuffix(end) for end in _ENDINGS if text.endswith(end) and text != end), text)
