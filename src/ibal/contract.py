"""What is said of code that is not ours: that it breaks its contract, or where in it an error arose. Imports no jax."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_HOME = Path(__file__).parent
_INSTALLED = tuple(Path(folder) for name, folder in sysconfig.get_paths().items() if name.endswith("lib"))


class ContractError(AssertionError):
    """An environment, a policy or an attack (``whose``) breaks its contract; the message says which rule and where."""

    def __init__(self, message: str, whose: str = "") -> None:
        super().__init__(message)
        self.whose = whose


_ADVICE = {
    "environment": '; "ibal env check my_pkg.mod:make" tells more',
    "attack": '; "ibal attack check my_pkg.mod:MyConfig" tells more',
}


def advice(whose: str) -> str:
    """Return how to find out more about a broken contract, as the end of a sentence."""
    return _ADVICE.get(whose, "")


def require_call(whose: str, what: str, function: Any, arguments: str) -> None:
    """Raise ContractError if ``function`` cannot be called with the arguments that ``arguments`` names."""
    names = arguments.split(", ") if arguments else []
    if not callable(function):
        raise ContractError(f"{what} is a {type(function).__name__}; a function ({arguments}) was expected", whose)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # what Python knows no signature of
        return
    try:
        signature.bind(*names)
    except TypeError:
        raise ContractError(f"{what} takes {signature}; it is called with ({arguments})", whose) from None


def missing_arguments(function: Any, args: Sequence[Any], options: Mapping[str, Any]) -> str | None:
    """Say what must be given to a function besides; None: nothing."""
    try:
        inspect.signature(function).bind(*args, **options)
    except ValueError:  # what Python knows no signature of
        return None
    except TypeError as error:
        return str(error)
    return None


def raised_in(error: BaseException) -> str | None:
    """Return "file, line n" of the innermost frame that is neither of this library nor of an installed one; None if
    there is none."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    theirs = [frame for frame in frames if not _is_installed(frame[0])]
    return f"{theirs[-1][0]}, line {theirs[-1][1]}" if theirs else None


def _is_installed(file: str) -> bool:
    if file.startswith("<"):  # "<frozen importlib._bootstrap>", "<string>"
        return True
    path = Path(file)
    return _HOME in path.parents or any(folder in path.parents for folder in _INSTALLED)


def called(whose: str, name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of somebody else's and return two values as it must. Raises ContractError for anything else."""
    result = function(*args)
    if not isinstance(result, tuple) or len(result) != 2:
        other = "an array" if hasattr(result, "shape") else f"a {type(result).__name__}"
        got = f"a tuple of {len(result)}" if isinstance(result, tuple) else other
        raise ContractError(f"{name} must return two values, got {got}", whose)
    return result
