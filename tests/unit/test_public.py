"""``import ibal`` offers its names lazily."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ibal
from ibal.envs import make
from ibal.types import Env


def test_public_names_are_those_of_their_modules() -> None:
    assert ibal.Env is Env
    assert ibal.make is make
    assert all(getattr(ibal, name) is not None for name in ibal.__all__)
    assert set(dir(ibal)) == set(ibal.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ibal' has no attribute 'mke'"):
        _ = ibal.mke


def test_importing_the_package_or_its_tables_imports_nothing_heavy() -> None:
    lists = "ibal.environments(), ibal.attacks(), ibal.methods(), ibal.learners()"
    code = f"import sys, ibal, ibal.envs; {lists}; print({{'jax', 'polars', 'matplotlib', 'numpy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_type_checkers_see_is_what_there_is() -> None:
    """The names under TYPE_CHECKING, where each lives, and those that are resolved are the same."""
    tree = ast.parse(Path(ibal.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    homes = {name: f"ibal.{home}" for home, names in ibal._HOME.items() for name in names}
    assert typed == homes
    assert {*homes, "__version__"} == {*ibal.__all__}
    for name, home in homes.items():
        assert getattr(importlib.import_module(home), name) is getattr(ibal, name) or name == "learners"


def test_every_public_function_says_what_it_takes_gives_and_refuses() -> None:
    for function in (ibal.train, ibal.fit, ibal.evaluate, ibal.watch):
        told = inspect.getdoc(function) or ""
        assert all(part in told for part in ("Args:", "Returns:", "Raises:", "Example:")), function
        for name in inspect.signature(function).parameters:
            assert re.search(rf"^    [\w, ]*\b{name}\b[\w, ]*:", told, re.MULTILINE), f"{function}: {name}"


def test_extras_promised_libraries_that_no_code_uses() -> None:
    home = Path(ibal.__file__).parent
    project = tomllib.loads((home.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    code = "\n".join(file.read_text(encoding="utf-8") for file in home.rglob("*.py"))
    for extra, needs in project["project"]["optional-dependencies"].items():
        for need in needs:
            library = re.split(r"[^\w-]", need)[0]
            assert library == "jax" or f'"{library}"' in code, f"{extra}: {library}"
    assert set(project["dependency-groups"]) == {"dev", "docs"}
