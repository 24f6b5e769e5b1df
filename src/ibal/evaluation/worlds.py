"""Which environment a policy plays in, and by which version of its rules.

What the user names, with options in brackets if there are any (``smac/8m[version=2026-11]``); without it what the
policy was trained on, as it was then. A team is only ever played by other rules than those it knows if the user says
so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ibal import envs
from ibal.options import ConfigError
from ibal.registry import UnknownName


class Asked(NamedTuple):
    """What the user names; no ``name``: nothing."""

    name: str | None
    options: dict[str, Any]


def asked(text: str | None) -> Asked:
    """Read the name of an environment that the user gives. Raises UnknownName or ConfigError."""
    return Asked(None, {}) if text is None else Asked(*envs.named(text))


def identity(name: str, options: Mapping[str, Any]) -> str:
    """Return what tells a world apart from the others of its name: the name with all options."""
    return f"{name} {sorted(options.items())}"


def version_of_all(ask: Asked, teams: Iterable[Mapping[str, Any]]) -> str:
    """Return the version that all of these teams were trained on, which those play that say none; "" if they differ."""
    found = {envs.version_of(about["env"], about) for about in teams if ask.name in (None, about.get("env", ""))
             if "env" in about}  # fmt: skip
    return found.pop() if len(found) == 1 else ""


def world(label: str, ask: Asked, about: Mapping[str, Any], follow: str = "") -> tuple[str, dict[str, Any]]:
    """Return the full name of the environment of a policy, and the options that make it.

    ``about`` is what the policy says of itself (``env``, ``env_options``, ``version``); of one that says nothing,
    ``follow`` is the version that it plays, "" the newest. Raises ConfigError where nobody says which environment.
    """
    trained = about.get("env")
    if ask.name is None and trained is None:
        raise ConfigError(f'"{label}" does not say which environment it plays; add --env NAME')
    try:
        name = envs.TABLE.resolve(str(trained)) if ask.name is None else ask.name
    except UnknownName as error:
        raise ConfigError(f"{label}: {error}") from error
    options = dict(about.get("env_options") or {}) if name == trained else {}
    if known := envs.versions(name):
        mine = envs.version_of(trained, about) if trained is not None and envs.versions(trained) == known else ""
        options["version"] = mine or follow or known[-1]
    return name, options | ask.options


def tell(label: str, about: Mapping[str, Any], name: str, played: str, note: Callable[[str], None]) -> None:
    """Say where a policy plays by rules that are not the newest, or not those that it was trained on."""
    trained, known = about.get("env"), envs.versions(name)
    mine = "" if trained is None else envs.version_of(trained, about)
    if mine and played and mine != played:
        note(f'{label}: trained on version "{mine}" of the rules of {trained}, played by "{played}", as asked')
    elif mine and known and played.partition("+")[0] != known[-1]:
        note(
            f'{label}: played by version "{played}" of the rules of {name}, on which it was trained; the newest is '
            f'"{known[-1]}": --env {name}[version={known[-1]}]'
        )
