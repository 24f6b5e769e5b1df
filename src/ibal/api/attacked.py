"""``ibal.attacked``."""

from __future__ import annotations

from ibal.api.given import GivenAttack, GivenEnv, attack_list, kept, world
from ibal.contract import ContractError
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Team
from ibal.evaluation.scripted import random_policy
from ibal.game import attacked as game
from ibal.options import ConfigError
from ibal.types import Env


def attacked(env: GivenEnv, attack: GivenAttack) -> Env:
    """Put an environment under attack: an environment again, for whatever library trains in it.

    Args:
        env: a name, an ``ibal.Env`` or a function that makes one, as in ``ibal.train``.
        attack: as in ``ibal.evaluate``: a name with options in brackets if need be, an ``Attacker`` of ``ibal.fit``, a
            frozen dataclass with ``build(spec)``, an ``ibal.Adversary``.

    Returns:
        ``Env``: observations are what the attack shows, the actions it is given may be replaced; state, reward and
        flags are the true ones. The episode of a key is that of ``ibal.evaluate`` under the attack.

    Raises:
        ConfigError: an attack that must know of the team what only the team knows (its scores, gradient or weights), or
        must be fitted first; UnknownName: no such name.

    Example:
        >>> world = ibal.attacked("smac/3m", "random[p=0.3]")
        >>> from ibal.compat.pettingzoo import parallel_env
        >>> game = parallel_env(world)

    Source: IBAL, Theorem 4.2: under an attacker the team faces an environment whose action is the intended one and
    whose observation is the attacked one.
    """
    here = world(env)
    asked = attack_list(attack, Bank(build=kept))
    if len(asked.names) != 1:
        raise ConfigError(f"an environment is put under one attack, and these are {len(asked.names)}")
    nobody = Team("nobody", "own", None, here.env, here.name, random_policy(here.env.spec), None, "", {})
    try:
        made = asked.make(asked.names[0], nobody)
        if len(made.attackers) != 1:
            raise ConfigError(f'"{made.name}" are {len(made.attackers)} attackers; an environment is put under one')
        return game.attacked(here.env, made.adversary, made.attackers[0], made.name)
    except ConfigError:
        raise
    except (ContractError, ValueError) as error:
        raise ConfigError(str(error)) from error
