"""Optional places for a training's numbers: TensorBoard and Weights & Biases. Their libraries are imported if asked."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class LogError(Exception):
    """A log that cannot be written, or a sink whose library is missing; one sentence."""


class TensorBoard:
    """Writes ``<run folder>/tensorboard``, one curve per kind, number and seed."""

    def __init__(self, folder: Path) -> None:
        self._library = _optional("tensorboardX", "TensorBoard", "--tensorboard", "tensorboard")
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        # What an earlier process wrote beyond the state that is continued is hidden.
        purge = _newest(resumed) + 1 if resumed else None
        self._writer = self._library.SummaryWriter(logdir=str(self._folder), purge_step=purge)

    def write(self, record: Mapping[str, Any]) -> None:
        for name, value in _numbers(record).items():
            self._writer.add_scalar(f"{record['kind']}/{name}/seed-{record['seed']}", value, record["env_steps"])

    def note(self, message: str) -> None:
        return

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Sends to the project ``ibal`` (or ``WANDB_PROJECT``); a run folder is one run there, also after a resume."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._library = _optional("wandb", "Weights & Biases", "--wandb", "wandb")
        self._folder = folder
        self._config = dict(config)
        self._run: Any = None

    def begin(self, resumed: list[dict[str, Any]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = str(self._folder.resolve())
        self._run = self._library.init(
            project=os.environ.get("WANDB_PROJECT", "ibal"),
            name=self._folder.name,
            id=hashlib.sha256(name.encode()).hexdigest()[:16],
            resume="allow" if resumed else None,
            dir=str(self._folder),
            config=self._config,
        )
        # Its own step must never fall, which that of several seeds does.
        self._run.define_metric("*", step_metric="env_steps")

    def write(self, record: Mapping[str, Any]) -> None:
        numbers = {f"{record['kind']}/{name}/seed-{record['seed']}": v for name, v in _numbers(record).items()}
        self._run.log(numbers | {"env_steps": record["env_steps"]})

    def note(self, message: str) -> None:
        return

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in record.items()
        if name not in ("kind", "seed", "env_steps") and isinstance(value, bool | int | float)
    }


def _newest(records: list[dict[str, Any]]) -> int:
    return max(record["env_steps"] for record in records)


def _optional(module: str, what: str, flag: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise LogError(
            f'{flag}: {what} needs "{module}", which is not installed. Run: pip install "ibal[{extra}]", or leave out '
            f"{flag}"
        ) from None
