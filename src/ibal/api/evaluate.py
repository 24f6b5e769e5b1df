"""``ibal.evaluate``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ibal.api.given import Attacks, GivenAttack, GivenEnv, GivenTeam, attack_list, kept, team_list
from ibal.api.records import Evaluation
from ibal.api.telling import telling
from ibal.evaluation import results
from ibal.evaluation.attack_sets import playable
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Cell, Plan, Team, cells
from ibal.experiments.refit import refitting
from ibal.files import claimed
from ibal.game.perturb import checked
from ibal.options import ConfigError
from ibal.registry import UnknownName


def evaluate(
    teams: GivenTeam | Sequence[GivenTeam] | Mapping[str, Any],
    attacks: GivenAttack | Sequence[GivenAttack] | Mapping[str, Any] = "natural",
    perturbations: str | Sequence[str] = "none",
    *,
    episodes: int = 1024,
    seed: int = 0,
    env: GivenEnv | None = None,
    attackers: str | Path | None = None,
    refit: bool = False,
    out: str | Path | None = None,
    quiet: bool = False,
    note: Callable[[str], None] | None = None,
) -> Evaluation:
    """Play teams greedily under attacks and perturbations, all on the same episodes.

    Args:
        teams: one or several of: a team of ``ibal.train``, a run folder (all its seeds), a bundle, a file of PyMARL's,
            "random", "stop", "nearest", "weakest", ``"my_pkg.mod:make_policy"``, a policy of ``ibal.load_policy``, an
            ``ibal.Policy``, a function that makes one of an ``EnvSpec``. A mapping names them: all seeds of a training
            share a name.
        attacks: one or several of: a name of ``ibal.attacks()`` with options in brackets if need be, a set ("standard",
            "standard-1", "paper", "all"), an ``Attacker`` of ``ibal.fit``, a frozen dataclass with ``build(spec)``, an
            ``ibal.Adversary``. A mapping names them.
        perturbations: "none", "dis-1" (1 agent stands still), "abs-1" (1 is not there), "hp-15" (15 % less health).
        episodes: per team, attack and perturbation; episode ``i`` of a seed is the same world in all of them.
        seed: of the episodes.
        env: where they play, as in ``ibal.train``; None: where each team was trained.
        attackers: a folder of fitted attackers, for attacks that are given by name and learn; or ``"zoo:smac/3m"``:
            those of the zoo of that name or below it, ``"zoo:"`` all.
        refit: fit these to every team itself instead (white box).
        out: a folder to write into; what it holds is not played again. None: nothing is written.
        quiet, note: say nothing on standard error; or say it to ``note``.

    Returns:
        ``Evaluation`` with ``.rows`` and ``.summary`` (polars frames), ``.card``, ``.figure()``. Ctrl-C gives back the
        cells that are done.

    Raises:
        ConfigError: what cannot be played, in one sentence (UnknownName for a name); ContractError: code of your own
        that breaks its contract; OSError: ``out`` cannot be written, Busy: another process does.

    Example:
        >>> table = ibal.evaluate({"qmix": plain.teams, "ibal": robust.teams}, attacks=["natural", "random", attacker])
        >>> table.summary.select("policy", "attack", "win_rate", "win_rate_interval")

    Source: IBAL section 5; intervals by the rule of ``evaluation.stats``.
    """
    plan = Plan(episodes, seed)
    harms = [checked(name) for name in ([perturbations] if isinstance(perturbations, str) else perturbations)]
    if refit and attackers is not None:
        raise ConfigError("refit fits attackers of its own; give that or attackers=…, not both")
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        say = stack.enter_context(telling(quiet, note))
        if folder is not None:
            stack.enter_context(claimed(folder))
        fit_to = None
        if refit:
            place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ibal-")))
            fit_to = refitting(place / "attackers", say)
        bank = Bank(None if attackers is None else Path(attackers), fit_to, kept, say)
        asked = attack_list(attacks, bank)
        playing = team_list(teams, env, say)
        todo = _cells(playing, asked, bank, harms, say)
        done = results.evaluate(todo, plan, folder, say, partial=True, lowest_first="standard-1" in asked.names)
    return Evaluation(done.rows, done.entries, done.card, len(done.rows) == plan.episodes * len(todo), folder,
                      done.broken)  # fmt: skip


def _cells(
    teams: Sequence[Team], asked: Attacks, bank: Bank, perturbations: Sequence[str], note: Callable[[str], None]
) -> list[Cell]:
    """Put together what is played, and tell which attacks "all" leaves out. Raises ConfigError, UnknownName."""
    try:
        return cells(teams, asked.make, playable(asked.names, teams, bank, note), perturbations)
    except (ConfigError, UnknownName):
        raise
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
