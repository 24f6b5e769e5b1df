"""Which launchers there are. A launcher is one file with a frozen dataclass that has ``run(runs, store, note)``: it
starts workers (``work.work``) or single runs (``work.do``) somewhere, and returns when nothing is left to do.

A further one is one line in ``LAUNCHERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from ibal.experiments.grid.store import Store
from ibal.experiments.runs import Run
from ibal.registry import Entry, Own, Registry

LAUNCHERS = Registry(
    kind="launcher",
    entries={
        "local": Entry("ibal.experiments.grid.local:Local", "processes on this machine, one per core or GPU"),
        "ray": Entry("ibal.experiments.grid.ray:Ray", "tasks on a Ray cluster (pip install ibal[ray])"),
        "slurm": Entry("ibal.experiments.grid.slurm:Slurm", "an array of jobs on Slurm (pip install ibal[slurm])"),
    },
    listing="ibal grid run --help",
    flag="--on",
)


@runtime_checkable
class Launcher(Protocol):
    """Does runs somewhere. The grid decides what is missing; the store, who does what."""

    def run(self, runs: Sequence[Run], store: Store, note: Callable[[str], None]) -> None:
        """Return when every run is done, has failed, or needs one that has; or when asked to stop."""
        ...


def launcher(name: str, **options: Any) -> Launcher:
    """Make a launcher by name; options that are None are its own. Raises UnknownName with the closest, or TypeError."""
    made, _ = LAUNCHERS.load(Own(name))
    return made(**{key: value for key, value in options.items() if value is not None})
