"""Who may import whom, and who may compile: read off the source, nothing is run."""

from __future__ import annotations

import ast
import re
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
    ("types", "tree", "registry", "files", "webpage"),
    ("reading",),
    ("options", "bundle"),
    ("hub",),
    ("zoo",),
    ("rng",),
    ("ops",),
    ("envs", "nets"),
    ("mi",),
    ("game",),
    ("adversaries",),
    ("learners",),
    ("evaluation",),
    ("training",),
    ("analysis",),
    ("experiments",),
    ("report", "viz"),
    ("api",),
    ("compat",),
    ("cli",),
    ("__main__",),
)
RANK = {member: rank for rank, layer in enumerate(LAYERS) for member in layer}

# These play games of their own, so they compile: the checks, and the loop that meets a world in Python.
COMPILES = {"envs/check.py", "adversaries/check.py", "game/host.py"}


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


MODULES = {
    ".".join(("ibal", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): p for p in FILES
}


def imported_modules(tree: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports at any time; what only types need is not imported."""
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)
    inner = {name for name in found if any(other.startswith(f"{name}.") for other in found & MODULES.keys())}
    return (found - inner) & MODULES.keys()


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the sets of modules that import each other, directly or through others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        todo = [*graph[start]]
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += graph[name]
        reached[start] = seen
    return {
        frozenset(other for other in reached[name] if name in reached[other]) for name in graph if name in reached[name]
    }


def test_the_search_finds_a_circle() -> None:
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}, "f": set()}
    assert circles(ring) == {frozenset("abc"), frozenset("e")}
    later = (
        "if TYPE_CHECKING:\n    import ibal.cli.main\ndef f():\n    from ibal import tree\n    from ibal.rng import at"
    )
    assert imported_modules(ast.parse(later)) == {"ibal.tree", "ibal.rng"}


def test_no_modules_import_each_other() -> None:
    graph = {name: imported_modules(ast.parse(path.read_text(encoding="utf-8"))) - {"ibal"}
             for name, path in MODULES.items()}  # fmt: skip
    assert circles(graph) == set()


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if member_of(p) in ("envs", "nets", "mi", "game", "adversaries", "learners")],
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


# Who may know the worlds of Tables 11 and 12 by name: themselves, the list of all worlds, what stands in for their
# packages, the paper's studies, and two lists of published settings (a world that is in none has rules beside them).
OTHER_WORLDS = ("lbf", "smacv2")
KNOW_THEM = {
    "envs/__init__.py", "compat/lbf.py", "compat/smacv2.py", "compat/_compiled.py", "experiments/paper.py",
    "adversaries/groups.py", "experiments/presets.py",
}  # fmt: skip


def worlds_named(tree: ast.AST) -> set[str]:
    """Return those of ``OTHER_WORLDS`` that a module imports, or names in a string that is no docstring."""
    found: set[str] = set()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            words = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            words = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            words = [node.value] if "/" in node.value or node.value in OTHER_WORLDS else []
        else:
            continue
        found |= {world for world in OTHER_WORLDS for word in words if world in re.split(r"\W+", word.lower())}
    return found


def test_a_world_is_found_where_it_is_named() -> None:
    assert worlds_named(ast.parse('"""lbf/5p"""\nfrom ibal.envs import lbf\nx = f"smacv2/{0}"')) == {"lbf", "smacv2"}
    assert worlds_named(ast.parse('"""lbf/5p"""\nimport ibal.envs.smac\nx = "smac/3m"')) == set()


def test_nobody_else_knows_the_worlds_of_the_papers_other_tables() -> None:
    named = {}
    for path in FILES:
        where = path.relative_to(PACKAGE).as_posix()
        if not where.startswith(tuple(f"envs/{world}/" for world in OTHER_WORLDS)):
            named[where] = worlds_named(ast.parse(path.read_text(encoding="utf-8")))
    assert {where for where, worlds in named.items() if worlds} == KNOW_THEM
