"""Names: found, completed, and when wrong answered with one sentence that says what to write."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest

from ibal.registry import Entry, Own, Registry, UnknownName, closest, load

TABLE = Registry(
    "thing",
    {"box/small": Entry("collections:OrderedDict", "ordered"), "box/Two": Entry("builtins:divmod", args=(7,))},
    listing="ibal thing list",
    flag="--thing",
    prefixes=("box/",),
)


def test_a_name_is_made_with_the_arguments_of_its_entry_first() -> None:
    assert TABLE.make("box/small", a=1) == OrderedDict(a=1)
    with pytest.raises(TypeError, match="divmod"):
        TABLE.make("box/Two")  # divmod(7) lacks its second argument
    assert TABLE.load("box/Two") == (divmod, (7,))
    assert list(TABLE) == ["box/small", "box/Two"]
    assert "box/small" in TABLE
    assert len(TABLE) == 2


def test_a_prefix_may_be_left_out() -> None:
    assert TABLE.resolve("small") == "box/small"
    assert TABLE.resolve("box/Two") == "box/Two"


@pytest.mark.parametrize("typo", ["smal", "box/smal", "Small", "box/SMALL"])
def test_a_typo_is_answered_with_the_closest_name(typo: str) -> None:
    with pytest.raises(UnknownName) as error:
        TABLE.resolve(typo)
    assert str(error.value) == (
        f'unknown thing "{typo}". Closest: "box/small". List them: ibal thing list. Your own: --thing my_pkg.mod:make'
    )


def test_no_closest_name_is_made_up() -> None:
    with pytest.raises(UnknownName) as error:
        TABLE.resolve("xyzzy")
    assert "Closest" not in str(error.value)
    assert closest("evn", ["env", "replay"]) == "env"


def test_of_two_letters_one_may_be_wrong() -> None:
    assert closest("4m", ["smac/3m", "smac/2s3z"], ["smac/"]) == "smac/3m"
    assert closest("qz", ["smac/3m", "smac/2s3z"], ["smac/"]) is None


def test_a_misspelled_library_is_answered_with_those_that_there_are(tmp_path: Path, monkeypatch) -> None:
    table = replace(TABLE, adapters={"jaxmarl": Entry("builtins:str"), "jumanji": Entry("builtins:str")})
    assert table.make(Own("jaxmarl:3m")) == "3m"
    for name, closest_one in (("jaxmrl:x", "jaxmarl"), ("jumanj:Cleaner-v0", "jumanji")):
        with pytest.raises(UnknownName) as caught:
            table.load(Own(name))
        assert str(caught.value).endswith(f' Closest: "{closest_one}". Of other libraries: jaxmarl:…, jumanji:…')
    (tmp_path / "jaxmarls.py").write_text("seven = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownName, match="did you mean") as caught:
        table.load(Own("jaxmarls:sevn"))
    assert "Of other libraries" not in str(caught.value)  # the module is there


def test_a_target_of_ones_own_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_things.py").write_text("class Box:\n    @staticmethod\n    def make(**k): return k\nseven = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert TABLE.make(Own("my_things:Box.make"), a=1) == {"a": 1}
    with pytest.raises(UnknownName, match='"my_things:seven" is of type int, not a function'):
        TABLE.make(Own("my_things:seven"))
    with pytest.raises(UnknownName, match=r'"my_things" has no "sevn"; did you mean "seven"\?'):
        load("my_things:sevn")
    sys.modules.pop("my_things")


def test_what_is_missing_is_told_apart_from_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownName, match='there is no module "no_such_package"'):
        load("no_such_package.mod:make")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):  # its own fault, with its own traceback
        load("my_broken:make")
    with pytest.raises(UnknownName, match=r'"my_broken:" names no thing: write it as my_pkg\.mod:make'):
        load("my_broken:", "thing")
