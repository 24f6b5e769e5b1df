"""Write an attack and use it like any other: python examples/write_an_attack.py [--tiny]

An attack is a frozen dataclass of options with ``build(spec)``, which returns functions for one game. It says in its
``Threat`` what it may see and change, and is held to that. ``ibal attack check my_file:Silence`` tells more.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import ibal


@dataclass(frozen=True)
class Silence:
    """One agent, drawn for the game, sees nothing at a share of the steps."""

    p: float = 0.5
    """Share of the steps."""

    def build(self, spec: ibal.EnvSpec) -> ibal.Adversary:
        """Return the attack on an environment."""

        def begin(key: jax.Array, state: Any, step: ibal.TimeStep) -> jax.Array:
            return jax.random.randint(key, (), 0, spec.n_agents)  # its memory: whom it attacks in this game

        def observe(key: jax.Array, state: Any, victim: jax.Array, view: ibal.ObsView) -> tuple[jax.Array, Any]:
            hit = (jnp.arange(spec.n_agents) == victim) & (jax.random.uniform(key) < self.p)
            return jnp.where(hit[:, None], 0.0, view.step.obs), victim

        threat = ibal.Threat(channels=("obs",), agents=1, p=self.p)
        return ibal.adversary(threat=threat, begin=begin, observe=observe)


def main(tiny: bool = False) -> ibal.Evaluation:
    """Attack a team that was trained alone, and one that was trained under this very attack."""
    env = "toy/leak" if tiny else "smac/3m"
    budget: dict[str, Any] = {"preset": "smoke", "steps": 200} if tiny else {"preset": "laptop", "steps": 300_000}
    teams = {"alone": ibal.train(env, **budget).teams, "under it": ibal.train(env, method=Silence(), **budget).teams}
    attacks = {"natural": "natural", "half": Silence(), "always": Silence(1.0)}
    table = ibal.evaluate(teams, attacks, episodes=16 if tiny else 1024)
    print(table)
    return table


if __name__ == "__main__":
    main("--tiny" in sys.argv)
