"""What agents do with what they are told, and that they do nothing else."""

import numpy as np
import pytest

from ibal.envs.smac.state import ATTACK, HEAL, IDLE, MOVE
from unit.envs.smac.lab import EAST, NAMES, NORTH, SOUTH, STOP, WEST, Field, N, aim, falls, play, shots

WAYS = {NORTH: (0, 1), SOUTH: (0, -1), EAST: (1, 0), WEST: (-1, 0)}
# half the speed per game second
STEP = {
    "marine": 1.125, "marauder": 1.125, "zealot": 1.125, "colossus": 1.125, "hydralisk": 1.125, "baneling": 1.25,
    "stalker": 2.9531 / 2, "zergling": 2.9531 / 2,
}  # fmt: skip


def test_every_step_is_half_the_speed_in_all_directions():
    fields, walkers = [], []
    for name in STEP:
        for action in WAYS:
            field = Field()
            walkers.append(field.ally(name, 16.0))
            field.say(0, walkers[-1], action)
            field.say(1, walkers[-1], action)
            fields.append(field)
    film = play(fields, 3)
    for case, (name, action) in enumerate((name, action) for name in STEP for action in WAYS):
        path = np.stack([film.x[case, :, walkers[case]], film.y[case, :, walkers[case]]], 1) - 16
        np.testing.assert_allclose(path[8], np.multiply(WAYS[action], STEP[name]), atol=1e-4)
        np.testing.assert_allclose(path[16], np.multiply(WAYS[action], 2 * STEP[name]), atol=1e-4)
        # Without a further order it goes on to the point, 2 from where it was when the order came.
        end = min(3 * STEP[name], STEP[name] + 2)
        np.testing.assert_allclose(path[24], np.multiply(WAYS[action], end), atol=1e-4)
        assert film.order[case, 1, walkers[case]] == MOVE


def test_stop_ends_a_move():
    field = Field()
    walker = field.ally("marine", 16.0)
    field.say(0, walker, EAST)
    field.say(1, walker, STOP)
    film = play([field], 2)
    assert (film.x[0, 8:, walker] == 17.125).all()
    assert film.order[0, -1, walker] == IDLE


def chase(*actions: int | None) -> tuple[Field, int, int]:
    """An agent marine 6 away from a crawler is told to attack it once; then come ``actions`` (0 = attack again)."""
    field = Field()
    marine, target = field.ally("marine", 10.0), field.passive("spine_crawler", 18.0)
    field.say(0, marine, aim(target))
    for step, action in enumerate(actions, 1):
        if action is not None:
            field.say(step, marine, action or aim(target))
    return field, marine, target


def test_an_attack_order_chases_and_lasts():
    field, marine, target = chase()
    film = play([field], 8)
    # Range 5 and radii 0.375 and 0.875: it stops at 6.25 or within the loop after, after 1.75 = 12.4 loops.
    assert film.x[0, 8, marine] == 10 + 1.125
    x = film.x[0, 13:, marine]
    assert 18 - 6.25 - 1e-3 <= x[0] <= 18 - 6.25 + 0.1407
    assert (x == x[0]).all()
    hits = falls(film, 0, target)
    assert 13 <= hits[0] <= 16
    assert len(hits) == 4  # 64 loops, less 14, every 14
    assert (film.order[0, 1:, marine] == ATTACK).all()


def test_saying_it_again_changes_nothing():
    once, marine, target = chase()
    again, _, _ = chase(*[0] * 7)
    film = play([once, again], 8)
    for field in ("x", "y", "cooldown", "windup", "health"):
        value = getattr(film, field)
        assert (value[0, :, [marine, target]] == value[1, :, [marine, target]]).all()


def test_other_orders_interrupt_an_attack():
    fields = [chase(None, None, action, *[None] * 4) for action in (STOP, NORTH)]
    film = play([field for field, _, _ in fields], 8)
    _, marine, target = fields[0]
    for case, order in enumerate((IDLE, MOVE)):
        assert len(falls(film, case, target)) == 1
        assert len(shots(film, case, marine)) == 1
        assert film.order[case, -1, marine] == order
        assert film.target[case, -1, marine] == -1


