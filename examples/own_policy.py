"""A team that is no JAX: a function, one that remembers, a program that speaks JSON; all attacked like any other."""

import sys
from typing import Any

import numpy as np

import ibal

PROGRAM = """
import json, sys
for line in sys.stdin:
    said = json.loads(line)                              # {"episode": 0, "step": 0, "obs": [[...]], "mask": [[...]]}
    actions = [row.index(1) for row in said["mask"]]     # the first that is legal
    print(json.dumps({"actions": actions}), flush=True)
"""


def alternate(obs: np.ndarray, mask: np.ndarray, memory: Any) -> tuple[np.ndarray, bool]:
    """Take the first legal action and the last one in turn; ``memory`` is None when an episode begins."""
    first = not memory
    actions = mask.argmax(axis=1) if first else mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return actions, first


def main(tiny: bool = False) -> ibal.Evaluation:
    """Evaluate three teams under two attacks and return the table."""
    teams = {
        "function": ibal.black_box(lambda obs, mask: mask.argmax(axis=1)),
        "with memory": ibal.black_box(alternate, memory=True),
        "program": ibal.black_box([sys.executable, "-c", PROGRAM], seconds=30),
        # ibal.black_box(module) for a torch module: obs [n, o] -> scores [n, a]
    }
    env, episodes = ("toy/leak", 4) if tiny else ("smac/3m", 64)
    return ibal.evaluate(teams, ["natural", "random"], env=env, episodes=episodes)


if __name__ == "__main__":
    print(main())
