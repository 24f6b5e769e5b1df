"""Optimisers that step as PyTorch's do: published results were made with those."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ibal.learners.config import ValueConfig
from ibal.ops.adam import adam
from ibal.ops.rmsprop import EPS, rmsprop

CLIP_EPS = 1e-6  # fixed in torch.nn.utils.clip_grad_norm_


def make(config: ValueConfig) -> optax.GradientTransformation:
    """Clip the gradient's global norm, then RMSProp or Adam; give it all parameters (agent and mixer) as one pytree.

    RMSProp: ``ops.rmsprop``. Adam: PyTorch's betas 0.9, 0.999, and the same eps = 1e-5 outside the root.

    Source: PyTorch ``optim.RMSprop`` and ``optim.Adam`` as PyMARL's ``q_learner.py`` uses them.
    """
    if config.optimiser == "adam":
        step = adam(config.lr, eps=EPS)
    else:
        step = rmsprop(config.lr)
    return optax.chain(clip(config.grad_clip), step)


def clip(max_norm: float) -> optax.GradientTransformation:
    """Scale the gradient by min(1, max_norm / (norm + 1e-6)), as ``torch.nn.utils.clip_grad_norm_`` does.

    The norm is that of all leaves together.
    """

    def shrink(gradient: Any, params: Any) -> Any:
        del params
        scale = jnp.minimum(1.0, max_norm / (optax.tree.norm(gradient) + CLIP_EPS))
        return jax.tree.map(lambda g: g * scale, gradient)

    return optax.stateless(shrink)
