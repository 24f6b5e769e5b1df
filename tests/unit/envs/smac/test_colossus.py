"""The colossus: its weapon, whom it shoots at unasked, and whom an enemy one takes."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import Group, Scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, IDLE, MOVE, SCAN, Units
from ibal.envs.smac.stats import stats
from ibal.envs.smac.targeting import acquire, by_itself, obedient

BASE = replace(Rules.of("2026-12"), turrets=False, colossus="data", colossus_near="self", colossus_calls=False)
GAME = Scenario(
    "walkers",
    60,
    (Group("colossus", 1, (9.0, 16.0)), Group("stalker", 1, (9.0, 16.0))),
    (Group("colossus", 1, (20.0, 16.0)), Group("zealot", 2, (20.0, 16.0))),
    terrain="open",
)
COLOSSUS, STALKER, THEIRS, ZEALOT, OTHER = range(5)


def field(x: list[float], **values: Any) -> Units:
    """The units in a row at these places, the agents idle, the enemies marching West to x = 0: [5, 1]."""
    units = initial_units(GAME, BASE)
    start = {"x": x, "y": [16.0] * 5, "order": [IDLE, IDLE, SCAN, SCAN, SCAN], "target": [-1] * 5,
             "goal_x": [0.0] * 5, "goal_y": [16.0] * 5}  # fmt: skip
    changes = {k: jnp.asarray(v, getattr(units, k).dtype) for k, v in (start | values).items()}
    return jax.tree.map(lambda a: a[:, None], units._replace(**changes))


def aims(units: Units) -> list[int]:
    return np.asarray(by_itself(units, stats(GAME, BASE), GAME.n_agents).target[:, 0]).tolist()


def test_a_colossus_of_the_agents_aims_at_the_nearest_enemy_in_range_of_its_weapon():
    reach = 6 + 1.0 + 0.5  # between centres, of a zealot
    assert aims(field([0, 0, 30, reach - 0.01, reach + 1])) == [ZEALOT, -1, -1, -1, -1]  # and a stalker does not
    assert aims(field([0, 0, 30, reach + 0.01, reach + 1])) == [-1] * 5
    assert aims(field([0, 0, 30, 5, 4])) == [OTHER, -1, -1, -1, -1]


def test_it_does_so_on_the_move_and_not_under_an_order_to_attack_or_dead():
    near: list[float] = [0, 0, 30, 5, 4]
    assert aims(field(near, order=[MOVE, IDLE, SCAN, SCAN, SCAN]))[COLOSSUS] == OTHER
    ordered = field(near, order=[ATTACK, IDLE, SCAN, SCAN, SCAN], target=[THEIRS, -1, -1, -1, -1])
    assert aims(ordered)[COLOSSUS] == THEIRS
    assert aims(field(near, health=[0, 80, 200, 100, 100]))[COLOSSUS] == -1


def test_its_order_is_what_it_was_afterwards():
    sent, facts = field([0, 0, 30, 5, 4], order=[MOVE, IDLE, SCAN, SCAN, SCAN]), stats(GAME, BASE)
    armed = by_itself(sent, facts, GAME.n_agents)
    assert int(armed.order[COLOSSUS, 0]) == ATTACK
    back = obedient(armed, sent, facts)
    assert (back.order == sent.order).all()
    assert (back.target == sent.target).all()


@pytest.mark.parametrize(
    ("data", "weapon", "reach", "scan", "period", "on_zealot", "on_stalker"),
    [("liberty", "data", 6, 6, 35.2, 20, 20), ("multiplayer", "data", 7, 7.5, 24, 15, 10),
     ("liberty", "lances", 9, 9, 24, 15, 10)],
)  # fmt: skip
def test_the_weapon_is_one_of_three(
    data: str, weapon: str, reach: float, scan: float, period: float, on_zealot: float, on_stalker: float
):
    facts = stats(GAME, replace(BASE, data=data, colossus=weapon))
    assert (facts.range[COLOSSUS, 0], facts.scan[COLOSSUS, 0]) == (reach, scan)
    assert facts.period[COLOSSUS, 0] == np.float32(period)
    assert (facts.damage[COLOSSUS, ZEALOT, 0], facts.damage[THEIRS, STALKER, 0]) == (on_zealot, on_stalker)
    assert facts.range[STALKER, 0] == 6  # others keep theirs


def chosen(units: Units, **rules: Any) -> list[int]:
    """Whom the three enemies take."""
    luck, loop = jnp.full((5, 1), 0.5), jnp.zeros((1, 1), jnp.int32)
    facts, numbers = stats(GAME, BASE), BASE.quantities
    return np.asarray(acquire(units, luck, loop, facts, numbers, 2, replace(BASE, **rules))[:, 0]).tolist()


def test_an_enemy_colossus_takes_whom_it_stands_nearest_to_or_of_those_in_range_its_goal():
    units = field([14, 16, 20, 30, 30])  # both agents are in range; the goal is in the West
    assert chosen(units)[0] == STALKER
    assert chosen(units, colossus_near="goal")[0] == COLOSSUS
    far = field([10, 16, 20, 30, 30])  # 10 - 2 radii is beyond its weapon
    assert chosen(far, colossus_near="goal")[0] == STALKER


def test_a_colossus_that_shoots_counts_as_attacking_every_enemy_if_the_rules_say_so():
    firing = field([12, 16, 30, 17, 18], order=[ATTACK, IDLE, SCAN, SCAN, SCAN], target=[OTHER, -1, -1, -1, -1],
                   shot=[1, 1000, 1000, 1000, 1000])  # fmt: skip
    assert chosen(firing)[1] == STALKER  # the first zealot is not its target
    assert chosen(firing, colossus_calls=True)[1] == COLOSSUS
    silent = firing._replace(shot=jnp.full((5, 1), 1000.0))
    assert chosen(silent, colossus_calls=True)[1] == STALKER
