"""Whole games, and the engine on drawn teams beside the same teams as a map of SMAC."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.check import check_env
from ibal.envs.smac.engine import advance, draws
from ibal.envs.smac.orders import command
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.state import ATTACK, HOLD, Units
from ibal.envs.smac.stats import Stats, stats
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.env import make
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.roster import facts
from ibal.envs.smacv2.state import EnvState
from unit.envs.smacv2.duel import kinds, moment, team

RULES = Rules.of("2026-12")
TEAMS = {  # agents in their own order, by type
    "terran": (("marauder", "marine", "medivac"), ("marine", "medivac", "marauder", "medivac")),
    "zerg": (("baneling", "hydralisk", "zergling"), ("hydralisk", "baneling", "zergling", "zergling")),
    "protoss": (("colossus", "stalker", "zealot"), ("zealot", "colossus", "stalker", "stalker")),
}


def as_map(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Scenario:
    at = (16.0, 16.0)
    return Scenario(
        "own", 200, tuple(Group(u, 1, at) for u in ours), tuple(Group(u, 1, at) for u in theirs), terrain="open",
        march="trigger", heals="marine" in ours,
    )  # fmt: skip


@pytest.mark.parametrize("race", list(TEAMS))
def test_the_unit_table_of_kinds_is_that_of_a_map(race: str) -> None:
    ours, theirs = TEAMS[race]
    army = team(race, 3, 4)
    wanted = stats(as_map(ours, theirs), RULES)
    found = facts(army, kinds(army, *ours, *theirs)[:, None], RULES)
    among = {"damage": wanted.can_hit, "crawler_bonus": wanted.can_hit}  # of no meaning for others
    for name in Stats._fields:
        one, other = (np.broadcast_arrays(getattr(table, name), getattr(wanted, name))[0] for table in (found, wanted))
        assert one.dtype == other.dtype, name
        where = among.get(name, np.ones(other.shape, bool))
        np.testing.assert_array_equal(one[where], other[where], name)


@pytest.mark.parametrize("race", ["terran", pytest.param("zerg", marks=pytest.mark.thorough), "protoss"])
def test_drawn_teams_play_as_the_same_teams_of_a_map(race: str) -> None:
    ours, theirs = TEAMS[race]
    army, scenario = team(race, 3, 4), as_map(ours, theirs)
    places = [(10, 14), (10, 16), (10, 18), (16, 13), (17, 15), (16, 17), (17, 19)]
    start = moment(army, *((u, *xy) for u, xy in zip((*ours, *theirs), places, strict=True)))

    def play(drawn: bool) -> Units:
        side: Any = army if drawn else scenario

        def step(units: Units, i: jax.Array) -> tuple[Units, None]:
            key = jax.random.fold_in(jax.random.key(5), i)
            actions = jnp.where(i < 6, jnp.array([6, 7, 6]), jnp.array([8, 3, 7]))
            table = facts(army, start.kind[:, None], RULES) if drawn else stats(scenario, RULES)
            units = command(units, actions, jnp.arange(4), side, Options(), RULES.quantities, table)
            given = (start.kind, facts) if drawn else ()
            return advance(units, draws(key, side), side, RULES.discrete, 8, RULES.quantities, 8 * i + 5, *given), None

        return jax.jit(lambda: jax.lax.scan(step, start.units, jnp.arange(20))[0])()

    one, other = play(True), play(False)
    assert (np.asarray(one.health) < np.asarray(start.units.health)).any()
    for name in Units._fields:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=2e-3, err_msg=name)


@cache
def _game(army: Army) -> Any:
    env = make(army)
    step = jax.jit(env.step)
    return env, lambda state, actions, i: step(jax.random.key(i), state, jnp.array(actions, jnp.int32), env.params)


def walk(army: Army, state: EnvState, actions: list[int], steps: int) -> list[EnvState]:
    """The moments after each of so many steps of the same actions."""
    play, states = _game(army)[1], []
    for i in range(steps):
        state = play(state, actions, i)[0]
        states.append(state)
    return states


def test_the_trigger_sends_idle_enemies_to_the_nearest_agent_and_they_keep_it() -> None:
    """Loop by loop from the phase: with phase p an enemy walks 8 - p loops of the first step."""
    army = team("zerg", 2, 1)
    for phase in (0, 3, 7):
        state = moment(army, ("hydralisk", 5, 16), ("hydralisk", 5, 28), ("hydralisk", 25, 16))
        state = state._replace(phase=jnp.int32(phase))
        first, *rest = walk(army, state, [1, 1], 3)
        speed = 2.25 / 16
        assert float(25 - first.units.x[2]) == pytest.approx(speed * (8 - phase), abs=1e-3)
        assert int(first.units.target[2]) == 0
        units = rest[-1].units
        nearer = rest[-1]._replace(units=units._replace(x=units.x.at[1].set(15.0), y=units.y.at[1].set(17.0)))
        assert int(walk(army, nearer, [1, 1], 2)[-1].units.target[2]) == 0


def test_after_the_kill_the_next_one_is_taken_within_a_period() -> None:
    army = team("zerg", 2, 1)
    state = moment(army, ("hydralisk", 5, 16), ("hydralisk", 5, 28), ("hydralisk", 8, 16), health=[5, None, None])
    states = walk(army, state, [1, 1], 6)
    fell = next(i for i, s in enumerate(states) if s.units.health[0] <= 0)
    assert int(states[fell + 1].units.target[2]) == 1
    assert int(states[fell + 1].units.order[2]) in (ATTACK, HOLD)


def test_agents_never_act_on_their_own() -> None:
    army = team("zerg", 2, 1)
    state = moment(army, ("hydralisk", 10, 16), ("baneling", 10, 17), ("hydralisk", 12, 16), health=[None, None, 80])
    last = walk(army, state, [1, 1], 4)[-1]
    assert float(last.units.health[2]) == 80  # nobody shot back; the baneling has not blown up, or died far off
    assert float(last.units.health[0]) < 80


def test_no_order_is_sent_at_a_target_out_of_reach_where_the_mask_offers_it() -> None:
    army = team("zerg", 1, 1)
    env = make(army, action_mask=False, prob_obs_enemy=0.0)
    state = moment(army, ("hydralisk", 5, 16), ("hydralisk", 25, 16))
    state = state._replace(phase=jnp.int32(7))
    after, shown = jax.jit(env.step)(jax.random.key(0), state, jnp.array([4]), env.params)
    assert shown.avail[0].tolist() == [False] + [True] * 6
    after = after._replace(units=after.units._replace(x=jnp.array([5.0, 25.0])))
    after, _ = jax.jit(env.step)(jax.random.key(1), after, jnp.array([6]), env.params)
    assert float(after.units.x[0]) > 5.5  # still on its way east: it keeps its order
    assert int(after.units.target[0]) == -1


@pytest.mark.slow
def test_a_small_army_keeps_the_contract() -> None:
    check_env(make(team("terran", 2, 2)), jax.random.key(1), steps=20, episodes=1)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["terran_5_vs_5", "protoss_5_vs_5", "zerg_10_vs_11"])
def test_a_scenario_keeps_the_contract(name: str) -> None:
    check_env(make(name), jax.random.key(1), episodes=2)


def test_perturbations_are_of_the_team_that_was_drawn() -> None:
    """Absence comes after the draw and takes a unit away; hp-20 leaves 80 % of whatever type was drawn."""
    army = team("zerg", 4, 2)
    env = make(army)
    reset = jax.jit(jax.vmap(env.reset, (0, None)))
    keys = jax.random.split(jax.random.key(2), 64)
    assert env.perturb is not None
    full, plain = reset(keys, env.params)
    weak, _ = reset(keys, env.perturb(env.params, "hp-20"))
    np.testing.assert_allclose(weak.units.health[:, :4], 0.8 * full.units.health[:, :4], rtol=1e-5)
    np.testing.assert_array_equal(weak.units.health[:, 4:], full.units.health[:, 4:])
    fewer, shown = reset(keys, env.perturb(env.params, "abs-1"))
    np.testing.assert_array_equal(fewer.kind, full.kind)
    assert ((fewer.units.health[:, :4] > 0).sum(axis=1) == 3).all()
    assert (shown.metrics["dead_allies"] == 0).all()
    np.testing.assert_array_equal(shown.avail.sum(axis=2) > 1, fewer.units.health[:, :4] > 0)
    _, shown = reset(keys, env.perturb(env.params, "dis-2"))
    assert ((shown.avail.sum(axis=2) == 1).sum(axis=1) == 2).all()
    np.testing.assert_array_equal(shown.obs, plain.obs)
