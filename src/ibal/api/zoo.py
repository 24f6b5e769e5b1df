"""What ``ibal zoo check`` does: play a submission again, under the protocol that all are played under."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import ibal
from ibal import envs, reading
from ibal.adversaries import learns
from ibal.api import claims
from ibal.api.evaluate import evaluate
from ibal.api.fit import fit
from ibal.api.given import kept, team_list
from ibal.api.records import Attacker
from ibal.api.watch import watch
from ibal.evaluation.attack_sets import expanded
from ibal.evaluation.bank import Bank, configuration
from ibal.evaluation.felt import badly_fitted
from ibal.evaluation.matrix import as_parquet, engine_version
from ibal.evaluation.results import score_of
from ibal.evaluation.teams import found
from ibal.files import appear, appear_bytes, replace_text
from ibal.game.perturb import perturb
from ibal.nets.bundle import load_policy
from ibal.options import ConfigError
from ibal.report.study import Replay, study_data, study_html
from ibal.zoo import INDEX, Zoo, bare, is_name

CHECKS = "checks"
UNFITTED = ("natural", "random", "fgsm")
PERTURBATIONS = ("none", "dis-1")
REFIT = "interaction"
PROTOCOL = "standard-1"  # a list that never changes: rows of all times can be compared
_WORDS = ("policy", "method", "env", "version", "attack", "perturbation")
_ROWS = dict.fromkeys(_WORDS, pl.String) | {"seed": pl.Int64, "win": pl.Float64, "return": pl.Float64}
_MORE = {"fitted": dict[str, list[dict[str, Any]]], "claims": list[dict[str, Any]]}  # what older checks lack
_CHECK = {"name": str, "score": str, "worst": dict[str, Any], "cells": list[dict[str, Any]], "about": dict[str, Any]}


class Checked(NamedTuple):
    """What a submission came to: ``rows`` of its episodes, its numbers, the worst attack first, and the page that plays
    an episode of its worst cell, "" where none was recorded."""

    name: str
    rows: pl.DataFrame
    row: dict[str, Any]
    replay: str = ""


def check(
    candidate: str, zoo: Zoo, *, episodes: int = 512, seed: int = 0, refit: Sequence[str] = (REFIT,),
    results: Path | None = None, note: Callable[[str], None] = lambda message: None,
) -> Checked:  # fmt: skip
    """Play a team under what of ``standard-1`` needs no fitting, under the zoo's attackers (those that have not met
    it), and under attackers that are fitted to it; each in an undisturbed world, and some also with an agent that
    stands still.
    Then play again what is claimed of it: by its entry, or by the evaluation in the folder ``results``.

    ``candidate`` is a bundle, a run folder or a name of the zoo. Where ``zoo`` has no attackers for its environment,
    those of ``zoo:`` play. Raises ConfigError for what cannot be played.
    """
    try:
        policy = load_policy(candidate)
        files = [one.file for one in found(candidate)]
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise ConfigError(str(error)) from error
    env = str(policy.meta.get("env", ""))
    if not env:
        raise ConfigError(f"{candidate} does not say which environment it plays; a submission is a bundle")
    if len(files) != 1 or files[0] is None:
        raise ConfigError(f"{candidate} is {len(files)} teams; check them one by one, by their bundles")
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    name = _name(candidate, policy.meta)
    # Before anything is played: a zoo or a claim that cannot be read is told at once.
    places = _places(zoo)
    unseen = _unseen(places, policy.meta, env, digest)
    said = _claims(candidate, results, digest)
    given: dict[str, Any] = {"episodes": episodes, "seed": seed, "quiet": True, "note": note}
    parts = [evaluate({name: candidate}, list(UNFITTED), _followed(env, policy.meta, note), **given).rows]
    standard, left_out = _standard(candidate, {*unseen, *refit}, note)
    parts.append(evaluate({name: candidate}, standard, **given).rows)
    fitted: dict[str, list[dict[str, Any]]] = {}
    for attack, attackers in unseen.items():
        fitted[f"{attack} (unseen)"] = [{"attacker": one.name, **one.entry.get("fitted", {})} for one in attackers]
        rows = _under(attack, attackers, {name: candidate}, "none", given)
        parts.append(rows.with_columns(pl.lit(f"{attack} (unseen)").alias("attack")))
    refitted: dict[str, Attacker] = {}
    for attack in refit:
        attacker = refitted[f"{attack} (refitted)"] = fit(attack, candidate, quiet=True)
        fitted[f"{attack} (refitted)"] = [dict(attacker.meta)]
        parts.append(evaluate({name: candidate}, {f"{attack} (refitted)": attacker}, **given).rows)
    rows = pl.concat(parts, how="diagonal_relaxed")
    row = row_of(name, policy.meta, rows, episodes, seed) | {"fitted": fitted}
    row["about"] |= {"protocol": PROTOCOL, "left_out": ", ".join(left_out) or None}
    again = [_replayed(one, rows, places, {name: candidate}, given) for one in said]
    row["claims"] = [claims.verdict(one, of, len(said)) for one, of in zip(said, again, strict=True)]
    return Checked(name, rows, row, _replay(candidate, row, unseen, refitted, seed, note))


def _standard(
    candidate: str, learned: Collection[str], note: Callable[[str], None]
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Return the attacks of the protocol that need no fitting and are no part of ``UNFITTED``, and what of the protocol
    is not played: what the team does not show or its world cannot have, and what learns and is not in ``learned``."""

    def later(*args: Any) -> Path:
        raise ValueError("nothing is fitted here")

    possible, why = expanded([PROTOCOL], team_list(candidate, None, note), Bank(refit=later, build=kept))
    for attack, reason in why.items():
        note(f"leaving out {attack}: {reason}")
    learning = [attack for attack in possible if learns(configuration(attack)[1])]
    found = [attack for attack in possible if attack not in (*learning, *UNFITTED)]
    return found, [*why, *(attack for attack in learning if attack not in learned)]