def test_a_fleeing_target_is_chased_beyond_the_sight_of_agents():
    field = Field()
    stalker, target = field.ally("stalker", 4.0), field.enemy("zealot", 14.0)
    field.move(target, 30.0, 16.0)
    field.say(0, stalker, aim(target))  # 10 away: no mask would allow it
    # It gains 1.4766 - 1.125 = 0.35 a step: 10 - 7.125 take 8.2 steps; then it shoots.
    film = play([field], 12)
    assert falls(film, 0, target)[0] > 64
    assert film.x[0, -1, stalker] > 4 + 8 * 1.47


def test_a_second_target_replaces_the_first():
    field = Field()
    marine = field.ally("marine", 16.0)
    first, second = field.passive("marauder", 19.0), field.passive("marauder", 16.0, 19.0)
    field.say(0, marine, aim(first))
    field.say(2, marine, aim(second))
    film = play([field], 5)
    assert (falls(film, 0, first) <= 16).all()
    assert (falls(film, 0, second) > 16).all()
    assert len(falls(film, 0, first)) >= 1
    assert len(falls(film, 0, second)) >= 1
    # The weapon does not forget: shots at one and at the other are a period apart.
    assert (np.diff(np.sort(np.concatenate([falls(film, 0, first), falls(film, 0, second)]))) >= 13.77).all()


def test_idle_agents_never_shoot_back():
    field = Field()
    agents = [field.ally(name, 14.0, y) for name, y in (("marine", 16.0), ("stalker", 18.0), ("marauder", 14.0))]
    attackers = [field.enemy("marine", 17.0, y) for y in (15.0, 17.0)]
    film = play([field], 10)
    assert np.min(np.asarray(film.health[0, -1, agents] + film.shield[0, -1, agents]) - [45, 160, 125]) < 0
    assert (film.health[0, :, attackers] == 45).all()
    assert (film.target[0, :, agents] == -1).all()
    assert (np.ptp(film.x[0, :, agents], axis=-1) == 0).all()


def test_an_agent_whose_target_dies_does_nothing_for_the_rest():
    field = Field()
    marine, victim, other = (
        field.ally("marine", 16.0),
        field.passive("marine", 19.0, health=6),
        field.passive("marine", 19.0, 17.0),
    )
    field.attack(marine, victim, ready=2)
    film = play([field], 4)
    assert film.health[0, 4, victim] == 0
    assert film.order[0, 8, marine] == IDLE
    assert (film.health[0, :, other] == 45).all()
    assert len(shots(film, 0, marine)) == 1


@pytest.mark.parametrize("name", ["marauder", "zealot", "colossus", "zergling", "baneling"])
def test_attacking_a_flyer_with_a_ground_weapon_is_refused(name: str):
    field = Field()
    agent, flyer = field.ally(name, 14.0), field.passive("medivac", 17.0)
    field.say(0, agent, EAST)
    field.say(1, agent, aim(flyer))
    film = play([field], 2)
    assert (film.order[0, 1:, agent] == MOVE).all()  # the previous order stays in force
    assert film.x[0, -1, agent] == pytest.approx(14 + min(2, 2 * STEP[name]), abs=1e-4)
    assert film.health[0, -1, flyer] == 150


def test_a_refused_attack_leaves_the_attack_before_it():
    field = Field()
    marauder, target, flyer = (
        field.ally("marauder", 16.0),
        field.passive("zealot", 20.0),
        field.passive("medivac", 18.0),
    )
    field.attack(marauder, target, ready=2)
    field.say(1, marauder, aim(flyer))
    film = play([field], 5)
    assert (film.order[0, :, marauder] == ATTACK).all()
    assert len(shots(film, 0, marauder)) == 2  # loops 2 and 26


def test_medivacs_heal_where_others_attack():
    field = Field()
    healer, patient = field.ally("medivac", 16.0), field.ally("marine", 18.0, health=20)
    field.say(0, healer, aim(patient))
    film = play([field], 1)
    assert film.order[0, 1, healer] == HEAL
    assert film.target[0, 1, healer] == patient
    assert film.health[0, -1, patient] > 20


def test_the_dead_take_no_orders():
    field = Field()
    ghost, target = field.ally("marine", 16.0, health=0), field.passive("marine", 18.0)
    for step, action in enumerate((EAST, aim(target), STOP)):
        field.say(step, ghost, action)
    film = play([field], 3)
    assert (film.x[0, :, ghost] == 16).all()
    assert (film.health[0, :, target] == 45).all()
    assert (film.health[0, :, ghost] == 0).all()
    assert NAMES[target] == "marine"
    assert target >= N
