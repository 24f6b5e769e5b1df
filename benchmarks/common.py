"""What the benchmarks share: settings on the command line, tables on standard error, JSON on standard output."""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import math
import platform
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import jax

import ibal

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options every benchmark takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="option of env.make")


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """Turn ``["head_start=2", "enemy_ids=permutation"]`` into options of ``env.make``."""
    settings: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise SystemExit(f'--set {item}: wanted OPTION=VALUE, for example "--set head_start=2"')
        try:
            settings[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[name] = {"true": True, "false": False}.get(text.lower(), text)
    return settings


def first_of_two(tests: Iterable[tuple[T, bool]]) -> T | None:
    """Return the first of which the test says yes, and that of its successor as well; None: there is none."""
    return next((one for (one, first), (_, second) in itertools.pairwise(tests) if first and second), None)


def versions() -> dict[str, str]:
    """Name what the numbers were made with."""
    device = jax.devices()[0]
    return {
        "ibal": ibal.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{device.platform}:{device.device_kind}",
    }


def log(*words: object) -> None:
    """Say something to the person at the terminal."""
    print(*words, file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write an aligned table to standard error; floats with three significant digits."""
    cells = [list(head), *([_cell(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        log("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))))


def emit(result: dict[str, Any], as_json: bool) -> None:
    """Print the result as one JSON object, if asked to. NaN has no JSON form and becomes null."""
    if as_json:
        print(json.dumps(_clean(result), indent=1, allow_nan=False))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
