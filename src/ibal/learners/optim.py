"""Optimisers that step as PyTorch's do: published results were made with those."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ibal.learners.config import ValueConfig
from ibal.ops.adam import adam

RMSPROP_DECAY = 0.99  # torch.optim.RMSprop calls it alpha
EPS = 1e-5  # PyMARL's optim_eps
CLIP_EPS = 1e-6  # fixed in torch.nn.utils.clip_grad_norm_


def make(config: ValueConfig) -> optax.GradientTransformation:
    """Clip the gradient's global norm, then RMSProp or Adam; give it all parameters (agent and mixer) as one pytree.

    RMSProp: v <- 0.99 v + 0.01 g^2 from v = 0, step -lr g / (sqrt(v) + eps). Adam: PyTorch's betas 0.9, 0.999. For both
    eps = 1e-5 is added outside the root; with optax's default inside it a step would differ by a factor up to 300.

    Source: PyTorch ``optim.RMSprop`` and ``optim.Adam`` as PyMARL's ``q_learner.py`` uses them.
    """
    if config.optimiser == "adam":
        step = adam(config.lr, eps=EPS)
    else:
        step = optax.rmsprop(config.lr, decay=RMSPROP_DECAY, eps=EPS, eps_in_sqrt=False, initial_scale=0.0)
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
