"""In which line of a TOML file a field stands: what Python's reader does not tell."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[(\[)?\s*([A-Za-z0-9_.\"' -]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_\"'-]+)\s*[.=]")


class Lines:
    """The lines of a text, by table, number of the table (of those with this name) and key."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str, int, str], int] = {}
        part, counts = "", {"": 0}
        for number, line in enumerate(text.splitlines(), 1):
            if found := _HEADER.match(line):
                whole = re.sub(r"[\"' ]", "", found[2])
                if "." in whole:  # a table inside the last one of that name
                    part, _, key = whole.partition(".")
                    self._at.setdefault((part, max(counts.get(part, 0), 0), key.partition(".")[0]), number)
                    continue
                part = whole
                counts[part] = counts.get(part, -1) + 1
                self._at[part, counts[part], ""] = number
                self._at.setdefault(("", 0, part), number)
            elif found := _KEY.match(line):
                self._at.setdefault((part, counts.get(part, 0), found[1].strip("\"'")), number)

    def of(self, part: str, index: int = 0, key: str = "") -> int:
        """Return the line of a field; that of its table where it is not found, 0 where there is neither."""
        return self._at.get((part, index, key)) or self._at.get((part, index, ""), 0)
