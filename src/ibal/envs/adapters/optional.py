"""Libraries that need not be there, imported when they are asked for and without what they say meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from typing import Any

from ibal.options import ConfigError

# What each extra of this package installs. gymnax, which jaxmarl needs, imports six and does not say so.
EXTRAS = {
    "gymnasium": ("gymnasium",), "pettingzoo": ("pettingzoo",), "jaxmarl": ("jaxmarl", "six"), "jumanji": ("jumanji",),
}  # fmt: skip


class Missing(ConfigError, ImportError):
    """A library that is not installed; the message says how to install it."""


def library(extra: str, module: str = "") -> Any:
    """Import ``module`` (by default the library that ``extra`` is named after). Raises Missing."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module or extra)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra]:
            raise
        raise Missing(
            f'this needs the package {extra}: pip install "ibal[{extra}]" (or pip install {extra})'
        ) from error
