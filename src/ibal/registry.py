"""Tables of names: what a user can ask for by name, and where it lives.

A table maps a name to ``"module:attr"`` and imports nothing until one name is asked for. Users add their own without
touching a table: where a name goes, they may write ``my_pkg.mod:Thing``. Only users may, on their command line or in
their program: a name that comes out of a file is a plain ``str`` and means an entry of a table or nothing, so that
reading a file never runs code that the file has chosen. See ``Own``.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args


class UnknownName(ValueError):
    """A name that is in no table and is no importable ``module:attr``; its message says what to write instead."""


class Own(str):
    """A name that the user has given: the only kind that may be ``my_pkg.mod:make``, code outside the tables.

    Made where a command line is read, in functions that a user's program calls with a name, and for a configuration
    that the user passes as a program of his own; never for what a reader of data has found in a file. What is derived
    from it (a slice, a part) is a plain ``str`` again and may not.
    """


@dataclass(frozen=True)
class Entry:
    """``target`` is ``"module:attr"``; ``args`` are given to it before the user's options; ``help`` is one line."""

    target: str
    help: str = ""
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Registry:
    """Names of one kind of thing.

    ``listing`` is the command that lists them and ``flag`` the option that takes one: both appear in error messages.
    ``prefixes`` may be left out by the user: with ``("smac/",)``, ``"3m"`` means ``"smac/3m"``. ``short`` are other
    names of entries. ``adapters`` make things of other libraries, whose names they are given: ``"jumanji:Cleaner-v0"``.
    Those of ``closed`` look a name up in a table of that library's and import nothing by it, so that a file may name
    them, too.
    """

    kind: str
    entries: Mapping[str, Entry]
    listing: str
    flag: str
    prefixes: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, Entry] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def resolve(self, name: str) -> str:
        """Return the full name; ``module:attr`` is returned as it is if it is ``Own``.

        Raises UnknownName with the closest name, or for code that the user has not named himself.
        """
        if name in self.entries:
            return name
        if ":" in name:
            if isinstance(name, Own) or name.partition(":")[0] in self.closed:
                return name
            raise UnknownName(
                f"{quoted(name)} is code, and no file may name code as its {self.kind}; if you trust it, name it "
                f"yourself: {self.flag} {quoted(name)[1:-1]}"
            )
        for prefix in ("", *self.prefixes):
            full = self.short.get(prefix + name, prefix + name)
            if full in self.entries:
                return full
        raise UnknownName(
            f"unknown {self.kind} {quoted(name)}.{hint(name, self.entries, self.prefixes)} List them: {self.listing}. "
            f"Your own: {self.flag} my_pkg.mod:make"
        )

    def load(self, name: str) -> tuple[Any, tuple[Any, ...]]:
        """Return the object behind a name, and the arguments that come before the user's options."""
        full = self.resolve(name)
        if full in self.entries:
            return load(self.entries[full].target, self.kind), self.entries[full].args
        library, _, rest = full.partition(":")
        if library in self.adapters:
            return load(self.adapters[library].target, self.kind), (rest,)
        _let_users_modules_be_found()
        try:
            return load(full, self.kind), ()
        except UnknownName as error:
            if not self.adapters or library.partition(".")[0] in sys.modules:
                raise  # a module of the user's is there, and something of it is not
            others = ", ".join(f"{name}:…" for name in self.adapters)
            said = f"{str(error).rstrip('.')}.{hint(library, self.adapters)} Of other libraries: {others}"
            raise UnknownName(said) from None

    def make(self, name: str, **options: Any) -> Any:
        """Call what is behind a name with ``options``."""
        thing, args = self.load(name)
        if not callable(thing):
            raise UnknownName(f'"{name}" is of type {type(thing).__name__}, not a function that makes the {self.kind}')
        return thing(*args, **options)


def load(target: str, kind: str = "object") -> Any:
    """Import ``"module:attr"`` (``attr`` may be dotted). Raises UnknownName that says which half was not found."""
    module_name, _, attribute = target.partition(":")
    if not (_dotted(module_name) and _dotted(attribute)):
        raise UnknownName(f"{quoted(target)} names no {kind}: write it as {_meant(module_name, attribute)}")
    try:
        found = importlib.import_module(module_name)
    except SystemExit as error:
        raise UnknownName(f'"{target}": the module "{module_name}" ends the program when it is imported') from error
    except ModuleNotFoundError as error:
        # A module that exists but misses one of its own imports must show its own traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UnknownName(
            f'"{target}": there is no module "{error.name}". It is looked up in the current folder, then among the '
            f"installed packages."
        ) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = closest(part, [n for n in dir(found) if not n.startswith("_")])
            hint = f'; did you mean "{near}"?' if near else ""
            raise UnknownName(f'"{target}": "{module_name}" has no "{attribute}"{hint}')
        found = getattr(found, part)
    return found


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _meant(module: str, attribute: str) -> str:
    """Guess what a file's name was meant to be: "./my_env.py" is the module my_env of the current folder."""
    guess = module.removeprefix("./").removesuffix(".py").replace("\\", "/").replace("/", ".")
    if guess != module and _dotted(guess) and _dotted(attribute):
        return f"{guess}:{attribute} (a module as in import, found from the current folder, not a file)"
    return "my_pkg.mod:make"


def _let_users_modules_be_found() -> None:
    """Let ``my_pkg.mod:make`` mean a module in the current folder, as for ``python -m``; installed ones come first.

    Only once a user has named a module: where data lie, no library may be replaced by a file beside them.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def quoted(name: str) -> str:
    """Return ``name`` in quotes as a message can show it, whoever wrote it: on one line, and not too long."""
    text = name if name.isprintable() else name.encode("unicode_escape").decode()
    return f'"{text}"' if len(text) <= 100 else f'"{text[:99]}…"'


def closest(name: str, known: Iterable[str], prefixes: Iterable[str] = ()) -> str | None:
    """Return the known name most like ``name``, compared with and without ``prefixes``; None if none is like it."""
    spelled = {k: k for k in known}
    for prefix in prefixes:
        spelled |= {full.removeprefix(prefix): full for full in spelled.values() if full.startswith(prefix)}
    lower = {short.lower(): full for short, full in spelled.items()}
    alike = 0.6 if len(name) > 2 else 0.5  # of two letters one may be wrong: "4m"
    near = difflib.get_close_matches(name.lower()[:100], lower, 1, alike)  # its time grows with the length squared
    return lower[near[0]] if near else None


def hint(name: str, known: Iterable[str], prefixes: Iterable[str] = ()) -> str:
    """Return the sentence ' Closest: "…".' for a message about ``name``, or nothing if no known name is like it."""
    near = closest(name, known, prefixes)
    return f' Closest: "{near}".' if near else ""


def one_of(name: str, value: str, allowed: Any) -> None:
    """Raise ValueError with the closest word if ``value`` is none of a Literal's words."""
    words = get_args(allowed)
    if value not in words:
        near = difflib.get_close_matches(str(value)[:100], words, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f"{name} is {quoted(str(value))}{hint} (one of: {', '.join(words)})")
