"""Values and options by name, as command lines and files give them, read as the types of configuration dataclasses.

config = with_options(InteractionConfig(), {"dims": 5, "club.negative": "batch"})
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ibal.registry import closest, quoted

Record = TypeVar("Record")
Scalar = bool | int | float | str


LARGEST = 2**31 - 1  # what the counters of a compiled program hold: steps, episodes, iterations
LARGEST_SEED = 2**32 - 1  # a key is made of 32 bits of its seed: a larger one would give the games of a smaller one


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one sentence that says what to write instead."""


def pairs(flag: str, words: Iterable[str]) -> dict[str, str]:
    """Split ``name=value`` words of a command line. Raises ConfigError for another word, or a name given twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals):
            raise ConfigError(f'{flag} "{word}" must be a name and a value, as in {flag} masks=random')
        if name in found:
            raise ConfigError(f'{flag.removesuffix(":")}: "{name}" is given twice')
        found[name] = value
    return found


def bracketed(text: str, example: str) -> tuple[str, dict[str, str]]:
    """Read ``name`` or ``name[option=value,...]``, as every command and function takes environments and attacks: the
    name, and its options as texts.

    Raises ConfigError for brackets that hold no options; ``example`` shows how they do.
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return text, {}
    inner = rest.removesuffix("]")
    if inner == rest or not inner.strip() or "[" in inner or "]" in inner:
        raise ConfigError(f"{quoted(text)}: options stand in brackets, as in {example}")
    return name, pairs(f"{quoted(text)}:", inner.split(","))


def names(flag: str, text: str) -> tuple[str, ...]:
    """Split ``a,b[x=1,y=2],c`` at the commas outside brackets. Raises ConfigError for an empty name, or one twice."""
    words = tuple(word.strip() for word in re.split(r",(?![^\[]*\])", text))
    if "" in words:
        raise ConfigError(f'{flag} "{text}": a name is missing; write names with commas between them')
    if twice := [word for i, word in enumerate(words) if word in words[:i]]:
        raise ConfigError(f'{flag} "{text}": "{twice[0]}" is named twice')
    return words


def with_options(record: Record, options: Mapping[str, Scalar]) -> Record:
    """Replace fields of a dataclass by dotted name; values may be texts: ``"none"``, ``"64,64"`` for tuples.

    Raises ConfigError for an unknown name (with the closest), a wrong type or a value that the dataclass refuses.
    """
    words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}
    try:
        return _replaced(record, words, "")
    except ValueError as error:  # ConfigError, or what the dataclass itself refuses
        raise ConfigError(str(error)) from error


def _replaced(record: Any, words: Mapping[str, str], where: str) -> Any:
    """All fields at once: what one of them allows may depend on another."""
    what, types = type(record).__name__, field_types(type(record))
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, str]] = {}
    for name, text in words.items():
        head, dot, rest = name.partition(".")
        if head not in types:
            raise ConfigError(unknown(what, head, tuple(types)))
        old, full = getattr(record, head), where + head
        if is_dataclass(old) and not dot:
            inside = ", ".join(f"{full}.{field}" for field in field_types(type(old)))
            raise ConfigError(f'"{full}" has fields of its own; give one of them: {inside}')
        if is_dataclass(old):
            inner.setdefault(head, {})[rest] = text
            continue
        if dot:
            raise ConfigError(f'"{where}{name}": {what}.{head} has no fields of its own')
        try:
            changes[head] = _read(types[head], text)
        except ConfigError as error:
            raise ConfigError(f"{full} {error}") from None
    changes |= {head: _replaced(getattr(record, head), rest, f"{where}{head}.") for head, rest in inner.items()}
    return replace(record, **changes)


def _read(annotation: Any, text: str) -> Any:
    """Read a text as a field's type."""
    kinds = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType) and NoneType in kinds:
        return None if text.lower() == "none" else _read(next(k for k in kinds if k is not NoneType), text)
    if get_origin(annotation) is tuple:
        words = re.split(r"\s*,\s*|\s+", text.strip())  # in brackets a comma ends the option
        kinds = kinds[:1] * len(words) if Ellipsis in kinds else kinds
        if len(kinds) != len(words):
            raise ConfigError(f'must be {len(kinds)} values with commas or spaces between them, not "{text}"')
        return tuple(read_text(kind, word) for kind, word in zip(kinds, words, strict=True))
    return read_text(annotation, text)


