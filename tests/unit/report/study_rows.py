"""Rows of a made-up study, of any size."""

from __future__ import annotations

import numpy as np
import polars as pl

METHODS = ["vanilla", "rand-obs", "rand-act", "fgsm", "atla", "ernie", "romance", "wall", "ibal"]
ATTACKS = ["natural", "random", "fgsm", "ega", "wolfpack", "interaction"]


def rows(
    methods: list[str] = METHODS[:2] + METHODS[-1:], envs: tuple[str, ...] = ("smac/3m", "smac/8m"), seeds: int = 2,
    episodes: int = 20, attacks: list[str] = ATTACKS,
) -> pl.DataFrame:  # fmt: skip
    """Return ``episodes`` games of every cell; team k wins a share that falls with the number of the attack."""
    frames = []
    for m, method in enumerate(methods):
        for e, env in enumerate(envs):
            for a, attack in enumerate(attacks):
                for seed in range(seeds):
                    share = max(0.0, 1.0 - 0.15 * a) * (0.6 + 0.4 * (m + 1) / len(methods)) - 0.1 * e
                    win = np.zeros(episodes)
                    win[: round(episodes * min(max(share, 0), 1))] = 1
                    frames.append(pl.DataFrame({
                        "policy": method, "method": method, "seed": seed, "env": env, "version": "2026-12",
                        "attack": attack, "perturbation": "none", "episode": np.arange(episodes), "key_seed": 0,
                        "attacker": 0, "win": win, "return": 20 * win, "length": 25, "attacked": 0.1 * a,
                        "replaced": 0.0,
                    }))  # fmt: skip
    return pl.concat(frames)
