"""``ibal.grid``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.api.telling import telling
from ibal.experiments.grid.held import Held, Status
from ibal.experiments.study import STUDY_FILE, read_study
from ibal.experiments.toml_text import to_toml
from ibal.files import replace_text
from ibal.options import ConfigError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Grid:
    """A study and what has come of it so far."""

    held: Held
    finished: bool

    @property
    def rows(self) -> pl.DataFrame:
        """One row per episode of all cells that are done, with the columns of ``ibal.Evaluation.rows``."""
        return self.held.rows()

    @property
    def status(self) -> Status:
        """How all runs stand."""
        return self.held.status()

    def run_folder(self, team: str, env: str, seed: int = 0) -> Path:
        """Return the folder of a training, as ``ibal train`` writes it. Raises ConfigError if the study has none."""
        for run, (name, config) in self.held.planned.trainings.items():
            if (name, config.env) == (team, env) and config.seed <= seed < config.seed + config.seeds:
                return self.held.store.folder(run) / "run"
        there = sorted({f"{name} on {config.env}" for name, config in self.held.planned.trainings.values()})
        raise ConfigError(f'the study has no "{team}" on {env} with seed {seed}; there are: {", ".join(there)}')

    def page(self, out: str | Path | None = None) -> Path:
        """Write the study's page (``index.html`` in its folder, ``name.html`` of a ``name.toml``, or ``out``) and
        return its path."""
        from ibal.api.study_page import write_page

        return write_page(self.held, None if out is None else Path(out))

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.status.counts.items() if count)
        return f"<Grid of {self.held.study.name}: {counts}>"


def grid(
    study: str | Path | Mapping[str, Any], *, on: str = "local", out: str | Path | None = None, quiet: bool = False,
    note: Callable[[str], None] | None = None, **options: Any,
) -> Grid:  # fmt: skip
    """Do all runs of a study that are missing: trainings, attackers, evaluations, on one machine or many.

    What was interrupted goes on from its newest checkpoint, bit for bit; what is done is never done again; what was
    changed gives new names to what depends on it alone. Several programs may do one study at a time.

    Args:
        study: the folder of a ``study.toml``, that file, or its tables (then with ``out``).
        on: "local" (processes here), "ray" or "slurm".
        out: the folder that a study of tables is written to.
        quiet, note: say nothing on standard error; or say it to ``note``.
        options: of the launcher: ``workers``, ``threads``, ``memory_gb`` of "local"; ``address`` of "ray"; …

    Returns:
        ``Grid`` with ``.rows`` (a polars frame), ``.status``, ``.page()``; ``.finished`` says whether all is done.

    Raises:
        ConfigError: a study that cannot be run, in one sentence with its line; UnknownName for a launcher;
        ModuleNotFoundError: the launcher's library is not installed; OSError: the folder cannot be written.

    Example:
        >>> done = ibal.grid({"train": {"env": "3m", "method": ["vanilla", "ibal"]}, "evaluate": {}}, out="studies/a")
        >>> done.rows.group_by("policy", "attack").agg(pl.col("win").mean())
    """
    if isinstance(study, Mapping):
        if out is None:
            raise ConfigError("a study that is given as tables needs a folder to lie in: out=…")
        read_study(study)
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / STUDY_FILE, to_toml(study))
    else:
        folder = Path(study)
    held = Held(folder)
    with telling(quiet, note) as say:
        finished = held.run(on, say, **options)
    return Grid(held, finished)
