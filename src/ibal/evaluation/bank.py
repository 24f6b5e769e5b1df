"""Where the attacks of an evaluation come from: the table of adversaries, and fitted attackers of a folder or the zoo.

    bank = Bank(Path("attackers/held-out"))            # or Bank(Path("zoo:smac/3m"))
    attack = bank.attack("interaction", team)          # every attacker in the folder that was fitted on this map
    attack = bank.on("interaction", env.spec)          # the same without a team

Attackers are fitted on other teams than those that are evaluated (the paper's "unseen" attack); several in one folder
share the episodes evenly. Attacks that learn nothing need no folder. Source: IBAL Appendix D.1.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ibal import rng
from ibal.adversaries import TABLE, built, configured, fault_names, learns, searches, variant
from ibal.adversaries.base import Adversary
from ibal.adversaries.bundle import adapted, load_attacker
from ibal.envs import version_of
from ibal.evaluation import subset
from ibal.evaluation.matrix import Attack, Team
from ibal.options import with_options
from ibal.reading import Unreadable, content, table
from ibal.registry import Own
from ibal.types import EnvSpec
from ibal.zoo import PREFIX, Zoo, bare, is_name

SEED = 0  # of what an attack that learns nothing may draw for its state


class Fitted(NamedTuple):
    """An attacker read from its file: the options it was fitted with, what it learned, and what its JSON says."""

    config: Any
    state: Any
    digest: str
    about: dict[str, Any]


class Shelf(NamedTuple):
    """Where fitted attackers lie. ``held``: what each is (attack, environment, version of its rules) by what it is
    called there; ``file``: its bundle on this machine."""

    held: Mapping[str, tuple[str, str, str]]
    file: Callable[[str], Path]


class Bank:
    """Attacks by name, made once per environment; ``folder`` holds the bundles of those that learn, or names those of
    the zoo ("zoo:smac/3m"; "zoo:" is all of them).

    With ``refit(attack, config, team) -> bundle`` they are fitted to the very team they attack (white box) instead; it
    returns the file it wrote or found. ``build(config, spec)`` makes an adversary, where banks shall share them: the
    same object for the same environment and configuration.
    """

    def __init__(
        self, folder: Path | None = None, refit: Callable[[str, Any, Team], Path] | None = None,
        build: Callable[[Any, EnvSpec], Adversary] | None = None, note: Callable[[str], None] = lambda message: None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.refit = refit
        self._note = note
        self._of_zoo = zoo_shelf(folder) if folder is not None and is_name(str(folder)) else None
        self._built = self._once if build is None else build
        self._made: dict[tuple[str, EnvSpec, str], Attack] = {}
        self._adversaries: dict[tuple[EnvSpec, str], Adversary] = {}

    def attack(self, name: str, team: Team) -> Attack:
        """Return the attack ``name`` on the environment of ``team``.

        ``name`` may carry options, as ``interaction[fill=mean,masks=random]``: a variant that plays with what the
        attackers without them have learned. Raises UnknownName, or ValueError for an impossible option or where the
        attack must be fitted and the folder has no attacker for this environment.
        """
        own = self.refit is not None or searches(configuration(name)[1])
        which = name, team.env.spec, f"{team.digest} {team.world}" if own else ""
        if which not in self._made:
            self._made[which] = self._make(name, team.env.spec, team)
        return self._made[which]

    def on(self, name: str, spec: EnvSpec) -> Attack:
        """Return the same for an environment, whoever plays there; nothing can be refitted."""
        return self._make(name, spec, None)

    def _make(self, name: str, spec: EnvSpec, team: Team | None) -> Attack:
        base, config, options = configuration(name)
        if searches(config):
            if team is None:
                raise ValueError(f'"{name}" is looked for with a team, and none is given here; name its agents, as in '
                                 "stop[who=0 3]")  # fmt: skip
            return subset.attack(name, config, team, self._note)
        if not learns(config):
            adversary = self._built(config, spec)
            state = adversary.init(rng.stream(rng.root(SEED), "attack"))
            about = {"config": dataclasses.asdict(config)}
            world, _ = fault_names.split(name)
            digest = described(config) if world == "none" else f"{world} {described(config)}"
            return Attack(name, adversary, [state], digest, about, is_own(config), world)
        if self.refit is None or team is None:
            found = self._fitted(base, spec)
        else:
            found = [_read(self.refit(TABLE.resolve(base), configured(base), team), spec, base)]
        if any(as_evaluated(one.config) != as_evaluated(found[0].config) for one in found):
            raise ValueError(
                f'the attackers "{base}" for {spec.name} in {self.folder} were fitted with different options; evaluate '
                "them one kind at a time, each from a folder of its own"
            )
        return of_fitted(name, found, spec, self._built, options)

    def has(self, name: str, spec: EnvSpec) -> bool:
        """Say whether the folder has an attacker of this attack for an environment."""
        wanted = TABLE.resolve(configuration(name)[0]), spec.name, spec.version
        return self.folder is not None and wanted in self._shelf(self.folder).held.values()

    def _shelf(self, folder: Path) -> Shelf:
        """Return what lies there: in a folder now, in the zoo when it was first asked."""
        if self._of_zoo is not None:
            return self._of_zoo
        return Shelf({str(file): what for file, what in attackers_in(folder).items()}, Path)

    def _once(self, config: Any, spec: EnvSpec) -> Adversary:
        """Make the adversary, one object per environment and configuration: a new one would compile anew."""
        which = spec, described(config)
        if which not in self._adversaries:
            self._adversaries[which] = built(config, spec)
        return self._adversaries[which]

    def _fitted(self, name: Own, spec: EnvSpec) -> list[Fitted]:
        """Read the attackers of this attack and environment, in the order of their file names."""
        if self.folder is None:
            raise ValueError(
                f'"{name}" has to be fitted before it attacks {spec.name}; fit it with ibal attack, and name the '
                "folder of attackers with --attackers (--attackers zoo: takes those of the zoo)"
            )
        held, file = self._shelf(self.folder)
        wanted = TABLE.resolve(name), spec.name, spec.version
        if found := [called for called, what in held.items() if what == wanted]:
            return [_read(file(called), spec, name, called) for called in found]
        if other := sorted({version for *what, version in held.values() if (*what,) == wanted[:2]}):
            here, theirs = (f"--env {spec.name}[version={version}]" for version in (spec.version, other[-1]))
            raise ValueError(
                f'{self.folder} has attackers "{name}" fitted on version "{other[-1]}" of the rules of {spec.name}, '
                f'but "{spec.version}" is played; fit some on it (ibal attack {here}), or play by theirs: {theirs}'
            )
        there = ", ".join(sorted({f"{attack} for {env}" for attack, env, _ in held.values()})) or "no attacker"
        raise ValueError(
            f'{self.folder} has no attacker "{name}" fitted on {spec.name} (it has: {there}); fit one with ibal attack'
        )


def of_fitted(
    name: str, found: Sequence[Fitted], spec: EnvSpec, build: Callable[[Any, EnvSpec], Adversary] = built,
    options: Mapping[str, str] | None = None,
) -> Attack:  # fmt: skip
    """Return the attack of attackers that were fitted with the same options, or a variant of it with other ``options``.

    ``build`` makes the adversary; it must return the same object for the same environment and configuration. Raises
    ValueError for an option that they have not learned.
    """
    config = with_options(as_evaluated(found[0].config), options or {})
    adversary = build(config, spec)
    states = [adapted(one.state, adversary.init) for one in found]
    digest = hashlib.sha256("\n".join([described(config), *(one.digest for one in found)]).encode()).hexdigest()
    about = {"config": dataclasses.asdict(config), "fitted": [one.about for one in found]}
    return Attack(name, adversary, states, digest, about, is_own(config))


def zoo_shelf(name: Path) -> Shelf:
    """Return the attackers of the zoo of a name ("zoo:smac/3m"). Raises ConfigError where there is none."""
    zoo, under = Zoo(), bare(str(name))
    held = {f"{PREFIX}{called}": (one["attack"], one["env"], version_of(one["env"], {"version": one.get("version")}))
            for called, one in zoo.attackers(under).items()}  # fmt: skip
    return Shelf(held, lambda called: zoo.local(bare(called)))


def attackers_in(folder: Path) -> dict[Path, tuple[str, str, str]]:
    """Return the bundles (``.safetensors``) of a folder and of those in it, in the order of their names, each with its
    attack, its environment and the version of the rules of that."""
    says = {file.with_suffix(".safetensors"): _says(file) for file in sorted(folder.rglob("*.json"))}
    return {file: what for file, what in says.items() if what is not None}


def _says(file: Path) -> tuple[str, str, str] | None:
    """Return attack, environment and version of an attacker's JSON file; None for any other file."""
    try:
        about = table(file, {"attack": str, "env": str}, {"version": str})
        return about["attack"], about["env"], version_of(about["env"], {"version": about.get("version")})
    except (Unreadable, OSError):
        return None


