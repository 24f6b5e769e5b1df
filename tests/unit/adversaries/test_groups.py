from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal import make, rng
from ibal.adversaries import groups
from ibal.adversaries.config import InteractionConfig
from ibal.envs import TABLE

N, MOST, DRAWS = 8, 4, 6000


def drawn(evaluation: bool) -> np.ndarray:
    def one(index: jax.Array) -> jax.Array:
        key = rng.at(rng.root(0), index)
        size = groups.draw_size(rng.stream(key, "size"), MOST, evaluation)
        return groups.draw_members(rng.stream(key, "members"), N, size)

    return np.asarray(jax.vmap(one)(jnp.arange(DRAWS)))


def test_sizes_are_uniform_from_none_to_k_and_members_uniform() -> None:
    group = drawn(evaluation=False)
    share = np.bincount(group.sum(1), minlength=N + 1) / DRAWS
    np.testing.assert_allclose(share[: MOST + 1], 1 / (MOST + 1), atol=0.02)  # four standard deviations
    assert share[MOST + 1 :].sum() == 0
    np.testing.assert_allclose(group.mean(0), MOST / 2 / N, atol=0.025)
    # Given two members, every pair is as likely as any other.
    pairs = group[group.sum(1) == 2].astype(float)
    together = (pairs.T @ pairs)[np.triu_indices(N, 1)] / len(pairs)
    np.testing.assert_allclose(together, 1 / 28, atol=0.025)


def test_in_evaluation_the_group_is_full() -> None:
    group = drawn(evaluation=True)
    assert (group.sum(1) == MOST).all()
    np.testing.assert_allclose(group.mean(0), MOST / N, atol=0.03)


def test_p_is_uniform_between_p_min_and_p_max_and_fixed_where_asked() -> None:
    schedule = groups.start(InteractionConfig(), 4)._replace(p_max=jnp.float32(0.75))

    def many(config: InteractionConfig, most: int = 4) -> np.ndarray:
        draw = lambda i: groups.draw_probability(rng.at(rng.root(0), i), config, most, schedule)  # noqa: E731
        return np.asarray(jax.vmap(draw)(jnp.arange(2000)))

    p = many(InteractionConfig())
    assert p.min() >= 0.25
    assert p.max() <= 0.75
    assert p.mean() == pytest.approx(0.5, abs=0.02)
    assert many(InteractionConfig(p_min=0.5)).min() >= 0.5
    assert (many(InteractionConfig(p=0.3)) == np.float32(0.3)).all()
    assert (many(InteractionConfig(evaluation=True)) == 0.25).all()
    assert (many(InteractionConfig(), most=0) == 0).all()


def test_p_max_begins_at_one_over_k_or_at_p_min() -> None:
    begins = {(k, p_min): float(groups.start(InteractionConfig(p_min=p_min), k).p_max)
              for k, p_min in ((4, None), (1, None), (0, None), (4, 0.5), (4, 0.0))}  # fmt: skip
    assert begins == {(4, None): 0.25, (1, None): 1.0, (0, None): 0.0, (4, 0.5): 0.5, (4, 0.0): 0.25}


def test_the_schedule_by_hand() -> None:
    config = InteractionConfig(alpha=2.0, eta=0.8, check_every=1000, check_episodes=100)
    steps = [  # mean success, episodes, environment steps so far, P_max after it
        (1.0, 50, 500, 0.25),  # neither enough steps nor enough episodes
        (0.0, 10, 1200, 0.25),  # 60 episodes are not enough
        (0.9, 40, 1300, 0.5),  # 100 episodes won 86 times: passed
        (0.9, 60, 1900, 0.5),  # 600 steps since that check
        (0.75, 60, 2300, 1.0),  # 0.825 of 120: passed
        (0.7, 500, 3300, 1.0),  # failed: it never falls
        (1.0, 500, 4300, 1.0),  # passed, but it is never above 1
    ]
    schedule = groups.start(config, 4)
    for success, episodes, env_steps, p_max in steps:
        schedule = groups.advance(config, schedule, jnp.float32(success), episodes, jnp.float32(env_steps))
        assert float(schedule.p_max) == p_max
    assert float(schedule.episodes) == 0
    assert float(schedule.checked) == 4300


def test_the_paper_s_sizes_and_those_that_follow_from_an_environment() -> None:
    assert groups.sizes(make("8m").spec) == (4, 5)
    assert groups.sizes(make("3s_vs_3z").spec) == (1, 5)  # the block has 6 entries
    assert groups.sizes(make("MMM").spec) == (4, 8)
    assert groups.sizes(make("25m").spec) == (8, 5)
    assert groups.sizes(make("two-step").spec) == (1, 0)
    assert groups.sizes(make("toy/leak", n_agents=5).spec) == (1, 5)
    for name in TABLE:
        spec = make(name).spec
        assert 2 * groups.sizes(spec).most <= spec.n_agents, name


def test_k_beyond_the_team_is_refused() -> None:
    with pytest.raises(ValueError, match='most is 9, but "smac/8m" has only 8 agents'):
        groups.largest(InteractionConfig(most=9), make("8m").spec)
