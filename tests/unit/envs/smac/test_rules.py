"""Versions of the engine, and its numbers as arrays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.env import make
from ibal.envs.smac.rules import VERSIONS, Quantities, Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.state import EnvState, Units

# Small, so that it compiles quickly.
DUEL = Scenario("duel", 60, (Group("marine", 2, (9.0, 16.0)),), (Group("zealot", 2, (14.0, 16.0)),), terrain="open")


def test_a_version_is_found_by_its_name():
    assert Rules.of("2026-11") == VERSIONS["2026-11"]
    assert Rules.of("2026-11").version == "2026-11"
    assert VERSIONS["2026-11"].quantities.squeeze == pytest.approx(0.7**2)  # as published in November 2026


def test_an_unknown_version_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r'no version "2026-1" of the engine; did you mean "2026-1[12]"'):
        Rules.of("2026-1")


def test_rules_of_no_version_say_what_differs():
    old = Rules.of("2026-11")
    changed = replace(old, quantities=old.quantities._replace(push=0.1), head_start=2)
    assert changed.version == "2026-11+head_start=2+push=0.1"
    assert replace(old, check_actions=False).version == "2026-11"  # who plays is no part of the world


def test_numbers_are_options_of_make():
    env = make(DUEL, push=0.25, head_start=0)
    assert float(env.params.quantities.push) == 0.25
    assert env.step == make(DUEL, head_start=0).step  # the same program for other numbers
    with pytest.raises(ValueError, match='no option "pusch"; did you mean "push"'):
        make(DUEL, pusch=0.25)


def play(numbers: Quantities) -> tuple[Units, Units]:
    """The units after 24 steps of attacking the first enemy, under rows of numbers: all at once, and one by one."""
    env = make(DUEL, rules=Rules.of("2026-11"))
    games = jax.random.split(jax.random.key(0), 3)

    def run(key: jax.Array, numbers: Quantities) -> Units:
        params = env.params._replace(quantities=numbers)
        state, step = env.reset(key, params)

        def act(loop: tuple[EnvState, jax.Array], key: jax.Array) -> tuple[tuple[EnvState, jax.Array], None]:
            state, avail = loop
            wish = jnp.where(avail[:, 6], 6, jnp.where(avail[:, 7], 7, jnp.where(avail[:, 1], 1, 0)))
            state, step = env.step(key, state, wish, params)
            return (state, step.avail), None

        return jax.lax.scan(act, (state, step.avail), jax.random.split(key, 24))[0][0].units

    several = jax.jit(jax.vmap(run, (0, None)))
    apart = [several(games, jax.tree.map(lambda a, i=i: a[i], numbers)) for i in range(2)]
    together = jax.jit(jax.vmap(jax.vmap(run, (0, None)), (None, 0)))(games, numbers)
    return together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *apart)


def test_rule_sets_side_by_side_play_as_each_alone():
    old = jax.tree.map(jnp.float32, Rules.of("2026-11").quantities)
    other = old._replace(scan_own=jnp.float32(1), scan_other=jnp.float32(1), cadence=jnp.float32(4))
    together, apart = play(jax.tree.map(lambda *leaves: jnp.stack(leaves), old, other))
    np.testing.assert_allclose(together.x, apart.x, atol=1e-4)
    np.testing.assert_allclose(together.health, apart.health, atol=1e-4)
    assert not np.allclose(together.x[0], together.x[1])  # the numbers do something
