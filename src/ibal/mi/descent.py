"""How both estimators learn: Adam behind a limit on the gradient's norm, one step or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ibal.mi.config import ActionConfig, ClubConfig
from ibal.ops.adam import adam

P = TypeVar("P")


def optimiser(config: ClubConfig | ActionConfig) -> optax.GradientTransformation:
    """Make the optimiser of a configuration."""
    return optax.chain(optax.clip_by_global_norm(config.grad_clip), adam(config.lr))


def descend(
    config: ClubConfig | ActionConfig, loss: Callable[[P], Float[Array, ""]], params: P, opt_state: optax.OptState
) -> tuple[P, optax.OptState, Float[Array, ""]]:
    """Take one gradient step; return the loss before it too."""
    value, gradient = jax.value_and_grad(loss)(params)
    step, opt_state = optimiser(config).update(gradient, opt_state)
    return jax.tree.map(jnp.add, params, step), opt_state, value


def repeat(
    update: Callable[[Array, P, optax.OptState], tuple[P, optax.OptState, Array]], params: P,
    opt_state: optax.OptState, steps: int,
) -> tuple[P, optax.OptState, Float[Array, "steps"]]:  # fmt: skip
    """Call ``update(step, params, opt_state)`` for ``step`` in 0..``steps`` - 1; return the losses of all steps."""

    def body(carry: tuple[P, optax.OptState], step: Array) -> tuple[tuple[P, optax.OptState], Array]:
        new_params, new_state, value = update(step, *carry)
        return (new_params, new_state), value

    (params, opt_state), losses = jax.lax.scan(body, (params, opt_state), jnp.arange(steps))
    return params, opt_state, losses
