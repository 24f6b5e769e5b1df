"""What anybody may have written is read as what was asked for, or refused in one sentence that names the file."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save

from ibal import reading
from ibal.reading import Unreadable, as_type


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Outer:
    rate: float = 0.5
    word: Literal["a", "b"] = "a"
    most: int | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate is below 0")


OUTER: dict[str, Any] = {"rate": 1, "word": "b", "most": 3, "pair": [0, 2.5], "inner": {"sizes": [4, 5]}}


def test_a_dataclass_is_made_of_what_json_leaves_of_it() -> None:
    assert as_type(Outer, OUTER, "x") == Outer(1.0, "b", 3, (0.0, 2.5), Inner((4, 5)))
    assert as_type(dict[str, int | str], {"a": 1, "b": "c"}, "x") == {"a": 1, "b": "c"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": "fast"}, 'x: "rate" is "fast"; a number was expected'),
        ({"rate": True}, 'x: "rate" is true; a number was expected'),
        ({"rate": float("nan")}, 'x: "rate" is NaN; no such number can be used here'),
        ({"rate": -1}, "x: rate is below 0"),
        ({"word": "c"}, 'x: "word" is "c"; one of a, b was expected'),
        ({"word": 1}, 'x: "word" is 1; one of a, b was expected'),
        ({"most": 2.0}, 'x: "most" is 2.0; a whole number or null was expected'),
        ({"most": 2**70}, 'x: "most" is a number of more than 64 bits; no such number can be used here'),
        ({"most": []}, 'x: "most" is a list; a whole number or null was expected'),
        ({"pair": [1]}, 'x: "pair" has 1 entries; 2 were expected'),
        ({"inner": 3}, 'x: "inner" is 3; a table was expected'),
        ({"inner": {"sizes": [1, None]}}, 'x: "inner": "sizes" is null; a whole number was expected'),
        ({"more": 1}, 'x has an entry "more", which Outer does not know'),
    ],
)
def test_another_type_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Unreadable) as error:
        as_type(Outer, OUTER | change, "x")
    assert str(error.value) == message


def test_a_missing_entry_and_a_text_that_moves_the_cursor_are_refused() -> None:
    with pytest.raises(Unreadable, match='x lacks "rate"'):
        as_type(Outer, {name: value for name, value in OUTER.items() if name != "rate"}, "x")
    with pytest.raises(Unreadable, match="is a text of 10,001 letters; at most 10,000 are read here"):
        as_type(str, "a" * 10_001, "x")
    for text in ("\x1b[2J", "a\nb", "\u202egnp", "\x9b1m"):
        with pytest.raises(Unreadable, match=r"without control characters was expected") as error:
            as_type(str, text, "x")
        assert str(error.value).isprintable()


def test_deep_nesting_is_no_recursion_error(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text in ("[" * 50_000, "[" * 50_000 + "]" * 50_000, '{"a":' * 60 + "1" + "}" * 60):
        file.write_text(text)
        with pytest.raises(Unreadable, match=rf"{file} is nested more than 50 levels deep"):
            reading.table(file)
    for text in ("a = " + "[" * 50_000, "a = " + "[" * 60 + "]" * 60, ".".join("a" * 60) + " = 1"):
        file.write_text(text)
        with pytest.raises(Unreadable, match="nested more than 50 levels deep"):
            reading.toml(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON: "),
        (b"[1]", "is a list; a table was expected"),
        (b"\xff\xfe{}", "is no text: byte 0 is not UTF-8"),
        (b"1" * 5000, "is not JSON: "),
        (b"", "is not JSON: "),
    ],
)
def test_what_is_no_table_of_json(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(Unreadable, match=message) as error:
        reading.table(file)
    assert str(error.value).startswith(str(file))
    assert len(str(error.value)) < 400  # and not the whole file


def test_a_pipe_is_not_waited_for_and_a_huge_text_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="is no file but a pipe or a device"):
        reading.table(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        reading.table(tmp_path)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(reading.TEXT + 1)  # takes no room
    with pytest.raises(Unreadable, match="has 67,108,865 bytes; at most 67,108,864 are read here"):
        reading.table(tmp_path / "hole")


def test_tensors_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    held = save({"a": np.ones((2, 3), np.float32)})
    for content in (b"", held[:-1], held[:20], held.replace(b"F32", b"F99"), b"\xff" * 40):
        file.write_bytes(content)
        with pytest.raises(Unreadable, match="is not a complete safetensors file of numbers"):
            reading.tensors(file)


def test_a_table_of_rows_is_read_from_a_path_with_brackets(tmp_path: Path) -> None:
    """polars takes such a path for a pattern."""
    folder = tmp_path / "ev [a] *"
    folder.mkdir()
    rows = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5], "d": [[1], [2]]})
    (folder / "x.parquet").write_bytes(parquet(rows))
    assert reading.parquet(folder / "x.parquet", {"a": pl.Int64}).rows() == [(1,), (2,)]
    held = parquet(rows)
    assert reading.frame(held, "x", {"b": pl.String}, others=True).columns == ["b", "a", "c"]  # numbers, no lists
    with pytest.raises(Unreadable, match="it has no z"):
        reading.frame(held, "x", {"z": pl.String})
    with pytest.raises(Unreadable, match="x cannot be read: "):
        reading.frame(held, "x", {"b": pl.Int64})
    for content in (b"", held[:-1], held[:50], b"PAR1" * 10):
        with pytest.raises(Unreadable, match="x cannot be read: "):
            reading.frame(content, "x", {"a": pl.Int64})


def test_a_small_file_with_more_rows_than_any_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 1000)
    with pytest.raises(Unreadable, match="says that it has 1,001 rows; at most 1,000 are read"):
        reading.frame(parquet(pl.DataFrame({"a": [0] * 1001})), "x", {"a": pl.Int64})


def parquet(rows: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    rows.write_parquet(held)
    return held.getvalue()
