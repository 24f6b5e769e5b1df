"""Which sources of this library a program runs: the modules it starts from and all that they import, at any time.

    digest(("ibal.evaluation.matrix",), jax.__version__)           # another one after any change to any of them

Read off the sources, so that an import inside a function counts, and so does a module that a table names by a text.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import ibal

HOME = Path(ibal.__file__).parent


def closure(roots: Iterable[str], home: Path = HOME) -> dict[str, Path]:
    """Return the file of every module of the package in ``home`` that is reached from ``roots``, by name."""
    found: dict[str, Path] = {}
    todo = [*roots]
    while todo:
        name = todo.pop()
        file = _file(name, home)
        if name in found or file is None:
            continue
        found[name] = file
        todo += [name.rpartition(".")[0], *_named(name, file)]  # a module runs the package it is in
    return found


def digest(roots: Iterable[str], *more: str, home: Path = HOME) -> str:
    """Return 10 hexadecimal digits of the sources that are reached from ``roots``, of the data files beside them, and
    of any further texts."""
    modules = closure(roots, home)
    beside = {file for each in modules.values() if each.parent != home for file in each.parent.iterdir()}
    data = {file for file in beside if file.is_file() and file.suffix not in (".py", ".pyc", ".md")}
    total = hashlib.sha256()
    for file in sorted({*modules.values(), *data}):
        content = file.read_bytes()
        total.update(f"{file.relative_to(home).as_posix()} {len(content)}\n".encode() + content)
    for text in more:
        total.update(f"{text}\n".encode())
    return total.hexdigest()[:10]


def _file(name: str, home: Path) -> Path | None:
    """Return the source of a module, None for what is none of this package."""
    package, *parts = name.split(".")
    if package != home.name:
        return None
    path = home.joinpath(*parts)
    files = [path / "__init__.py"] + ([path.with_suffix(".py")] if parts else [])
    return next((file for file in files if file.is_file()), None)


def _named(module: str, file: Path) -> set[str]:
    """Return every name that may be a module: imported anywhere, or written as a text, as in a table of names."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in _run(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    return names


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Return every node that may run at some time: what only type checkers read decides nothing."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo += node.orelse
        else:
            yield node
            todo += ast.iter_child_nodes(node)
