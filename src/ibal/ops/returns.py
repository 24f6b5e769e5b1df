"""Targets that values are trained towards, computed along rows of recorded steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def lambda_returns(
    reward: Float[Array, "t *b"],
    discount_next: Float[Array, "t *b"],
    bootstrap: Float[Array, "t *b"],
    lam: float,
    filled: Bool[Array, "t *b"],
    end: Bool[Array, "t *b"] | None = None,
) -> Float[Array, "t *b"]:
    """TD(lambda) targets y_t = r_t + d_t ((1 - lambda) v_t + lambda y_{t+1}); at an episode's last step r_t + d_t v_t.

    Time first, any axes after it. ``discount_next`` is gamma (1 - terminated), ``bootstrap[t]`` = v_t the value of the
    state *after* step t. A time-out keeps its discount and so bootstraps. An episode's last step is one with ``end``,
    one before padding (``filled`` False), or the row's last one: several episodes may stand one after another in a row
    if ``end`` tells where each of them stops. ``lam`` is in [0, 1]; 0 gives one-step targets, 1 the discounted rewards
    up to the end and what is bootstrapped there. Targets of padding are 0, whatever stands there.

    Source: Peng & Williams 1996; PyMARL2 ``utils/rl_utils.py`` ``build_td_lambda_targets``, which gives the same for
    episodes that terminate or fill the row (it loses the bootstrap of a time-out before the end of the row).
    """
    goes_on = filled & jnp.concatenate((filled[1:], jnp.zeros_like(filled[:1])))
    if end is not None:
        goes_on &= ~end
    trace = jnp.where(goes_on, lam, jnp.zeros_like(reward))
    # Every step is a map y_{t+1} -> offset + slope y_{t+1}. Maps compose in any order, so this takes log(t) rounds.
    offset = jnp.where(filled, reward + discount_next * (1 - trace) * bootstrap, 0)
    slope = jnp.where(filled, discount_next * trace, 0)

    def compose(later: tuple[Array, Array], earlier: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] + earlier[1] * later[0], earlier[1] * later[1]

    return jax.lax.associative_scan(compose, (offset, slope), reverse=True)[0]
