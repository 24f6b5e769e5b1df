"""Write tables as TOML: the few kinds of values that configurations and studies have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(table: Mapping[str, Any]) -> str:
    """Return the text of a TOML file: values first, then tables, then lists of tables; inner ones by dotted keys."""
    lines = _values(table, "")
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(name)}]", *_values(value, ""), *_dotted(value)]
        elif _is_tables(value):
            for one in value:
                lines += ["", f"[[{_key(name)}]]", *_values(one, ""), *_dotted(one)]
    return "\n".join(lines) + "\n"


def _values(table: Mapping[str, Any], before: str) -> list[str]:
    return [f"{before}{_key(name)} = {_value(value)}" for name, value in table.items()
            if not isinstance(value, Mapping) and not _is_tables(value)]  # fmt: skip


def _dotted(table: Mapping[str, Any]) -> list[str]:
    return [line for name, value in table.items() if isinstance(value, Mapping)
            for line in _values(value, f"{_key(name)}.")]  # fmt: skip


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    # A JSON string is a TOML string, except that TOML refuses DEL unescaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _key(name: str) -> str:
    return name if name and name.isascii() and name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)
