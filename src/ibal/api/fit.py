"""``ibal.fit``."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibal.adversaries import TABLE, configured, learns, variant
from ibal.adversaries.bundle import as_bytes
from ibal.api.evaluate import evaluate
from ibal.api.given import GivenAttack, GivenEnv, GivenTeam, called_name, is_attack, team_list
from ibal.api.records import Attacker, Evaluation
from ibal.api.telling import telling
from ibal.evaluation import felt
from ibal.evaluation.matrix import Team
from ibal.experiments.fitting import FitPlan, about, as_fitted, fit_attacker, policy_of
from ibal.options import ConfigError
from ibal.registry import Own


def fit(
    attack: GivenAttack, team: GivenTeam, *, env: GivenEnv | None = None, episodes: int = 512, steps: int = 1000,
    rounds: int | None = None, epsilon: float = 0.05, seed: int = 0, check: int = 0, out: str | Path | None = None,
    quiet: bool = False,
) -> Attacker:  # fmt: skip
    """Fit an attack that learns to a team, which stays as it is.

    Args:
        attack: a name of ``ibal.attacks()`` with options in brackets if need be, ``"my_pkg.mod:MyConfig"``, or a
            configuration: a frozen dataclass with ``build(spec)``.
        team: one team of ``ibal.train``, a file, a run folder of one seed, or a policy of your own (then give ``env``).
        env: where it plays; None: where it was trained.
        episodes: natural episodes to learn from.
        steps: gradient steps of each model of an attack that learns from these.
        rounds: iterations of 32 episodes of an attack that learns by playing; None: its own number.
        epsilon: share of the team's actions that are random legal ones: one that never deviates teaches little.
        seed: of episodes and models.
        check: episodes that its own victim then plays without and with it: what it loses goes into the attacker's
            card, and tables mark an attacker by which it loses nothing. 0: none.
        out: a ``.safetensors`` file to write, for ``ibal evaluate --attackers``. None: nothing is written.
        quiet: say nothing on standard error.

    Returns:
        ``Attacker``: give it to ``ibal.evaluate`` or ``ibal.watch`` in place of a name, or ``.save`` it.

    Raises:
        ConfigError: an attack that learns nothing, a team that is several; ValueError: an option that is impossible in
        this environment, or a team that does not show what the attack must know.

    Example:
        >>> attacker = ibal.fit("interaction", run.teams[0])

    Source: IBAL Appendix D.1: fit it to other teams than those you evaluate for the "unseen" attack.
    """
    plan = FitPlan(episodes, steps, rounds, epsilon, seed)
    name, config = _learning(attack)
    with telling(quiet) as note:
        teams = team_list(team, env, note)
        if len(teams) != 1:
            raise ConfigError(f"an attack is fitted to one team, and these are {len(teams)}; fit one to each of them")
        note(f"fitting {name} to {teams[0].policy} …")
        done = fitted(name, config, teams[0], plan)
        if check:
            done = checked(done, teams[0], check)[0]
    if out is not None:
        done.save(out)
    return done


def fitted(name: str, config: Any, team: Team, plan: FitPlan) -> Attacker:
    """Fit the attack of a configuration, which tables and files call ``name``, to a team. Raises as ``fit``."""
    state = fit_attacker(config, team.env, policy_of(team), plan)
    digest = hashlib.sha256(as_bytes(state)).hexdigest()
    return Attacker(name, as_fitted(config), state, team.env.spec, digest, about(team, plan))


def checked(attacker: Attacker, team: Team, episodes: int) -> tuple[Attacker, Evaluation]:
    """Play the victim without and with its attacker, on other episodes than those that it has learned of; return the
    attacker with a card that says what the victim loses, and what was played."""
    played = evaluate(team, {"natural": "natural", "attacked": attacker}, episodes=episodes, seed=1, quiet=True)
    return replace(attacker, meta={**attacker.meta, felt.CHECK: felt.check_of(played.rows)}), played


def _learning(given: Any) -> tuple[str, Any]:
    """Return the name and the configuration of an attack that learns."""
    if isinstance(given, str):
        name = TABLE.resolve(variant(Own(given))[0])
        config = configured(Own(given))
    elif is_attack(given):
        name, config = called_name(given), given
    else:
        raise ConfigError(f"a {type(given).__name__} is no attack that can be fitted; give a name or a configuration")
    if not learns(config):
        raise ConfigError(f'"{name}" learns nothing: give it to ibal.evaluate as it is')
    return name, config
