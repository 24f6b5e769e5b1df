"""What the methods are made of is what they are called."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries.config import InteractionConfig
from ibal.adversaries.interaction import State
from ibal.experiments.methods import METHODS, adversary_of, attack_of
from ibal.mi import samples
from ibal.types import EnvSpec, Episodes
from unit.mi import toys

SPEC = make("toy/leak", n_agents=3, noise=1).spec


def built(name: str, **options: Any) -> State:
    return attack_of(name, options).build(SPEC).init(rng.root(0))


@cache
def two_dead() -> tuple[EnvSpec, Episodes]:
    """One step of three agents: agent 1 dies in it, agent 2 is dead already. Entries tell agent and time."""
    spec = toys.spec(noop=0)
    obs = np.tile(np.arange(3.0)[None, None, :, None], (1, 2, 1, 5)) + 10 * np.arange(2.0)[None, :, None, None]
    avail = np.ones((1, 2, 3, toys.ACTIONS), bool)
    avail[0, :, 2] = avail[0, 1, 1] = [True, False, False, False]
    action = np.array([[[1, 2, 0]]])
    return spec, toys.episodes(obs, action, np.array([1]), avail=jnp.asarray(avail))


def test_the_literal_method_is_literal() -> None:
    """Its masks are the paper's, and so are both estimators: what they are given, and whom they leave out."""
    config, spec = attack_of("ibal-literal"), SPEC
    assert (config.masks, config.learn_from) == ("dimension", "all")
    state = built("ibal-literal")
    theta, phi = state.theta.params, state.phi.params
    # p_theta(o'_i | a_i, a_j, i, j): no observation of now, no weights of a pair's own; two hidden layers of 256.
    assert theta.tau.shape == (0, 256)
    assert theta.pair is None
    assert [layer.w.shape for layer in theta.rest] == [(256, 256), (256, 2 * spec.obs_size)]
    # p_phi(a^G2 | a^G1, s_{t-1}): the state of one step before, squeezed to 32 numbers.
    assert phi.encoder.w.shape == (spec.state_size, 32)
    assert [layer.w.shape for layer in phi.rest] == [(256, 256), (256, 3 * spec.n_actions)]
    assert (config.action.marginal, config.club.negatives, config.club.negative) == ("M1", 1, "batch")
    assert "state" in config.build(spec).threat.knowledge


def test_the_literal_method_keeps_dead_partners_and_no_dead_observers() -> None:
    spec, record = two_dead()
    pairs = {}
    for name in ("ibal-literal", "ibal"):
        batch = samples.pairs(jax.random.key(0), attack_of(name).club, spec, record, 200)
        counts = np.asarray(batch.weight) > 0
        pairs[name] = set(zip(*(np.asarray(x)[counts].tolist() for x in (batch.observer, batch.partner)), strict=True))
        assert (np.asarray(batch.after)[counts, 0] == 10).all()  # agent 0 alone lives on
    # Agent 1 lives when it acts; agent 2 can do nothing any more.
    assert pairs == {"ibal-literal": {(0, 1), (0, 2)}, "ibal": {(0, 1)}}


def test_the_masks_alone_do_not_change_the_estimators() -> None:
    """``masks=dimension`` says what is hidden, not how it is found: for that there is the literal attack."""
    ours, single = built("ibal"), built("ibal", masks="dimension")
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, single)
    whole = built("ibal-literal", masks="block")
    assert jax.tree.map(jnp.shape, whole) == jax.tree.map(jnp.shape, built("ibal-literal"))
    assert jax.tree.map(jnp.shape, whole) != jax.tree.map(jnp.shape, ours)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("ibal", {}), ("ibal-fixed-p", {"alpha": 1.0}), ("ibal-random-masks", {"masks": "random"}),
        ("ibal-no-obs", {"masks": "off"}), ("ibal-no-act", {"actions": "off"}),
    ],
)  # fmt: skip
def test_an_ablation_differs_from_the_method_in_one_thing(name: str, changed: dict[str, Any]) -> None:
    assert attack_of(name) == InteractionConfig(**changed)


def test_the_schedule_of_romance_is_as_long_as_its_training() -> None:
    config = attack_of("romance")
    assert (config.generations, config.freeze) == (None, 500 / 800)


def test_every_method_can_be_built() -> None:
    spec = make("3m").spec
    for name in METHODS:
        assert adversary_of(name, spec).threat is not None, name
