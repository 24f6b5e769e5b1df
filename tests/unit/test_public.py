"""``import ibal`` offers its names lazily."""

from __future__ import annotations

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


def test_importing_the_package_or_the_table_imports_no_jax() -> None:
    code = "import sys, ibal, ibal.envs; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_extras_promised_libraries_that_no_code_uses() -> None:
    home = Path(ibal.__file__).parent
    project = tomllib.loads((home.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    code = "\n".join(file.read_text(encoding="utf-8") for file in home.rglob("*.py"))
    for extra, needs in project["project"]["optional-dependencies"].items():
        for need in needs:
            library = re.split(r"[^\w-]", need)[0]
            assert library == "jax" or f'"{library}"' in code, f"{extra}: {library}"
    assert set(project["dependency-groups"]) == {"dev"}
