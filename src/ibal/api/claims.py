"""What somebody says of a team, and whether it holds when that is played again.

    claims = of_evaluation(Path("evaluations/mine"), sha256)      # of the team with these weights
    verdict(claim, rows, of=len(claims))                          # {"claimed": .98, "replayed": .61, "holds": False, …}

A claim is a mean with its interval, the attack, the perturbation, how many episodes of which seed it is of, and which
attackers were played (by the hash of their weights; none for an attack that learns nothing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import polars as pl

from ibal import reading
from ibal.evaluation import stats
from ibal.evaluation.bank import configuration
from ibal.evaluation.results import read_episodes, score_of
from ibal.evaluation.summary import can_be_won
from ibal.game.perturb import checked
from ibal.options import ConfigError
from ibal.registry import quoted

MOST = 64  # claims of a team
_CLAIM = {
    "attack": str, "perturbation": str, "score": str, "mean": float, "interval": list[float] | None, "episodes": int,
    "attackers": list[str],
}  # fmt: skip
_CARD = {"policies": list[dict[str, Any]], "attacks": list[dict[str, Any]], "key_seed": int}


def of_evaluation(folder: Path, sha256: str) -> list[dict[str, Any]]:
    """Return what an evaluation's folder says of the team with these weights: a claim per attack and perturbation.

    Raises ConfigError where it is none, or of other teams.
    """
    try:
        rows = read_episodes(folder)
        card = reading.table(folder / "card.json", _CARD)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} is no evaluation that ibal evaluate --out has written: {error}") from error
    mine = [one for one in card["policies"] if one.get("sha256") == sha256]
    if not mine:
        raise ConfigError(f"{folder} is an evaluation of other weights; play these: ibal evaluate BUNDLE --out FOLDER")
    who = (pl.col("policy") == str(mine[0].get("policy"))) & pl.col("seed").eq_missing(mine[0].get("seed"))
    fitted = {one.get("attack"): [str(each["sha256"]) for each in one.get("fitted", ())] for one in card["attacks"]}
    claims: list[dict[str, Any]] = []
    for (attack, harm), cell in rows.filter(who).group_by("attack", "perturbation", maintain_order=True):
        score = score_of(cell)
        rate = score == "win"
        found = stats.sample([cell[score].cast(pl.Float64).to_numpy()], rate=rate)
        claims.append({
            "attack": attack, "perturbation": harm, "score": "win_rate" if rate else "return", "mean": found.mean,
            "interval": stats.ends(found), "episodes": cell.height, "key_seed": card["key_seed"],
            "attackers": fitted.get(attack, []),
        })  # fmt: skip
    return claims


def read(claims: Sequence[Mapping[str, Any]], where: str) -> list[dict[str, Any]]:
    """Return the claims of a file, held to their types: they may be a stranger's, and name nothing that is code.

    Raises ConfigError.
    """
    if len(claims) > MOST:
        raise ConfigError(f"{where} makes {len(claims)} claims; at most {MOST} are played again")
    try:
        found = [reading.entries(one, f"{where}: claim {i}", _CLAIM) for i, one in enumerate(claims)]
    except reading.Unreadable as error:
        raise ConfigError(str(error)) from error
    for one in found:
        for word in (one["attack"], one["perturbation"]):
            if ":" in word:
                raise ConfigError(f"{where}: {quoted(word)} is code, and no file may name code as its attack")
        try:
            configuration(one["attack"])
            checked(one["perturbation"])
        except ValueError as error:
            raise ConfigError(f"{where}: nobody can play this claim again: {error}") from error
        if one["score"] not in ("win_rate", "return") or one["episodes"] < 1:
            raise ConfigError(f"{where}: the claim about {quoted(one['attack'])} is not one about episodes")
        _check_numbers(one, where)
    return found


def _check_numbers(claim: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for a mean or an interval that no episodes can have."""
    mean, ends = claim["mean"], claim["interval"]
    numbers = [mean, *(ends or ())]
    whole = all(map(math.isfinite, numbers)) and (ends is None or (len(ends) == 2 and ends[0] <= ends[1]))
    if not whole or (claim["score"] == "win_rate" and not 0 <= mean <= 1):
        raise ConfigError(
            f"{where}: the claim about {quoted(claim['attack'])} is {mean} with the interval {ends}; a number (a share "
            "of games from 0 to 1) and its two ends, the lower first, were expected"
        )


def verdict(claim: Mapping[str, Any], rows: pl.DataFrame | None, of: int) -> dict[str, Any]:
    """Compare a claim with the episodes of its cell; None: they could not be played.

    It holds unless the difference is one that chance brings in one of twenty honest teams with ``of`` claims: two
    shares of games are compared by their pooled error, two returns by the error of each, at 1 - 0.05 / of (Bonferroni).
    """
    said = {"attack": claim["attack"], "perturbation": claim["perturbation"], "score": claim["score"],
            "claimed": claim["mean"], "claimed_interval": claim["interval"]}  # fmt: skip
    if rows is None:
        return said | {"replayed": None, "replayed_interval": None, "holds": None}
    rate = claim["score"] == "win_rate"
    if rate and not can_be_won(rows):
        return said | {"replayed": None, "replayed_interval": None, "holds": False}  # nothing can be won there
    found = stats.sample([rows["win" if rate else "return"].cast(pl.Float64).to_numpy()], rate=rate)
    near = abs(found.mean - claim["mean"]) <= _limit(claim, found, rate, of) + 1e-9
    return said | {"replayed": found.mean, "replayed_interval": stats.ends(found), "holds": bool(near)}


def _limit(claim: Mapping[str, Any], found: stats.Sample, rate: bool, of: int) -> float:
    """Return how far the two means may be apart."""
    if rate:
        theirs, ours = claim["episodes"], int(found.episodes)
        pooled = (theirs * claim["mean"] + ours * found.mean) / (theirs + ours)
        error = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / theirs + 1 / ours))
    else:
        low, high = claim["interval"] or (claim["mean"], claim["mean"])
        error = math.hypot((high - low) / 2 / stats.Z95, math.sqrt(float(found.within)))
    return NormalDist().inv_cdf(1 - 0.025 / max(of, 1)) * error


def told(found: Mapping[str, Any]) -> str:
    """Return a line about a verdict."""
    if found["holds"] is None:
        return f"claimed {_number(found, 'claimed')}, not replayed: its attackers are in no zoo here"
    word = "holds" if found["holds"] else "WRONG"
    return f"claimed {_number(found, 'claimed')}, replayed {_number(found, 'replayed')}: {word}"


def _number(found: Mapping[str, Any], name: str) -> str:
    if found[name] is None:
        return "nothing"
    ends = found[f"{name}_interval"]
    return f"{found[name]:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
