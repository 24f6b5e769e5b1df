"""Options by name: read as the types of the fields they are for, and refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from ibal.options import ConfigError, pairs, with_options


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1,)
    bounds: tuple[float, float] = (0.0, 1.0)
    kind: Literal["wide", "deep"] = "wide"

    def __post_init__(self) -> None:
        if self.kind == "deep" and len(self.sizes) < 2:
            raise ValueError("Inner.kind deep needs two sizes")


@dataclass(frozen=True)
class Outer:
    count: int | None = None
    rate: float = 0.5
    on: bool = True
    inner: Inner = field(default_factory=Inner)


def test_values_are_read_as_the_types_of_their_fields() -> None:
    options = {"count": "3", "rate": 1, "on": False, "inner.bounds": "-2, 2.5"}
    assert with_options(Outer(), options) == Outer(3, 1.0, False, Inner(bounds=(-2.0, 2.5)))
    assert with_options(Outer(count=3), {"count": "none"}) == Outer()
    assert with_options(Outer(), {}) == Outer()


def test_fields_that_depend_on_each_other_are_set_together() -> None:
    for order in (("inner.kind", "inner.sizes"), ("inner.sizes", "inner.kind")):
        values = {"inner.kind": "deep", "inner.sizes": "64,32"}
        assert with_options(Outer(), {name: values[name] for name in order}).inner == Inner((64, 32), kind="deep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cuont": 1}, 'Outer has no field "cuont"; did you mean "count"'),
        ({"inner.size": 1}, 'Inner has no field "size"; did you mean "sizes"'),
        ({"inner": 1}, "fields of its own; give one of them: inner.sizes, inner.bounds, inner.kind"),
        ({"rate.x": 1}, '"rate.x": Outer.rate has no fields of its own'),
        ({"count": "many"}, 'count must be a whole number, not "many"'),
        ({"count": 1.5}, "count must be a whole number, not 1.5"),
        ({"on": "maybe"}, 'on must be true or false, not "maybe"'),
        ({"inner.kind": "wid"}, 'inner.kind must be one of "wide", "deep", not "wid"; did you mean "wide"'),
        ({"inner.bounds": "1"}, 'inner.bounds must be 2 values with commas or spaces between them, not "1"'),
        ({"inner.kind": "deep"}, "deep needs two sizes"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        with_options(Outer(), options)


def test_words_of_a_command_line() -> None:
    assert pairs("--set", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(ConfigError, match='--set "a" must be a name and a value'):
        pairs("--set", ["a"])
    with pytest.raises(ConfigError, match='"a" is given twice'):
        pairs("--set", ["a=1", "a=2"])
