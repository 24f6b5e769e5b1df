"""Change a world's numbers without compiling again: python examples/sweep_without_recompiling.py [--tiny]

What may be swept is an array in ``env.params``: health, who is absent, the numbers of the engine's unknown rules. What
may not (sizes, names, choices) makes another environment.
"""

from __future__ import annotations

import sys
import time

import jax.numpy as jnp

import ibal
from ibal.evaluation.episodes import episode_keys, play
from ibal.evaluation.scripted import nearest


def main(tiny: bool = False) -> list[tuple[float, float, float]]:
    """Play 3m at several health levels and pushes; return (health, push, win rate)."""
    env = ibal.make("smac/3m")
    team, keys = nearest(env.spec), episode_keys(0, 16 if tiny else 512)
    found: list[tuple[float, float, float]] = []
    for health in (1.0, 1.5, 2.0):
        for push in (0.0, 0.2):
            scale = jnp.full(env.spec.n_agents, health, jnp.float32)
            numbers = env.params.quantities._replace(push=jnp.float32(push))
            began = time.perf_counter()
            played = play(env, team, keys, env_params=env.params._replace(health_scale=scale, quantities=numbers))
            found.append((health, push, float(played.win.mean())))
            print(f"health x {health}, push {push}: won {found[-1][2]:.2f} ({time.perf_counter() - began:.2f} s)")
    return found


if __name__ == "__main__":
    main("--tiny" in sys.argv)