def _read(file: Path, spec: EnvSpec, asked: Own, called: str = "") -> Fitted:
    attacker = load_attacker(file, spec, asked)
    digest = hashlib.sha256(content(file)).hexdigest()
    about = {**attacker.meta, "file": called or str(file), "sha256": digest}
    return Fitted(attacker.config, attacker.state, digest, about)


def configuration(name: str) -> tuple[Own, Any, dict[str, str]]:
    """Read ``interaction[fill=mean]``: the attack, its configuration as it is evaluated, and the options alone. Of
    ``hp-15+lost-30`` only what is no part of the world.

    Raises UnknownName with the closest attack, or ValueError for an option that it does not have.
    """
    base, options = variant(fault_names.split(name)[1])
    base = Own(base)  # a user or a program asks for it
    return base, with_options(as_evaluated(configured(base)), options), options


def as_evaluated(config: Any) -> Any:
    """Return the form of an attack that is evaluated: K agents, P = 1/K, nothing learned on the way (D.1)."""
    fields = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(config, evaluation=True) if "evaluation" in fields else config


def described(config: Any) -> str:
    """Return a text that two configurations share if and only if they make the same attack."""
    return f"{type(config).__module__}:{config!r}"


def is_own(config: Any) -> bool:
    """Say whether a configuration is code of the user's: what it makes may change without a sign."""
    return not type(config).__module__.startswith("ibal.") or any(map(is_own, getattr(config, "parts", ())))
