"""What may stand where a name goes: the name, a configuration, or what was built of it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax

from ibal import envs, rng
from ibal.adversaries import built, learns
from ibal.adversaries.base import Adversary
from ibal.api.records import Attacker, Team
from ibal.evaluation import bank, matrix, teams, worlds
from ibal.evaluation.bank import Bank, described, is_own
from ibal.game.acting import Player
from ibal.game.host import HostPolicy
from ibal.game.referee import check_functions, check_policy
from ibal.nets.bundle import TeamPolicy, agent_of
from ibal.nets.pymarl import check_fits
from ibal.options import ConfigError, Scalar
from ibal.types import Env, Policy

GivenEnv: TypeAlias = "str | Env | Callable[[], Env]"
GivenTeam: TypeAlias = "str | Path | Team | matrix.Team | TeamPolicy | Policy | Callable[[Any], Policy]"
GivenAttack: TypeAlias = "str | Attacker | Adversary | Any"

MADE = teams.Made()  # of this program, so that what it asks for twice is compiled once
_adversaries: dict[Any, Adversary] = {}


class World(NamedTuple):
    """An environment, its name, the options that the name needs, and whether it is code of the user's."""

    env: Env
    name: str
    options: dict[str, Scalar]
    own: bool


def world(given: Any, more: Mapping[str, Scalar] | None = None) -> World:
    """Make the environment of a name (options in brackets, and ``more``), an ``Env``, or a function without arguments
    that returns one. Raises UnknownName, ConfigError or ContractError."""
    if isinstance(given, str):
        name, options = envs.named(given)
        return named_world(name, envs.newest(name) | options | dict(more or {}))
    if more:
        raise ConfigError(f"options ({', '.join(more)}) go with the name of an environment, not with one that is made")
    if isinstance(given, Env):
        return World(given, f"own:{given.spec.name}", {}, True)
    if not callable(given):
        raise ConfigError(f"env: a {type(given).__name__} is no environment; give a name, an ibal.Env or a function")
    return World(envs.checked(called_name(given), given()), called_name(given), {}, True)


def named_world(name: str, options: dict[str, Scalar]) -> World:
    """Make an environment with all its options; once in a program, unless it is code of the user's."""
    if ":" in name:  # may have changed since
        return World(envs.made(name, options), name, options, True)
    identity = worlds.identity(name, options)
    if identity not in MADE.worlds:
        MADE.worlds[identity] = envs.made(name, options)
    return World(MADE.worlds[identity], name, options, False)


def called_name(thing: Any) -> str:
    """Return ``module:name`` of a function or a class; the module is the package around it where that offers it too."""
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    package = kind.__module__.rpartition(".")[0]
    offered = getattr(sys.modules.get(package), kind.__name__, None) is kind
    name = kind.__qualname__.replace("<locals>.", "").replace("<lambda>", "a_function")
    return f"{package if offered else kind.__module__}:{name}"


def team_list(given: Any, env: GivenEnv | None, note: Callable[[str], None]) -> list[matrix.Team]:
    """Return the teams of an evaluation: one of ``GivenTeam``, several, or several by name.

    A mapping gives each of its values, a team or the seeds of one training, the name that tables show. Raises as
    ``teams.teams_of``, ConfigError for what is no team.
    """
    if isinstance(given, Mapping):
        return [
            team._replace(policy=str(name)) for name, value in given.items() for team in team_list(value, env, note)
        ]
    many = _several(given)
    if not many:
        raise ConfigError("no team is given; give a name, a file, a run folder or the teams of a training")
    return [team for one in many for team in _teams(one, env, note)]


def _teams(given: Any, env: GivenEnv | None, note: Callable[[str], None]) -> list[matrix.Team]:
    given = given.policy if isinstance(given, Player) else given
    if isinstance(given, matrix.Team) and env is None:
        return [given]
    if isinstance(given, Team):
        return [given.played if env is None else _weights(given.name, given.policy, world(env), given.played)]
    if isinstance(given, str | Path):
        where = env if env is None or isinstance(env, str) else world(env).env
        return [team for _, team in teams.teams_of([str(given)], where, note, MADE)]
    if env is None and isinstance(given, TeamPolicy) and "env" in given.meta:
        name = envs.TABLE.resolve(str(given.meta["env"]))
        here = named_world(name, envs.as_recorded(name, given.meta))
    elif env is None:
        raise ConfigError(f"a {type(given).__name__} does not say which environment it plays; give env=…")
    else:
        here = world(env)
    if isinstance(given, TeamPolicy):
        return [_weights(str(given.meta.get("method", "policy")), given, here)]
    made = isinstance(given, Policy | HostPolicy)
    if made or callable(given):
        policy = check_policy(given if made else given(here.env.spec))
        name = "policy" if made else getattr(given, "label", None) or called_name(given)
        return [matrix.Team(name, "own", None, here.env, _identity(here), policy, None, "", {}, own=True)]
    raise ConfigError(
        f"a {type(given).__name__} is no team; give a name, a file, a run folder, a team of ibal.train, a policy of "
        "ibal.load_policy, an ibal.Policy, or a function that makes one of an EnvSpec"
    )


