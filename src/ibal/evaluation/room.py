"""How much memory there is, and what does not fit: said before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import jax

MIB = 2**20


class MemoryRefused(MemoryError):
    """What does not fit into memory; the message says by how much and what would."""


def available() -> int | None:
    """Return the bytes that can still be had on the default device; None where that cannot be known."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    info = Path("/proc/meminfo")
    if device.platform != "cpu" or not info.exists():
        return None
    entry = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(entry.split()[1]) * 1024


def check_room(what: str, needed: int, way: str) -> None:
    """Raise MemoryRefused if ``what`` takes more bytes than there are; ``way`` says what to ask for instead."""
    room = available()
    if room is not None and needed > room:
        raise MemoryRefused(f"{what} would take {size(needed)} of memory; only {size(room)} are there. {way}")


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / MIB:.0f} MiB"
