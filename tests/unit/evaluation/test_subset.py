"""The worst group of agents: all groups are tried, the right one is found, and what was not tried is said."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from ibal.adversaries.faults import SubsetConfig
from ibal.evaluation.bank import Bank
from ibal.evaluation.matrix import Plan, Team, cells, run
from ibal.evaluation.subset import drawn, exchanges, missed, search
from ibal.types import Block, Env, EnvSpec, ObsLayout, Policy, TimeStep

WORTH = (3.0, 1.0, 5.0, 2.0)  # what every agent earns by working; 2 and 0 are the pair that is missed most


def work(n: int) -> Env:
    """Two steps; who works (action 1) earns what it is worth, who idles (action 0) nothing."""
    worth = jnp.array([WORTH[i % 4] + (i >= 4) * 0.1 for i in range(n)])

    def look(t: jax.Array, reward: jax.Array) -> tuple[jax.Array, TimeStep]:
        obs, all_ = jnp.ones((n, 1)), jnp.ones((n, 2), bool)
        return t, TimeStep(obs, obs[:, 0], all_, all_[:, 0], reward, t >= 2, jnp.array(False), {})

    layout = ObsLayout((Block("own", 0, 0, ("x",)),))
    state = ObsLayout((Block("state", 0, 0, tuple(f"x{i}" for i in range(n))),))
    spec = EnvSpec("test/work", n, 2, 1, n, 2, ("idle", "work"), (), layout, state, None, (0,))
    return Env(spec, (), lambda key, params: look(jnp.int32(0), jnp.float32(0)),
               lambda key, t, actions, params: look(t + 1, (actions.astype(jnp.float32) * worth).sum()))  # fmt: skip


def workers(n: int) -> Team:
    env = work(n)
    policy = Policy(
        lambda: (), lambda c, o, a, last: (c, jnp.broadcast_to(jnp.array([0.0, 1.0]), (n, 2))),
        lambda key, scores, avail: jnp.argmax(scores, axis=1).astype(jnp.int32),
    )  # fmt: skip
    return Team("workers", "scripted", None, env, "work", policy, None, "", {})


def test_the_pair_that_is_missed_most_is_found_and_played() -> None:
    team = workers(4)
    found = search(team, SubsetConfig(k=2, episodes=2))
    assert (found.who, found.tried, found.groups, found.gap) == ((0, 2), 6, 6, 0.0)
    assert found.score == pytest.approx(2 * (1 + 2))
    assert found.scores[1, 3] == pytest.approx(2 * (3 + 5))
    todo = cells([team], Bank().attack, ["natural", "subset[k=2,episodes=2]"], ["none"])
    rows = run(todo, Plan(episodes=2))
    assert rows["return"].to_list() == pytest.approx([22, 22, 6, 6])
    assert todo[1].attack.about["config"]["who"] == [0, 2]


def test_with_many_agents_the_search_says_what_it_may_have_missed() -> None:
    found = search(workers(12), SubsetConfig(k=2, episodes=1, tries=20))
    assert found.who == (6, 10)  # worth 5.1 each: if the draws miss it, exchanges find it
    assert 20 < found.tried < found.groups == 66
    assert found.gap == pytest.approx(missed(20)) == pytest.approx(0.139, abs=1e-3)


def test_groups_are_drawn_once_and_neighbours_differ_in_one() -> None:
    config = SubsetConfig(k=3, tries=20)
    groups = drawn(12, config)
    assert len(groups) == len(set(groups)) == 20
    assert all(len(set(who) & {0, 1, 2}) == 2 for who in exchanges((0, 1, 2), 12, config))


def test_without_a_team_there_is_nothing_to_look_for() -> None:
    with pytest.raises(ValueError, match='"subset-1" is looked for with a team'):
        Bank().on("subset-1", work(3).spec)
