"""Read files that somebody else may have written: as data of known types, within limits, or with one sentence.

    about = table(path, {"format": int, "env": str}, {"seed": int | None})
    config = as_type(InteractionConfig, about["config"], f"{path}: config")

Every reader of the library goes through here. A file that is no file (a pipe, a device, a folder) is not opened, texts
have a largest size and a deepest nesting, and what was read is compared with the types that the reader asks for, so
that a damaged or hostile file ends in ``Unreadable``, which names the file and what is wrong with it.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from ibal.registry import closest, quoted

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

TEXT = 64 * 2**20  # bytes of the largest JSON file: a policy's is some kilobytes, an evaluation's summary a megabyte
TOML = 2**20  # Python's reader of TOML takes time that grows with the square of some texts
LOG = 2 * 2**30
LETTERS = 10_000  # of one text: names and paths have fewer, and what compares texts takes longer than they are long
DEPTH = 50
ROWS = 50_000_000  # a table of a few kilobytes can say that it holds more rows than any memory
BITS = 63
BESIDE = 1000  # files of a folder that a misspelled name is compared with


class Unreadable(ValueError):
    """A file that cannot be used; the message is one sentence that names it."""


def content(path: str | Path, most: int | None = None) -> bytes:
    """Return the bytes of a regular file of at most ``most`` bytes. Raises OSError or Unreadable."""
    path = Path(path)
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):  # which may never end
        raise Unreadable(f"{path} is no file but a pipe or a device")
    if most is not None and about.st_size > most:
        raise Unreadable(f"{path} has {about.st_size:,} bytes; at most {most:,} are read here")
    return path.read_bytes()


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there. Raises Unreadable with the closest that lies beside it."""
    path = Path(path)
    if path.is_dir():
        raise Unreadable(f"{path} is a folder; name a file in it")
    if not path.exists():
        raise Unreadable(f"there is no file {path}.{nearby(path)}")
    return path


def nearby(path: Path) -> str:
    """Return the sentence ' Closest: "…".' about a path where nothing is; "" if nothing beside it is like it, with or
    without its ending."""
    try:
        beside = sorted(entry.name for entry in islice(path.parent.iterdir(), BESIDE))
    except OSError:
        return ""
    spelled = {name.rpartition(".")[0]: name for name in beside} | {name: name for name in beside}
    near = closest(path.name, spelled) or closest(path.stem, spelled)
    return f" Closest: {quoted(str(path.parent / spelled[near]))}." if near else ""


def text(path: str | Path, most: int = TEXT) -> str:
    """Return the text of a file in UTF-8. Raises OSError or Unreadable."""
    try:
        return content(path, most).decode("utf-8")
    except UnicodeDecodeError as error:  # its own message quotes the whole file
        raise Unreadable(f"{path} is no text: byte {error.start} is not UTF-8") from None


def parsed(written: str | bytes, where: str) -> Any:
    """Return what a text in JSON holds; ``where`` names it in messages. Raises Unreadable."""
    try:
        value = json.loads(written)
        _check_depth(value)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{where} is no text: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise Unreadable(f"{where} is nested more than {DEPTH} levels deep") from None
    except ValueError as error:
        raise Unreadable(f"{where} is not JSON: {error}") from None
    return value


