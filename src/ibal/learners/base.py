"""What a learner is: the only thing of it that a training knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ibal.types import Episodes, Policy


class Progress(NamedTuple):
    """How far a training has come (scalars): the environment steps played so far, and the share of all that is still to
    come, for learning rates that follow it. ``alone``: these episodes were played for the adversary alone, so the team
    must neither learn from them nor keep them; None: none of a training ever are."""

    env_steps: Int[Array, ""]
    left: Float[Array, ""]
    alone: Bool[Array, ""] | None = None


class Learner(NamedTuple):
    """Three functions over an explicit state. A training calls them in turns: play, update, play, …

    ``init(key) -> state``; ``policy(state, progress) -> Policy`` plays as one does while learning (``select`` explores;
    ``weights()`` are those of the team alone); ``update(key, state, episodes, progress) -> (state, metrics)`` learns
    from the episodes that this policy has just played. How often, and whether older ones are used again, is the
    learner's own business. ``metrics`` are scalars under fixed names: "updates" counts the gradient steps, "loss" must
    be finite wherever there were any; the others are means over them, NaN where there were none.
    """

    init: Callable[[jax.Array], Any]
    policy: Callable[[Any, Progress], Policy]
    update: Callable[[jax.Array, Any, Episodes, Progress], tuple[Any, dict[str, jax.Array]]]


class BatchLearner(NamedTuple):
    """A learner that does one gradient step on any episodes; ``learners.replayed.with_replay`` makes a ``Learner`` of
    it.

    ``update(key, state, episodes, chosen[b], left[]) -> (state, metrics)`` learns from the episodes with these indices;
    ``key`` is another one at every step of every run, ``left`` as in ``Progress``. One that needs much memory to work
    in says so, and is given the same again at the next step: ``work(state, episodes, b) -> memory`` makes it, and
    ``update_in`` is ``update`` with it as one argument and one result more. None: it needs none.
    """

    init: Callable[[jax.Array], Any]
    policy: Callable[[Any, Progress], Policy]
    update: Callable[[jax.Array, Any, Episodes, jax.Array, jax.Array], tuple[Any, dict[str, jax.Array]]]
    work: Callable[[Any, Episodes, int], Any] | None = None
    update_in: Callable[..., tuple[Any, dict[str, jax.Array], Any]] | None = None


def update_of(
    learn: Callable[[jax.Array, Any, Episodes, jax.Array], tuple[Any, dict[str, jax.Array]]],
) -> Callable[[jax.Array, Any, Episodes, Progress], tuple[Any, dict[str, jax.Array]]]:
    """Return the ``update`` of a learner without a replay: ``learn(key, state, episodes, left)``, but nothing is
    learned from episodes that were played for the adversary alone."""

    def update(key: jax.Array, state: Any, episodes: Episodes, progress: Progress) -> tuple[Any, dict[str, jax.Array]]:
        if progress.alone is None:
            return learn(key, state, episodes, progress.left)
        shapes = jax.eval_shape(learn, key, state, episodes, progress.left)[1]
        missing = {name: jnp.full((), jnp.nan if name != "updates" else 0, m.dtype) for name, m in shapes.items()}
        return jax.lax.cond(
            progress.alone, lambda s: (s, missing), lambda s: learn(key, s, episodes, progress.left), state
        )

    return update
