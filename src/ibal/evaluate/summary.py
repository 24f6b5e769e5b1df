"""From rows of episodes to the numbers of a table: rates, returns, their intervals, the worst case over attacks.

An entry is one policy (all its seeds) in one environment under one perturbation and one attack, or under

``worst``   the minimum over all attacks played, episode by episode: an attacker that may choose, as a defender's score
            is its weakest one. All attacks meet the same episodes, so the minimum is within one world. An attacker may
            also leave the team alone, hence ``natural`` counts where it was played.
``mean``    the mean over all attacks, ``natural`` among them, as the paper's tables count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ibal.evaluate import stats
from ibal.files import appear

EXTRA = ("worst", "mean")
_GROUP = ("policy", "method", "env", "perturbation")


def summarise(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one entry per policy, perturbation and attack, in the order of the rows, with ``worst`` and ``mean`` after
    the attacks where there are several.

    win_rate and return: the mean over all episodes; ``_sd``: standard deviation over the seeds' means (None for one);
    ``_per_seed``; ``_interval``: 95 % bootstrap over episodes within each seed; win_rate_wilson: 95 % of the pooled
    episodes, None for a mean over attacks. Win rates are None where nothing can be won. attacked and length: means.
    """
    entries: list[dict[str, Any]] = []
    for names, group in rows.group_by(_GROUP, maintain_order=True):
        about = dict(zip(_GROUP, names, strict=True))
        seeds = group["seed"].unique(maintain_order=True).to_list()
        attacks = group["attack"].unique(maintain_order=True).to_list()
        scores = {
            column: {attack: [_of(group, attack, seed, column) for seed in seeds] for attack in attacks}
            for column in ("win", "return")
            if group[column].null_count() == 0
        }
        for attack in attacks:
            played = group.filter(pl.col("attack") == attack)
            entry = about | {"attack": attack, "seeds": seeds, "episodes": played.height}
            entry |= _numbers({column: found[attack] for column, found in scores.items()})
            entries.append(entry | {"length": played["length"].mean(), "attacked": played["attacked"].mean()})
        for extra in EXTRA if len(attacks) > 1 else ():
            over = {column: _over(extra, list(found.values())) for column, found in scores.items()}
            entry = about | {"attack": extra, "seeds": seeds, "episodes": sum(map(len, over["return"]))}
            entries.append(entry | _numbers(over) | {"length": None, "attacked": None})
    return entries


def write_json(data: Any, path: Path) -> None:
    """Write a file that is complete or not there."""
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    appear(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def _of(group: pl.DataFrame, attack: str, seed: int | None, column: str) -> np.ndarray:
    chosen = group.filter((pl.col("attack") == attack) & pl.col("seed").eq_missing(seed)).sort("episode")
    return chosen[column].cast(pl.Float64).to_numpy()


def _over(how: str, attacks: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Combine attacks episode by episode; ``attacks[k][s]`` are the episodes of seed ``s`` under attack ``k``."""
    combine = np.min if how == "worst" else np.mean
    return [combine(np.stack(of_seed), axis=0) for of_seed in zip(*attacks, strict=True)]


def _numbers(scores: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for column, name in (("win", "win_rate"), ("return", "return")):
        found = scores.get(column)
        if found is None:
            out |= dict.fromkeys((name, f"{name}_sd", f"{name}_per_seed", f"{name}_interval"))
            continue
        _, sd = stats.over_seeds([episodes.mean() for episodes in found])
        out |= {
            name: float(stats.pooled_mean(found)),
            f"{name}_sd": sd,
            f"{name}_per_seed": [float(episodes.mean()) for episodes in found],
            f"{name}_interval": list(stats.bootstrap(found, stats.pooled_mean)),
        }
    return out | {"win_rate_wilson": _wilson(scores.get("win"))}


def _wilson(wins: list[np.ndarray] | None) -> list[float] | None:
    """Wilson's interval where every episode was won or lost; a mean over attacks lies between."""
    if wins is None:
        return None
    pooled = np.concatenate(wins)
    return list(stats.wilson(int(pooled.sum()), pooled.size)) if np.isin(pooled, (0.0, 1.0)).all() else None
