"""The result card of an evaluation: what was attacked, with which knowledge, and what remained.

A number without it says little: "robust" means against these attackers, who may see this and change that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jax

import ibal
from ibal.evaluation.matrix import Attack, Cell, Plan, engine_version
from ibal.evaluation.summary import EXTRA, HINDSIGHT


def card(cells: Sequence[Cell], plan: Plan, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the card as what JSON can hold; ``entries`` are those of ``summarise``."""
    teams = {(c.team.policy, c.team.seed): c.team for c in cells}
    attacks: dict[tuple[str, str], list[Attack]] = {}  # several where each team has an attacker of its own
    for c in cells:
        attacks.setdefault((c.attack.name, c.team.env.spec.name), []).append(c.attack)
    return {
        "versions": {"ibal": ibal.__version__, "engine": engine_version(), "jax": jax.__version__},
        "rules": {c.team.env.spec.name: c.team.env.spec.version for c in cells},
        "device": jax.devices()[0].device_kind,
        "episodes": plan.episodes,
        "key_seed": plan.seed,
        "perturbations": list(dict.fromkeys(c.perturbation for c in cells)),
        "policies": [
            {
                "policy": t.policy,
                "method": t.method,
                "seed": t.seed,
                "env": t.env.spec.name,
                "version": t.env.spec.version,
                "sha256": t.digest,
                **t.about,
            }
            for t in teams.values()
        ],
        "attacks": [
            {"attack": name, "env": env, "threat": asdict(same[0].adversary.threat), **_learned(same)}
            for (name, env), same in attacks.items()
        ],
        "remained": [_remained(group) for group in _by_policy(entries)],
    }


def _learned(attacks: Sequence[Attack]) -> dict[str, Any]:
    """Put together what is known of one attack over all teams: those of different teams may be fitted differently."""
    fitted = {one["sha256"]: one for attack in attacks for one in attack.about.get("fitted", ())}
    out = {"attackers": len(fitted) or len(attacks[0].attackers), **attacks[0].about}
    return out | ({"fitted": list(fitted.values())} if fitted else {})


def _by_policy(entries: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault((entry["policy"], entry["env"]), []).append(entry)
    return list(groups.values())


def _remained(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the weakest cell of a policy left: of its win rate, or of its return where nothing can be won; and beside it
    the lowest ``hindsight minimum`` of its perturbations, which no attacker reaches (None: one attack was played)."""
    score = "return" if entries[0]["win_rate"] is None else "win_rate"
    played = [entry for entry in entries if entry["attack"] not in EXTRA]
    calm = [entry for entry in played if entry["attack"] == "natural" and entry["perturbation"] == "none"]
    weakest = min(played, key=lambda entry: entry[score])
    hindsight = [entry[score] for entry in entries if entry["attack"] == HINDSIGHT]
    return {
        "policy": weakest["policy"],
        "env": weakest["env"],
        "score": score,
        "undisturbed": calm[0][score] if calm else None,
        "weakest": weakest[score],
        "attack": weakest["attack"],
        "perturbation": weakest["perturbation"],
        "hindsight_minimum": min(hindsight, default=None),
    }
