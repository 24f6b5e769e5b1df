"""Train here, test here: does a team that learned on this engine fail where one of the real game fails?

    ibal train --env smac/8m --preset laptop --steps 1_000_000 --seed K --out runs/8m-K          # K = 0, 1, 2
    python benchmarks/closed_loop.py runs/* --out docs/results/closed-loop/2026-12b.json

Run folders of vanilla QMIX are played under the columns of the paper's vanilla row and with one agent less (abs-1), and
their learning curves are read at 0.5M and 1M steps. What is printed (Markdown, on standard output): the mean of the
seeds beside the paper's number and the mean absolute difference over Rand, HP-10, HP-15, HP-20 and Dis-1; the curves
beside the range of the real runs (``learning.json``: test win rates of QMIX in pymarl-rlc, SC2 4.10, mean over 60,000
steps to either side); and how games without any harm are won, since a team that loses nobody may have found a loophole.
``--out`` keeps a row per seed: what is in it is not played again, so start it again whenever more runs are finished.
A file holds the rows of one version of the engine's rules. ``--policies DIR`` also plays ``qmix_MAP.safetensors``,
learned in the real game, on the maps of the rows: on one engine, how far is a team that learned here from one that
learned there?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import log

from ibal.report import published, tables

PAPER = "Vanilla QMIX"
THERE = "QMIX of the real game"  # the method of a row that such a policy has played
COLUMNS = {
    **{name: tables.COLUMNS[name] for name in ("Natural", "Rand", "FGSM", "HP-10", "HP-15", "HP-20", "Dis-1")},
    "abs-1": ("natural", "abs-1"),
}
SCORED = ("Rand", "HP-10", "HP-15", "HP-20", "Dis-1")
WITHIN = 60_000  # environment steps to either side of a point of a learning curve, as of the real ones
POINTS = (500_000, 1_000_000)
Row = dict[str, Any]


def paper_row(name: str) -> dict[str, float]:
    """Win rates (0 to 1) of the paper's vanilla QMIX on a map, by column; empty for a map that it has not."""
    found: dict[str, float] = {}
    for number in (7, 8, 9, 10):
        row = published.table(number).data.get(name, {}).get(PAPER, {})
        found |= {column: row[column].mean / 100 for column in COLUMNS if column in row}
    return found


def curve(entries: Iterable[Mapping[str, Any]], at: int) -> float | None:
    """Mean win rate of the evaluations of a training within ``WITHIN`` steps of ``at``; None where there is none."""
    near = [e["win"] for e in entries if e.get("kind") == "eval" and abs(e["env_steps"] - at) <= WITHIN]
    return float(np.mean(near)) if near else None


def apart(ours: Mapping[str, float], theirs: Mapping[str, float], columns: Sequence[str] = SCORED) -> float:
    """Mean absolute difference over some columns; those that one of the two lacks do not count."""
    both = [column for column in columns if column in ours and column in theirs]
    return float(np.mean([abs(ours[c] - theirs[c]) for c in both])) if both else float("nan")


def means(rows: Sequence[Row], names: Iterable[str]) -> dict[str, float]:
    """Mean over runs of every column that all of them have."""
    return {name: float(np.mean([row[name] for row in rows])) for name in names
            if all(row.get(name) is not None for row in rows)}  # fmt: skip


def verdict(value: float, low: float, high: float) -> str:
    """Say whether a value (to two digits, as the real ones are given) lies in the range of the real runs."""
    value = round(value, 2)
    if low <= value <= high:
        return "in"
    return f"{value - high:.2f} above" if value > high else f"{low - value:.2f} below"