def table(
    path: str | Path, required: Mapping[str, Any] | None = None, optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the table that a JSON file holds, with the entries of the types that are asked for, and any others as
    they are. Raises OSError or Unreadable."""
    return entries(parsed(text(path), str(path)), str(path), required, optional)


def toml(path: str | Path) -> dict[str, Any]:
    """Return the table that a TOML file holds. Raises OSError or Unreadable."""
    try:
        found = tomllib.loads(text(path, TOML))
        _check_depth(found)
    except RecursionError:
        raise Unreadable(f"{path} is nested more than {DEPTH} levels deep") from None
    except Unreadable:
        raise
    except ValueError as error:
        raise Unreadable(f"{path} is not TOML: {error}") from None
    return found


def entries(
    value: Any, where: str, required: Mapping[str, Any] | None = None, optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a table with the types of ``required`` (all are there) and of ``optional``. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(f"{where} is {_said(value)}; a table was expected")
    required, optional = required or {}, optional or {}
    if missing := [name for name in required if name not in value]:
        raise Unreadable(f'{where} lacks "{missing[0]}"')
    kinds = {**required, **{name: kind for name, kind in optional.items() if name in value}}
    return value | {name: as_type(kind, value[name], f'{where}: "{name}"') for name, kind in kinds.items()}


def as_type(kind: Any, value: Any, where: str) -> Any:
    """Return what JSON or TOML holds as ``kind``: numbers, texts, ``list[…]``, ``tuple[…]``, ``dict[str, …]``, unions,
    ``Literal`` or a dataclass, which must have all its fields and no other.

    Whole numbers fit into 64 bits, numbers are finite, texts have no control characters. Raises Unreadable.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _one_of(inner, value, where)
    if origin is Literal:
        if not any(value is word or (type(value) is type(word) and value == word) for word in inner):
            raise Unreadable(f"{where} is {_said(value)}; one of {', '.join(map(str, inner))} was expected")
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, where)
    if origin is dict and isinstance(value, dict):
        return {_text(key, where): as_type(inner[1], each, f'{where}: "{key}"') for key, each in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        kinds = inner[:1] * len(value) if origin is list or Ellipsis in inner else inner
        if len(kinds) != len(value):
            raise Unreadable(f"{where} has {len(value)} entries; {len(kinds)} were expected")
        return origin(as_type(each, one, where) for each, one in zip(kinds, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**BITS:
        value = float(value)
    if kind is None or kind is NoneType:
        fits = value is None
    else:
        kind = origin or kind
        fits = isinstance(value, kind) and (not isinstance(value, bool) or kind is bool)
    if not fits:
        raise Unreadable(f"{where} is {_said(value)}; {_NOUNS.get(kind, str(kind))} was expected")
    if isinstance(value, str):
        return _text(value, where)
    if (isinstance(value, int) and abs(value) >= 2**BITS) or (isinstance(value, float) and not math.isfinite(value)):
        raise Unreadable(f"{where} is {_said(value)}; no such number can be used here")
    return value


def tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file by name. Raises OSError or Unreadable."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    held = content(path)
    try:
        return load(held)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(
            f"{path} ({len(held)} bytes) is not a complete safetensors file of numbers: {_first_line(error)}. "
            "Copy it again"
        ) from error


def parquet(path: str | Path, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return the columns of a Parquet file; ``columns`` are their types in polars, cast where nothing is lost.

    Raises OSError or Unreadable.
    """
    return frame(content(path), str(path), columns)


def frame(
    held: bytes, where: str, columns: Mapping[str, Any], others: bool = False, optional: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """Return the columns of a Parquet file that lies in memory: no path, so none is taken for a pattern. ``others``:
    and the further ones that hold numbers; ``optional``: those that need not be there."""
    import polars as pl

    try:
        there = pl.read_parquet_schema(io.BytesIO(held))
        if missing := [name for name in columns if name not in there]:
            raise Unreadable(f"{where} is not what ibal evaluate writes: it has no {', '.join(missing)}")
        columns = {**columns, **{name: kind for name, kind in (optional or {}).items() if name in there}}
        many = pl.scan_parquet(io.BytesIO(held)).select(pl.len()).collect().item()
        if many > ROWS:
            raise Unreadable(f"{where} says that it has {many:,} rows; at most {ROWS:,} are read")
        more = [
            name
            for name, kind in there.items()
            if others and name not in columns and (kind.is_numeric() or kind == pl.Boolean)
        ]
        found = pl.read_parquet(io.BytesIO(held), columns=[*columns, *more])
        return found.with_columns([found[name].cast(kind) for name, kind in columns.items()])
    except Unreadable:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, TypeError, ValueError) as error:
        raise Unreadable(f"{where} cannot be read: {_first_line(error)}") from error


def _check_depth(value: Any) -> None:
    """Raise RecursionError where tables and lists are nested too deeply, before anything walks through them."""
    level = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise RecursionError


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    errors: list[Unreadable] = []
    for kind in kinds:
        try:
            return as_type(kind, value, where)
        except Unreadable as error:
            errors.append(error)
    for kind, error in zip(kinds, errors, strict=True):
        if type(value) is (get_origin(kind) or kind):  # it is this kind, but something about it is not
            raise error
    wanted = [_NOUNS.get(get_origin(kind) or kind) for kind in kinds]
    if None in wanted:
        raise errors[0]
    raise Unreadable(f"{where} is {_said(value)}; {' or '.join(filter(None, wanted))} was expected")


def _record(kind: type, value: Any, where: str) -> Any:
    """Make a dataclass; a value that it refuses itself is told like any other."""
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind) if field.init}
    held = entries(value, where, {})
    if odd := [name for name in held if name not in known]:
        raise Unreadable(f"{where} has an entry {_said(odd[0])}, which {kind.__name__} does not know")
    without = [f.name for f in fields(kind) if f.init and f.name not in held]
    if without:
        raise Unreadable(f'{where} lacks "{without[0]}"')
    read = {name: as_type(each, held[name], f'{where}: "{name}"') for name, each in known.items()}
    try:
        return kind(**read)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Unreadable(f"{where}: {_first_line(error)}") from error


def _text(value: str, where: str) -> str:
    if len(value) > LETTERS:
        raise Unreadable(f"{where} is a text of {len(value):,} letters; at most {LETTERS:,} are read here")
    if any(unicodedata.category(letter)[0] == "C" for letter in value):
        raise Unreadable(f"{where} is {_said(value)}; a text without control characters was expected")
    return value


_NOUNS = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table", list: "a list",
    tuple: "a list", NoneType: "null", None: "null",
}  # fmt: skip


def _said(value: Any) -> str:
    """Return a value as JSON writes it, short and on one line."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**BITS:
        return "a number of more than 64 bits"
    said = json.dumps(value, default=str)
    return said if len(said) <= 60 else f"{said[:59]}…"


def _first_line(error: BaseException) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said if len(said) <= 200 else f"{said[:199]}…"