def _replay(
    candidate: str, row: Mapping[str, Any], unseen: Mapping[str, Sequence[_Kept]], refitted: Mapping[str, Attacker],
    seed: int, note: Callable[[str], None],
) -> str:  # fmt: skip
    """Return the page that plays the first episode of the worst cell; "" where it cannot be played alone."""
    worst = row["worst"]
    attack, harm = worst["attack"].removesuffix(" (unseen)"), worst["perturbation"]
    more: dict[str, Any] = {
        "perturbation": harm,
        "seed": seed,
        "quiet": True,
        "title": f"{worst['env']}: {row['name']}",
    }
    try:
        if worst["attack"] in refitted:
            return watch(candidate, refitted[worst["attack"]], **more).html
        if attack != worst["attack"]:
            with _aside(unseen[attack]) as folder:
                return watch(candidate, attack, attackers=folder, **more).html
        return watch(candidate, attack, **more).html
    except (ConfigError, OSError) as error:
        note(f"no episode is kept to be watched: {error}")
        return ""


class _Kept(NamedTuple):
    """An attacker of a zoo."""

    zoo: Zoo
    name: str
    entry: dict[str, Any]


def _places(zoo: Zoo) -> list[list[_Kept]]:
    """Return the attackers of a zoo, and then those of ``zoo:``, if there is another one."""
    places = [zoo] if zoo.remote or (Path(zoo.where) / INDEX).exists() else []  # a new folder is for the board alone
    with suppress(ConfigError):
        if all(Zoo().where != place.where for place in places):
            places.append(Zoo())
    return [[_Kept(place, name, one) for name, one in sorted(place.entries.items()) if one["kind"] == "attacker"]
            for place in places]  # fmt: skip


def _unseen(
    places: Sequence[Sequence[_Kept]], meta: Mapping[str, Any], env: str, digest: str
) -> dict[str, list[_Kept]]:
    """Return the attackers for an environment by attack, without those that were fitted to this very team: of the
    first zoo that has any."""
    for place in places:
        out: dict[str, list[_Kept]] = {}
        for one in place:
            attack, version = one.entry.get("attack"), one.entry.get("version")
            met = one.entry.get("fitted", {}).get("victim_sha256") == digest
            if attack and one.entry["env"] == env and version == meta.get("version") and not met:
                out.setdefault(attack, []).append(one)
        if out:
            return out
    return {}


def _claims(candidate: str, results: Path | None, digest: str) -> list[dict[str, Any]]:
    """Return what is claimed of a team. Raises ConfigError."""
    if results is not None:
        return claims.read(claims.of_evaluation(results, digest), str(results))
    if is_name(candidate):
        return claims.read(Zoo().entry(bare(candidate)).get("claims", []), candidate)
    return []


