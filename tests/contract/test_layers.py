"""Who may import whom, and who may compile: read off the source, nothing is run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ibal.cli.main import COMMANDS

PACKAGE = Path(__file__).parents[2] / "src" / "ibal"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each layer may import only from those before it; the members of one layer do not import each other.
LAYERS = (
    ("contract",),
    ("types", "tree", "registry", "files", "reading"),
    ("options",),
    ("rng",),
    ("ops",),
    ("envs", "nets"),
    ("mi",),
    ("adversaries",),
    ("learners",),
    ("evaluation",),
    ("training",),
    ("experiments",),
    ("report", "viz"),
    ("compat",),
    ("cli",),
    ("__main__",),
)
RANK = {member: rank for rank, layer in enumerate(LAYERS) for member in layer}

# check_env plays an environment the way a rollout does, so it compiles.
COMPILES = {"envs/check.py", "adversaries/check.py"}


def member_of(path: Path) -> str:
    """Return the member of LAYERS that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_members(tree: ast.AST) -> set[str]:
    """Return the members of LAYERS that a module imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ibal":
            names |= {f"ibal.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("ibal.")} - {"__version__"}


def forbidden(member: str, imported: set[str]) -> set[str]:
    return {other for other in imported if other != member and RANK[other] >= RANK[member]}


def test_the_rule_finds_what_it_forbids() -> None:
    imported = imported_members(ast.parse("from ibal.cli import env\ndef f():\n    from ibal import rng, envs\n"))
    assert imported == {"cli", "rng", "envs"}
    assert forbidden("viz", imported) == {"cli"}
    assert forbidden("nets", imported) == {"cli", "envs"}
    assert forbidden("cli", imported) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_layers_before_its_own(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # resolves names of any layer, on first use
    member = member_of(path)
    assert member in RANK, f'"{member}" is in no layer; add it to LAYERS, and to CONTRIBUTING.md'
    wrong = forbidden(member, imported_members(ast.parse(path.read_text(encoding="utf-8"))))
    assert not wrong, f"{member} imports {sorted(wrong)}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if member_of(p) in ("envs", "nets", "mi", "adversaries", "learners")],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_pure_layers_do_not_compile_themselves(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in COMPILES:
        return
    found = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jax"
    }
    assert not found & {"jit", "pmap", "devices"}, "jit belongs to the training loop and to evaluation"


HEAVY = ("jax", "numpy", "matplotlib", "polars", "flax", "optax")
QUICK = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["env", "list"]]


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_help_is_immediate(arguments: list[str]) -> None:
    """No numerical library is imported: importing jax alone takes about 2 s."""
    code = (
        "import sys; import ibal; from ibal.cli.main import main; status = main(sys.argv[1:]); "
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.stdout
