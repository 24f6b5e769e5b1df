"""Attackers that are fitted to the very team they attack (white box), once each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ibal.evaluation import sources
from ibal.evaluation.bank import described, is_own
from ibal.evaluation.matrix import Team
from ibal.experiments import fitting
from ibal.experiments.fitting import FitPlan


def refitting(folder: Path, note: Callable[[str], None]) -> Callable[[str, Any, Team], Path]:
    """Return what fits an attack to a team, or finds that this was done before: with these weights, there, with these
    options, by these sources. What is the user's own code is fitted anew every time, as its cells are played anew."""
    by = sources.digest(("ibal.experiments.fitting", "ibal.envs"), jax.__version__)

    def refit(attack: str, config: Any, team: Team) -> Path:
        decides = f"{team.world} {described(config)} {FitPlan()} {by}"
        key = f"{team.digest[:12]}-{hashlib.sha256(decides.encode()).hexdigest()[:12]}"
        path = folder / f"{attack.replace(':', '.')}-{key}.safetensors"
        if team.own or is_own(config) or not path.with_suffix(".json").exists():
            note(f"fitting {attack} to {team.policy} …")
            fitting.save_fitted(path, attack, config, team, FitPlan())
        return path

    return refit
