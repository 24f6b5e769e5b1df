"""Masks, rows and discoveries, by hand from the tables of SMACv2."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.rules import Rules
from ibal.envs.smacv2 import observe
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.layout import env_spec
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.state import EnvState, Tags
from unit.envs.smacv2.duel import moment, team

PLAIN, RULES = Options(), Rules.of("2026-12")


class Seen:
    """What agents are shown at a moment: observations and state by the names of their entries, and the mask."""

    def __init__(self, army: Army, state: EnvState, options: Options = PLAIN) -> None:
        self.spec = env_spec(army, options, RULES)

        @jax.jit
        def show(state: EnvState) -> Any:
            foes = army.n_agents + state.enemy_order
            near = observe.in_sight(state.units, state.kind, foes, state.view, army, options)
            state = state._replace(sees=state.sees & near & (state.units.health[foes] > 0)[None, :])
            aims = observe.targets(state.units, state.kind, state.enemy_order, state.view, army, options)
            mask = observe.available(state.units, state.kind, state.enemy_order, aims, army, options)
            obs = observe.observation(state, mask, aims, army, options)
            return obs, observe.state_vector(state, obs, mask.shape[1], army, options, RULES), mask

        self.obs, self.state, self.avail = (np.asarray(part) for part in show(state))

    def row(self, agent: int, entity: str) -> list[float]:
        return self.obs[agent, self.spec.obs_layout.mask(entity)].tolist()

    def of_state(self, entity: str) -> list[float]:
        return self.state[self.spec.state_layout.mask(entity)].tolist()

    def targets(self, agent: int) -> list[int]:
        return np.flatnonzero(self.avail[agent, 6:]).tolist()


def test_rows_are_over_the_sight_of_who_sees() -> None:
    army = team("terran", 3, 2)
    units = [("marine", 10, 12), ("marauder", 10, 12), ("medivac", 10, 12), ("marauder", 13, 16), ("marine", 19, 12)]
    seen = Seen(army, moment(army, *units, health=[None, None, None, 100, None]))
    assert seen.row(0, "enemy[0]") == pytest.approx([1, 5 / 9, 3 / 9, 4 / 9, 0.8, 0, 1, 0])
    assert seen.row(1, "enemy[0]") == pytest.approx([1, 0.5, 0.3, 0.4, 0.8, 0, 1, 0])
    assert seen.row(0, "own") == pytest.approx([1, 0.3125, 0.375, 1, 0, 0])
    assert seen.row(0, "enemy[1]") == [0] * 8  # at 9: not closer than a marine sees
    assert seen.row(1, "enemy[1]") == pytest.approx([0, 0.9, 0.9, 0, 1, 1, 0, 0])
    assert seen.row(2, "enemy[1]")[1] == pytest.approx(9 / 11)
    assert seen.row(2, "ally[1]") == pytest.approx([1, 0, 0, 0, 1, 0, 1, 0])


def test_reach_is_that_of_the_type() -> None:
    """A marine reaches 5, a marauder 6, both included; a medivac reaches living agents that are none, up to 4."""
    army = team("terran", 4, 2)
    units = [("marauder", 10, 10), ("marine", 10, 10), ("medivac", 10, 10), ("medivac", 12, 10)]
    seen = Seen(army, moment(army, *units, ("marine", 13, 14), ("marine", 16, 10)))
    assert seen.targets(0) == [0, 1]
    assert seen.targets(1) == [0]
    assert seen.targets(2) == seen.targets(3) == [0, 1]  # agents 0 and 1, not each other
    assert seen.row(2, "enemy[1]")[0] == 1  # says that agent 1 can be healed
    dead = moment(army, *units, ("marine", 13, 14), ("marine", 16, 10), health=[0, None, None, None, None, 0])
    seen = Seen(army, dead)
    assert seen.targets(2) == [1]
    assert seen.targets(1) == [0]
    assert seen.avail[0].tolist() == [True] + [False] * 9
    assert (seen.obs[0] == 0).all()


@pytest.mark.parametrize(("distance", "can"), [(2.0, True), (2.001, False)])
def test_melee_units_reach_two(distance: float, can: bool) -> None:
    army = team("protoss", 1, 1)
    seen = Seen(army, moment(army, ("zealot", 10, 10), ("zealot", 10 + distance, 10)))
    assert seen.targets(0) == ([0] if can else [])


def test_constructor_defaults_have_one_sight_and_one_reach() -> None:
    army = team("zerg", 1, 1)
    state = moment(army, ("zergling", 10, 10), ("zergling", 16, 10))
    assert Seen(army, state, Options(use_unit_ranges=False)).targets(0) == [0]
    assert Seen(army, state, Options(use_unit_ranges=False)).row(0, "enemy[0]")[1] == pytest.approx(6 / 9)


def test_state_rows() -> None:
    army = team("terran", 2, 1)
    state = moment(army, ("marine", 10, 12), ("medivac", 16, 16), ("marauder", 30, 2), cooldown=[7.5, None, None])
    seen = Seen(army, state)
    assert seen.of_state("ally[0]") == pytest.approx([1, 0.5, -6 / 28, -4 / 28, 1, 0, 0])
    assert seen.of_state("ally[1]") == pytest.approx([1, 0.25, 0, 0, 0, 0, 1])
    assert seen.of_state("enemy[0]") == pytest.approx([1, 0.5, -0.5, 0, 1, 0])


def test_protoss_rows_have_shields() -> None:
    army = team("protoss", 1, 1)
    state = moment(army, ("stalker", 16, 8), ("colossus", 16, 10), health=[40, 100], shield=[20, 75])
    seen = Seen(army, state)
    assert seen.row(0, "own") == pytest.approx([0.5, 0.25, 0.5, 0.25, 1, 0, 0])
    assert seen.row(0, "enemy[0]") == pytest.approx([1, 0.2, 0, 0.2, 0.5, 0.5, 0, 0, 1])
    assert seen.of_state("enemy[0]") == pytest.approx([0.5, 0, -6 / 28, 0.5, 0, 0, 1])


def test_epo_offers_all_that_live_and_its_rows_tell_the_truth() -> None:
    army = team("zerg", 1, 2)
    state = moment(army, ("hydralisk", 10, 10), ("zergling", 16, 10), ("zergling", 30, 30))
    seen = Seen(army, state, Options(action_mask=False))
    assert seen.targets(0) == [0, 1]
    assert seen.row(0, "enemy[0]")[0] == 0


@pytest.mark.parametrize(
    ("look", "shown"),
    [
        (0, [0, 3]),  # east: straight ahead, and, slopes being compared, straight behind
        (3, [2]),  # north
        (6, [0, 3]),  # west
        (1, [1]),  # 30 degrees
    ],
)
def test_a_cone_shows_what_lies_along_it(look: int, shown: list[int]) -> None:
    army, options = team("zerg", 1, 4), Options(conic_fov=True)
    c, s = 5 * np.cos(np.pi / 6), 5 * np.sin(np.pi / 6)
    points = [(15, 10), (10 + c, 10 + s), (10.1, 14.9), (5, 10)]
    state = moment(army, ("hydralisk", 10, 10), *(("zergling", x, y) for x, y in points))
    state = state._replace(view=jnp.asarray(observe.directions(options))[look : look + 1])
    seen = Seen(army, state, options)
    assert [j for j in range(4) if any(seen.row(0, f"enemy[{j}]"))] == shown
    assert np.flatnonzero(seen.avail[0, 18:]).tolist() == shown
    assert seen.avail[0, 6:18].all()


# -- discoveries


def look(near: Any, tags: Tags, order: list[int], alive: list[int] | None = None, **options: Any) -> Any:
    """Let agents look in this order (found among random ones); return (tags, what each agent is shown)."""
    n, m = np.shape(near)
    alive = [1] * (n + m) if alive is None else alive
    chosen = Options(**options)
    for seed in range(200):
        key = jax.random.key(seed)
        turn = jax.random.permutation(observe.rng.stream(key, "order"), n)
        if np.argsort(turn).tolist() == order:
            tags, shown = observe.look(key, tags, jnp.array(near, bool), jnp.array(alive, bool), chosen)
            return tags, [np.flatnonzero(row).tolist() for row in np.asarray(shown)]
    raise AssertionError("no such order")


def nothing(m: int, n: int) -> Tags:
    return Tags(jnp.full(m, -1, jnp.int32), jnp.zeros((m, n), bool))


def test_an_undiscovered_enemy_hides_all_lower_ones() -> None:
    near = [[1, 0, 1], [1, 0, 0]]  # agent 0 near enemies 0 and 2, agent 1 near enemy 0
    tags, shown = look(near, nothing(3, 2), [0, 1])
    assert shown == [[2], []]
    assert tags.owner.tolist() == [0, -1, 0]
    # Somebody finds enemy 1: both see enemy 0.
    near = [[1, 1, 1], [1, 0, 0]]
    tags, shown = look(near, tags, [0, 1])
    assert shown == [[0, 1, 2], [0]]
    # It dies. Its corpse in the sight of agent 0 is tagged again, so all stays; out of sight it hides enemy 0.
    alive = [1, 1, 1, 0, 1]
    tags = observe.forget(tags, jnp.array(alive, bool), 2)
    assert tags.owner.tolist() == [0, -1, 0]
    assert look(near, tags, [0, 1], alive)[1] == [[0, 2], [0]]
    assert look([[1, 0, 1], [1, 0, 0]], tags, [0, 1], alive)[1] == [[2], []]
    assert look(near, nothing(3, 2), [0, 1], tagging=False)[1] == [[0, 1, 2], [0]]


def test_who_looks_before_the_discoverer_sees_less_until_the_next_time() -> None:
    near = [[1, 1], [1, 0]]
    tags, shown = look(near, nothing(2, 2), [1, 0])
    assert shown == [[0, 1], []]
    assert look(near, tags, [1, 0])[1] == [[0, 1], [0]]
    assert look(near, nothing(2, 2), [1, 0], tag_order="together")[1] == [[0, 1], [0]]


def test_what_a_dead_agent_discovered_is_forgotten() -> None:
    tags, _ = look([[1, 1], [0, 1]], nothing(2, 2), [0, 1])
    tags = observe.forget(tags, jnp.array([0, 1, 1, 1], bool), 2)
    assert tags.owner.tolist() == [-1, -1]
    assert not tags.shown.any()
    assert look([[1, 1], [0, 1]], tags, [0, 1], [0, 1, 1, 1])[1][1] == [1]


def test_with_epo_only_the_discoverer_sees_an_enemy() -> None:
    near = [[1, 1], [1, 1]]
    tags, shown = look(near, nothing(2, 2), [1, 0], prob_obs_enemy=0.0)
    assert shown == [[], [0, 1]]
    assert tags.owner.tolist() == [1, 1]
