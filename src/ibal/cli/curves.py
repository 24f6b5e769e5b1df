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
    rows = [row for run in options.runs for row in logged(run)]
    if options.attacks is not None:
        rows += _attacked(options, output)
    try:
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
    add("--attacks", metavar="A,B,…", help="attacks to play the snapshots under, as in ibal evaluate")
    add("--attackers", type=a_path, metavar="FOLDER", help="fitted attackers, for the attacks that learn")
    add("--env", metavar="NAME", help="where the snapshots play, if in an environment of your own: my_pkg.mod:make")
    add("--episodes", type=count_type("--episodes"), default=EPISODES, metavar="N",
        help=f"per snapshot and attack (default {EPISODES})")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of these episodes (default 0)")
    add_flags(out)
    return out


def logged(run: Path) -> list[dict[str, Any]]:
    """Return the evaluations that a training has logged, as rows of this command."""
    metrics, method, env = run / "metrics.jsonl", *_about(run)
    try:
        lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CommandError(f"{run} is no run folder: {metrics.name} cannot be read", WRONG_USE) from error
    except ValueError as error:
        raise CommandError(f"{metrics} is not what a training writes: {error}", WRONG_USE) from error
    kept = ("seed", "env_steps", "episodes", "win", "return")
    return [
        {"env": env, "method": method, "run": run.name, "attack": "natural"} | {name: line[name] for name in kept}
        for line in lines if line["kind"] == "eval"
    ]  # fmt: skip


def _about(run: Path) -> tuple[str, str]:
    """Return method and environment of a run folder."""
    from ibal.experiments.config import load_toml
    from ibal.options import ConfigError

    try:
        config = load_toml(run / "config.toml")
    except ConfigError as error:
        raise CommandError(str(error), WRONG_USE) from error
    options = ",".join(f"{name}={value}" for name, value in config.method_options)
    return config.method + (f"[{options}]" if options else ""), config.env


def _attacked(options: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    """Play the snapshots under the attacks."""
    import polars as pl

    from ibal.cli.evaluate import teams_of
    from ibal.cli.evaluate_matrix import attack_names
    from ibal.evaluate.bank import Bank
    from ibal.evaluate.matrix import Plan, cells, run

    names = attack_names(options.attacks)
    found = {str(file): folder for folder in options.runs for file in snapshots(folder)}
    teams = [team for _, team in teams_of(list(found), options.env)]
    try:
        todo = cells(teams, Bank(options.attackers).attack, names, ("none",))
    except (ValueError, FileNotFoundError) as error:
        raise CommandError(str(error), WRONG_USE) from error
    played = run(todo, Plan(options.episodes, options.seed), options.out, output.note)
    means = played.group_by("policy", "seed", "attack", maintain_order=True).agg(
        pl.len().alias("episodes"), pl.col("win").mean(), pl.col("return").mean()
    )
    steps = {team.policy: team.about["env_steps"] for team in teams}
    about = {folder: _about(folder) for folder in options.runs}
    rows = [
        {"env": about[found[row["policy"]]][1], "method": about[found[row["policy"]]][0],
         "run": found[row["policy"]].name, "env_steps": steps[row["policy"]]}
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
    """Put rows together that are one curve; the measure is the win rate, or the return where nothing can be won."""
    from ibal.viz.curves import Curve

    score = _score(rows)
    found: dict[tuple[str, str, str, int, str], dict[int, float]] = {}
    for row in rows:
        name = row["env"], row["attack"], row["method"], row["seed"], row["run"]
        found.setdefault(name, {})[row["env_steps"]] = row[score]
    return [
        Curve(env, attack, method, seed, sorted(points), [points[step] for step in sorted(points)])
        for (env, attack, method, seed, _), points in found.items()
    ]


def _score(rows: Sequence[dict[str, Any]]) -> str:
    """Where nothing can be won, trainings log no win at all."""
    return "return" if any(row["win"] is None for row in rows) or not any(row["win"] for row in rows) else "win"


def final(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last row of every curve."""
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["env_steps"]):
        last[row["env"], row["method"], row["run"], row["seed"], row["attack"]] = row
    order = ("env", "attack", "method", "seed")
    return sorted(last.values(), key=lambda row: (row["attack"] != "natural", *(row[name] for name in order)))


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table; the interval is Wilson's over the episodes."""
    from ibal.evaluate.stats import wilson

    lines = ["| map | attack | method | seed | steps | win rate [95 %] | return |", "|" + "---|" * 7]
    for row in rows:
        win = "-"
        if row["win"] is not None:
            low, high = wilson(round(row["win"] * row["episodes"]), row["episodes"])
            win = f"{row['win']:.3f} [{low:.3f}, {high:.3f}]"
        lines.append(
            f"| {row['env'].removeprefix('smac/')} | {row['attack']} | {row['method']} | {row['seed']} | "
            f"{row['env_steps']:,} | {win} | {row['return']:.2f} |"
        )
    return "\n".join(lines)


def _write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    from ibal.files import replace_text
    from ibal.viz.curves import draw
    from ibal.viz.files import write_figure

    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_figure(draw(curves_of(rows), {"win": "win rate", "return": "return"}[_score(rows)]), out / "curves")
