"""Cores for a process of its own: as many as it was given, and none that another worker of this machine has.

take_cores(1)                                                      # before jax is imported
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from pathlib import Path


def take_cores(count: int) -> list[int]:
    """Bind this process to ``count`` cores, free ones if there are, and keep every library to as many threads. Returns
    them; [] where a system cannot bind processes."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, str(count))
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    found = [core for core in allowed if _lock(core)][:count] if count < len(allowed) else allowed
    mine = (found + [core for core in allowed if core not in found])[:count]
    for core, handle in list(_locks.items()):
        if core not in mine:
            os.close(handle)
            del _locks[core]
    os.sched_setaffinity(0, mine)
    return mine


_locks: dict[int, int] = {}


def _lock(core: int) -> bool:
    """Take a core, if no other worker has it; the lock ends with the process, however that ends."""
    import fcntl

    folder = Path(tempfile.gettempdir()) / f"ibal-cores-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder / str(core), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        _locks[core] = handle
    return core in _locks


def gpus() -> list[str]:
    """Return the NVIDIA devices that jax could use here, without asking it."""
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        return []
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name for name in said.split(",") if name.strip() not in ("", "-1")]
    try:
        return [str(i) for i, _ in enumerate(sorted(os.listdir("/proc/driver/nvidia/gpus")))]
    except OSError:
        return []