def _replayed(
    claim: Mapping[str, Any], rows: pl.DataFrame, places: Sequence[Sequence[_Kept]], team: Mapping[str, str],
    given: Mapping[str, Any],
) -> pl.DataFrame | None:  # fmt: skip
    """Return episodes of what a claim is about: those that were played already, or new ones; None without its
    attackers."""
    attack, harm = claim["attack"], claim["perturbation"]
    if wanted := claim["attackers"]:
        by_hash = {one.entry["sha256"]: one for place in places for one in place}
        held = [by_hash[sha256] for sha256 in wanted if sha256 in by_hash]
        return _under(attack, held, team, harm, given) if len(held) == len(wanted) else None
    done = rows.filter((pl.col("attack") == attack) & (pl.col("perturbation") == harm))
    return done if done.height else evaluate(team, attack, harm, **given).rows


def _under(
    attack: str, attackers: Sequence[_Kept], team: Mapping[str, str], perturbation: str, given: Mapping[str, Any]
) -> pl.DataFrame:
    """Play a team under these attackers and no others."""
    with _aside(attackers) as folder:
        return evaluate(team, attack, perturbation, attackers=folder, **given).rows


@contextmanager
def _aside(attackers: Sequence[_Kept]) -> Generator[str]:
    """Give a folder that holds these attackers alone."""
    with tempfile.TemporaryDirectory(prefix="ibal-") as folder:
        for i, one in enumerate(attackers):
            file = one.zoo.local(one.name)
            for suffix in (".safetensors", ".json"):
                shutil.copyfile(file.with_suffix(suffix), Path(folder) / f"{i:04d}{suffix}")
        yield folder


def keep(done: Checked, zoo: Zoo) -> Path:
    """Write a row and its episodes into a zoo that is a folder, and the board anew. Returns the board's page."""
    if zoo.remote:
        raise ConfigError(f"{zoo.where} is read only here; name a folder with --zoo")
    home = Path(zoo.where) / CHECKS
    home.mkdir(parents=True, exist_ok=True)
    stem = done.name.replace("/", "-")
    appear_bytes(home / f"{stem}.parquet", as_parquet(done.rows))
    replace_text(home / f"{stem}.json", json.dumps(done.row, indent=1) + "\n")
    if done.replay:
        replace_text(home / f"{stem}.html", done.replay)
    else:
        (home / f"{stem}.html").unlink(missing_ok=True)  # of an earlier check
    return board(zoo)


def board(zoo: Zoo, out: Path | None = None) -> Path:
    """Write the page of all that was checked, and return its path. Raises ConfigError where nothing was."""
    home = Path(zoo.where) / CHECKS
    files = sorted(home.glob("*.parquet"))
    if zoo.remote or not files:
        raise ConfigError(f"nothing was checked into {zoo.where} yet: ibal zoo check CANDIDATE --zoo FOLDER")
    frames = [reading.frame(reading.content(file), str(file), _ROWS, others=True) for file in files]
    rows = [reading.table(file.with_suffix(".json"), _CHECK, _MORE) for file in files]
    worst = {row["name"]: row["worst"].get("score") for row in rows}
    for file, frame in zip(files, frames, strict=True):
        names = frame["policy"].unique().to_list()
        if not all(isinstance(worst.get(name), float | int) for name in names):
            raise ConfigError(f"{file} and the JSON beside it are not about one team; check that team again")
    # The whole name stands for the method: two teams of one method are two rows of a board.
    held = _lowest_first(pl.concat(frames, how="diagonal_relaxed").with_columns(pl.col("policy").alias("method")))
    cards = {(row["name"], one["env"], one["attack"], one["perturbation"]): _card(row, one)
             for row in rows for one in row["cells"]}  # fmt: skip
    wrong = [row["name"] for row in rows if any(one.get("holds") is False for one in row.get("claims", ()))]
    about = {"teams": str(len(rows))} | ({"claims that did not hold": ", ".join(wrong)} if wrong else {})
    data = study_data(held, title="Leaderboard", about=about, cards=cards)
    data["cells"].sort(key=lambda cell: worst[cell["team"]], reverse=True)
    data["board"] = sorted(map(_place, rows), key=_rank)
    replays = [one for row, file in zip(rows, files, strict=True)
               for one in _kept_replay(row, file.with_suffix(".html"), data["cells"])]  # fmt: skip
    path = Path(zoo.where) / "board.html" if out is None else out
    appear(path, lambda aside: aside.write_text(study_html(data, replays=replays), encoding="utf-8"))
    return path


