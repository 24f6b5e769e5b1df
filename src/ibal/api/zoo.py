"""What ``ibal zoo check`` does: play a submission again, under the protocol that all are played under."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import ibal
from ibal import envs, reading
from ibal.api.evaluate import evaluate
from ibal.api.fit import fit
from ibal.evaluation.matrix import as_parquet, engine_version
from ibal.evaluation.perturb import perturb
from ibal.files import appear, appear_bytes, replace_text
from ibal.nets.bundle import load_policy
from ibal.options import ConfigError
from ibal.report.study import study_data, study_html
from ibal.zoo import INDEX, Zoo, bare, is_name

CHECKS = "checks"
UNFITTED = ("natural", "random", "fgsm")
PERTURBATIONS = ("none", "dis-1")
REFIT = "interaction"
_WORDS = ("policy", "method", "env", "version", "attack", "perturbation")
_ROWS = dict.fromkeys(_WORDS, pl.String) | {"seed": pl.Int64, "win": pl.Float64, "return": pl.Float64}
_CHECK = {"name": str, "score": str, "worst": dict[str, Any], "cells": list[dict[str, Any]], "about": dict[str, Any]}


class Checked(NamedTuple):
    """What a submission came to: ``rows`` of its episodes, and its numbers, the worst attack first."""

    name: str
    rows: pl.DataFrame
    row: dict[str, Any]


def check(
    candidate: str, zoo: Zoo, *, episodes: int = 512, seed: int = 0, refit: Sequence[str] = (REFIT,),
    note: Callable[[str], None] = lambda message: None,
) -> Checked:  # fmt: skip
    """Play a team under what needs no fitting, under the zoo's attackers (which have not met it), and under attackers
    that are fitted to it; each in an undisturbed world, and the first also with an agent that stands still.

    ``candidate`` is a bundle, a run folder or a name of the zoo. Raises ConfigError for what cannot be played.
    """
    try:
        policy = load_policy(candidate)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise ConfigError(str(error)) from error
    env = str(policy.meta.get("env", ""))
    if not env:
        raise ConfigError(f"{candidate} does not say which environment it plays; a submission is a bundle")
    name = _name(candidate, policy.meta)
    given: dict[str, Any] = {"episodes": episodes, "seed": seed, "quiet": True, "note": note}
    attackers = _unseen(zoo, policy.meta, env)  # before anything is played: a zoo that cannot be read is told at once
    parts = [evaluate({name: candidate}, list(UNFITTED), _followed(env, policy.meta, note), **given).rows]
    for unseen in attackers:
        said = f"{unseen['attack']} (unseen)"
        rows = evaluate({name: candidate}, unseen["attack"], attackers=unseen["folder"], **given).rows
        parts.append(rows.with_columns(pl.lit(said).alias("attack")))
    for attack in refit:
        attacker = fit(attack, candidate, quiet=True)
        rows = evaluate({name: candidate}, {f"{attack} (refitted)": attacker}, **given).rows
        parts.append(rows)
    rows = pl.concat(parts, how="diagonal_relaxed")
    return Checked(name, rows, row_of(name, policy.meta, rows, episodes, seed))


def keep(done: Checked, zoo: Zoo) -> Path:
    """Write a row and its episodes into a zoo that is a folder, and the board anew. Returns the board's page."""
    if zoo.remote:
        raise ConfigError(f"{zoo.where} is read only here; name a folder with --zoo")
    home = Path(zoo.where) / CHECKS
    home.mkdir(parents=True, exist_ok=True)
    stem = done.name.replace("/", "-")
    appear_bytes(home / f"{stem}.parquet", as_parquet(done.rows))
    replace_text(home / f"{stem}.json", json.dumps(done.row, indent=1) + "\n")
    return board(zoo)


def board(zoo: Zoo, out: Path | None = None) -> Path:
    """Write the page of all that was checked, and return its path. Raises ConfigError where nothing was."""
    home = Path(zoo.where) / CHECKS
    files = sorted(home.glob("*.parquet"))
    if zoo.remote or not files:
        raise ConfigError(f"nothing was checked into {zoo.where} yet: ibal zoo check CANDIDATE --zoo FOLDER")
    frames = [reading.frame(reading.content(file), str(file), _ROWS, others=True) for file in files]
    rows = [reading.table(file.with_suffix(".json"), _CHECK) for file in files]
    worst = {row["name"]: row["worst"].get("score") for row in rows}
    for file, frame in zip(files, frames, strict=True):
        names = frame["policy"].unique().to_list()
        if not all(isinstance(worst.get(name), float | int) for name in names):
            raise ConfigError(f"{file} and the JSON beside it are not about one team; check that team again")
    # The whole name stands for the method: two teams of one method are two rows of a board.
    held = pl.concat(frames, how="diagonal_relaxed").with_columns(pl.col("policy").alias("method"))
    cards = {(row["name"], one["env"], one["attack"], one["perturbation"]): {**row["about"], "worst": row["worst"]}
             for row in rows for one in row["cells"]}  # fmt: skip
    data = study_data(held, title="Leaderboard", about={"teams": str(len(rows))}, cards=cards)
    data["cells"].sort(key=lambda cell: worst[cell["team"]], reverse=True)
    path = Path(zoo.where) / "board.html" if out is None else out
    appear(path, lambda aside: aside.write_text(study_html(data), encoding="utf-8"))
    return path


def _name(candidate: str, meta: dict[str, Any]) -> str:
    if is_name(candidate):
        return bare(candidate)
    return f"{meta.get('env', '?')}/{Path(candidate).stem}"


def _followed(env: str, meta: dict[str, Any], note: Callable[[str], None]) -> list[str]:
    """Return the perturbations of the protocol that an environment can follow."""
    name = envs.TABLE.resolve(env)
    world, found = envs.made(name, envs.as_recorded(name, meta)), []
    for harm in PERTURBATIONS:
        try:
            perturb(world, harm)
            found.append(harm)
        except ValueError as error:
            note(f"left out: {error}")
    return found


def _unseen(zoo: Zoo, meta: dict[str, Any], env: str) -> list[dict[str, Any]]:
    """Return the zoo's attackers for an environment, by attack, with the folder that they lie in."""
    found: dict[str, dict[str, Any]] = {}
    if not zoo.remote and not (Path(zoo.where) / INDEX).exists():
        return []  # a new folder, for the board alone
    for name, entry in zoo.entries.items():
        if entry["kind"] == "attacker" and entry["env"] == env and entry.get("version") == meta.get("version"):
            found.setdefault(entry["attack"], {"attack": entry["attack"], "folder": zoo.local(name).parent})
    return list(found.values())


def row_of(name: str, meta: dict[str, Any], rows: pl.DataFrame, episodes: int, seed: int) -> dict[str, Any]:
    """Return the numbers of a submission, its worst cell first."""
    wins = rows["win"].null_count() == 0
    score = "win" if wins else "return"
    means = rows.group_by("env", "attack", "perturbation", maintain_order=True).agg(pl.col(score).mean().alias("score"))
    cells = sorted(means.iter_rows(named=True), key=lambda one: one["score"])
    about = {key: meta.get(key) for key in ("env", "version", "method", "seed", "env_steps")}
    about |= {"engine": engine_version(), "ibal": ibal.__version__, "episodes": episodes, "key_seed": seed}
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return {"name": name, "score": score, "worst": cells[0], "cells": cells, "about": about, "checked": day}
