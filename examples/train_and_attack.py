"""Train a team, fit an attack to it, and see what is left of it: python examples/train_and_attack.py [--tiny]"""

from __future__ import annotations

import sys

import ibal


def main(tiny: bool = False) -> ibal.Evaluation:
    """Train on 3m in a few minutes; ``tiny``: a toy in a few seconds, which shows the calls and nothing else."""
    if tiny:
        run = ibal.train("toy/leak", preset="smoke", steps=200)
        attacker = ibal.fit("interaction", run.teams[0], episodes=16, steps=4)
    else:
        run = ibal.train("smac/3m", preset="laptop", steps=300_000)
        attacker = ibal.fit("interaction", run.teams[0])
    table = ibal.evaluate(run.teams, ["natural", "random", attacker], episodes=16 if tiny else 1024)
    print(table)
    return table


if __name__ == "__main__":
    main("--tiny" in sys.argv)
