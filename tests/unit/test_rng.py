"""Streams are independent, stable across releases, and paired across evaluations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import rng


def bits(key: jax.Array) -> list[int]:
    return np.asarray(jax.random.key_data(key)).ravel().tolist()


def test_a_stream_is_the_parent_folded_with_the_crc_of_its_name() -> None:
    # CRC-32 of "123456789" is the published check value 0xCBF43926
    root = rng.root(0)
    assert bits(rng.stream(root, "123456789")) == bits(jax.random.fold_in(root, 0xCBF43926))


def test_streams_of_different_names_and_parents_differ() -> None:
    keys = [rng.stream(rng.root(seed), name) for seed in (0, 1) for name in ("env", "policy", "attack", "learner")]
    keys += [rng.at(keys[0], 0), rng.at(keys[0], 1), rng.stream(keys[0], "env")]
    assert len({tuple(bits(key)) for key in keys}) == len(keys)


def test_an_episode_key_depends_on_seed_and_index_only() -> None:
    many, few = rng.episodes(rng.root(5), 8), rng.episodes(rng.root(5), 3, first=4)
    assert bits(few) == bits(many[4:7])
    assert bits(rng.episode(rng.root(5), 6)) == bits(many[6])
    assert len({tuple(bits(key)) for key in many}) == 8


def test_a_step_may_be_traced() -> None:
    key = rng.root(1)
    inside = jax.jit(lambda t: jax.random.key_data(rng.at(key, t)))(3)
    assert np.asarray(inside).tolist() == bits(rng.at(key, 3))


def test_an_old_style_key_is_refused() -> None:
    untyped = jax.random.key_data(jax.random.key(0))
    with pytest.raises(TypeError, match=r"expected a typed key from jax\.random\.key\(seed\), got .* uint32\[2\]"):
        rng._require_typed(untyped)  # the annotations of stream would refuse it first here


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 2**64])
def test_seeds_that_would_give_the_games_of_another_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be at"):
        rng.root(seed)


def test_the_first_and_the_last_seed_differ() -> None:
    first, last = (jax.random.key_data(rng.root(seed)) for seed in (0, 2**32 - 1))
    assert (first != last).any()


@pytest.mark.parametrize("shape", [(), (10,), (16,), (3, 20)])
def test_numbers_of_longer_rows_are_those_of_the_plain_ones(shape: tuple[int, ...]) -> None:
    key = rng.stream(rng.root(5), "env")
    np.testing.assert_array_equal(rng.uniform(key, shape), jax.random.uniform(key, shape))


def test_the_old_generator_draws_what_it_always_drew() -> None:
    key = rng.root(5)
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(rng.uniform(key, (10,)), jax.random.uniform(key, (10,)))


@pytest.mark.parametrize("n", [0, 1, 5, 23])
def test_few_are_shuffled_as_jax_shuffles_them(n: int) -> None:
    keys = jax.random.split(rng.root(3), 50)
    mine = jax.jit(jax.vmap(lambda key: rng.permutation(key, n)))(keys)
    np.testing.assert_array_equal(mine, jax.jit(jax.vmap(lambda key: jax.random.permutation(key, n)))(keys))
    with pytest.raises(ValueError, match="at most 1000"):
        rng.permutation(keys[0], 1001)


def test_an_order_by_columns_is_that_of_a_stable_sort() -> None:
    kind, x = jnp.array([1, 0, 1, 0, 1, 0]), jnp.array([2.0, 3.0, 1.0, 3.0, 1.0, -1.0])
    assert rng.order_of(kind, x).tolist() == [5, 1, 3, 2, 4, 0]  # of equals the first comes first
    assert rng.order_of(x).tolist() == [5, 2, 4, 0, 1, 3]


def test_gumbel_noise_is_that_of_jax_of_however_many() -> None:
    key = rng.root(2)
    np.testing.assert_array_equal(rng.gumbel(key, (3, 5)), jax.random.gumbel(key, (3, 5)))
    np.testing.assert_array_equal(rng.gumbel(key, (1, 5)), rng.gumbel(key, (3, 5))[:1])
