"""Write a file whole or not at all."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ibal"}  # text stays text, names stay the same


def replace_file(path: str | Path, content: bytes) -> Path:
    """Put ``content`` at ``path`` through a temporary file beside it, so a reader never sees half of it."""
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes files private; a replay is meant to be shared like any other file of this user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def write_figure(figure: Figure, stem: str | Path, style: Mapping[Any, Any] = SVG) -> list[Path]:
    """Write ``stem``.svg and ``stem``.png, each complete or not at all, and return both paths.

    ``style`` holds matplotlib's settings while it draws. No date is written: the same numbers give the same files.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # a name with two dollar signs is no formula; the labels of logarithmic axes are
        if isinstance(text, Text) and text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)
    paths = []
    for ending in (".svg", ".png"):
        content = io.BytesIO()
        with rc_context(dict(style)):
            metadata = {"Date": None} if ending == ".svg" else None
            figure.savefig(content, format=ending[1:], dpi=130, metadata=metadata)
        paths.append(replace_file(Path(f"{stem}{ending}"), content.getvalue()))
    return paths
