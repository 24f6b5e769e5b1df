"""Compare two methods over several seeds, with intervals: python examples/compare_methods.py [--tiny]

All teams meet the same games. The interval of several seeds is about what trained them, not about these teams alone
(``evaluation.stats``); where two intervals overlap widely, more seeds are needed, not more games.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ibal


def main(tiny: bool = False, out: Path | None = None) -> ibal.Evaluation:
    """Train QMIX alone and under IBAL's attack, three seeds of each in one program; ``out``: a folder for figures."""
    env = "toy/leak" if tiny else "smac/3m"
    budget: dict[str, Any] = {"preset": "laptop", "steps": 500_000, "seeds": 3}
    if tiny:
        budget = {"preset": "smoke", "steps": 200, "seeds": 2}
    runs = {name: ibal.train(env, method=name, **budget) for name in ("vanilla", "rand-act" if tiny else "ibal")}
    attacks = ["natural", "random-act"] if tiny else "standard"
    table = ibal.evaluate({name: run.teams for name, run in runs.items()}, attacks, episodes=16 if tiny else 1024)
    for row in table.summary.select("policy", "attack", "win_rate", "win_rate_sd", "win_rate_interval").to_dicts():
        print(row)
    if out is not None:
        table.figure().savefig(out / "scores.png")
        for name, run in runs.items():
            run.figure().savefig(out / f"{name}.png")
    return table


if __name__ == "__main__":
    main("--tiny" in sys.argv, Path())
