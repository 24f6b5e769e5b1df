"""RMSProp as PyTorch steps: published results were made with it."""

from __future__ import annotations

import optax

DECAY = 0.99  # torch.optim.RMSprop calls it alpha
EPS = 1e-5  # PyMARL's optim_eps


def rmsprop(lr: float) -> optax.GradientTransformation:
    """V <- 0.99 v + 0.01 g^2 from v = 0, step -lr g / (sqrt(v) + eps).

    eps is added outside the root; with optax's default inside it a step would differ by a factor up to 300.
    """
    return optax.rmsprop(lr, decay=DECAY, eps=EPS, eps_in_sqrt=False, initial_scale=0.0)
