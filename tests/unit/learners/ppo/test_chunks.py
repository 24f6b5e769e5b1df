"""Pieces of rows: which steps stand in one piece, and what the network remembers when it begins."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ibal import rng
from ibal.learners.ppo.chunks import beginnings, pieces
from ibal.nets import recurrent


def test_a_piece_is_consecutive_steps_of_one_row() -> None:
    found = pieces(jnp.arange(4)[:, None], 2)
    np.testing.assert_array_equal(found.T, [[0, 1], [2, 3]])
    two = pieces(jnp.stack((jnp.arange(5), 10 + jnp.arange(5)), axis=1), 2)  # the last pieces are filled up
    np.testing.assert_array_equal(two.T, [[0, 1], [10, 11], [2, 3], [12, 13], [4, 0], [14, 0]])


def test_pieces_unroll_as_the_whole_row_does() -> None:
    """With the hidden states that the network itself has there; an episode that begins inside a piece is fresh."""
    net = recurrent.init(rng.root(0), 3, 2, 4, 1.0)
    xs = jnp.sin(jnp.arange(7 * 2 * 3, dtype=jnp.float32)).reshape(7, 2, 3)
    keep = jnp.ones((7, 2)).at[0].set(0).at[4, 1].set(0).at[5, 0].set(0)
    hiddens, whole = recurrent.unroll(net, recurrent.start(net, 2), xs, keep)
    _, parts = recurrent.unroll(net, beginnings(hiddens, 3), pieces(xs, 3), pieces(keep, 3))
    np.testing.assert_allclose(parts, pieces(whole, 3).at[1:, 4:].set(parts[1:, 4:]), atol=1e-6)
