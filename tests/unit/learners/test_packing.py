from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ibal.learners.packing import pack, rows, slots
from ibal.types import Episodes

LENGTH = 12


def places(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, int]:
    packing = jax.jit(pack, static_argnums=1)(jnp.asarray(sizes, jnp.int32), LENGTH)
    return np.asarray(packing.episode), np.asarray(packing.time), int(packing.used)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, LENGTH), min_size=9, max_size=9))
def test_every_step_of_every_episode_stands_in_exactly_one_slot_in_order(sizes: list[int]) -> None:
    episode, time, used = places(sizes)
    for index, size in enumerate(sizes):
        row, slot = np.nonzero(episode == index)
        assert len(set(row)) == 1
        assert list(slot) == list(range(slot[0], slot[0] + size))
        assert list(time[row[0], slot]) == list(range(size))
    assert (episode >= 0).sum() == sum(sizes)
    assert (episode[used:] < 0).all()
    assert (episode[:used] >= 0).any(axis=1).all()


def test_best_fit_fills_rows_that_first_come_would_leave_open() -> None:
    assert places([7, 5, 6, 6, 7, 5, 4, 4, 4])[2] == 4


def test_even_lengths_need_no_more_rows_than_their_sum() -> None:
    assert places([4] * 9)[2] == 3


def episodes() -> Episodes:
    """Three episodes of two agents: one terminates at step 2, one is cut by time at 4, one terminates at 4."""
    count, time, n = 3, 4, 2
    number = jnp.arange(count * (time + 1), dtype=jnp.float32).reshape(count, time + 1)
    wide = jnp.broadcast_to(number[:, :, None, None], (count, time + 1, n, 1))
    action = (jnp.arange(count * time * n) % 3).astype(jnp.uint8).reshape(count, time, n)
    terminated = jnp.zeros((count, time), bool).at[0, 1].set(True).at[2, 3].set(True)
    return Episodes(
        wide, None, number[:, :, None], jnp.ones((count, time + 1, n, 3), bool), action, None, number[:, :time],
        terminated, jnp.array([2, 4, 4], jnp.int32),
    )  # fmt: skip


def test_an_episode_that_did_not_terminate_keeps_a_slot_to_bootstrap_from() -> None:
    assert list(slots(episodes())) == [2, 5, 4]


def test_rows_hold_the_data_where_the_packing_says() -> None:
    source, chosen = episodes(), jnp.array([2, 0, 1])
    packing = pack(slots(source)[chosen], 5)
    read = rows(source, chosen, packing, jnp.int32(0), 3)
    for row in range(3):
        for slot in range(5):
            which, time = int(packing.episode[row, slot]), int(packing.time[row, slot])
            if which < 0:
                assert not read.valid[slot, row]
                continue
            episode = int(chosen[which])
            assert read.obs[slot, row, 0, 0] == source.obs[episode, time, 0, 0]
            assert read.state[slot, row, 0] == source.state[episode, time, 0]
            inside = time < source.length[episode]
            assert read.valid[slot, row] == inside
            assert read.start[slot, row] == (time == 0)
            if inside:
                assert read.reward[slot, row] == source.reward[episode, time]
                assert np.asarray(read.action[slot, row]).tolist() == np.asarray(source.action[episode, time]).tolist()
                assert read.end[slot, row] == (time == source.length[episode] - 1)
            before = source.action[episode, time - 1].astype(int) if time else jnp.array([-1, -1])
            assert np.asarray(read.last_action[slot, row]).tolist() == np.asarray(before).tolist()
    assert int(read.valid.sum()) == 10
