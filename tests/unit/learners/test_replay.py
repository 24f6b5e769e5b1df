from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng
from ibal.learners import replay
from ibal.types import Episodes


def numbered(first: int, count: int) -> Episodes:
    """Episodes that carry their number in every array."""
    number = jnp.arange(first, first + count)
    return Episodes(
        obs=jnp.broadcast_to(number[:, None, None, None], (count, 3, 2, 1)).astype(jnp.float16),
        seen=None,
        state=jnp.broadcast_to(number[:, None, None], (count, 3, 1)).astype(jnp.float16),
        avail=jnp.ones((count, 3, 2, 2), bool),
        action=jnp.zeros((count, 2, 2), jnp.uint8),
        executed=None,
        reward=jnp.broadcast_to(number[:, None], (count, 2)).astype(jnp.float32),
        terminated=jnp.zeros((count, 2), bool),
        length=number.astype(jnp.int32),
        memory={"group": number},
    )


def stored(ring: replay.Replay) -> list[int]:
    return np.asarray(ring.episodes.length).tolist()


def test_capacity_is_rounded_up_to_whole_additions() -> None:
    assert replay.init(numbered(0, 4), 10).capacity == 12


def test_the_oldest_are_overwritten_first_and_every_array_moves_together() -> None:
    ring = replay.init(numbered(0, 4), 8)
    for first in (10, 20, 30):
        ring = replay.add(ring, numbered(first, 4))
    assert stored(ring) == [30, 31, 32, 33, 20, 21, 22, 23]
    assert np.asarray(ring.episodes.memory["group"]).tolist() == stored(ring)
    assert np.asarray(ring.episodes.obs[:, 2, 1, 0]).tolist() == stored(ring)
    assert int(ring.filled) == 8


def test_a_sample_holds_no_episode_twice_and_nothing_that_was_never_stored() -> None:
    ring = replay.add(replay.init(numbered(0, 4), 40), numbered(100, 4))
    ring = replay.add(ring, numbered(104, 4))
    for seed in range(20):
        chosen = np.asarray(replay.sample(rng.root(seed), ring, 6))
        assert len(set(chosen)) == 6
        assert chosen.max() < 8


def test_every_stored_episode_is_drawn_equally_often() -> None:
    ring = replay.add(replay.init(numbered(0, 8), 32), numbered(0, 8))
    keys = jax.vmap(lambda i: rng.at(rng.root(0), i))(jnp.arange(4000))
    chosen = np.asarray(jax.vmap(lambda key: replay.sample(key, ring, 2))(keys))
    share = np.bincount(chosen.ravel(), minlength=8) / 8000
    # 8000 draws: standard deviation of a share 0.0035
    np.testing.assert_allclose(share, 1 / 8, atol=0.015)


def test_bytes_are_counted_before_anything_is_allocated() -> None:
    example = jax.eval_shape(lambda: numbered(0, 4))
    sizes = replay.nbytes(example, 100)
    assert sizes["obs"] == 100 * 3 * 2 * 1 * 2
    assert sizes["reward"] == 100 * 2 * 4
    assert sizes["seen"] == 0
    ring = replay.init(numbered(0, 4), 100)
    assert sum(sizes.values()) == pytest.approx(sum(leaf.nbytes for leaf in jax.tree.leaves(ring.episodes)))


@pytest.mark.parametrize("additions", [1, 3])
def test_the_newest_episodes_can_be_kept_and_given_room_again(additions: int) -> None:
    ring = replay.init(numbered(0, 4), 8)
    for first in range(10, 10 + 10 * additions, 10):
        ring = replay.add(ring, numbered(first, 4))
    thin = replay.newest(ring, 4)
    newest = [10, 11, 12, 13] if additions == 1 else [30, 31, 32, 33]
    assert stored(thin) == newest
    again = replay.add(replay.grown(thin, 8), numbered(50, 4))
    assert stored(again) == [*newest, 50, 51, 52, 53]
    assert int(again.filled) == 8
    assert int(replay.add(again, numbered(60, 4)).episodes.length[0]) == 60


def test_nothing_may_be_kept_at_all() -> None:
    ring = replay.add(replay.init(numbered(0, 4), 8), numbered(10, 4))
    empty = replay.grown(replay.newest(ring, 0), 8)
    assert int(empty.filled) == 0
    assert int(empty.position) == 0
