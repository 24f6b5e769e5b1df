"""Checkpoints of a training: one file each, complete or not there, checked when read, the newest few kept.

    save("runs/x/checkpoints", step, state, extra={"config_hash": "…"})
    found = restore("runs/x/checkpoints", jax.eval_shape(init, key), expect={"config_hash": "…"})
    if found is not None:
        state, step = found.state, found.step                          # bit for bit what was saved

A checkpoint is a safetensors file with one tensor per leaf of the state, named by its path in the tree; the file's
metadata hold step, ``extra``, and a CRC-32 of every leaf. It is written aside, flushed to the disk and then renamed,
so killing the process at any moment leaves only complete checkpoints. One process writes to a folder at a time.

Orbax is not used here: it prints its threads' tracebacks when the disk is full and refuses empty arrays (0.12.8).
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import reading

FORMAT = 1
SUFFIX = ".safetensors"
_WRITING = ".writing"
_UNUSABLE = ".unusable"

# safetensors' names of what NumPy calls otherwise; a dtype it does not know is stored as the unsigned integer of its
# width, and the metadata tell which it is.
_TENSOR_TYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_STAND_IN = {1: "U8", 2: "U16", 4: "U32", 8: "U64"}


class CheckpointError(Exception):
    """A checkpoint that cannot be written, or a folder of them in which none can be used; one sentence."""


class Restored(NamedTuple):
    """What was found; ``skipped`` has one sentence for every newer checkpoint that was passed over."""

    state: Any
    step: int
    extra: dict[str, Any]
    skipped: list[str]


class _Unusable(Exception):
    """Why one file is passed over."""


class _Leaf(NamedTuple):
    """One array on the host. ``kind``: "" for an array, or the implementation of the random keys it holds."""

    name: str
    data: np.ndarray
    kind: str


def save(folder: str | Path, step: int, state: Any, *, keep: int = 2, extra: Mapping[str, Any] | None = None) -> Path:
    """Write the checkpoint of ``step`` and return its path; only the ``keep`` newest stay.

    ``state`` is any pytree of arrays, typed keys, NumPy arrays and Python numbers; ``extra`` is what JSON can hold. A
    checkpoint of the same step is replaced. One of a later step cannot be of this training any more (it was passed
    over when this one was resumed): it is renamed to ``….unusable`` and does not count.

    The folder is made, but not what it lies in. Raises CheckpointError when the disk is full or the folder cannot be
    written to; the older ones are then untouched.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"save: step {step} and keep {keep}; a step is at least 0 and at least 1 checkpoint is kept")
    folder = Path(folder)
    path = folder / f"{step:012d}{SUFFIX}"
    aside = path.with_name(path.name + _WRITING)
    leaves = _leaves(state)
    head = _head(step, leaves, dict(extra or {}))
    try:
        # Without its parents: a run folder that was deleted meanwhile is not to come back with nothing but this in it.
        folder.mkdir(exist_ok=True)
        for left in folder.glob(f"*{SUFFIX}{_WRITING}"):  # of a process that was killed while it wrote
            left.unlink()
        _write(aside, [head, *(_bytes(leaf.data) for leaf in leaves)])
        aside.replace(path)
        _flush_folder(folder)
    except OSError as error:
        _remove(aside)
        size = (len(head) + sum(leaf.data.nbytes for leaf in leaves)) / 1e6
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise CheckpointError(
            f"cannot write the checkpoint of step {step} ({size:.1f} MB) to {folder}: {why}. Earlier checkpoints are "
            f"intact; make room and continue with --resume"
        ) from error
    _prune(folder, step, keep)
    return path


