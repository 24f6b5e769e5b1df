"""Write files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def appear(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file aside, and rename it to ``path``: the file is complete or not there."""
    aside = path.with_name(f".{path.name}.writing{path.suffix}")  # the suffix tells some writers the format
    write(aside)
    aside.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Write a text that survives a power failure: ``path`` has the old content or the new."""
    aside = path.with_name(path.name + ".writing")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
