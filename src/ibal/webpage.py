"""Pages of one file: a template, what stands in it, and data that its script reads."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return a template with ``parts`` in the place of its ``{{name}}``."""
    return "".join(pieces(template, parts))


def pieces(template: str, parts: Mapping[str, str]) -> list[str]:
    """Return what ``filled`` puts together, one after the other."""
    # Split at the placeholders rather than replace one after the other: data may contain anything, "{{" included.
    first, *rest = template.split("{{")
    named = (piece.split("}}", 1) for piece in rest)
    return [first, *(part for name, text in named for part in (parts[name], text))]


def packed(text: str) -> str:
    """Compress a text that a script unpacks (gzip, base64); the same text always gives the same."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def embed(data: object) -> str:
    """Write JSON that may stand inside a ``<script>`` element: no ``<``, so neither ``</script`` nor ``<!--``."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
