"""Adam and RAdam of optax, also where strict promotion of types is asked for."""

from __future__ import annotations

from typing import Any

import jax
import optax


def adam(lr: float, eps: float = 1e-8) -> optax.GradientTransformation:
    """Return ``optax.adam``; it raises a float to an integer power, which strict promotion would refuse."""
    return _relaxed(optax.adam(lr, eps=eps))


def radam(lr: float, eps: float = 1e-8) -> optax.GradientTransformation:
    """Return ``optax.radam`` likewise: as long as there are too few gradients to judge their spread, it steps along
    their mean. Source: Liu et al. 2020."""
    return _relaxed(optax.radam(lr, eps=eps))


def _relaxed(inner: optax.GradientTransformation) -> optax.GradientTransformation:

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)
