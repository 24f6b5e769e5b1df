"""How well an attack was fitted: what it costs the very team that it has learned of.

    check_of(rows)                  # {"episodes": 256, "score": "win_rate", "natural": 0.98, "attacked": 0.12, …}
    badly_fitted(attacker.meta)     # its own victim plays as well as alone: it tells nothing of other teams either

An attacker that does no harm makes every team look robust. Importing this module imports no jax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

CHECK = "check"  # its name in an attacker's card
MARK = "†"


def check_of(rows: pl.DataFrame) -> dict[str, Any]:
    """Return what an attack costs the one team of ``rows`` (those of ``ibal.evaluate``), which played as many episodes
    under "natural" as under the attack: "natural", "attacked", "lost" (natural - attacked) and its 95 % interval by the
    rule of ``stats``, None where one episode tells nothing of others."""
    from ibal.evaluation import stats
    from ibal.evaluation.results import score_of

    column = score_of(rows)
    wins = column == "win"
    calm, attacked = (
        stats.sample([rows.filter((rows["attack"] == "natural") == quiet)[column].to_numpy()], rate=wins)
        for quiet in (True, False)
    )
    lost, low, high = stats.difference(calm, attacked)
    return {
        "episodes": int(calm.episodes), "score": "win_rate" if wins else "return", "natural": calm.mean,
        "attacked": attacked.mean, "lost": lost,
        "lost_interval": [low, high] if math.isfinite(low) and math.isfinite(high) else None,
    }  # fmt: skip


def badly_fitted(meta: Mapping[str, Any]) -> bool:
    """Say whether an attacker's card tells that its own victim does not lose by it: the interval of what it loses holds
    0. False where the card tells nothing of it."""
    check = meta.get(CHECK)
    ends = check.get("lost_interval") if isinstance(check, Mapping) else None
    low = ends[0] if isinstance(ends, list | tuple) and ends else None
    return isinstance(low, int | float) and low <= 0


def told(meta: Mapping[str, Any]) -> str:
    """Return to whom an attacker was fitted and what that team loses, as far as its card says."""
    victim = f"fitted to {meta['victim']}" if isinstance(meta.get("victim"), str) else "fitted"
    check = meta.get(CHECK)
    if not isinstance(check, Mapping):
        return victim
    before, after = check.get("natural"), check.get("attacked")
    if not (isinstance(before, int | float) and isinstance(after, int | float)):
        return victim
    what = "win rate" if check.get("score") == "win_rate" else "return"
    return f"{victim} ({what} {before:.2f} → {after:.2f}{', badly fitted' if badly_fitted(meta) else ''})"
