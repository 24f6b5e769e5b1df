"""Bundles: arrays as safetensors, and beside them a JSON file of the same name that says what they are. Teams and what
attackers have learned are kept alike.

    write("attackers/a.safetensors", ATTACKER, arrays, env.spec, {"attack": "interaction", …})
    about = described("attackers/a.safetensors", ATTACKER)           # of either format, held to its types

The JSON of every bundle says ``format``, ``kind``, the environment with its sizes and the version of its rules, the
``versions`` of the software that wrote it, and the ``crc32`` of the arrays; the rest belongs to its kind.
"""

from __future__ import annotations

import json
import platform
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ibal
from ibal.files import appear, aside_of
from ibal.reading import Unreadable, content, entries, table

if TYPE_CHECKING:
    import numpy as np

    from ibal.types import EnvSpec

FORMAT = 2
READ = (1, FORMAT)  # format 1 had no ``kind``, and a policy's sum was called ``weights_crc32``


class Kind(NamedTuple):
    """What a bundle holds: ``name`` and ``noun`` in messages, what to do when it is broken, the entries of its own."""

    name: str
    noun: str
    again: str
    required: Mapping[str, Any]
    optional: Mapping[str, Any]


def write(
    path: Path, kind: Kind, arrays: Mapping[str, np.ndarray], spec: EnvSpec, about: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write ``path`` (``.safetensors``) and the JSON file of the same name; ``about`` is what JSON can hold.

    Raises ValueError for another suffix, OSError where the files cannot be written.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: {kind.noun} is a .safetensors file and a .json file beside it")
    import jax

    written = as_bytes(arrays)
    whole = {
        "format": FORMAT,
        "kind": kind.name,
        **sizes(spec),
        "version": spec.version,
        **about,
        "versions": {"ibal": ibal.__version__, "jax": jax.__version__, "python": platform.python_version()},
        "crc32": zlib.crc32(written),
    }
    text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)

    def both(aside: Path) -> None:
        aside.write_bytes(text.encode())
        appear(path, lambda weights: weights.write_bytes(written))

    # Both are ready before either takes its name: who is killed in between leaves what ``beside`` puts together.
    appear(path.with_suffix(".json"), both)


def as_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a safetensors file."""
    from safetensors.numpy import save

    return save(dict(arrays))


def described(path: Path, kind: Kind) -> dict[str, Any]:
    """Return what the JSON file of a bundle says, its entries of the types that ``kind`` asks for.

    Raises FileNotFoundError, or ValueError that says what is wrong with it or that the arrays are not those it
    describes.
    """
    said = beside(path)
    for file in (path, said):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist; {kind.noun} is {path.stem}.safetensors and {path.stem}.json together"
            )
    try:
        about = table(said, {"format": int}, {"kind": str})
        if about["format"] not in READ:
            raise ValueError(f"{said} has format {about['format']}; this version reads format {FORMAT}")
        if about.setdefault("kind", kind.name) != kind.name:
            raise ValueError(f"{said} describes a bundle of another kind ({about['kind']}), not {kind.noun}")
        if "weights_crc32" in about:
            about["crc32"] = about.pop("weights_crc32")
        about = entries(about, str(said), {**_REQUIRED, **kind.required}, {**_OPTIONAL, **kind.optional})
    except Unreadable as error:
        raise ValueError(
            f"{error}: it does not describe {kind.noun}. {kind.again[0].upper()}{kind.again[1:]}"
        ) from error
    if zlib.crc32(content(path)) != about["crc32"]:
        raise ValueError(f"{said} describes another {kind.name} than {path.name}; {kind.again}")
    return about


def beside(path: Path) -> Path:
    """Return the file that describes the arrays in ``path``: the one of their name, unless a process was killed when
    new arrays had taken theirs and their description not yet."""
    named, ready = path.with_suffix(".json"), aside_of(path.with_suffix(".json"))
    if ready.is_file():
        with suppress(Unreadable, OSError):
            about = table(ready)
            if about.get("crc32", about.get("weights_crc32")) == zlib.crc32(content(path)):
                return ready
    return named


def sizes(spec: EnvSpec) -> dict[str, Any]:
    """Return what a bundle says of the environment it is of."""
    return {
        "env": spec.name, "n_agents": spec.n_agents, "n_actions": spec.n_actions, "obs_size": spec.obs_size,
        "state_size": spec.state_size,
    }  # fmt: skip


_REQUIRED = {"env": str, "n_agents": int, "n_actions": int, "obs_size": int, "crc32": int}
_OPTIONAL = {"state_size": int, "version": str, "versions": dict[str, str]}