def read_text(annotation: Any, text: str) -> Any:
    """Read a value of the command line as the type of a field. Raises ConfigError."""
    if annotation is str or get_origin(annotation) is Literal:
        return typed(annotation, text)
    if annotation is bool:
        words = {"true": True, "false": False}
        if text.lower() in words:
            return words[text.lower()]
        raise ConfigError(f'must be true or false, not "{text}"')
    try:
        value = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(f'must be {_noun(annotation)}, not "{text}"') from None
    value = typed(annotation, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"must be a finite number, not {value}")
    return value


def check_count(name: str, value: int, least: int = 0, most: int = LARGEST) -> int:
    """Return ``value`` if it is within the bounds, both included. Raises ConfigError with ``name`` in front."""
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, not {value}")
    if value > most:
        raise ConfigError(f"{name} must be at most {most}, not {value if value < 10**30 else 'a longer number'}")
    return value


def check_seed(name: str, value: int) -> int:
    """Return ``value`` if it is a seed, 0 to 2^32 - 1. Raises ConfigError: no two seeds stand for the same games."""
    return check_count(name, value, 0, LARGEST_SEED)


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError for a number that is not between the bounds, both included."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low:g} and {high:g}, not {value}")


def check_positive(name: str, value: float, zero: bool = False) -> None:
    """Raise ConfigError for what is no finite number above 0, or 0 where that is allowed."""
    if not (0 <= value < math.inf and (zero or value)):
        raise ConfigError(f"{name} must be {'at least' if zero else 'above'} 0, not {value}")


def check_order(low: str, smaller: int, high: str, larger: int, why: str) -> None:
    """Raise ConfigError where one field is more than another one allows."""
    if smaller > larger:
        raise ConfigError(
            f"{low} = {smaller} is more than {high} = {larger}, but {why}; raise {high} or lower {low} to {larger}"
        )


def check_fields(record: Any, part: str = "", names: Iterable[str] | None = None) -> None:
    """Hold the fields of a frozen dataclass to their types and choices; called by its ``__post_init__``.

    A whole number is made a float where that is meant, and a number of NumPy one of Python: equal configurations have
    equal fields. ``names``: only these. Raises ConfigError that names the field as ``part.field``.
    """
    types = field_types(type(record))
    for name in types if names is None else names:
        kind, value = types[name], getattr(record, name)
        number = hasattr(value, "item") and getattr(value, "shape", None) == ()
        try:
            object.__setattr__(record, name, typed(kind, value.item() if number else value))
        except ConfigError as error:
            raise ConfigError(f"{part + '.' if part else ''}{name} {error}") from None


def for_call(
    what: str, maker: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any], records: Sequence[type] = ()
) -> dict[str, Any]:
    """Return ``options`` (by name, out of a command line or a file) if ``maker(*args, **options)`` may be called.

    They must be parameters of ``maker`` beyond ``args``, or fields of ``records``, the dataclasses behind its own
    ``**options``; their values numbers, words, true or false of the annotated type. Raises ConfigError, which names the
    closest option.
    """
    known, is_open = _parameters(maker, len(args))
    for record in records:
        known |= field_types(record)
    for name, value in options.items():
        if not isinstance(value, Scalar):
            raise ConfigError(f"{what}: option {name} must be a number, a word, true or false, not {shown(value)}")
        if name not in known and (records or not is_open):
            near = closest(name, known)
            hint = f'; did you mean "{near}"?' if near else ""
            raise ConfigError(f"{what} has no option {quoted(name)}{hint} (options: {', '.join(known) or 'none'})")
    return {name: _as_annotated(what, name, known.get(name, Any), value) for name, value in options.items()}


