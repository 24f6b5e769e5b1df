"""Figures compare only where the same rules were played: refuse what mixes versions of a world's rules."""

from __future__ import annotations

from collections.abc import Iterable


def require_one(played: Iterable[tuple[str, str, str]]) -> None:
    """Raise ValueError, which names both versions and what to do, if two of ``played`` are of different ones.

    ``played``: (environment, version of its rules, who played it). Environments of one kind ("smac/3m" and "smac/8m")
    share their rules.
    """
    first: dict[str, tuple[str, str, str]] = {}
    for env, version, who in played:
        kind = env.partition("/")[0]
        other_env, other, before = first.setdefault(kind, (env, version, who))
        if other != version:
            raise ValueError(
                f'figures of different rules do not compare: "{before}" played {other_env} by version '
                f'"{other}" of its rules, "{who}" {env} by "{version}"; evaluate all of them on one, as with '
                f"--env {env}[version={max(version, other)}], or tell them apart in two tables"
            )
