"""What a process must know about where it comes from: which worker it is, and whether JAX can work in it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from contextlib import suppress

import numpy as np

LOST = (
    "this process was forked after JAX had started, and JAX does not survive a fork: start workers by "
    'multiprocessing.get_context("spawn") or get_context("forkserver"), or fork before anything is played or computed '
    "with JAX (making a StarCraft2Env and asking for its sizes does not start it)"
)


def _jax_has_started() -> bool:
    """Whether JAX has made its backends, here or in the process that this one was forked from. Takes no lock."""
    return bool(getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None))


def _has_one_thread() -> bool:
    """Whether nothing runs here but this thread (Linux); a fork copies no other thread, and backends have many."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task")) == 1
    return False


_lost = _jax_has_started() and _has_one_thread()  # forked before this module was imported


def _in_child() -> None:
    global _lost
    _lost = _jax_has_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def require_jax() -> None:
    """Raise RuntimeError where the first computation would hang, because what JAX had started was lost in a fork."""
    if _lost:
        raise RuntimeError(LOST)


def worker() -> tuple[int, ...]:
    """Number of this process among its parent's workers, from run to run the same; () if it is nobody's worker.

    (3,) is the third process that multiprocessing (fork, spawn, forkserver, a pool) started, (3, 1) its first one.
    """
    return tuple(getattr(multiprocessing.current_process(), "_identity", ()))


def seed_of(seed: int, worker: tuple[int, ...]) -> int:
    """Return the seed that a worker uses when all are given the same one; a main process uses it as it is."""
    return int(np.random.SeedSequence((seed, *worker)).generate_state(1)[0]) if worker else seed
