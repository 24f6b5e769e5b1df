"""What is printed arrives, whatever the streams can write."""

from __future__ import annotations

import io
import json
import sys

import pytest

from ibal.cli.main import main
from ibal.cli.output import Output, write_anything


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding)


def written(text: io.TextIOWrapper) -> bytes:
    text.flush()
    assert isinstance(text.buffer, io.BytesIO)
    return text.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("cp1252", b"0.5 \xb1 0.1 \x85 -> \\u03b1 \\udcff\n"),  # it has the first two signs
        ("ascii", b"0.5 +- 0.1 ... -> \\u03b1 \\udcff\n"),
        ("utf-8", "0.5 ± 0.1 … → α ".encode() + b"\\udcff\n"),  # a file's name need not be text
    ],
)
def test_a_table_survives_a_stream_that_cannot_write_its_signs(
    encoding: str, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    write_anything()
    Output().result({}, "0.5 ± 0.1 … → α \udcff")
    assert written(out) == line


def test_commands_print_into_any_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = stream("ascii"), stream("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["evaluate", "rändom…"]) == 2
    assert written(err).startswith(b'ibal evaluate: unknown policy "r\\xe4ndom..."')
    assert main(["report", "--help"]) == 0
    assert b"..." in written(out)


def test_json_has_no_word_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).result({"a": float("nan"), "b": [1.0, float("-inf")], "c": {"d": (2, float("inf"))}}, "")
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.0, None], "c": {"d": [2, None]}}


def test_who_has_no_console_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["env", "list"]) == 0