def _parameters(maker: Callable[..., Any], given: int) -> tuple[dict[str, Any], bool]:
    """Return the annotations of what can be given by name, and whether any other name is taken, too."""
    try:
        parameters = list(inspect.signature(maker).parameters.values())
        hints = get_type_hints(maker if inspect.isfunction(maker) else maker.__init__)
    except (TypeError, ValueError, NameError):  # compiled, or annotated with what is imported for type checkers only
        hints = {}
        try:
            parameters = list(inspect.signature(maker).parameters.values())
        except (TypeError, ValueError):
            return {}, False
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {}
    for parameter in parameters[given:]:
        if parameter.kind in by_name:
            default = parameter.default
            usual = type(default) if isinstance(default, Scalar) else Any
            known[parameter.name] = hints.get(parameter.name, usual)
    return known, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _as_annotated(what: str, name: str, annotation: Any, value: Scalar) -> Any:
    """Read a scalar as a parameter's type. Raises ConfigError."""
    union = get_origin(annotation) in (Union, UnionType)
    kinds = get_args(annotation) if union else (annotation,)
    if Any in kinds:
        return value
    scalar = [kind for kind in kinds if kind in _NOUNS or get_origin(kind) is Literal]
    if not scalar:
        raise ConfigError(f"{what}: option {name} cannot be given as a number or a word; give it in Python")
    for kind in scalar[:-1]:
        try:
            return typed(kind, value)
        except ConfigError:
            continue
    try:
        return typed(scalar[-1], value)
    except ConfigError as error:
        raise ConfigError(f"{what}: option {name} {error}") from None


def read_scalar(text: str) -> Scalar:
    """Read ``true``, ``3``, ``0.5`` or any other word, as TOML would, but without quotes around words."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@cache  # a study makes thousands of configurations
def field_types(record: type) -> dict[str, Any]:
    """Return the type of every field of a configuration dataclass."""
    hints = get_type_hints(record)
    return {f.name: hints[f.name] for f in fields(record)}


def field_helps(record: type) -> dict[str, str]:
    """Return what is written below every field of a configuration dataclass, as one line; "" where nothing is."""
    found = dict.fromkeys((f.name for f in fields(record)), "")
    for parent in reversed(record.__mro__):
        if not is_dataclass(parent):
            continue
        try:
            source = textwrap.dedent(inspect.getsource(parent))
        except (OSError, TypeError):  # made by hand, or in a session without files
            continue
        body = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)).body
        for node, after in pairwise(body):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
                text = getattr(after.value, "value", None)
                if isinstance(text, str):
                    found[node.target.id] = " ".join(text.split())
    return found


def unknown(what: str, name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Say that ``what`` does not know ``name``, with the closest name and all of them."""
    near = closest(name, known)
    hint = f'; did you mean "{near}"?' if near else ""
    return f"{what} has no field {quoted(name)}{hint} (fields: {', '.join(known)})"


_BEYOND_FLOAT = 2**1023
_NOUNS = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}


def typed(annotation: Any, value: Any) -> Any:
    """Return ``value`` as the field's type; an integer is welcome where a number is asked for."""
    if get_origin(annotation) is Literal:
        allowed = get_args(annotation)
        if value in allowed:
            return value
        near = closest(value, allowed) if isinstance(value, str) else None
        hint = f'; did you mean "{near}"?' if near else ""
        raise ConfigError(f"must be one of {', '.join(map(shown, allowed))}, not {shown(value)}{hint}")
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _BEYOND_FLOAT else math.inf
    if annotation is Any:
        return value
    if not isinstance(annotation, type):
        raise ConfigError(f"cannot be given by name: its type is {annotation}")
    if not isinstance(value, annotation) or (isinstance(value, bool) and annotation is not bool):
        whole = isinstance(value, float) and annotation is int and value.is_integer()
        hint = f" (write {int(value):_})" if whole else ""
        raise ConfigError(f"must be {_noun(annotation)}, not {shown(value)}{hint}")
    return value


def _noun(annotation: Any) -> str:
    return _NOUNS.get(annotation) or f"a {getattr(annotation, '__name__', annotation)}"


def shown(value: Any) -> str:
    """Return a value as TOML writes it, on one line and not too long."""
    if isinstance(value, str):
        return quoted(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
