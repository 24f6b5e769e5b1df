"""Hiding and misbehaving apart: each draw by itself, each way of misbehaving as it is called."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.base import Adversary
from ibal.adversaries.check import check_adversary
from ibal.adversaries.decoupled import IDLE, INFORMATION, RANDOM, DecoupledConfig
from ibal.adversaries.interaction import InteractionConfig
from ibal.evaluation.scripted import random_policy
from ibal.types import ActView, Env
from unit.viz import skirmish

LEAK = make("toy/leak", n_agents=4, noise=1)
FIGHT = skirmish.make()
MANY = 4000


def ready(attack: Adversary, env: Env) -> Any:
    """A state that attacks, with scores of which every block has some."""
    state = attack.init(rng.root(0))
    return state._replace(updates=jnp.int32(1000), scores=jax.random.uniform(rng.root(1), state.scores.shape))


def begun(config: DecoupledConfig, env: Env, count: int = MANY) -> Any:
    attack = config.build(env.spec)
    state, step = ready(attack, env), env.reset(rng.root(0), env.params)[1]
    return jax.jit(jax.vmap(lambda key: attack.begin(key, state, step)))(jax.random.split(rng.root(2), count))


def test_who_is_hidden_says_nothing_of_who_misbehaves() -> None:
    memory = begun(DecoupledConfig(most=2, hides=0.6, misbehaves=0.3), LEAK)
    attacked = np.asarray(memory.inner.group.any(1))
    hides = np.asarray(memory.inner.mask.any((1, 2)))[attacked]
    misbehaves = np.asarray(memory.inner.p > 0)[attacked]
    share = 2 / 3  # K is 0, 1 or 2
    assert attacked.mean() == pytest.approx(share, abs=0.03)
    for found, wanted in ((hides, 0.6), (misbehaves, 0.3), (hides & misbehaves, 0.18), (~hides & ~misbehaves, 0.28)):
        assert found.mean() == pytest.approx(wanted, abs=0.03)
    assert not np.asarray(memory.inner.mask.any((1, 2)))[~attacked].any()


def test_one_side_or_both_lose_sight() -> None:
    memory = begun(DecoupledConfig(most=2, hides=1.0, one_side=0.5), LEAK)
    group, hidden = (np.asarray(a) for a in (memory.inner.group, memory.inner.mask.any(2)))
    attacked = group.any(1)
    first, others = (np.asarray((hidden & side)[attacked].any(1)) for side in (group, ~group))
    for found, wanted in ((first & others, 0.5), (first & ~others, 0.25), (~first & others, 0.25)):
        assert found.mean() == pytest.approx(wanted, abs=0.03)
    # A side loses sight together.
    sides = np.where(group[attacked], first[:, None], others[:, None])
    np.testing.assert_array_equal(hidden[attacked], sides)


@pytest.mark.parametrize(
    ("env", "wanted"), [(FIGHT, (0.5, 0.25, 0.25)), (LEAK, (0.5, 0.0, 0.5))], ids=["fight", "leak"]
)
def test_the_ways_to_misbehave(env: Env, wanted: tuple[float, ...]) -> None:
    way = np.asarray(begun(DecoupledConfig(informed=0.5), env).way)
    np.testing.assert_allclose([(way == k).mean() for k in (INFORMATION, IDLE, RANDOM)], wanted, atol=0.03)


def whole() -> tuple[DecoupledConfig, InteractionConfig]:
    given = {"hides": 1.0, "misbehaves": 1.0, "one_side": 0.0, "informed": 1.0, "most": 2}
    config = DecoupledConfig(**given)
    return config, InteractionConfig(**{f.name: getattr(config, f.name) for f in fields(InteractionConfig)})


def view_of(env: Env) -> ActView:
    step = env.reset(rng.root(0), env.params)[1]
    scores = jnp.zeros(step.avail.shape)
    meant = jnp.argmax(step.avail, axis=1).astype(jnp.int32)
    return ActView(step, (), jnp.full(meant.shape, -1), random_policy(env.spec), jnp.int32(0), step.obs, scores, meant)


def test_with_nothing_apart_it_is_the_attack_of_ibal() -> None:
    config, plain = whole()
    mine, theirs = config.build(LEAK.spec), plain.build(LEAK.spec)
    state, view = ready(mine, LEAK), view_of(LEAK)

    def acted(attack: Adversary, key: jax.Array) -> Any:
        memory = attack.begin(key, state, view.step)
        return memory, attack.act(rng.stream(key, "act"), state, memory, view)[0]

    for seed in range(3):
        (one, actions), (two, wanted) = (jax.jit(lambda k, a=a: acted(a, k))(rng.root(seed)) for a in (mine, theirs))
        jax.tree.map(np.testing.assert_array_equal, one.inner, two)
        np.testing.assert_array_equal(actions, wanted)


def test_who_idles_idles_and_who_errs_does_anything_legal() -> None:
    config = DecoupledConfig(most=3, hides=0.0, misbehaves=1.0, informed=0.0, p=1.0)
    attack, view = config.build(FIGHT.spec), view_of(FIGHT)
    state = ready(attack, FIGHT)
    meant = jnp.argmax(jnp.where(view.step.avail, jnp.arange(FIGHT.spec.n_actions)[None], 0), axis=1).astype(
        jnp.int32
    )  # no idling
    view = view._replace(actions=meant)

    @jax.jit
    @jax.vmap
    def played(key: jax.Array) -> Any:
        memory = attack.begin(key, state, view.step)
        return memory, attack.act(rng.stream(key, "act"), state, memory, view)[0]

    memory, actions = jax.tree.map(np.asarray, played(jax.random.split(rng.root(4), 400)))
    group, idles = memory.inner.group, memory.way == IDLE
    np.testing.assert_array_equal(actions[~group], np.broadcast_to(meant, actions.shape)[~group])
    assert np.isin(actions[idles][group[idles]], FIGHT.spec.idle_actions).all()
    random = actions[~idles][:, 0][group[~idles][:, 0]]
    assert set(random) == set(np.flatnonzero(np.asarray(view.step.avail)[0]))


@pytest.mark.parametrize("env", [LEAK, FIGHT], ids=["leak", "fight"])
def test_it_keeps_its_threat_and_what_was_seen_can_be_rebuilt(env: Env) -> None:
    attack = DecoupledConfig(most=2).build(env.spec)
    state = ready(attack, env)
    report = check_adversary(attack, env, random_policy(env.spec), state=state, key=rng.root(3), episodes=16)
    assert report.replaced > 0
    assert report.seen_otherwise > 0
    assert attack.tells is not None
    memory = attack.begin(rng.root(0), state, env.reset(rng.root(0), env.params)[1])
    assert attack.tells.of(memory).shape == (attack.tells.size,)


def test_its_estimators_learn_from_games_that_nobody_attacked() -> None:
    assert DecoupledConfig().learn_from == "natural"
    assert DecoupledConfig(most=2).build(LEAK.spec).threat == InteractionConfig(most=2).build(LEAK.spec).threat
