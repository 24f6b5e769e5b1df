"""Where the units of one recorded 2s3z game stood at reset and two steps later.

Positions of the real game, multiples of 1/4096. The agents walked East twice; the enemies were on their march.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.env import make
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Group, Scenario, scenario
from ibal.envs.smac.spawn import body_radius, positions
from ibal.envs.smac.state import EnvState
from ibal.envs.smac.units import MARINE, STALKER, ZEALOT

STOP, EAST = 1, 4
# Agents in the order of their numbers: stalkers, then zealots.
AGENTS = [(9, 14.8115234375), (9, 16), (8.248046875, 16.751708984375), (9.751708984375, 16.751708984375),
          (9.94140625, 15.50537109375)]  # fmt: skip
AGENTS_LATER = [(11.77099609375, 14.521484375), (11.262451171875, 16.01611328125), (10.4970703125, 16.75439453125),
                (11.998291015625, 16.79248046875), (12.190673828125, 15.497802734375)]  # fmt: skip
# Enemies, without an order.
ENEMIES = [(23, 14.8115234375), (23, 16), (22.248046875, 16.751708984375), (23.751708984375, 16.751708984375),
           (23.94140625, 15.50537109375)]  # fmt: skip
ENEMIES_LATER = [(20.046875, 14.741455078125), (20.420654296875, 15.8671875), (19.998046875, 16.8427734375),
                 (21.501708984375, 16.751708984375), (21.69140625, 15.50537109375)]  # fmt: skip
FACTS = {"formation": "contact", "shrink": "margin", "slot": "radius", "head_start": 0}
RULES = replace(Rules.of("2026-11"), **FACTS)


def nearest(real: list[tuple[float, float]], ours: np.ndarray) -> np.ndarray:
    """Distance from every real position to the nearest of ours."""
    return np.hypot(*(np.array(real)[:, None] - ours[None]).transpose(2, 0, 1)).min(1)


def test_bodies_keep_a_distance_of_their_radii_less_a_margin():
    """A stalker touches a stalker at 1.18848, a zealot at 1.0635, a marine a marine at 0.68848: not in proportion."""
    stalker, zealot, marine = (body_radius(unit, RULES, "radius") for unit in (STALKER, ZEALOT, MARINE))
    assert 2 * stalker == pytest.approx(16 - 14.8115234375, abs=1 / 4096)
    assert stalker + zealot == pytest.approx(np.hypot(0.751708984375, 0.751708984375), abs=1 / 2048)
    assert 2 * marine == pytest.approx(0.6884765625, abs=1 / 4096)


@pytest.mark.parametrize(("real", "team"), [(AGENTS, 0), (ENEMIES, 1)])
def test_nine_of_ten_stand_where_they_stood(real: list[tuple[float, float]], team: int):
    away = np.sort(nearest(real, positions(scenario("2s3z"), RULES)[team]))
    assert (away[:4] < 1e-9).all()  # to the last digit
    assert away[4] < 0.025  # the last zealot of each team: what turns it by a degree is not known


class Later(NamedTuple):
    reset: np.ndarray
    start: np.ndarray
    end: np.ndarray


@cache
def two_steps() -> Later:
    """The ten units from the recorded start, two steps on, agents walking East."""
    env = make("2s3z", rules=RULES)

    @jax.jit
    def play(key: jax.Array) -> tuple[jax.Array, ...]:
        state, _ = env.reset(key, env.params)
        reset = state.units
        x, y = (jnp.array([p[i] for p in (*AGENTS, *ENEMIES)], jnp.float32) for i in (0, 1))
        goal = state.units.goal_y.at[5:].set(y[5:])
        state = state._replace(units=state.units._replace(x=x, y=y, goal_y=goal))
        first = state.units
        for _ in range(2):
            state, _ = env.step(key, state, jnp.full(5, EAST), env.params)
        return tuple(jnp.stack([units.x, units.y], 1) for units in (reset, first, state.units))

    return Later(*(np.asarray(a) for a in play(jax.random.key(0))))


def test_nobody_marches_before_the_first_observation():
    away = np.sort(nearest(ENEMIES, two_steps().reset[5:]))
    assert (away[:4] < 1e-5).all()


@pytest.mark.parametrize("unit", [5, 8, 9])
def test_who_has_free_way_marches_at_its_own_speed(unit: int):
    """Over 16 loops a stalker makes 2.953125, a zealot 2.25, and keeps its place across."""
    later = two_steps()
    made = later.start[unit] - later.end[unit]
    real = np.subtract((*AGENTS, *ENEMIES)[unit], (*AGENTS_LATER, *ENEMIES_LATER)[unit])
    assert made[0] == pytest.approx(real[0], abs=0.01)
    assert made[1] == pytest.approx(real[1], abs=0.08)  # the stalker is led aside by 0.07


# Steps 3 to 30 of the same game. The agents' front stalker stops here at step 3 and has this enemy alone in reach; from
# step 4 on there are zealots to shoot at. At step 30 the shield of this enemy is 67.875 and its health is full.
DUEL = Scenario(
    "duel", 60, (Group("stalker", 1, (13.22802734375, 14.431640625)),),
    (Group("stalker", 1, (19.1240234375, 14.728759765625)),), terrain="open",
)  # fmt: skip


def test_a_stalkers_hit_takes_18_from_the_shield_of_a_stalker():
    """One shot in step 3, and what comes back from ten seconds after the hit on. With 14 it would be 71.875."""
    env = make(DUEL, rules=Rules.of("2026-12b"))

    @jax.jit
    def play(key: jax.Array) -> jax.Array:
        def step(state: EnvState, action: jax.Array) -> tuple[EnvState, None]:
            return env.step(key, state, action[None], env.params)[0], None

        shoot_once = jnp.full(27, STOP).at[0].set(STOP + 5)
        state, _ = jax.lax.scan(step, env.reset(key, env.params)[0], shoot_once)
        return jnp.stack([state.units.health[1], state.units.shield[1]])

    assert play(jax.random.key(0)).tolist() == [80, 67.875]
