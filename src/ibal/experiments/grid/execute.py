"""Do one run: train, fit an attacker, or play a cell, into the run's folder. Needs jax; the workers call it.

    told = execute(what, store, run_id, print)                         # None: asked to stop; all that was done is kept

Whatever is computed depends on the run alone: no path of this machine goes in, and a training goes on from its newest
checkpoint bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import polars as pl

from ibal.adversaries import TABLE, built, configured, variant
from ibal.adversaries.base import Adversary
from ibal.adversaries.bundle import load_attacker
from ibal.evaluation import results
from ibal.evaluation.bank import Bank, Fitted, described, of_fitted
from ibal.evaluation.matrix import Attack, Cell, Plan, Team, as_parquet, cells
from ibal.evaluation.summary import write_json
from ibal.evaluation.teams import Made, teams_of
from ibal.experiments.fitting import FitPlan, save_fitted
from ibal.experiments.grid.store import Store
from ibal.experiments.run import train_run
from ibal.experiments.runs import config_of
from ibal.files import appear_bytes
from ibal.registry import Own
from ibal.training import checkpoint
from ibal.training.runner import use_compilation_cache

ROWS = "rows.parquet"
CARD = "card.json"
ATTACKER = "attacker.safetensors"
_MADE = Made()  # worlds and agents, once in a process: the next cell needs no new program
_BANK = Bank()
_adversaries: dict[Any, Adversary] = {}
Note = Callable[[str], None]


def execute(what: Mapping[str, Any], store: Store, run: str, note: Note) -> dict[str, Any] | None:
    """Do a run, and return what shall be told of it. None: it was asked to stop before its end.

    Raises what trainings, fittings and evaluations raise.
    """
    folder = store.folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    if excuse := use_compilation_cache():
        note(excuse)
    told = _DO[what["kind"]](what, store, folder, note)
    return None if told is None else told | {"device": jax.devices()[0].device_kind, "jax": jax.__version__}


def train(what: Mapping[str, Any], store: Store, folder: Path, note: Note) -> dict[str, Any] | None:
    """Train, or go on with it."""
    out = folder / "run"
    # As seen from the folder: what a configuration says is no path of this machine, and the study may move.
    config = config_of(what, f"../{what['init']}/run" if what["init"] else "")
    config = replace(config, train=replace(config.train, keep=1))
    try:
        with contextlib.chdir(folder):
            return _trained(config, out)
    except checkpoint.CheckpointError as error:
        if isinstance(error.__cause__, OSError):  # it could not be written
            raise
        note(f"{error}: training anew")  # what was saved is damaged, and a training can be had again
        shutil.rmtree(out)
        with contextlib.chdir(folder):
            return _trained(config, out)
    finally:
        jax.clear_caches()  # the next training has a program of its own


def _trained(config: Any, out: Path) -> dict[str, Any] | None:
    resume = bool(checkpoint.checkpoints(out / "checkpoints"))
    if not resume and out.exists():  # killed before its first checkpoint
        shutil.rmtree(out)
    done = train_run(config, Path(out.name), resume=resume, console="off")
    return {"env_steps": done["env_steps"]} if done["finished"] else None


def fit(what: Mapping[str, Any], store: Store, folder: Path, note: Note) -> dict[str, Any]:
    """Fit an attacker to one team."""
    name = Own(what["attack"])
    victims = [team for team in _teams(what["victim"], store, False, what["env"]) if team.seed == what["victim_seed"]]
    plan = FitPlan(**what["plan"])
    try:
        save_fitted(folder / ATTACKER, TABLE.resolve(name), configured(name), victims[0], plan)
    finally:
        jax.clear_caches()
    return {}


def cell(what: Mapping[str, Any], store: Store, folder: Path, note: Note) -> dict[str, Any]:
    """Play one cell: all seeds of a run, and with ``snapshots`` all that they were on the way."""
    found = cells_of(what, store)
    played = results.evaluate(found, Plan(what["episodes"], what["seed"]))
    rows = played.rows.drop("policy", "method")
    if what["snapshots"]:
        steps = {one.team.policy: one.team.about["env_steps"] for one in found}
        rows = played.rows.with_columns(
            played.rows["policy"].replace_strict(steps, return_dtype=pl.Int64).alias("env_steps")
        ).drop("policy", "method")
    write_json(played.card, folder / CARD)
    appear_bytes(folder / ROWS, as_parquet(rows))
    return {"rows": rows.height}


def cells_of(what: Mapping[str, Any], store: Store) -> list[Cell]:
    """Make what a cell plays: one for each seed, and for each snapshot where these are asked for."""
    teams = _teams(what["team"], store, what["snapshots"], what["env"])
    return cells(teams, lambda name, team: _attack(name, what["attackers"], store, team), [what["attack"]],
                 [what["perturbation"]])  # fmt: skip


_DO: dict[str, Callable[[Mapping[str, Any], Store, Path, Note], dict[str, Any] | None]] = {
    "train": train, "fit": fit, "cell": cell,
}  # fmt: skip


def _teams(who: Mapping[str, Any], store: Store, snapshots: bool, env: str) -> list[Team]:
    """Load the policies of a run, or a file. A world that is code of the user's is one that the study names."""
    if "run" in who:
        home = store.folder(who["run"]) / "run"
        files = sorted((home / "policy").glob("seed-*.safetensors"), key=_seed_of)
        files += sorted((home / "snapshots").glob("seed-*.safetensors")) if snapshots else []
    else:
        files = [store.path.parent / who["file"]]
        if hashlib.sha256(files[0].read_bytes()).hexdigest() != who["sha256"]:
            raise ValueError(f"{files[0]} has changed since the study was read; give the command again")
    teams = [team for _, team in teams_of([str(file) for file in files], env if ":" in env else None, made=_MADE)]
    return [
        team._replace(policy=file.stem if snapshots else "team",
                      about={name: value for name, value in team.about.items() if name != "file"})
        for file, team in zip(files, teams, strict=True)
    ]  # fmt: skip


def _seed_of(file: Path) -> int:
    return int(file.stem.removeprefix("seed-"))


def _attack(name: str, attackers: Sequence[str], store: Store, team: Team) -> Attack:
    """Make the attack on a team: of the attackers that were fitted, or of the table."""
    if not attackers:
        return _BANK.attack(name, team)
    base, options = variant(Own(name))
    files = [store.folder(run) / ATTACKER for run in attackers]
    return of_fitted(name, [_read(file, team, Own(base)) for file in files], team.env.spec, _kept, options)


def _read(file: Path, team: Team, asked: Own) -> Fitted:
    held = load_attacker(file, team.env.spec, asked)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Fitted(held.config, held.state, digest, {**held.meta, "sha256": digest})


def _kept(config: Any, spec: Any) -> Adversary:
    """Make an adversary once: a new object would be compiled anew."""
    which = spec, described(config)
    if which not in _adversaries:
        _adversaries[which] = built(config, spec)
    return _adversaries[which]