def restore(
    folder: str | Path, template: Any, *, expect: Mapping[str, Any] | None = None, part: str = "",
    advice: str = "Start anew in another folder",
) -> Restored | None:  # fmt: skip
    """Return the newest checkpoint that is whole and fits, or None where none was ever written.

    ``template`` gives the tree, shapes, dtypes and shardings: a state, or ``jax.eval_shape`` of the function that
    makes one. ``expect`` are entries that ``extra`` must have (the hash of the configuration, say). ``part`` is the
    path of what ``template`` is in the whole state ("learner", say); the rest may be of any kind. A checkpoint that is
    damaged or does not fit is passed over and explained in ``skipped``.

    Raises CheckpointError if there are checkpoints and none can be used; ``advice`` says what to do then.
    """
    paths = sorted(checkpoints(folder), reverse=True)
    skipped: list[str] = []
    for path in paths:
        try:
            state, step, extra = _read(path, template, expect or {}, part)
        except _Unusable as why:
            skipped.append(f"{path} {why}")
            continue
        return Restored(state, step, extra, skipped)
    if not paths:
        return None
    raise CheckpointError(f"no checkpoint in {folder} can be used: {'; '.join(skipped)}. {advice}")


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first; whether they are whole is found out by reading them."""
    return sorted(path for path in Path(folder).glob(f"*{SUFFIX}") if path.name.removesuffix(SUFFIX).isdecimal())


def _leaves(state: Any) -> list[_Leaf]:
    """Bring every leaf to the host."""
    out: list[_Leaf] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        kind = ""
        if _is_key(leaf):
            kind, leaf = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
        out.append(_Leaf(_name(path), np.ascontiguousarray(leaf).reshape(np.shape(leaf)), kind))
    names = [leaf.name for leaf in out]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'two leaves of the state have the path "{twice}"; rename a field of it')
    return sorted(out, key=lambda leaf: -leaf.data.itemsize)  # so that every leaf is aligned in the file


def _name(path: tuple[Any, ...], part: str = "") -> str:
    inside = jax.tree_util.keystr(path, simple=True, separator="/")
    return "/".join(word for word in (part, inside) if word) or "state"


def _head(step: int, leaves: list[_Leaf], extra: dict[str, Any]) -> bytes:
    """Everything before the data: 8 bytes of length, then JSON, padded so that the data are aligned."""
    about = json.dumps(
        {
            "format": FORMAT,
            "step": step,
            "extra": extra,
            "leaves": [
                {
                    "name": leaf.name,
                    "dtype": leaf.data.dtype.name,
                    "shape": leaf.data.shape,
                    "key": leaf.kind,
                    "crc": zlib.crc32(_bytes(leaf.data)),
                }
                for leaf in leaves
            ],
        },
        sort_keys=True,
    )
    table: dict[str, Any] = {"__metadata__": {"checkpoint": about, "crc": str(zlib.crc32(about.encode()))}}
    at = 0
    for leaf in leaves:
        tensor = _TENSOR_TYPES.get(leaf.data.dtype.name) or _STAND_IN[leaf.data.dtype.itemsize]
        end = at + leaf.data.nbytes
        table[leaf.name] = {"dtype": tensor, "shape": leaf.data.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(data: np.ndarray) -> memoryview:
    return data.reshape(-1).view(np.uint8).data if data.size else memoryview(b"")


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power failure (folders cannot be opened on Windows, where renames are flushed)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the write's own error is what the user must see; the next save tries again


def _prune(folder: Path, step: int, keep: int) -> None:
    """Keep the newest. What cannot be removed now is removed after a later save."""
    steps = {path: int(path.name.removesuffix(SUFFIX)) for path in checkpoints(folder)}
    past = [path for path, of in steps.items() if of <= step]
    for path in past[:-keep]:
        _remove(path)
    for path in (path for path, of in steps.items() if of > step):
        path.replace(path.with_name(path.name + _UNUSABLE))


def _read(path: Path, template: Any, expect: Mapping[str, Any], part: str) -> tuple[Any, int, dict[str, Any]]:
    about, data = _open(path)
    extra = about["extra"]
    for name, value in expect.items():
        if extra.get(name) != value:
            raise _Unusable(f"was written with another {name} ({extra.get(name)}; wanted {value})")
    if any(leaf["name"] == "replay/position" for leaf in about["leaves"]):
        for leaf in about["leaves"]:
            leaf["name"] = _as_now(leaf["name"])
    inside = [leaf for leaf in about["leaves"] if f"{leaf['name']}/".startswith(f"{part}/" * bool(part))]
    stored = {leaf["name"]: leaf for leaf in inside}
    wanted, tree = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(where, part) for where, _ in wanted]
    if set(names) != set(stored):
        lacks, odd = sorted(set(names) - set(stored)), sorted(set(stored) - set(names))
        what = f'lacks "{lacks[0]}"' if lacks else f'holds "{odd[0]}", which is not wanted'
        raise _Unusable(f"belongs to another training: it {what} ({len(stored)} arrays, {len(names)} wanted)")
    for name, (_, leaf) in zip(names, wanted, strict=True):
        _check_fits(stored[name], leaf)
    arrays = {leaf["name"]: _array(leaf, data) for leaf in inside}
    leaves = [
        _as_wanted(arrays[name], stored[name]["key"], like) for name, (_, like) in zip(names, wanted, strict=True)
    ]
    return jax.tree_util.tree_unflatten(tree, leaves), about["step"], extra


def _as_now(name: str) -> str:
    """Return what a part of the state is called since learners have their old episodes in their own keeping."""
    if name == "progress/owed":
        return "learner/owed"
    head, _, rest = name.partition("/")
    return {"learner": f"learner/learned/{rest}", "replay": f"learner/replay/{rest}"}.get(head, name)


def _open(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Read a file and check every byte of it; return its description and its data."""
    content = _mapped(path)
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or start > len(content):
        raise _Unusable(f"is cut off ({len(content)} bytes)")
    if start > reading.TEXT:
        raise _Unusable("is damaged or no checkpoint of a training")
    try:
        meta = reading.parsed(content[8:start].tobytes(), "the head")["__metadata__"]
        if zlib.crc32(meta["checkpoint"].encode()) != int(meta["crc"]):
            raise ValueError("checksum")
        about = reading.entries(reading.parsed(meta["checkpoint"], "the head"), "the head", {"format": int})
        if about["format"] == FORMAT:
            about = _checked(about)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unusable("is damaged or no checkpoint of a training") from error
    if about["format"] != FORMAT:
        raise _Unusable(f"has format {about['format']}; this version reads format {FORMAT}")
    data, at = content[start:], 0
    for leaf in about["leaves"]:
        leaf["start"] = at
        at += _nbytes(leaf)
    if at != len(data):
        raise _Unusable(f"is cut off ({len(content)} bytes of {start + at})")
    for leaf in about["leaves"]:
        if zlib.crc32(data[leaf["start"] : leaf["start"] + _nbytes(leaf)]) != leaf["crc"]:
            raise _Unusable(f'is damaged (the checksum of "{leaf["name"]}" does not match)')
    return about, data


