"""The teams of an evaluation: run folders, files of weights, scripted policies, functions of the user's own.

    teams = teams_of(["runs/qmix-8m", "random"], "8m", print)          # all seeds of the run, and the scripted team

Importing this module imports no jax: what is misspelled is said at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal.evaluation import worlds
from ibal.learners import LEARNERS
from ibal.options import ConfigError
from ibal.registry import Entry, Own, Registry
from ibal.zoo import is_name

if TYPE_CHECKING:
    from ibal.evaluation.matrix import Team
    from ibal.nets import bundle
    from ibal.nets.agents import Agent
    from ibal.types import Env, EnvSpec, HostPolicy, Policy

SCRIPTED = Registry(
    kind="policy",
    entries={
        "random": Entry("ibal.evaluation.scripted:random_policy", "uniform over the available actions"),
        "stop": Entry("ibal.evaluation.scripted:stop_policy", "does nothing"),
        "nearest": Entry("ibal.evaluation.scripted:nearest", "attacks the nearest enemy in range (SMAC)"),
        "weakest": Entry("ibal.evaluation.scripted:weakest", "attacks the weakest enemy in range (SMAC)"),
    },
    listing="ibal replay --help",
    flag="--policy",
    adapters={
        "process": Entry("ibal.game.boxes:of_program", "a program that answers lines of JSON, as process:./my_team"),
        "torch": Entry("ibal.game.boxes:torch_file", "a TorchScript file, as torch:team.pt"),
        "jaxmarl": Entry("ibal.nets.jaxmarl:team", "a parameter file of JaxMARL's, as jaxmarl:actor.safetensors"),
        "sb3": Entry("ibal.nets.sb3:team", "an archive of Stable-Baselines3, as sb3:model.zip"),
    },
)
UNCHECKED = (
    "{name}: unchecked: no .json lies beside it, so nothing says whether the weights are as they were written, or what "
    "they were trained on"
)


class Found(NamedTuple):
    """One policy to play: ``params``, ``meta`` and ``file`` of a file, or the name of a scripted one. ``checked``: the
    file is the one that its JSON describes. All seeds of a training share the name ``policy``."""

    policy: str
    label: str
    params: bundle.Team | None = None
    meta: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    file: Path | None = None
    checked: bool = True


@dataclass(frozen=True)
class Made:
    """What is made once and then shared: another object, though equal, would be compiled anew."""

    worlds: dict[str, Env] = field(default_factory=dict)
    players: dict[tuple[str, Any], Policy | HostPolicy | Agent] = field(default_factory=dict)

    def of(self, env: Env) -> str:
        """Return what tells an environment that is given as an object apart from all others, and keep it, so that no
        later one gets its identity."""
        identity = f"own:{env.spec.name}:{id(env.step)}"
        self.worlds[identity] = env
        return identity


def found(name: str) -> list[Found]:
    """Find the policies that one name means. Raises UnknownName or ConfigError."""
    if (name in SCRIPTED or (":" in name and not is_name(name))) and not Path(name).exists():
        return [Found(name, Own(name))]
    from ibal.nets.bundle import find_policies, load_policy, of_bundle

    path = of_bundle(Path(name))
    if not path.exists() and not path.suffix and not is_name(name):
        SCRIPTED.resolve(name)  # the closest scripted policy, if it was meant to be one
    try:
        files = find_policies(name)
        loaded = [load_policy(file) for file in files]
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise ConfigError(str(error)) from error
    labels = [f"{name} {file.stem}" if Path(name).is_dir() else name for file in files]
    return [
        Found(name, label, team.params, team.meta, file, team.checked)
        for label, team, file in zip(labels, loaded, files, strict=True)
    ]


def teams_of(
    policies: Sequence[str], world: str | Env | None = None, note: Callable[[str], None] = lambda message: None,
    made: Made | None = None,
) -> list[tuple[str, Team]]:  # fmt: skip
    """Load policies by the names that a user gives them, each with a label of its own.

    ``world`` is the environment by name, or an object that the user has made; None: where each was trained. ``note`` is
    told what cannot be checked, and where rules are not the newest. Raises UnknownName, or ConfigError for what cannot
    be loaded or played there.
    """
    kept, mine = Made() if made is None else made, Made()  # code of the user's may change between two calls
    told: set[str] = set()

    def once(message: str) -> None:  # the seeds of a run all have the same to say
        if message not in told:
            note(message)
        told.add(message)

    ask = worlds.asked(world if isinstance(world, str) else None)
    entries = [entry for name in policies for entry in found(name)]
    follow = worlds.version_of_all(ask, [entry.meta for entry in entries])
    teams: list[tuple[str, Team]] = []
    for entry in entries:
        if world is None or isinstance(world, str):
            full, options = worlds.world(entry.label, ask, entry.meta, follow)
            own = ":" in full
            identity, env = _world(entry, full, options, (mine if own else kept).worlds, once)
        else:
            identity, env, own = kept.of(world), world, True
        if not entry.checked:
            note(UNCHECKED.format(name=entry.label))
        lasting = entry.file is not None and identity in kept.worlds
        teams.append((entry.label, _team(entry, env, identity, own, kept if lasting else mine)))
    return teams


def _team(entry: Found, env: Env, identity: str, own: bool, made: Made) -> Team:
    from ibal.envs import version_of
    from ibal.evaluation.matrix import Team

    meta = entry.meta
    about: dict[str, Any] = {}
    if entry.file:
        about = {"file": str(entry.file), "env_steps": meta.get("env_steps"), "checked": entry.checked}
        about["trained_version"] = version_of(str(meta["env"]), meta) if "env" in meta else None
    return Team(
        policy=entry.policy,
        method=method_of(meta) if entry.file else "scripted",
        seed=meta.get("seed"),
        env=env,
        world=identity,
        player=_player(entry, env, identity, made.players),
        params=entry.params,
        digest=hashlib.sha256(entry.file.read_bytes() if entry.file else entry.label.encode()).hexdigest(),
        about=about,
        own=own or (entry.file is None and ":" in entry.policy),
    )


def method_of(meta: dict[str, Any]) -> str:
    """Name how a team was trained: the paper's methods are QMIX's, so any other learner is said, as in "ibal-vdn" and,
    as in the paper's Table 13, "mappo" and "mappo-ibal"."""
    learner = meta.get("config", {}).get("learner", {})
    said = learner if isinstance(learner, dict) else {}
    method = meta.get("method", "unknown")
    if isinstance(name := said.get("name"), str) and name in LEARNERS:
        return name if method == "vanilla" else f"{name}-{method}"
    mixer = said.get("mixer")
    mixer = mixer if isinstance(mixer, str) and mixer.isidentifier() else "qmix"
    return method if mixer == "qmix" else f"{method}-{mixer}"


