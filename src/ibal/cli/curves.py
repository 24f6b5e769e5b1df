"""``ibal curves``: learning curves of trainings, natural and under attacks.

ibal curves runs/qmix-3m runs/ibal-3m --out curves/3m
ibal curves runs/qmix-3m runs/ibal-3m --attacks interaction --attackers attackers/held-out --out curves/3m

Natural curves are those the trainings have logged. Curves under an attack are played now, with the policies that a
training with --train.snapshot-every has kept and its last one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.cli.output import (
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_path,
    add_flags,
    check_attackers,
    check_folder,
    claim,
    count_type,
    output_of,
    seed_type,
    unwritable,
)

if TYPE_CHECKING:
    from ibal.viz.curves import Curve

EPISODES = 256


def main(argv: list[str]) -> int:
    """Run ``ibal curves`` with the arguments after ``curves``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    check_attackers(options.attackers)
    if options.env is not None and options.attacks is None:
        raise CommandError("--env says where the snapshots play under --attacks; give these, too", WRONG_USE)
    for run in options.runs:
        check_run(run)
    names = _names(options.runs)
    rows = [row | {"run": names[run]} for run in options.runs for row in logged(run)]
    if silent := [str(run) for run in options.runs if not any(row["run"] == names[run] for row in rows)]:
        raise CommandError(f"{silent[0]} has logged no evaluation yet: there is no curve to draw", WRONG_USE)
    check_folder(options.out)
    _require_one(rows)
    try:
        with claim(options.out):
            rows += _attacked(options, output) if options.attacks is not None else []
            _require_one(rows)
            _write(rows, options.out)
    except OSError as error:
        raise unwritable(error, options.out) from error
    output.note(f"wrote curves.jsonl, curves.svg and curves.png into {options.out}")
    last = final(rows)
    output.result({"final": last, "out": str(options.out)}, as_text(last))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal curves",
        description="Draw the learning curves of run folders, one line per method with all its seeds, and print what "
        "each came to in the end. Curves under attacks are played with the snapshots of a training.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("runs", nargs="+", type=a_path, metavar="RUN", help="run folders of ibal train")
    add("--out", required=True, type=a_path, metavar="FOLDER", help="for curves.jsonl, .svg, .png and parts/")
    add(
        "--attacks",
        metavar="A,B,…",
        help="attacks to play the snapshots under, as in ibal evaluate: names, standard, paper or all",
    )
    add("--attackers", type=a_path, metavar="FOLDER", help="fitted attackers, for the attacks that learn")
    add("--env", metavar="NAME", help="where the snapshots play, if in an environment of your own: my_pkg.mod:make")
    add("--episodes", type=count_type("--episodes"), default=EPISODES, metavar="N",
        help=f"per snapshot and attack (default {EPISODES})")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of these episodes (default 0)")
    add_flags(out)
    return out


def _require_one(rows: Sequence[dict[str, Any]]) -> None:
    """Raise CommandError for curves of different versions of a world's rules."""
    from ibal.evaluation.versions import require_one

    try:
        require_one((row["env"], row["version"], row["run"]) for row in rows)
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error


def _names(runs: Sequence[Path]) -> dict[Path, str]:
    """Return a name for every run folder; those of two folders may have the same last part."""
    from ibal.report.names import short

    found = short(map(str, runs))
    return {run: found[str(run)] for run in runs}


def check_run(run: Path) -> None:
    """Raise CommandError for what is no run folder."""
    if not run.is_dir():
        what = "is a file" if run.exists() else "does not exist"
        raise CommandError(f"{run} {what}; name a run folder, as ibal train --out writes it", WRONG_USE)
    if missing := [name for name in ("config.toml", "metrics.jsonl") if not (run / name).is_file()]:
        inside = sorted(str(file.parent) for file in run.glob("*/metrics.jsonl"))
        more = f"; there are runs in it: {', '.join(inside[:4])}" if inside else ""
        raise CommandError(f"{run} is no run folder: it has no {missing[0]}{more}", WRONG_USE)


def logged(run: Path) -> list[dict[str, Any]]:
    """Return the evaluations that a training has logged, as rows of this command."""
    from ibal.reading import Unreadable, entries
    from ibal.training.log import METRICS_FILE, read_metrics

    method, env, version = _about(run)
    if not (run / METRICS_FILE).is_file():
        raise CommandError(f"{run} is no run folder: it has no {METRICS_FILE}", WRONG_USE)
    about = {"env": env, "version": version, "method": method, "run": run.name, "attack": "natural"}
    try:
        found = [
            entries(line, str(run / METRICS_FILE), {"episodes": int, "return": float}, {"win": float | None})
            for line in read_metrics(run) if line["kind"] == "eval"
        ]  # fmt: skip
    except (Unreadable, OSError) as error:
        raise CommandError(f"{error}: it is not what a training writes", WRONG_USE) from error
    kept = ("seed", "env_steps", "episodes", "win", "return")
    return [about | {name: line.get(name) for name in kept} for line in found]


