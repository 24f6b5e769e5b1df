"""Pages of one file: a template, what stands in it, and data that its script reads."""

from __future__ import annotations

import json
from collections.abc import Mapping


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return a template with ``parts`` in the place of its ``{{name}}``."""
    # Split at the placeholders rather than replace one after the other: data may contain anything, "{{" included.
    first, *rest = template.split("{{")
    return first + "".join(parts[name] + text for name, text in (piece.split("}}", 1) for piece in rest))


def embed(data: object) -> str:
    """Write JSON that may stand inside a ``<script>`` element: no ``<``, so neither ``</script`` nor ``<!--``."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
