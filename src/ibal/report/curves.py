"""Learning curves of run folders, natural and under attacks, as rows: what ``ibal curves`` draws and tells.

    rows = logged(Path("runs/qmix-8m"))
    rows += attacked([Path("runs/qmix-8m")], ("interaction",), Bank(Path("attackers/8m")), Plan(256))

A row is one evaluation of one seed: env, version (of the world's rules), method, run, attack, seed, env_steps,
episodes, win (None where nothing can be won), return. Importing this module imports no jax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.options import ConfigError

if TYPE_CHECKING:
    from ibal.evaluation.bank import Bank
    from ibal.evaluation.matrix import Plan
    from ibal.types import Env

Row = dict[str, Any]


def check_run(run: Path) -> None:
    """Raise ConfigError for what is no run folder."""
    if not run.is_dir():
        what = "is a file" if run.exists() else "does not exist"
        raise ConfigError(f"{run} {what}; name a run folder, as ibal train --out writes it")
    if missing := [name for name in ("config.toml", "metrics.jsonl") if not (run / name).is_file()]:
        inside = sorted(str(file.parent) for file in run.glob("*/metrics.jsonl"))
        more = f"; there are runs in it: {', '.join(inside[:4])}" if inside else ""
        raise ConfigError(f"{run} is no run folder: it has no {missing[0]}{more}")


def logged(run: Path) -> list[Row]:
    """Return the evaluations that a training has logged, as rows. Raises ConfigError for what no training wrote."""
    from ibal.reading import Unreadable, entries
    from ibal.training.log import METRICS_FILE, read_metrics

    method, env, version = _about(run)
    if not (run / METRICS_FILE).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {METRICS_FILE}")
    about = {"env": env, "version": version, "method": method, "run": run.name, "attack": "natural"}
    try:
        found = [
            entries(line, str(run / METRICS_FILE), {"episodes": int, "return": float}, {"win": float | None})
            for line in read_metrics(run) if line["kind"] == "eval"
        ]  # fmt: skip
    except (Unreadable, OSError) as error:
        raise ConfigError(f"{error}: it is not what a training writes") from error
    kept = ("seed", "env_steps", "episodes", "win", "return")
    return [about | {name: line.get(name) for name in kept} for line in found]


def _about(run: Path) -> tuple[str, str, str]:
    """Return method, environment and version of its rules of a run folder."""
    from ibal.envs import version_of
    from ibal.experiments.config import load_toml

    config = load_toml(run / "config.toml")
    options = ",".join(f"{name}={value}" for name, value in config.method_options)
    version = version_of(config.env, {"env_options": dict(config.env_options)})
    return config.method + (f"[{options}]" if options else ""), config.env, version


def names(runs: Sequence[Path]) -> dict[Path, str]:
    """Return a name for every run folder; those of two folders may have the same last part."""
    from ibal.report.names import short

    found = short(map(str, runs))
    return {run: found[str(run)] for run in runs}


def attacked(
    runs: Sequence[Path], attacks: Sequence[str], bank: Bank, plan: Plan, out: Path | None = None,
    world: str | Env | None = None, note: Callable[[str], None] = lambda message: None,
) -> list[Row]:  # fmt: skip
    """Play the snapshots of run folders, and their last policies, under attacks.

    What ``out`` holds is not played again. ``world``: where they play, as for ``teams_of``. Raises ConfigError for what
    cannot be played, OSError where ``out`` cannot be written.
    """
    import polars as pl

    from ibal.evaluation.attack_sets import playable
    from ibal.evaluation.matrix import cells, run
    from ibal.evaluation.teams import teams_of

    found = {str(file): folder for folder in runs for file in snapshots(folder)}
    teams = [team for _, team in teams_of(list(found), world, note)]
    try:
        todo = cells(teams, bank.attack, playable(attacks, teams, bank, note), ("none",))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    played = run(todo, plan, out, note)
    means = played.group_by("policy", "version", "seed", "attack", maintain_order=True).agg(
        pl.len().alias("episodes"), pl.col("win").mean(), pl.col("return").mean()
    )
    steps = {team.policy: team.about["env_steps"] for team in teams}
    about, named = {folder: _about(folder) for folder in runs}, names(runs)
    rows: list[Row] = []
    for row in means.iter_rows(named=True):
        folder = found[row["policy"]]
        method, env, _ = about[folder]
        rows.append(
            {"env": env, "version": row["version"], "method": method, "run": named[folder],
             "env_steps": steps[row["policy"]]}
            | {name: row[name] for name in ("attack", "seed", "episodes", "win", "return")}
        )  # fmt: skip
    # the last snapshot may be the last policy
    return list({(row["run"], row["seed"], row["attack"], row["env_steps"]): row for row in rows}.values())


def snapshots(run: Path) -> list[Path]:
    """Return the policies that a training has kept on the way, and its last ones. Raises ConfigError if none."""
    kept = sorted((run / "snapshots").glob("seed-*.safetensors"))
    if not kept:
        raise ConfigError(f"{run} kept no snapshots to attack; train with --train.snapshot-every N (environment steps)")
    return [*kept, *sorted((run / "policy").glob("seed-*.safetensors"))]


def require_one(rows: Iterable[Row]) -> None:
    """Raise ConfigError for curves of different versions of a world's rules."""
    from ibal.evaluation import versions

    try:
        versions.require_one((row["env"], row["version"], row["run"]) for row in rows)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def final(rows: Sequence[Row]) -> list[Row]:
    """Return the last row of every curve."""
    last: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["env_steps"]):
        last[row["env"], row["method"], row["run"], row["seed"], row["attack"]] = row
    order = ("env", "attack", "method", "seed")
    return sorted(last.values(), key=lambda row: (row["attack"] != "natural", *(row[name] for name in order)))


def as_text(rows: Sequence[Row]) -> str:
    """Return a Markdown table: a row per seed, and one over all seeds of a method where there are several."""
    from ibal.evaluation.stats import interval, of_rates
    from ibal.report.names import rules

    lines = ["| map | attack | method | seed | steps | win rate [95 %] | return |", "|" + "---|" * 7]
    for name, group in _by_method(rows).items():
        for row in group if len(group) == 1 else [*group, None]:
            of = group if row is None else [row]
            seed = f"{len(of)} seeds" if row is None else str(row["seed"])
            steps = sorted({each["env_steps"] for each in of})
            shown = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
            win = "-"
            if all(each["win"] is not None for each in of):
                found = of_rates([each["win"] for each in of], min(each["episodes"] for each in of))
                win = "{:.3f} [{:.3f}, {:.3f}]".format(found.mean, *interval(found))
            returns = sum(each["return"] for each in of) / len(of)
            lines.append(f"| {' | '.join(name)} | {seed} | {shown} | {win} | {returns:.2f} |")
    key = "Intervals: of one seed about this team, of several about what trained them."
    return "\n".join([*lines, "", key, *rules(rows)])


def _by_method(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    out: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        out.setdefault((row["env"].removeprefix("smac/"), row["attack"], row["method"]), []).append(row)
    return out
