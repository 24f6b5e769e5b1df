"""Pytree helpers against results written out by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import tree

A = {"x": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "n": jnp.array([1, 2])}
B = {"x": jnp.array([[5.0, 6.0], [7.0, 8.0]]), "n": jnp.array([3, 4])}


def test_where_takes_leading_axes_of_the_condition() -> None:
    mixed = tree.where(jnp.array([True, False]), A, B)
    np.testing.assert_array_equal(mixed["x"], [[1, 2], [7, 8]])
    np.testing.assert_array_equal(mixed["n"], [1, 4])
    np.testing.assert_array_equal(tree.where(jnp.array(False), A, B)["x"], B["x"])


def test_where_works_on_typed_keys() -> None:
    one, two = jax.random.key(1), jax.random.key(2)
    assert jax.random.key_data(tree.where(jnp.array(False), one, two)).tolist() == [0, 2]


def test_select_picks_one_tree_and_clamps() -> None:
    for index, expected in ((0, A), (1, B), (7, B), (-3, A)):
        np.testing.assert_array_equal(tree.select(jnp.int32(index), [A, B])["x"], expected["x"])


def test_stack_and_at_are_inverse() -> None:
    both = tree.stack([A, B])
    assert both["x"].shape == (2, 2, 2)
    assert tree.stack([A, B], axis=1)["n"].tolist() == [[1, 3], [2, 4]]
    np.testing.assert_array_equal(tree.at(both, 1)["x"], B["x"])
    assert tree.at(both, slice(0, 1))["n"].shape == (1, 2)


def test_length_is_the_shared_leading_axis() -> None:
    assert tree.length(A) == 2
    with pytest.raises(ValueError, match=r"leading axes of sizes \[2, 3\]"):
        tree.length((A, jnp.zeros(3)))


def test_sizes_are_counted_also_without_arrays() -> None:
    tree_ = (jnp.zeros((3, 4), jnp.float32), jnp.zeros(5, jnp.uint8), jnp.zeros((), bool))
    assert tree.size(tree_) == 12 + 5 + 1
    assert tree.nbytes(tree_) == 48 + 5 + 1
    abstract = jax.eval_shape(lambda: tree_)
    assert (tree.size(abstract), tree.nbytes(abstract)) == (18, 54)
