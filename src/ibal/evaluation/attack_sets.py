"""Sets of attacks by one word, for whoever wants "all of them".

names, left_out = expanded(("natural", "all"), teams, bank)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ibal.adversaries import TABLE, built, learns
from ibal.adversaries.base import refusal
from ibal.evaluation.bank import Bank, configuration
from ibal.evaluation.matrix import Team
from ibal.evaluation.suites import PAPER, STANDARD_1
from ibal.nets.agents import Agent

FIXED = {"paper": PAPER, "standard-1": STANDARD_1}
SETS = {
    "standard": "all that need no fitting and can be played here",
    "paper": f"those of the paper's tables: {', '.join(PAPER)}",
    "standard-1": f"a fixed list, the lowest column first: {', '.join(STANDARD_1)}",
    "all": "standard, and those that --attackers has (or --refit fits)",
}


def expanded(names: Sequence[str], teams: Sequence[Team], bank: Bank) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the attacks that ``names`` mean, each once, and what sets leave out, with the reason: "standard" and "all"
    whatever is not there, "standard-1" what a team does not show or a world cannot have.

    Raises ValueError where "paper" or "standard-1" needs attackers that are not there: a table with a hole is not what
    was asked for.
    """
    found: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if name not in SETS:
            found[name] = None
        elif name == "paper":
            _require_fitted(name, teams, bank)
            found |= dict.fromkeys(PAPER)
        else:
            if name in FIXED:
                _require_fitted(name, teams, bank)
            for one in FIXED.get(name, TABLE):
                if learns(configuration(one)[1]) and name == "standard":
                    continue
                if (why := _obstacle(one, teams, bank)) is None:
                    found[one] = None
                else:
                    left_out[one] = why
    return tuple(found), {name: why for name, why in left_out.items() if name not in found}


def playable(names: Sequence[str], teams: Sequence[Team], bank: Bank, note: Callable[[str], None]) -> tuple[str, ...]:
    """Return the attacks that names and sets mean, and tell what sets leave out. Raises ValueError."""
    found, left_out = expanded(names, teams, bank)
    for name, why in left_out.items():
        note(f"leaving out {name}: {why}")
    return found


def _obstacle(name: str, teams: Sequence[Team], bank: Bank) -> str | None:
    """Say why an attack cannot be played on all of the teams; None: it can."""
    config = configuration(name)[1]
    for team in teams:
        try:
            if learns(config) and bank.refit is not None:
                adversary = built(config, team.env.spec)
            else:
                adversary = bank.attack(name, team).adversary
        except ValueError as error:
            return str(error)
        policy = team.player.bind(team.params) if isinstance(team.player, Agent) else team.player
        if missing := refusal(adversary.threat, policy):
            return f'it needs the {missing}, and "{team.policy}" has none'
    return None


def _require_fitted(name: str, teams: Sequence[Team], bank: Bank) -> None:
    if bank.refit is not None:
        return
    missing = [
        n for n in FIXED[name] if learns(configuration(n)[1]) and not all(bank.has(n, t.env.spec) for t in teams)
    ]
    if missing:
        each = "; ".join(f"ibal attack POLICY --attack {name} --out FOLDER" for name in missing)
        raise ValueError(
            f'"{name}" needs attackers of {", ".join(missing)}: fit them ({each}) and name the folder with '
            "--attackers, or add --refit"
        )
