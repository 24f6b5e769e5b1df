"""A learner that goes back to what it has seen before, from one that only knows how to learn from a batch.

learner = with_replay(value_learner(spec, config), example, capacity=5000, ratio=1.0, batch=32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import rng, tree
from ibal.learners import replay
from ibal.learners.base import BatchLearner, Learner, Progress
from ibal.learners.replay import Replay
from ibal.types import Episodes, Policy

LEARNED = "learned"  # the field of a state that another training can begin with


class Replayed(NamedTuple):
    """What has been learned, the episodes it may go back to, and the fraction of a gradient step still to be done."""

    learned: Any
    replay: Replay
    owed: Float[Array, ""]


def with_replay(
    one: BatchLearner, example: Episodes, *, capacity: int, ratio: float, batch: int, learn_from: int = 0,
    axis: str | None = None,
) -> Learner:  # fmt: skip
    """Let ``one`` learn from ``batch`` stored episodes at a time, ``ratio`` times per episode that is played.

    ``example`` is what one rollout records (its arrays may be abstract); ``capacity`` is how many episodes are kept;
    learning begins when ``learn_from`` (or a batch) are stored. ``axis`` names the axis that the caller vmaps over, if
    any: the number of episodes must be the same along it.
    """
    new = example.length.shape[0]

    def init(key: jax.Array) -> Replayed:
        return Replayed(one.init(key), replay.init(example, capacity), jnp.float32(0))

    def policy(state: Replayed, progress: Progress) -> Policy:
        return one.policy(state.learned, progress)

    def update(
        key: jax.Array, state: Replayed, episodes: Episodes, progress: Progress
    ) -> tuple[Replayed, dict[str, Array]]:
        stored, share = replay.add(state.replay, episodes, axis), 1.0
        if progress.alone is not None:
            stored = replay.forgotten(state.replay, stored, progress.alone)
            share = jnp.where(progress.alone, 0.0, 1.0)
        ready = (stored.filled >= max(learn_from, batch)).astype(jnp.float32)
        owed = state.owed + ready * share * new * ratio
        count = jnp.floor(owed).astype(jnp.int32)

        def step(index: jax.Array, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            learned, sums, work = carry
            here = rng.at(key, index)
            chosen = replay.sample(here, stored, batch)
            now = (rng.stream(here, "update"), learned, stored.episodes, chosen, progress.left)
            learned, metrics, work = one.update_in(*now, work) if one.update_in else (*one.update(*now), work)
            return learned, jax.tree.map(jnp.add, sums, metrics), work

        nobody = jnp.zeros(batch, jnp.int32)
        shapes = jax.eval_shape(lambda: one.update(key, state.learned, stored.episodes, nobody, progress.left)[1])
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        work = one.work(state.learned, stored.episodes, batch) if one.work else ()
        count = tree.common(count, axis)
        learned, sums, _ = jax.lax.fori_loop(0, count, step, (state.learned, nothing, work))
        done = jnp.maximum(count, 1).astype(jnp.float32)
        metrics = jax.tree.map(lambda total: jnp.where(count > 0, total / done, jnp.nan), sums)
        return Replayed(learned, stored, owed - count.astype(jnp.float32)), metrics | {"updates": count}

    return Learner(init, policy, update)


def learned(state: Any) -> Any:
    """Return what a learner's state holds besides old episodes."""
    return state.learned if isinstance(state, Replayed) else state


def with_learned(state: Any, given: Any) -> Any:
    """Return a learner's state that knows what is given, and keeps its own old episodes."""
    return state._replace(learned=given) if isinstance(state, Replayed) else given


def capacity(state: Any) -> int:
    """Return how many old episodes (of one seed) a learner keeps; 0 for one that keeps none."""
    return state.replay.episodes.length.shape[-1] if isinstance(state, Replayed) else 0


def shortened(state: Any, count: int, parts: int = 1) -> Any:
    """Return a state that keeps the newest ``count`` episodes only, and has room for no more; ``parts`` devices each
    have some."""
    return _changed(state, lambda kept: replay.newest(kept, count // parts), parts)


def lengthened(state: Any, count: int, parts: int = 1) -> Any:
    """Return a shortened state with room for ``count`` episodes again."""
    return _changed(state, lambda kept: replay.grown(kept, count // parts), parts)


def _changed(state: Any, change: Callable[[Replay], Replay], parts: int) -> Any:
    return state._replace(replay=replay.in_parts(change, state.replay, parts)) if isinstance(state, Replayed) else state