def _about(run: Path) -> tuple[str, str, str]:
    """Return method, environment and version of its rules of a run folder."""
    from ibal.envs import version_of
    from ibal.experiments.config import load_toml
    from ibal.options import ConfigError

    try:
        config = load_toml(run / "config.toml")
    except ConfigError as error:
        raise CommandError(str(error), WRONG_USE) from error
    options = ",".join(f"{name}={value}" for name, value in config.method_options)
    version = version_of(config.env, {"env_options": dict(config.env_options)})
    return config.method + (f"[{options}]" if options else ""), config.env, version


def _attacked(options: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    """Play the snapshots under the attacks."""
    import polars as pl

    from ibal.cli.evaluate import teams_of
    from ibal.cli.evaluate_matrix import attack_names, playable
    from ibal.evaluation.bank import Bank
    from ibal.evaluation.matrix import Plan, cells, run

    names = attack_names(options.attacks)
    found = {str(file): folder for folder in options.runs for file in snapshots(folder)}
    teams = [team for _, team in teams_of(list(found), options.env, output.note)]
    bank = Bank(options.attackers)
    try:
        todo = cells(teams, bank.attack, playable(names, teams, bank, output), ("none",))
    except (ValueError, OSError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    try:
        played = run(todo, Plan(options.episodes, options.seed), options.out, output.note)
    except OSError as error:
        raise unwritable(error, options.out) from error
    means = played.group_by("policy", "version", "seed", "attack", maintain_order=True).agg(
        pl.len().alias("episodes"), pl.col("win").mean(), pl.col("return").mean()
    )
    steps = {team.policy: team.about["env_steps"] for team in teams}
    about = {folder: _about(folder) for folder in options.runs}
    names_of = _names(options.runs)
    rows = [
        {"env": about[found[row["policy"]]][1], "version": row["version"], "method": about[found[row["policy"]]][0],
         "run": names_of[found[row["policy"]]], "env_steps": steps[row["policy"]]}
        | {name: row[name] for name in ("attack", "seed", "episodes", "win", "return")}
        for row in means.iter_rows(named=True)
    ]  # fmt: skip
    # the last snapshot may be the last policy
    return list({(row["run"], row["seed"], row["attack"], row["env_steps"]): row for row in rows}.values())


def snapshots(run: Path) -> list[Path]:
    """Return the policies that a training has kept on the way, and its last ones. Raises CommandError if none."""
    kept = sorted((run / "snapshots").glob("seed-*.safetensors"))
    if not kept:
        raise CommandError(
            f"{run} kept no snapshots to attack; train with --train.snapshot-every N (environment steps)", WRONG_USE
        )
    return [*kept, *sorted((run / "policy").glob("seed-*.safetensors"))]


def curves_of(rows: Sequence[dict[str, Any]]) -> list[Curve]:
    """Put rows together that are one curve: of win rates, or of returns in an environment where nothing can be won."""
    from ibal.viz.curves import RATE, Curve

    without = {row["env"] for row in rows if row["win"] is None}
    found: dict[tuple[str, str, str, int, str], dict[int, float]] = {}
    for row in rows:
        name = row["env"], row["attack"], row["method"], row["seed"], row["run"]
        found.setdefault(name, {})[row["env_steps"]] = row["return" if row["env"] in without else "win"]
    return [
        Curve(env, attack, method, seed, sorted(points), [points[step] for step in sorted(points)],
              "return" if env in without else RATE)
        for (env, attack, method, seed, _), points in found.items()
    ]  # fmt: skip


def final(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last row of every curve."""
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["env_steps"]):
        last[row["env"], row["method"], row["run"], row["seed"], row["attack"]] = row
    order = ("env", "attack", "method", "seed")
    return sorted(last.values(), key=lambda row: (row["attack"] != "natural", *(row[name] for name in order)))


def as_text(rows: Sequence[dict[str, Any]]) -> str:
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


def _by_method(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    out: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        out.setdefault((row["env"].removeprefix("smac/"), row["attack"], row["method"]), []).append(row)
    return out


def _write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    from ibal.files import replace_text
    from ibal.viz.curves import draw
    from ibal.viz.files import write_figure

    replace_text(out / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_figure(draw(curves_of(rows)), out / "curves")