def _weights(name: str, policy: TeamPolicy, here: World, like: matrix.Team | None = None) -> matrix.Team:
    """Let weights play in an environment."""
    check_fits(Path(name), policy.params, here.env.spec)
    size = type(policy.params).__name__, policy.params.hidden_size
    player = MADE.players.setdefault((_identity(here), size), agent_of(policy.params, here.env.spec))
    if like is not None:
        return like._replace(env=here.env, world=_identity(here), player=player, own=here.own)
    digest = hashlib.sha256(b"".join(bytes(leaf) for leaf in jax.tree.leaves(policy.params))).hexdigest()
    meta = policy.meta
    about = {"env_steps": meta.get("env_steps"), "checked": policy.checked}
    return matrix.Team(
        name, teams.method_of(meta), meta.get("seed"), here.env, _identity(here), player, policy.params, digest, about,
        here.own,
    )  # fmt: skip


def _identity(here: World) -> str:
    return MADE.of(here.env) if here.own else worlds.identity(here.name, here.options)


class Attacks(NamedTuple):
    """The attacks of an evaluation: their names, and what makes one for a team's environment."""

    names: list[str]
    make: Callable[[str, matrix.Team], matrix.Attack]


def attack_list(given: Any, folder: Bank) -> Attacks:
    """Return the attacks of an evaluation: one of ``GivenAttack``, several, or several by name.

    Names are looked up in ``folder``. Raises UnknownName, or ConfigError for what is no attack or has no name of its
    own.
    """
    objects: dict[str, Any] = {}
    names: list[str] = []
    pairs = given.items() if isinstance(given, Mapping) else [(None, one) for one in _several(given)]
    for name, one in pairs:
        if isinstance(one, str) and name in (None, one):
            names.append(one)
            continue
        if isinstance(one, str):
            raise ConfigError(f'attacks: "{one}" is a name already; only objects are given another, not "{name}"')
        name = attack_name(one) if name is None else str(name)
        if name in names:
            raise ConfigError(f'two attacks are called "{name}"; give them names: attacks={{"…": …, "…": …}}')
        objects[name] = one
        names.append(name)
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ConfigError(f'the attack "{twice[0]}" is given twice')

    def make(name: str, team: matrix.Team) -> matrix.Attack:
        return attack_on(name, objects[name], team) if name in objects else folder.attack(name, team)

    return Attacks(names, make)


def _several(given: Any) -> list[Any]:
    """Return what is given as a list: one thing alone, which a record is as well, or several."""
    is_one = isinstance(given, str) or hasattr(given, "_fields") or not isinstance(given, Sequence)
    return [given] if is_one else list(given)


def attack_name(given: Any) -> str:
    """Return the name that tables show for an attack that is given as an object."""
    if isinstance(given, Attacker):
        return given.attack
    if isinstance(given, Adversary):
        return "adversary"
    if is_attack(given):
        return type(given).__name__.removesuffix("Config")
    raise ConfigError(
        f"a {type(given).__name__} is no attack; give a name, a frozen dataclass with build(spec), an attacker of "
        "ibal.fit, or an ibal.Adversary"
    )


def is_attack(given: Any) -> bool:
    """Say whether this is the configuration of an attack."""
    return is_dataclass(given) and not isinstance(given, type) and callable(getattr(given, "build", None))


def attack_on(name: str, given: Any, team: matrix.Team) -> matrix.Attack:
    """Make an attack for a team's environment: the same object for the same environment."""
    spec = team.env.spec
    if isinstance(given, Attacker):
        given.require(spec)
        fitted = bank.Fitted(given.config, given.state, given.digest, {**given.meta, "sha256": given.digest})
        return bank.of_fitted(name, [fitted], spec, kept)
    if isinstance(given, Adversary):
        adversary = check_functions(given)
        state = adversary.init(rng.stream(rng.root(bank.SEED), "attack"))
        return matrix.Attack(name, adversary, [state], "", {}, own=True)
    if learns(given):
        raise ConfigError(f"{type(given).__name__} has to be fitted before it attacks: ibal.fit({name}, team)")
    config = bank.as_evaluated(given)
    adversary = kept(config, spec)
    state = adversary.init(rng.stream(rng.root(bank.SEED), "attack"))
    return matrix.Attack(name, adversary, [state], described(config), {"config": asdict(config)}, is_own(config))


def kept(config: Any, spec: Any) -> Adversary:
    """Make the adversary of a configuration, one object per environment."""
    which = spec, described(config), id(type(config))
    if which not in _adversaries:
        _adversaries[which] = built(config, spec)
    return _adversaries[which]


def changed(config: Any, where: str = "") -> dict[str, Scalar]:
    """Return the options of a configuration that differ from its own defaults, under their dotted names."""
    default = type(config)()
    found: dict[str, Scalar] = {}
    for one in fields(config):
        mine, its = getattr(config, one.name), getattr(default, one.name)
        if is_dataclass(mine) and not isinstance(mine, type):
            found |= changed(mine, f"{where}{one.name}.")
        elif mine != its:
            found[where + one.name] = mine if isinstance(mine, bool | int | float | str) else _word(mine)
    return found


def _word(value: Any) -> str:
    """Write an option as a command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
