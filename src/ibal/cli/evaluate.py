"""``ibal evaluate``: play policies greedily on the same episodes and tell how they do.

ibal evaluate runs/qmix-3m runs/vdn-3m --episodes 512
ibal evaluate qmix_3m.safetensors random --env smac/3m --json
ibal evaluate runs/qmix-3m runs/ibal-3m --attacks natural,random --perturbations none,hp-15 --out evaluations/x
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ibal.cli.output import (
    ATTACKERS,
    OK,
    Output,
    Parser,
    a_path,
    add_flags,
    count_type,
    output_of,
    seed_type,
)
from ibal.evaluation.teams import SCRIPTED, teams_of

if TYPE_CHECKING:
    from ibal.api.records import Evaluation

EPISODES = 512  # per policy; a cell of a matrix has twice as many: its differences are what is looked at


def main(argv: list[str]) -> int:
    """Run ``ibal evaluate`` with the arguments after ``evaluate``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    asked = (options.attacks, options.perturbations, options.attackers, options.out)
    is_matrix = options.refit or any(word is not None for word in asked)
    options.episodes = EPISODES * (1 + is_matrix) if options.episodes is None else options.episodes
    if is_matrix:
        from ibal.cli import evaluate_matrix

        return evaluate_matrix.show(evaluate_matrix.asked(options), output)
    done = _evaluate(options, output)
    rows = [{"trained_seed": row["seed"]} | row for row in done.of_teams()]
    output.result({"rows": rows, "episodes": options.episodes, "seed": options.seed}, as_text(rows))
    done.require_all()
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal evaluate",
        description="Play policies greedily, each on the same episodes, and print win rate, return and episode length "
        "with 95 % intervals, each of the one team in its row. With attacks or perturbations: every policy with all "
        "its seeds under each of them; the table says below what is in it.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("policies", nargs="+", metavar="POLICY",
        help="a run folder of ibal train (all its seeds); a bundle: the .safetensors file of one policy with its .json "
        f"beside it, named by either; a file or folder of PyMARL's; one of {', '.join(SCRIPTED)}; or "
        "my_pkg.mod:make_policy, called with the EnvSpec")  # fmt: skip
    add("--env", metavar="NAME",
        help="environment (default: the one a policy was trained on), with options in brackets if need be: "
        "smac/8m[version=2026-11]")  # fmt: skip
    add("--episodes", type=count_type("--episodes"), metavar="N",
        help=f"episodes per policy (default {EPISODES}; under each of several attacks {2 * EPISODES})")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of the episodes (default 0)")
    add("--attacks", metavar="A,B,…",
        help="names, as natural,random,interaction[fill=mean] or my_pkg.mod:MyConfig; faults, as lost-30, stop-1@40 or "
        "hp-15+delay-2 (ibal attack list); or a set: standard (all that need no fitting), standard-1 (a fixed list, "
        "lowest column first), paper (natural, random, fgsm, ega, wolfpack, interaction) or all (standard, and those "
        "that --attackers has or --refit fits)")  # fmt: skip
    add("--perturbations", metavar="A,B,…",
        help="none, dis-1 (1 agent stands still), hp-15 (15 %% less health), abs-1 (1 agent is not there), "
        "dis-1+hp-15 (both)")  # fmt: skip
    add("--attackers", type=a_path, metavar="WHERE", help=ATTACKERS)
    add(
        "--refit", action="store_true", help="fit the attacks that learn to every policy itself (white box), into --out"
    )
    add("--out", type=a_path, metavar="FOLDER",
        help="write episodes.parquet, summary.json and card.json; what it holds is not played again")  # fmt: skip
    add_flags(out)
    return out


def _evaluate(options: argparse.Namespace, output: Output) -> Evaluation:
    """Play every policy by itself: also the seeds of one training have rows of their own."""
    from ibal.api.evaluate import evaluate
    from ibal.api.given import MADE

    teams = teams_of(options.policies, options.env, output.note, MADE)
    named = [team._replace(policy=label) for label, team in teams]
    return evaluate(named, episodes=options.episodes, seed=options.seed, note=output.note)


def as_text(rows: list[dict[str, Any]]) -> str:
    """Return the rows as an aligned table with short names, and what its numbers are."""
    from ibal.report.names import legend, rules, short

    names = short(row["policy"] for row in rows)
    head = ("policy", "environment", "win rate", "return", "length")
    cells = [
        head,
        *((names[row["policy"]], row["env"], _win(row), _mean(row, "return"), _mean(row, "length")) for row in rows),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    key = ["mean [95 % interval: about the one team of the row]", *rules(rows), *legend(names)]
    return "\n".join([*lines, "", *key])


def _win(row: dict[str, Any]) -> str:
    if row["win_rate"] is None:
        return "-"
    return _mean(row, "win_rate", 3)


def _mean(row: dict[str, Any], name: str, digits: int = 2) -> str:
    ends = row[f"{name}_interval"]
    return f"{row[name]:.{digits}f}" + (f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else "")