def grouped(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Group rows by map and steps, in the order in which they come."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["map"], row["steps"]), []).append(row)
    return found


def _line(
    about: str, rates: Mapping[str, float], distance: float | None = None, spread: Mapping[str, float] = {}
) -> str:
    """Write a row of the first table: win rates by column (± their spread) and a mean difference, if there are any."""
    cells = [f"{rates[c]:.2f}" + (f" ±{spread[c]:.2f}" if c in spread else "") if c in rates else "" for c in COLUMNS]
    return " | ".join((about, *cells, "|" if distance is None else f"{distance:.2f} |"))


def told(rows: Sequence[Row], real: Sequence[Row]) -> str:
    """Lay out what was found, as Markdown."""
    lines = ["| map | steps, seeds | |" + "".join(f" {name} |" for name in COLUMNS) + " mean difference |",
             "|---|---|---|" + "---|" * (len(COLUMNS) + 1)]  # fmt: skip
    by_steps: dict[tuple[str, int], list[float]] = {}
    guests = {row["map"]: means([row], COLUMNS) for row in rows if row["method"] == THERE}
    rows = [row for row in rows if row["method"] != THERE]
    for (name, steps), group in grouped(rows).items():
        ours, theirs = means(group, COLUMNS), paper_row(name)
        distance = apart(ours, theirs)
        if theirs:  # the paper has not played every map
            by_steps.setdefault(("the paper", steps), []).append(distance)
        spread = {c: float(np.std([row[c] for row in group], ddof=1)) for c in ours} if len(group) > 1 else {}
        about = f"| {name} | {steps / 1e6:g}M, {len(group)} | here"
        lines.append(_line(about, ours, distance if theirs else None, spread))
        if theirs:
            lines.append(_line("| | | paper", theirs))
        if name in guests:
            distance = apart(ours, guests[name])
            by_steps.setdefault((THERE + ", here", steps), []).append(distance)
            lines.append(_line(f"| | | {THERE}, here", guests[name], distance))
    lines += [""] + [
        f"Mean difference from {whom} over {len(found)} maps, {steps / 1e6:g}M steps: {np.mean(found):.3f}"
        for (whom, steps), found in by_steps.items()
    ]
    lines += ["", "| map, steps of training | at | here, seeds | here, mean | real, mean (range) | |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for (name, steps), group in grouped(rows).items():
        for point in POINTS:
            values = [row["curve"][str(point)] for row in group if row["curve"].get(str(point)) is not None]
            wanted = [r for r in real if (r["map"], r["steps"]) == (name, point)]
            if not values:
                continue
            mean, each = float(np.mean(values)), " ".join(f"{v:.2f}" for v in values)
            end = "| | |"
            if wanted:
                r = wanted[0]
                end = f"| {r['mean']:.2f} ({r['low']:.2f}-{r['high']:.2f}) | {verdict(mean, r['low'], r['high'])} |"
            lines.append(f"| {name}, {steps / 1e6:g}M | {point / 1e6:g}M | {each} | {mean:.2f} {end}")
    ways = []
    for (name, steps), group in grouped(rows).items():
        how = means(group, ("won length", "won dead", "unhurt"))
        if len(how) == 3:
            cells = f"{how['won length']:.1f} | {how['won dead']:.2f} | {how['unhurt']:.2f}"
            ways.append(f"| {name}, {steps / 1e6:g}M | {cells} |")
    head = ["", "| map, steps of training | won games: steps | agents lost | without a loss |", "|---|---|---|---|"]
    lines += [*head, *ways] if ways else []
    return "\n".join(lines)


def games_of(team: str, env: str, episodes: int) -> Any:
    """Play a team under every column: rows of games. ``env`` is empty for the world that it was trained in."""
    import polars as pl

    import ibal

    attacks = [cell[0] for cell in COLUMNS.values() if cell[1] == "none"]
    worlds = [cell[1] for cell in COLUMNS.values() if cell[1] != "none"]
    return pl.concat([
        ibal.evaluate(team, attacks, "none", env=env or None, episodes=episodes, quiet=True).rows,
        ibal.evaluate(team, "natural", worlds, env=env or None, episodes=episodes, quiet=True).rows,
    ], how="diagonal_relaxed")  # fmt: skip


def played(run: Path, episodes: int) -> list[Row]:
    """Play the teams of a run folder under every column, in the world that they were trained in: a row per seed."""
    from ibal.experiments.config import load_toml

    config = load_toml(run / "config.toml")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    games = games_of(str(run), "", episodes)
    about = {"map": config.env.removeprefix("smac/"), "steps": config.train.steps, "method": config.method,
             "version": str(games["version"][0]), "episodes": episodes}  # fmt: skip
    return [about | {"seed": int(seed)} | _of_seed(mine, [line for line in lines if line.get("seed") == seed])
            for (seed,), mine in games.group_by("seed", maintain_order=True)]  # fmt: skip


def guest(file: Path, name: str, version: str, episodes: int) -> Row:
    """Play a policy of the real game on a map: a row without steps and without a curve."""
    games = games_of(str(file), f"smac/{name}[version={version}]", episodes)
    return {"map": name, "steps": 0, "method": THERE, "version": version, "episodes": episodes, "seed": 0} | _of_seed(
        games, []
    )


def _of_seed(games: Any, lines: Sequence[Mapping[str, Any]]) -> Row:
    """What a row says of one team: win rates, its curve, and how it wins without any harm."""
    wins = {name: games.filter(attack=cell[0], perturbation=cell[1])["win"].mean() for name, cell in COLUMNS.items()}
    won = games.filter(attack="natural", perturbation="none")
    won = won.filter(won["win"] > 0.5)
    return {
        **wins, "curve": {str(point): curve(lines, point) for point in POINTS},
        "won length": won["length"].mean(), "won dead": won["dead_allies"].mean(),
        "unhurt": (won["dead_allies"] == 0).mean(),
    }  # fmt: skip


def finished(run: Path) -> bool:
    """Whether all seeds of a training have come to their end; the policies are written last."""
    from ibal.experiments.config import load_toml

    if not (run / "config.toml").is_file() or not list((run / "policy").glob("*.safetensors")):
        return False
    config = load_toml(run / "config.toml")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    done = {line.get("seed") for line in lines if line["env_steps"] >= config.train.steps}
    return done.issuperset(range(config.seed, config.seed + config.seeds))


def _keep(rows: list[Row], out: Path) -> None:
    from ibal.files import replace_text

    rows.sort(key=lambda r: (r["steps"], r["map"], r["seed"]))
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(out, "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="run folders; what has not finished is left out")
    parser.add_argument("--out", type=Path, default=Path("closed-loop.json"), help="JSON file that keeps the rows")
    parser.add_argument("--episodes", type=int, default=512, help="of a run and column")
    parser.add_argument("--policies", type=Path, metavar="DIR", help="also play qmix_MAP.safetensors of this folder")
    parser.add_argument("--maps", nargs="+", metavar="MAP", help="tell of these only (default: of all that is kept)")
    args = parser.parse_args()
    rows: list[Row] = json.loads(args.out.read_text()) if args.out.exists() else []
    known = {(row["map"], row["steps"], row["seed"]) for row in rows}
    for run in args.runs:
        if not finished(run):
            log(f"{run}: not finished, left out")
            continue
        from ibal.envs import version_of
        from ibal.experiments.config import load_toml

        config = load_toml(run / "config.toml")
        version = version_of(config.env, {"env_options": dict(config.env_options)})
        if rows and version != rows[0]["version"]:
            parser.error(f"{run} is of {version}, {args.out} of {rows[0]['version']}: give another --out")
        seeds = range(config.seed, config.seed + config.seeds)
        if known.issuperset((config.env.removeprefix("smac/"), config.train.steps, seed) for seed in seeds):
            continue
        for row in played(run, args.episodes):
            log(f"{run} seed {row['seed']}:", " ".join(f"{name} {row[name]:.3f}" for name in COLUMNS))
            rows = [r for r in rows if any(r[k] != row[k] for k in ("map", "steps", "seed"))] + [row]
        _keep(rows, args.out)
    for name in sorted({row["map"] for row in rows} - {row["map"] for row in rows if row["method"] == THERE}):
        if args.policies and (file := args.policies / f"qmix_{name}.safetensors").is_file():
            rows.append(guest(file, name, rows[0]["version"], args.episodes))
            _keep(rows, args.out)
    real = json.loads(Path(__file__).with_name("learning.json").read_text())
    if args.maps is not None:
        rows = [row for row in rows if row["map"] in args.maps]
    print(told(rows, real))


if __name__ == "__main__":
    main()