def _player(
    entry: Found, env: Env, world: str, made: dict[tuple[str, Any], Policy | HostPolicy | Agent]
) -> Policy | HostPolicy | Agent:
    """Make what plays, once for all weights of one size: one compilation."""
    of = entry.params
    which = world, entry.label if of is None else (type(of).__name__, of.hidden_size)
    return made.setdefault(which, player(entry, env.spec))  # which also checks that the weights fit


def player(entry: Found, spec: EnvSpec) -> Policy | HostPolicy | Agent:
    """Make what plays in an environment: a policy, or an agent that takes the weights of ``entry``.

    Raises ConfigError for weights of another size or a scripted policy of other environments, UnknownName for a name.
    """
    from ibal.nets.bundle import agent_of
    from ibal.nets.pymarl import check_fits

    if entry.params is None:
        return scripted(Own(entry.label), spec)
    try:
        check_fits(Path(entry.label), entry.params, spec)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return agent_of(entry.params, spec)


def bound(entry: Found, spec: EnvSpec) -> Policy | HostPolicy:
    """Make the policy itself. Raises as ``player``."""
    from ibal.nets.agents import Agent

    made = player(entry, spec)
    return made.bind(entry.params) if isinstance(made, Agent) else made


def _world(
    entry: Found, full: str, options: dict[str, Any], made: dict[str, Env], note: Callable[[str], None]
) -> tuple[str, Env]:
    """Make the environment to play in, once each, and tell by which rules if it may not be what is expected."""
    from ibal import envs

    identity = worlds.identity(full, options)
    if identity not in made:
        try:
            made[identity] = envs.made(full, options)
        except ConfigError as error:
            raise ConfigError(f"{entry.label}: {error}") from error
    worlds.tell(entry.policy, entry.meta, full, made[identity].spec.version, note)
    return identity, made[identity]


def scripted(name: Own, spec: EnvSpec) -> Policy | HostPolicy:
    """Make a scripted policy, or one of the user's own. Raises ConfigError or UnknownName; an error inside the user's
    own function keeps its traceback."""
    from ibal.contract import ContractError, require_call
    from ibal.game.referee import check_policy

    make, args = SCRIPTED.load(name)
    try:
        require_call("policy", f'"{name}"', partial(make, *args) if args else make, "spec")
        return check_policy(make(*args, spec))
    except ContractError as error:
        raise ConfigError(f"--policy {name}: {error}") from error
    except OSError as error:
        if not args:
            raise
        raise ConfigError(f'"{name}": {args[0]}: {error.strerror or error}') from error
    except ValueError as error:
        if name in SCRIPTED.entries or args:  # made for other environments, or of another library's
            raise ConfigError(f'"{name}": {error}') from error
        raise
