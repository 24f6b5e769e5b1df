"""From rows of episodes to the numbers of a table: rates, returns, their intervals, the worst of several attacks.

An entry is one policy (all its seeds) in one environment under one perturbation and one attack, or under

``worst attack``       the attack that leaves least on average, and what it leaves: an attacker that may choose, as a
                       defender's score is its weakest one. An attacker may also leave the team alone, hence ``natural``
                       counts where it was played. ``of`` names the attack; its interval stands with that attack, since
                       the least of several is no mean, and the interval of a mean does not hold for it.
``hindsight minimum``  the mean of the least score of every episode over all attacks: an attacker that knows how each
                       game would end. No real one does: it falls with every attack added and has luck in it. All
                       attacks meet the same episodes, so the minimum is within one world.
``mean``               the mean over all attacks, ``natural`` among them, as the paper's tables count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from ibal.evaluation import stats
from ibal.files import appear

WORST, HINDSIGHT, MEAN = "worst attack", "hindsight minimum", "mean"
EXTRA = (WORST, HINDSIGHT, MEAN)
_GROUP = ("policy", "method", "env", "perturbation")


def can_be_won(rows: pl.DataFrame) -> bool:
    """Say whether all of these episodes can be won, and so have a win rate."""
    return "win" in rows.columns and rows["win"].null_count() == 0


def summarise(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one entry per policy, perturbation and attack, in the order of the rows, with those of ``EXTRA`` after the
    attacks where there are several.

    win_rate and return: the mean over the seeds' means; ``_sd``: standard deviation over these (None for one);
    ``_per_seed``; ``_interval``: 95 %, by the rule of ``evaluate.stats``, None for the worst attack. Win rates are None
    where nothing can be won. length, attacked (share of the living agents' turns that the attack touched) and replaced
    (share of their actions that it replaced): means.
    """
    entries: list[dict[str, Any]] = []
    by = [*_GROUP, *(name for name in ("version",) if name in rows.columns)]
    for names, group in rows.group_by(by, maintain_order=True):
        about: dict[str, Any] = dict(zip(by, names, strict=True))
        seeds = group["seed"].unique(maintain_order=True).to_list()
        attacks = group["attack"].unique(maintain_order=True).to_list()
        scores = {
            column: {attack: [_of(group, attack, seed, column) for seed in seeds] for attack in attacks}
            for column in (("win", "return") if can_be_won(group) else ("return",))
        }
        about["seeds"] = seeds
        played: list[dict[str, Any]] = []
        for attack in attacks:
            of_attack = group.filter(pl.col("attack") == attack)
            entry = about | {"attack": attack, "episodes": of_attack.height}
            entry |= _numbers({column: found[attack] for column, found in scores.items()})
            played.append(entry | {name: _mean(of_attack, name) for name in _MEANS})
        entries += played
        if len(attacks) < 2:
            continue
        entries.append(_worst(played))
        for extra, combine in ((HINDSIGHT, np.min), (MEAN, np.mean)):
            over = {column: _over(combine, list(found.values())) for column, found in scores.items()}
            entry = about | {"attack": extra, "episodes": sum(map(len, over["return"]))}
            entries.append(entry | _numbers(over) | dict.fromkeys(_MEANS))
    return entries


_MEANS = ("length", "attacked", "replaced")


def _mean(rows: pl.DataFrame, name: str) -> float | None:
    """Evaluations of earlier versions lack some columns."""
    return cast("float | None", rows[name].mean()) if name in rows.columns else None


def _worst(played: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry of the attack that leaves least, under its other name."""
    score = "return" if played[0]["win_rate"] is None else "win_rate"
    lowest = min(played, key=lambda entry: entry[score])
    return lowest | {"attack": WORST, "of": lowest["attack"], "win_rate_interval": None, "return_interval": None}


def write_json(data: Any, path: Path) -> None:
    """Write a file that is complete or not there."""
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    appear(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def of_teams(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one entry per team (every seed by itself), attack and perturbation, in the order of the rows: who played
    where, and what ``of_team`` says."""
    by = ["policy", "seed", "env", "version", "attack", "perturbation"]
    return [
        {**dict(zip(by, names, strict=True)), **of_team(mine)} for names, mine in rows.group_by(by, maintain_order=True)
    ]


def of_team(rows: pl.DataFrame) -> dict[str, Any]:
    """Return win rate, return and length of one team's episodes with 95 % intervals by the rule of ``stats``; no win
    rate where nothing can be won, no interval where one episode tells of no other."""
    out: dict[str, Any] = {"episodes": rows.height, "win_rate": None, "win_rate_interval": None}
    scores = {"win_rate": "win"} if can_be_won(rows) else {}
    for name, column in (scores | {"return": "return", "length": "length"}).items():
        found = stats.sample([rows[column].cast(pl.Float64).to_numpy()], rate=name == "win_rate")
        out |= {name: found.mean, f"{name}_interval": stats.ends(found)}
    return out


def _of(group: pl.DataFrame, attack: str, seed: int | None, column: str) -> np.ndarray:
    chosen = group.filter((pl.col("attack") == attack) & pl.col("seed").eq_missing(seed)).sort("episode")
    return chosen[column].cast(pl.Float64).to_numpy()


def _over(combine: Callable[..., Any], attacks: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Combine attacks episode by episode; ``attacks[k][s]`` are the episodes of seed ``s`` under attack ``k``."""
    return [combine(np.stack(of_seed), axis=0) for of_seed in zip(*attacks, strict=True)]


def _numbers(scores: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for column, name in (("win", "win_rate"), ("return", "return")):
        found = scores.get(column)
        if found is None:
            out |= dict.fromkeys((name, f"{name}_sd", f"{name}_per_seed", f"{name}_interval"))
            continue
        means = [float(episodes.mean()) for episodes in found]
        mean, sd = stats.over_seeds(means)
        ends = stats.ends(stats.sample(found, rate=column == "win"))
        out |= {name: mean, f"{name}_sd": sd, f"{name}_per_seed": means, f"{name}_interval": ends}
    return out
