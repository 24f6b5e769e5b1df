"""Table 13 of the paper, team by team: MAPPO under natural, random and unseen interaction attacks, and whom an attacker
that was fitted to other teams breaks.

    ibal evaluate teams/8m-mappo-*.safetensors --attacks natural,random,interaction --attackers unseen/mappo --out x/8m
    python benchmarks/table13.py x/8m --fitted-to MAPPO --keep docs/results/mappo/robust.jsonl
    python benchmarks/table13.py --show docs/results/mappo/robust.jsonl       # the tables of what was kept

Bundles are named MAP-TEAM-SEED, as ``8m-mappo-ibal-0.safetensors``. A row is one team under one attack; an attack that
nobody is fitted for has no ``fitted``. A row that is played again takes the old one's place.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ibal.files import replace_text
from ibal.report import published
from ibal.report.tables import MAPPO

KEY = ("map", "team", "steps", "seed", "attack", "fitted")
PAPER = {"natural": "Nat", "random": "Rand", "interaction": "Ours"}
Row = dict[str, Any]


def rows_of(folder: Path, fitted: str) -> list[Row]:
    """Return the rows of an evaluation that ``ibal evaluate --out`` has written."""
    found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    made = []
    for entry in found["entries"]:
        if entry["attack"] not in PAPER or entry["perturbation"] != "none":
            continue
        bundle = Path(entry["policy"]).with_suffix(".json")
        about = json.loads(bundle.read_text(encoding="utf-8"))
        name, seed = entry["env"].rpartition("/")[2], about["seed"]
        row = {"map": name, "team": bundle.stem.removeprefix(f"{name}-").removesuffix(f"-{seed}")}
        row |= {"steps": about["env_steps"], "seed": seed, "attack": entry["attack"]}
        row |= {"fitted": fitted if entry["attack"] == "interaction" else "", "win": entry["win_rate"]}
        row |= {"interval": [round(end, 4) for end in entry["win_rate_interval"]], "episodes": entry["episodes"]}
        made.append(row | {"length": round(entry["length"], 1), "version": entry["version"], "engine": found["engine"]})
    return made


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Return both, sorted; of two of one key the new one."""
    by_key = {tuple(row[name] for name in KEY): row for row in (*old, *new)}
    return [by_key[key] for key in sorted(by_key)]


def as_table(rows: list[Row]) -> str:
    """Return Markdown: a line per team, a column per attack (and whom it was fitted to), the paper's row beside."""
    fitted = {attack: sorted({r["fitted"] for r in rows if r["attack"] == attack}) for attack in PAPER}
    columns = [(attack, whom) for attack in PAPER for whom in fitted[attack]]
    heads = [f"{attack}, fitted to {whom}" if whom else attack for attack, whom in columns]
    lines = [f"| map | team | seed | steps | {' | '.join(heads)} | paper (natural, random, its attack) |"]
    lines.append("|" + "---|" * (len(columns) + 5))
    for of in sorted({(row["map"], row["team"], row["steps"], row["seed"]) for row in rows}, key=str):
        name, team, steps, seed = of
        mine = {(r["attack"], r["fitted"]): r for r in rows if (r["map"], r["team"], r["steps"], r["seed"]) == of}
        cells = [_cell(mine.get(column)) for column in columns]
        lines.append(f"| {name} | {team} | {seed} | {steps:,} | {' | '.join(cells)} | {_paper(name, team)} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    return f"{row['win']:.3f} ({row['interval'][0]:.3f}-{row['interval'][1]:.3f})" if row else ""


def _paper(name: str, team: str) -> str:
    row = published.table(13).data.get(name, {}).get(MAPPO.get(team, ""), {})
    return ", ".join(f"{number.mean / 100:.3f}" for number in row.values())


def main() -> None:
    """Keep the rows of evaluations, or show those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("evaluations", nargs="*", type=Path, help="folders that ibal evaluate --out has written")
    add("--fitted-to", default="", help="whom the attackers of interaction were fitted to")
    add("--keep", type=Path, metavar="FILE", help="put the rows into this file")
    add("--show", type=Path, metavar="FILE", help="print the tables of this file")
    args = parser.parse_args()
    rows = [row for folder in args.evaluations for row in rows_of(folder, args.fitted_to)]
    kept = args.keep or args.show
    if kept and kept.exists():
        old = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        rows = merged(old, rows)
    if args.keep:
        replace_text(args.keep, "".join(json.dumps(row) + "\n" for row in rows))
    print(as_table(rows))


if __name__ == "__main__":
    main()
