"""Scripted policies choose what they say they choose."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.evaluation.scripted import nearest, random_policy, stop_policy, weakest
from ibal.types import Block, Env, EnvSpec, ObsLayout, Policy

N, M = 3, 3


@pytest.fixture
def spec() -> EnvSpec:
    """Three agents against three enemies, with SMAC's names; the features of MMM."""
    life = ("health", "is_marine", "is_medivac")
    kinds = [("move", 0, ("can_north",))]
    kinds += [("enemy", j, ("attackable", "distance", "dx", "dy", *life)) for j in range(M)]
    kinds += [("ally", j, ("visible", "distance", "dx", "dy", *life)) for j in range(N - 1)]
    kinds += [("own", 0, life)]
    blocks, start = [], 0
    for kind, slot, features in kinds:
        blocks.append(Block(kind, slot, start, features))
        start += len(features)
    layout = ObsLayout(tuple(blocks))
    names = ("no-op", "stop", "north", "south", "east", "west", *(f"attack[{j}]" for j in range(M)))
    return EnvSpec("toy", N, 6 + M, layout.size, 1, 10, names, (), layout, layout, 0, (0, 1))


@pytest.fixture
def obs(spec: EnvSpec) -> np.ndarray:
    """Agents 0 and 1 are marines, agent 2 is a medivac."""
    return _put(spec, np.zeros((N, spec.obs_size), np.float32), {
        "enemy[0].distance": 0.5, "enemy[1].distance": 0.3, "enemy[2].distance": 0.1,
        "enemy[0].health": 0.2, "enemy[1].health": 0.9, "enemy[2].health": 1.0,
    })  # fmt: skip


def _put(spec: EnvSpec, obs: np.ndarray, values: dict[str, float], agents: slice = slice(None)) -> np.ndarray:
    for name, value in values.items():
        obs[agents, spec.obs_layout.names.index(name)] = value
    return obs


def choose(policy: Policy, obs: np.ndarray, avail: np.ndarray) -> list[int]:
    _, values = policy.scores(policy.start(), jnp.asarray(obs), jnp.asarray(avail), jnp.full(N, -1))
    return policy.select(jax.random.key(0), values, jnp.asarray(avail)).tolist()


def mask(*targets: int) -> np.ndarray:
    avail = np.zeros((N, 6 + M), bool)
    avail[:, 1:6] = True
    avail[:, [6 + t for t in targets]] = True
    return avail


def test_nearest_and_weakest_choose_within_the_mask(spec: EnvSpec, obs: np.ndarray) -> None:
    assert choose(nearest(spec), obs, mask(0, 1, 2)) == [8, 8, 8]
    assert choose(nearest(spec), obs, mask(0, 1)) == [7, 7, 7]
    assert choose(weakest(spec), obs, mask(0, 1, 2)) == [6, 6, 6]
    assert choose(weakest(spec), obs, mask(1, 2)) == [7, 7, 7]


def test_they_stop_without_a_target_and_the_dead_do_nothing(spec: EnvSpec, obs: np.ndarray) -> None:
    avail = mask()
    avail[1] = np.arange(6 + M) == 0
    for make in (nearest, weakest, stop_policy):
        assert choose(make(spec), obs, avail) == [1, 0, 1]


def test_a_medivac_heals_damaged_agents(spec: EnvSpec, obs: np.ndarray) -> None:
    # For agent 2 ally slot 0 is agent 0 and slot 1 is agent 1; its action 6 + j heals agent j.
    medic = slice(2, 3)
    _put(spec, obs, {"own[0].is_medivac": 1, "ally[0].distance": 0.1, "ally[1].distance": 0.6}, medic)
    _put(spec, obs, {"ally[0].health": 0.9, "ally[1].health": 0.4}, medic)
    assert choose(nearest(spec), obs, mask(0, 1))[2] == 6
    assert choose(weakest(spec), obs, mask(0, 1))[2] == 7
    _put(spec, obs, {"ally[0].health": 1.0}, medic)
    assert choose(nearest(spec), obs, mask(0, 1))[2] == 7
    _put(spec, obs, {"ally[1].health": 1.0}, medic)
    assert choose(nearest(spec), obs, mask(0, 1))[2] == 1


def test_random_is_uniform_over_what_is_available(spec: EnvSpec) -> None:
    policy, avail = random_policy(spec), jnp.asarray(mask(1))
    _, values = policy.scores((), jnp.zeros((N, spec.obs_size)), avail, jnp.full(N, -1))
    drawn = jax.vmap(policy.select, (0, None, None))(jax.random.split(jax.random.key(0), 3000), values, avail)
    share = np.bincount(np.asarray(drawn).ravel(), minlength=9) / drawn.size
    np.testing.assert_allclose(share, np.where(mask(1)[0], 1 / 6, 0), atol=0.02)


def test_worlds_that_do_not_fit_are_refused(walk: Env, spec: EnvSpec) -> None:
    with pytest.raises(ValueError, match="walk has 0 attack actions"):
        nearest(walk.spec)
    from dataclasses import replace

    with pytest.raises(ValueError, match="no action that does nothing"):
        stop_policy(replace(spec, idle_actions=()))
