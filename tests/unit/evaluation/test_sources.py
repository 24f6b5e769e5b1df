"""What decides an episode is found by what is imported, not by a list that somebody keeps."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from ibal.adversaries import TABLE as ATTACKS
from ibal.envs import TABLE as ENVS
from ibal.evaluation import matrix, sources
from ibal.registry import load

FILES = {
    "__init__.py": "",
    "a.py": "from pack import b\nimport pack.c as other\ndef later():\n    from pack.sub.deep import thing\n"
    "if TYPE_CHECKING:\n    import pack.unused\n",
    "b.py": "from .d import x\nTABLE = {'e': 'pack.e:make'}\n_HOME = 'pack.f'\n",
    "c.py": "", "d.py": "x = 1\n", "e.py": "import numpy, json\n", "f.py": "from . import g\n", "g.py": "",
    "unused.py": "import pack.a\n",
    "sub/__init__.py": "from .inside import y\n", "sub/deep.py": "from ..h import z\n", "sub/inside.py": "", "h.py": "",
    "sub/numbers.csv": "1,2\n", "sub/README.md": "about\n",
}  # fmt: skip


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "pack"


def test_every_way_to_import_is_followed(pack: Path) -> None:
    found = {file.relative_to(pack).as_posix() for file in sources.closure(["pack.a"], pack).values()}
    assert found == {name for name in FILES if name.endswith(".py")} - {"unused.py"}


def test_stale_results_after_a_change_of_any_source(pack: Path) -> None:
    """Every file that is reached changes the digest, data beside the modules too; others do not."""
    before = sources.digest(["pack.a"], home=pack)
    for name in FILES:
        file = pack / name
        file.write_text(FILES[name] + "\n# changed")
        is_same = sources.digest(["pack.a"], home=pack) == before
        assert is_same == (name in ("unused.py", "sub/README.md")), name
        file.write_text(FILES[name])
    assert sources.digest(["pack.a"], "another jax", home=pack) != before


def test_the_engines_closure_has_whatever_its_modules_use() -> None:
    """Compared with the modules themselves: whatever they hold was made in a module that is in the closure."""
    for table in (ATTACKS, ENVS):
        for entry in table.entries.values():
            load(entry.target)
    found = sources.closure(matrix._ENGINE)
    assert {"ibal.evaluation.episodes", "ibal.game.turn", "ibal.envs.smac.engine", "ibal.adversaries.wolfpack",
            "ibal.mi.club", "ibal.reading", "ibal.options"} <= set(found)  # fmt: skip
    for name in found:
        module = sys.modules.get(name)
        for value in vars(module).values() if module else ():
            if isinstance(value, ModuleType) and value.__name__.startswith(f"{name}."):
                continue  # Python hangs whatever was imported of a package into it
            home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(home, str) and home.split(".")[0] == "ibal":
                assert home in found, f"{name} uses {home}"
    layers = {name.split(".")[1] for name in found if "." in name}
    assert not layers & {
        "cli",
        "api",
        "training",
        "learners",
        "experiments",
        "report",
        "viz",
        "compat",
    }  # these may change
    assert matrix.engine_version().split("+")[1] == sources.digest(matrix._ENGINE, matrix.jax.__version__)
