"""``ibal evaluate``: play policies greedily on the same episodes and tell how they do.

ibal evaluate runs/qmix-3m runs/vdn-3m --episodes 512
ibal evaluate qmix_3m.safetensors random --env smac/3m --json
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ibal.cli.output import OK, WRONG_USE, CommandError, Output, add_flags, output_of
from ibal.cli.replay import SCRIPTED

if TYPE_CHECKING:
    from ibal.evaluate.episodes import EpisodeResults
    from ibal.nets.agents import Agent, PyMarlAgent
    from ibal.types import Env, Policy

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution


class _Entry(NamedTuple):
    """One policy to play: ``params`` and ``meta`` of a file, or the name of a scripted one."""

    label: str
    params: PyMarlAgent | None
    meta: dict[str, Any]


def main(argv: list[str]) -> int:
    """Run ``ibal evaluate`` with the arguments after ``evaluate``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    if options.episodes < 1 or options.seed < 0:
        raise CommandError("--episodes must be at least 1 and --seed at least 0", WRONG_USE)
    entries = [entry for name in options.policies for entry in _entries(name)]
    rows = _evaluate(entries, options, output)
    output.result({"rows": rows, "episodes": options.episodes, "seed": options.seed}, as_text(rows))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="ibal evaluate",
        description="Play policies greedily, each on the same episodes, and print win rate, return and episode length "
        "with 95 % intervals (win rate: Wilson's; others: normal).",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policies", nargs="+", metavar="POLICY",
        help=f"a run folder (all its seeds), a bundle or PyMARL file, or one of {', '.join(SCRIPTED)}")  # fmt: skip
    add("--env", metavar="NAME", help="environment (default: the one a policy was trained on)")
    add("--episodes", type=int, default=512, metavar="N", help="episodes per policy (default 512)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the episodes (default 0)")
    add_flags(out)
    return out


def _entries(name: str) -> list[_Entry]:
    """Find the policies that one word of the command line means."""
    if name in SCRIPTED and not Path(name).exists():
        return [_Entry(name, None, {})]
    from ibal.nets.bundle import find_policies, load_policy

    if not Path(name).exists() and not Path(name).suffix:
        SCRIPTED.resolve(name)  # the closest scripted policy, if it was meant to be one
    try:
        files = find_policies(name)
        loaded = [load_policy(file) for file in files]
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    labels = [f"{name} {file.stem}" if Path(name).is_dir() else name for file in files]
    return [_Entry(label, team.params, team.meta) for label, team in zip(labels, loaded, strict=True)]


def _evaluate(entries: list[_Entry], options: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    from ibal import rng
    from ibal.evaluate.episodes import play
    from ibal.nets.pymarl import check_fits, pymarl_agent

    keys = rng.episodes(rng.root(options.seed), options.episodes)
    worlds: dict[str, Env] = {}
    agents: dict[tuple[str, int], Agent] = {}
    rows: list[dict[str, Any]] = []
    for entry in entries:
        identity, env = _world(entry, options.env, worlds)
        output.note(f"playing {options.episodes} episodes of {env.spec.name} with {entry.label} …")
        if entry.params is None:
            results = play(env, _scripted(entry.label, env), keys)
        else:
            try:
                check_fits(Path(entry.label), entry.params, env.spec)
            except ValueError as error:
                raise CommandError(str(error), WRONG_USE) from error
            size = entry.params.hidden_size  # one agent per size: one compilation for all weights
            agent = agents.setdefault((identity, size), pymarl_agent(env.spec, size))
            results = play(env, agent, keys, entry.params)
        about = {"policy": entry.label, "env": env.spec.name, "trained_seed": entry.meta.get("seed")}
        rows.append(about | summary(results, "win" in env.spec.metric_names))
    return rows


def _world(entry: _Entry, name: str | None, made: dict[str, Env]) -> tuple[str, Env]:
    """Make the environment to play in, once each; options it was trained with hold unless --env names another."""
    from ibal import envs

    trained = entry.meta.get("env")
    if name is None and trained is None:
        raise CommandError(f'"{entry.label}" does not say which environment it plays; add --env NAME', WRONG_USE)
    full = envs.resolve(name or str(trained))
    options = dict(entry.meta.get("env_options") or {}) if full == trained else {}
    identity = f"{full} {sorted(options.items())}"
    if identity not in made:
        made[identity] = envs.make(full, **options)
    return identity, made[identity]


def _scripted(name: str, env: Env) -> Policy:
    try:
        return SCRIPTED.make(name, spec=env.spec)
    except ValueError as error:
        raise CommandError(f'"{name}": {error}', WRONG_USE) from error


def summary(results: EpisodeResults, has_win: bool) -> dict[str, Any]:
    """Return win rate, return and length of episodes with 95 % intervals; no win rate where nothing can be won."""
    episodes = len(results.win)
    out: dict[str, Any] = {"episodes": episodes, "win_rate": None, "win_rate_interval": None}
    if has_win:
        wins = int(results.win.sum())
        out |= {"win_rate": wins / episodes, "win_rate_interval": list(wilson(wins, episodes))}
    for name, values in (("return", results.returns), ("length", results.length)):
        numbers = [float(value) for value in values]
        mean = math.fsum(numbers) / episodes
        spread = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / max(episodes - 1, 1) / episodes)
        out |= {name: mean, f"{name}_interval": [mean - Z95 * spread, mean + Z95 * spread]}
    return out


def wilson(wins: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % score interval of a probability.

    Source: Wilson 1927, (p + z^2/2n ± z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    share, scaled = wins / episodes, Z95**2 / episodes
    middle = share + scaled / 2
    half = Z95 * math.sqrt(share * (1 - share) / episodes + scaled / (4 * episodes))
    return max(0.0, (middle - half) / (1 + scaled)), min(1.0, (middle + half) / (1 + scaled))


def as_text(rows: list[dict[str, Any]]) -> str:
    """Return the rows as an aligned table."""
    head = ("policy", "environment", "win rate", "return", "length")
    cells = [
        head,
        *((row["policy"], row["env"], _win(row), _mean(row, "return"), _mean(row, "length")) for row in rows),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _win(row: dict[str, Any]) -> str:
    if row["win_rate"] is None:
        return "-"
    low, high = row["win_rate_interval"]
    return f"{row['win_rate']:.3f} [{low:.3f}, {high:.3f}]"


def _mean(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.2f} ± {row[name] - row[f'{name}_interval'][0]:.2f}"