def _lowest_first(rows: pl.DataFrame) -> pl.DataFrame:
    """Put the column first (an attack with a perturbation) that leaves least over all teams."""
    return rows.sort(pl.col(score_of(rows)).mean().over("attack", "perturbation"), maintain_order=True)


def _rank(place: Mapping[str, Any]) -> tuple[Any, ...]:
    """Order the ranking: by what the worst attack leaves; where that is equal, whose claims held, then undisturbed."""
    return place["env"], -place["worst"], place["wrong"] > 0, -(place["natural"] or 0.0), place["team"]


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the ranking; win rates in percent."""
    about, scale = row["about"], 100.0 if row["score"] == "win" else 1.0
    calm = [one["score"] for one in row["cells"]
            if (one["attack"], one["perturbation"]) == ("natural", "none")]  # fmt: skip
    said = [one.get("holds") for one in row.get("claims", ())]
    worst = row["worst"]
    return {
        "team": row["name"], "env": worst.get("env") or about.get("env"), "version": about.get("version"),
        "method": about.get("method"), "steps": about.get("env_steps"), "score": row["score"],
        "worst": scale * worst["score"], "under": f"{worst.get('attack')}, {worst.get('perturbation')}",
        "natural": scale * calm[0] if calm else None, "claims": len(said), "held": said.count(True),
        "wrong": said.count(False), "checked": row.get("checked"), "engine": about.get("ibal"),
    }  # fmt: skip


def _kept_replay(row: Mapping[str, Any], file: Path, cells: Sequence[Mapping[str, Any]]) -> list[Replay]:
    """Return the episode of a team's worst cell, where one was kept."""
    which = tuple(row["worst"].get(name) for name in ("env", "attack", "perturbation"))
    at = [i for i, cell in enumerate(cells)
          if cell["team"] == row["name"] and (cell["env"], cell["attack"], cell["perturbation"]) == which]  # fmt: skip
    if not at or not file.is_file():
        return []
    return [Replay(at[0], "the first one", reading.content(file).decode("utf-8", errors="replace"))]


def _card(row: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is behind a cell of the board."""
    fitted = row.get("fitted", {}).get(cell["attack"], [])
    about = {**row["about"], "worst": row["worst"]}
    about |= {"fitted to": fitted, "badly fitted": any(map(badly_fitted, fitted))} if fitted else {}
    said = [one for one in row.get("claims", ())
            if (one.get("attack"), one.get("perturbation")) == (cell["attack"], cell["perturbation"])]  # fmt: skip
    return about | ({"claim": claims.told(said[0])} if said else {})


def _name(candidate: str, meta: dict[str, Any]) -> str:
    if is_name(candidate):
        return bare(candidate)
    return f"{meta.get('env', '?')}/{Path(candidate).stem}"


def _followed(env: str, meta: dict[str, Any], note: Callable[[str], None]) -> list[str]:
    """Return the perturbations of the protocol that an environment can follow."""
    name = envs.TABLE.resolve(env)
    world, followed = envs.made(name, envs.as_recorded(name, meta)), []
    for harm in PERTURBATIONS:
        try:
            perturb(world, harm)
            followed.append(harm)
        except ValueError as error:
            note(f"left out: {error}")
    return followed


def row_of(name: str, meta: dict[str, Any], rows: pl.DataFrame, episodes: int, seed: int) -> dict[str, Any]:
    """Return the numbers of a submission, its worst cell first."""
    score = score_of(rows)
    means = rows.group_by("env", "attack", "perturbation", maintain_order=True).agg(pl.col(score).mean().alias("score"))
    cells = sorted(means.iter_rows(named=True), key=lambda one: one["score"])
    about = {key: meta.get(key) for key in ("env", "version", "method", "seed", "env_steps")}
    about |= {"engine": engine_version(), "ibal": ibal.__version__, "episodes": episodes, "key_seed": seed}
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return {"name": name, "score": score, "worst": cells[0], "cells": cells, "about": about, "checked": day}