def _checked(about: dict[str, Any]) -> dict[str, Any]:
    """Hold a description to its types. Raises ValueError or TypeError: the file may be anybody's."""
    about = reading.entries(about, "the head", {"step": int, "extra": dict[str, Any], "leaves": list[dict[str, Any]]})
    kinds = {"name": str, "dtype": str, "shape": list[int], "key": str, "crc": int}
    leaves = [reading.entries(leaf, "the head", kinds) for leaf in about["leaves"]]
    if len({leaf["name"] for leaf in leaves}) < len(leaves) or about["step"] < 0:
        raise ValueError("names")
    for leaf in leaves:
        if jnp.dtype(leaf["dtype"]).kind in "OSUMm" or min(leaf["shape"], default=0) < 0:
            raise ValueError("no numbers")
    return about | {"leaves": leaves}


def _mapped(path: Path) -> memoryview:
    """Return the content of a file without a copy of it in memory: a replay makes most of it, and it is large."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise _Unusable("is no file")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # nothing to map
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise _Unusable(f"cannot be read ({error.strerror})") from error


def _nbytes(leaf: Mapping[str, Any]) -> int:
    return math.prod(leaf["shape"]) * jnp.dtype(leaf["dtype"]).itemsize


def _array(leaf: Mapping[str, Any], data: memoryview) -> np.ndarray:
    """View a leaf's part of the file."""
    return np.ndarray(leaf["shape"], jnp.dtype(leaf["dtype"]), data, leaf["start"])


def _check_fits(leaf: Mapping[str, Any], like: Any) -> None:
    """Compare what was stored with the template's leaf."""
    if _is_key(like):
        wanted: tuple[Any, ...] = ("random keys", tuple(like.shape))
        found = ("random keys" if leaf["key"] else leaf["dtype"], tuple(leaf["shape"][: len(like.shape)]))
    else:
        wanted = (
            np.result_type(like).name if not hasattr(like, "dtype") else jnp.dtype(like.dtype).name,
            np.shape(like),
        )
        found = ("random keys" if leaf["key"] else leaf["dtype"], tuple(leaf["shape"]))
    if found != wanted:
        raise _Unusable(
            f'belongs to another training: "{leaf["name"]}" is {found[0]}{list(found[1])}, '
            f"{wanted[0]}{list(wanted[1])} is wanted"
        )


def _as_wanted(array: np.ndarray, key: str, like: Any) -> Any:
    """Turn an array of the host into the kind of leaf that the template has."""
    if isinstance(like, bool | int | float | complex):
        return type(like)(array.item())
    if isinstance(like, np.ndarray | np.generic):
        return array.copy() if isinstance(like, np.ndarray) else array[()]
    out = jnp.array(array)  # a copy that jax owns: a buffer of the file could not be donated
    if key:
        try:
            out = jax.random.wrap_key_data(out, impl=key)
        except (ValueError, TypeError) as error:
            raise _Unusable("holds random keys that are none") from error
        if out.dtype != like.dtype:
            raise _Unusable(f"holds random keys of {key}; {like.dtype} is wanted")
    # Only where it matters: a leaf placed by hand is "committed", and a program is compiled again for it.
    sharding = getattr(like, "sharding", None)
    return out if sharding is None or len(sharding.device_set) == 1 else jax.device_put(out, sharding)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
