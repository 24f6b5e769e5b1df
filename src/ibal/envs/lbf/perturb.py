"""The parameters of a game, and the perturbations that they can follow: agents idle or missing."""

from __future__ import annotations

import jax.numpy as jnp

from ibal.envs.crew import disable, remove
from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import Params


def default_params(rules: Rules) -> Params:
    """Nothing perturbed; the numbers of ``rules``."""
    nobody, none = jnp.zeros(rules.players, bool), jnp.int32(0)
    return Params(
        limit=jnp.int32(rules.limit),
        min_player_level=jnp.int32(rules.min_player_level),
        max_player_level=jnp.int32(rules.max_player_level),
        min_food_level=jnp.int32(rules.min_food_level),
        max_food_level=jnp.int32(rules.max_food_level),
        food_margin=jnp.int32(rules.food_margin),
        force_coop=jnp.array(rules.force_coop),
        normalize_reward=jnp.array(rules.normalize_reward),
        penalty=jnp.float32(rules.penalty),
        disabled=nobody,
        absent=nobody,
        n_disabled=none,
        n_absent=none,
    )


def perturbed(params: Params, name: str) -> Params:
    """Apply a perturbation by its name in tables: "dis-2" (2 can do nothing), "abs-1" (1 is not there)."""
    kind, _, amount = name.lower().partition("-")
    if kind not in ("dis", "abs") or not amount.isdigit():
        raise ValueError("players have no health; this environment can be perturbed by dis-<agents> and abs-<agents>")
    return disable(params, int(amount)) if kind == "dis" else remove(params, int(amount))
