"""Libraries that need not be there, imported when they are asked for and without what they say meanwhile."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import warnings
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import jax

from ibal.options import ConfigError

Result = TypeVar("Result")

# What each extra of this package installs. gymnax, which jaxmarl needs, imports six and does not say so.
EXTRAS = {
    "gymnasium": ("gymnasium",), "pettingzoo": ("pettingzoo",), "jaxmarl": ("jaxmarl", "six"), "jumanji": ("jumanji",),
}  # fmt: skip


class Missing(ConfigError, ImportError):
    """A library that is not installed; the message says how to install it."""


def library(extra: str, module: str = "") -> Any:
    """Import ``module`` (by default the library that ``extra`` is named after). Raises Missing."""
    try:
        return silently(module or extra)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra]:
            raise
        raise Missing(
            f'this needs the package {extra}: pip install "ibal[{extra}]" (or pip install {extra})'
        ) from error


def silently(module: str) -> Any:
    """Import a module without what it says meanwhile. Raises ModuleNotFoundError."""
    with _silence():
        return importlib.import_module(module)


@contextlib.contextmanager
def _silence() -> Generator[None]:
    """Let nothing be printed or warned of. A stream of our own in place of standard output is not enough: among the
    libraries that JaxMARL imports there is one that puts the real one back."""
    told = builtins.print
    builtins.print = lambda *args, **named: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        builtins.print = told


def as_written(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return another library's function as it runs where it comes from: a program that uses this library may be strict
    about mixed types and shapes, and others' code need not bear that."""

    def lenient(*args: Any) -> Result:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args)

    return lenient
