"""When a weapon fires, when it hits, whom it cannot hit, and what stops it."""

from functools import cache

import numpy as np
import pytest

from ibal.envs.smac.state import IDLE, SCAN, Units
from unit.envs.smac.lab import EAST, HARMLESS, NAMES, STOP, WEST, Field, N, aim, falls, life, play, shots

# period in loops (16 loops a second), damage point in loops, edge distance to stand at
GUN = {
    "marine": (13.7728, 0.8, 3.0),
    "marauder": (24.0, 0.0, 3.0),
    "stalker": (23.04, 2.672, 3.0),
    "zealot": (19.2, 0.0, 0.05),
    "colossus": (35.2, 1.3312, 3.0),
    "zergling": (11.136, 2.672, 0.05),
    "hydralisk": (13.28, 3.328, 3.0),
    "spine_crawler": (25.6, 5.3312, 3.0),
}
RADIUS = {
    "marine": 0.375, "marauder": 0.5625, "medivac": 0.75, "stalker": 0.625, "zealot": 0.5, "colossus": 1.0,
    "zergling": 0.375, "hydralisk": 0.625, "baneling": 0.375, "spine_crawler": 0.875,
}  # fmt: skip
READY = 6


def range_day(attacker: str, target: str = "zealot", edge: float = 3.0, **values: float) -> tuple[Field, int, int]:
    """An enemy at 16 whose weapon is ready in loop 6, and an idle agent ``edge`` away from it."""
    field = Field()
    one = field.enemy(attacker, 16.0, **values)
    other = field.ally(target, 16.0 + edge + RADIUS[attacker] + RADIUS[target])
    field.attack(one, other, ready=READY)
    return field, one, other


@cache
def steady() -> tuple[list[tuple[int, int]], Units]:
    days = [range_day(name, edge=gun[2]) for name, gun in GUN.items()]
    return [day[1:] for day in days], play([day[0] for day in days], 20, refill=True)


@pytest.mark.parametrize("case", range(len(GUN)))
def test_the_first_shot_comes_with_the_damage_point(case: int):
    (who, film), name = steady(), list(GUN)[case]
    assert shots(film, case, who[case][0])[0] == READY + np.ceil(GUN[name][1])


@pytest.mark.parametrize("case", range(len(GUN)))
def test_period_without_jitter(case: int):
    (who, film), name = steady(), list(GUN)[case]
    fired = shots(film, case, who[case][0])
    assert len(fired) >= 4
    # Attack k is due k periods after the first, starts in the first whole loop from then on and takes whole loops to
    # its damage point: no lateness adds up.
    due = READY + GUN[name][0] * np.arange(len(fired))
    late = fired - np.ceil(GUN[name][1]) - due
    assert late.min() >= -1e-3
    assert late.max() <= 1 + 1e-3


def test_marine_shots_are_13_77_loops_apart_plus_minus_one_to_two():
    days = [range_day("marine") for _ in range(32)]
    film = play([day[0] for day in days], 40, jitter=True, refill=True, seed=3)
    between = np.concatenate([np.diff(shots(film, case, days[case][1])) for case in range(32)])
    assert len(between) > 600
    assert set(between) == {12, 13, 14, 15, 16}  # 12.77 .. 15.77 between the due times, each rounded up
    # The mean period is 13.7728 + 0.5. Sums telescope: over 22 shots rounding moves the mean by 1 / 22 at most.
    assert between.mean() == pytest.approx(14.2728, abs=0.06)
    # What is left on the clock after a shot: 16 * (period + u), less the loop that the shot took and at most one that
    # it came late.
    left = np.concatenate([film.cooldown[case, shots(film, case, days[case][1]), days[case][1]] for case in range(32)])
    assert 10.77 <= left.min() < 12.5
    assert 14 < left.max() <= 15.7728


def test_time_lost_between_two_fights_is_not_given_back():
    """Only a weapon that goes on firing keeps the fraction of a loop by which it was ready earlier."""
    field, one, _ = range_day("marine")
    field.set(one, cooldown=READY - 0.9)
    pause, idler, _ = range_day("marine")
    pause.set(idler, cooldown=READY - 0.9, target=-1, order=IDLE)
    film = play([field, pause], 3)
    # Ready 5.1 loops on, it fires in loop 6, 0.9 late, and hits at the damage point 0.8 later, in loop 7, 0.2 early.
    assert shots(film, 0, one)[0] == READY + 1
    assert film.cooldown[0, READY + 1, one] == pytest.approx(13.7728 - 0.8 - 0.9 - 0.2, abs=1e-3)
    assert film.cooldown[1, READY, idler] == pytest.approx(-0.9, abs=1e-5)
    assert (film.cooldown[1, READY + 1 :, idler] == 0).all()


# Speed per loop; the missile flies at least the gap between the bodies and at most from centre to centre.
@pytest.mark.parametrize(
    ("attacker", "edge", "speed"),
    [
        ("stalker", 5.5, 18.75 / 16),
        ("stalker", 1.0, 18.75 / 16),
        ("marauder", 5.5, 20 / 16),
        ("hydralisk", 4.5, 40 / 16),
    ],
)
def test_missiles_take_their_time(attacker: str, edge: float, speed: float):
    field, one, other = range_day(attacker, edge=edge)
    film = play([field], 3)
    flight = falls(film, 0, other)[0] - shots(film, 0, one)[0]
    assert np.ceil(edge / speed) <= flight <= np.ceil((edge + RADIUS[attacker] + RADIUS["zealot"]) / speed)


def test_a_tentacle_flies_faster_the_longer_it_flies():
    near, one, other = range_day("spine_crawler", edge=1.0)
    far, _, _ = range_day("spine_crawler", edge=6.5)
    film = play([near, far], 4)
    short, long = (falls(film, case, other)[0] - shots(film, case, one)[0] for case in range(2))
    assert 2 <= short <= 4  # 1 .. 2.4 at 0.75 a loop
    assert short < long <= np.ceil(7.9 / 0.75)


def test_missiles_hit_although_the_shooter_dies_and_the_target_leaves():
    field, one, other = range_day("stalker", edge=4.0, health=5, shield=0, calm=0)
    killer = field.ally("marine", 12.0)
    field.attack(killer, one, ready=READY + 4)  # the missile leaves in loop 9, the marine fires in loop 11
    field.move(other, 30.0, 16.0)
    film = play([field], 3)
    assert film.health[0, 11, one] == 0
    assert falls(film, 0, other)[0] > 11
    assert life(film, 0, other)[-1] == 150 - 10


def test_the_second_hit_of_a_zealot_comes_five_loops_later():
    (who, film), case = steady(), list(GUN).index("zealot")
    one, other = who[case]
    swings = shots(film, case, one)
    assert falls(film, case, other).tolist() == [t for swing in swings for t in (swing, swing + 5) if t <= 160]
    assert set(np.diff(life(film, case, other))[falls(film, case, other) - 1]) == {-8}


def swordsman(action: int | None) -> tuple[Field, int, int]:
    """An agent zealot whose first hit falls in loop 6 gets this order before step 1 (loops 9 ..)."""
    field = Field()
    victim, second = field.passive("marauder", 16.0), field.passive("marauder", 14.9, 14.9)
    zealot = field.ally("zealot", 16 - 1.1)
    field.attack(zealot, victim, ready=READY)
    if action is not None:
        field.say(1, zealot, aim(second) if action == -1 else action or aim(victim))
    return field, victim, second


def test_the_second_hit_is_lost_when_the_order_changes():
    fields = [swordsman(action) for action in (None, 0, STOP, WEST, -1)]  # 0: the same target again, -1: the other one
    film = play([field for field, _, _ in fields], 2)
    _, victim, second = fields[0]
    assert falls(film, 0, victim).tolist() == falls(film, 1, victim).tolist() == [6, 11]
    for case in (2, 3, 4):
        assert falls(film, case, victim).tolist() == [6]
        assert falls(film, case, second).tolist() == []  # its weapon is not ready again before loop 25


def salvo(below: float = 14.3, **order: float) -> tuple[Field, dict[str, int]]:
    """An enemy colossus at (10, 16) fires at an idle agent at (14, 16); beams run from y = 14.75 to 17.25."""
    field = Field()
    who = {
        "colossus": field.enemy("colossus", 10.0),
        "main": field.ally("stalker", 14.0),
        "above": field.ally("zealot", 14.0, 17.2),  # within the beam
        "below": field.ally("zealot", 14.0, below),
        "behind": field.ally("zealot", 15.1, 16.0),  # 1.1 behind: 0.15 + 0.5 do not reach that far
        "flyer": field.ally("medivac", 14.0, 16.5),
        "friend": field.passive("marine", 13.6, 15.05),
    }
    field.attack(who["colossus"], who["main"], ready=READY)
    field.set(who["colossus"], **order)
    return field, who


def test_colossus_sweep():
    near, who = salvo(14.3)  # 1.7 aside: 1.25 and the radius of 0.5 reach it
    far, _ = salvo(13.9)  # 2.1 aside: 1.25 + 0.15 + 0.5 do not
    film = play([near, far], 4)
    start = shots(film, 0, who["colossus"])[0]
    assert start == READY + 2
    for case, below in enumerate((40, 0)):
        lost = {name: life(film, case, unit)[0] - life(film, case, unit)[-1] for name, unit in who.items()}
        assert lost == {"colossus": 0, "main": 40, "above": 40, "below": below, "behind": 0, "flyer": 0, "friend": 0}
    assert falls(film, 0, who["main"]).tolist() == [start + 12]  # 0.72 s after the start, both beams
    for side in ("above", "below"):  # the sweeps run in opposite directions: one is early here, the other late
        when = falls(film, 0, who[side])
        assert len(when) == 2
        assert when[0] >= start + 4  # a mark hurts 0.25 s later
        assert when[1] <= start + 6 + 4  # a sweep lasts 11 x 0.0312 s = 5.5 loops


def test_a_salvo_dies_with_its_colossus():
    field, who = salvo(health=1, shield=0, calm=0)
    field.attack(field.ally("marine", 6.0), who["colossus"], ready=9)
    film = play([field], 4)
    assert film.health[0, 10, who["colossus"]] == 0
    assert life(film, 0, who["main"])[-1] == 160


def test_a_salvo_under_way_survives_a_new_order():
    field = Field()
    colossus, target = field.ally("colossus", 10.0), field.passive("marauder", 15.0)
    field.attack(colossus, target, ready=4)  # fires in loop 6, the damage is due in loop 18
    field.say(1, colossus, WEST)
    film = play([field], 3)
    assert falls(film, 0, target).tolist() == [18]
    assert film.health[0, -1, target] == 125 - 2 * 19


# Everybody around a baneling at (16, 16): where, and what the blast takes.
VICTIMS = {
    "marine": (16.9, 16.0, 20 + 15),  # light; edge 0.15 from the baneling's, so it is the fuse
    "marauder": (16.0, 17.5, 20 - 1),  # armoured
    "zealot": (16.0, 13.4, 35),  # light; its edge 2.1 away; the shield has no armour
    "stalker": (18.7, 16.0, 20),  # edge 2.075
    "zergling": (13.3, 16.0, 0),  # edge 2.325: outside
    "medivac": (15.0, 15.0, 0),  # flies
}


def test_baneling_blast():
    field = Field()
    baneling = field.enemy("baneling", 16.0)
    friends = [field.passive("marine", 15.0, 17.0), field.passive("baneling", 15.0, 16.3)]
    who = {name: field.ally(name, x, y) for name, (x, y, _) in VICTIMS.items()}
    field.attack(baneling, who["marine"], ready=0)
    film = play([field], 2)
    assert film.health[0, -1, baneling] == 0
    lost = {name: life(film, 0, unit)[0] - life(film, 0, unit).min() for name, unit in who.items()}
    assert lost == {name: pytest.approx(loss) for name, (_, _, loss) in VICTIMS.items()}
    assert (film.health[0, :, friends[0]] == 45).all()
    assert (film.health[0, :, friends[1]] > 0).all()
    assert all(len(falls(film, 0, unit)) <= 1 for unit in who.values())


def test_a_baneling_that_is_killed_explodes_as_well():
    field = Field()
    baneling = field.enemy("baneling", 16.0, health=5)
    near, killer = field.ally("zealot", 18.0), field.ally("marine", 20.0)  # edges 1.5 and 3.6 away
    field.attack(killer, baneling, ready=0)
    film = play([field], 1)
    assert film.health[0, -1, baneling] == 0
    assert life(film, 0, near)[-1] == 150 - 35
    assert film.health[0, -1, killer] == 45


def test_a_killed_baneling_of_the_agents_explodes_too_and_a_blast_sets_off_the_next():
    field = Field()
    first, second = field.ally("baneling", 16.0, health=3), field.enemy("baneling", 17.5, health=15, cooldown=1e6)
    far = field.ally("zealot", 19.5)  # its edge is 3 from the first and 1.5 from the second
    field.attack(field.enemy("marine", 12.0), first, ready=0)
    film = play([field], 2)
    assert film.health[0, -1, [first, second]].tolist() == [0, 0]  # 20 to a baneling, which is not light
    assert life(film, 0, far).min() == 150 - 35


def test_banelings_explode_on_the_run():
    field = Field()
    baneling, target = field.ally("baneling", 16.0), field.passive("marauder", 20.0)
    field.attack(baneling, target, ready=0)
    film = play([field], 4)
    hit = falls(film, 0, target)
    assert film.health[0, -1, target] == 125 - 19
    # 4 less both radii and 0.25 are 2.81: 18 loops of 0.15625, fewer if the marauder comes closer.
    assert len(hit) == 1
    assert hit[0] <= 19


def test_structures_suffer_eighty_from_a_baneling():
    field = Field()
    baneling, crawler = field.ally("baneling", 16.0), field.passive("spine_crawler", 17.4)
    field.attack(baneling, crawler, ready=0)
    film = play([field], 1)
    assert 300 - film.health[0, -1, crawler] == pytest.approx(80 - 2, abs=0.2)  # armour 2; it regenerates


def test_spine_crawlers_reach_seven_and_stay():
    inside, one, other = range_day("spine_crawler", "stalker", edge=6.9)
    outside, _, _ = range_day("spine_crawler", "stalker", edge=7.1)
    film = play([inside, outside], 8)
    assert life(film, 0, other)[falls(film, 0, other)].tolist() == [130, 100]  # 25 + 5 on armoured
    assert len(falls(film, 1, other)) == 0
    assert (film.x[:, :, one] == 16).all()


@pytest.mark.parametrize("name", ["marauder", "zealot", "colossus", "zergling", "baneling", "spine_crawler"])
def test_ground_weapons_leave_flyers_alone(name: str):
    field = Field()
    one, medivac = field.enemy(name, 16.0), field.ally("medivac", 16.5)
    field.set(one, target=medivac)
    film = play([field], 4)
    assert (film.health[0, :, medivac] == 150).all()
    assert film.health[0, -1, one] > 0


def test_marines_and_stalkers_shoot_flyers():
    for name, damage in (("marine", 6 - 1), ("stalker", 14 - 1), ("hydralisk", 12 - 1)):
        field, _, medivac = range_day(name, "medivac")
        film = play([field], 2)
        assert set(np.diff(life(film, 0, medivac))) == {0, -damage}


def test_the_clock_runs_while_a_unit_walks():
    field = Field()
    walker = field.ally("marine", 10.0, cooldown=13.5)
    field.say(0, walker, EAST)
    field.say(1, walker, EAST)
    film = play([field], 2)
    left = np.maximum(film.cooldown[0, :, walker], 0)  # as SMAC shows it
    np.testing.assert_allclose(left, np.maximum(13.5 - np.arange(17), 0), atol=1e-5)
    assert film.x[0, -1, walker] == 12.25


def drawn_bow(action: int) -> tuple[Field, int, int]:
    """An agent stalker begins in loop 7 to shoot, its damage point is in loop 10; it gets this order after loop 8."""
    field = Field()
    stalker, target = field.ally("stalker", 10.0), field.passive("marauder", 15.0)
    field.attack(stalker, target, ready=7)
    field.say(1, stalker, action or aim(target))
    return field, stalker, target


def test_an_order_before_the_damage_point_cancels_the_shot():
    fields = [drawn_bow(action) for action in (0, WEST, STOP)]  # 0: the same attack again
    film = play([field for field, _, _ in fields], 3)
    _, stalker, target = fields[0]
    assert shots(film, 0, stalker).tolist() == [10]
    assert len(falls(film, 0, target)) == 1
    for case in (1, 2):
        assert film.windup[case, 8, stalker] >= 0  # it was under way
        assert shots(film, case, stalker).tolist() == []
        assert len(falls(film, case, target)) == 0
        assert film.cooldown[case, 8:, stalker].max() == 0  # and is not spent


def test_a_move_after_the_damage_point_takes_nothing_back():
    field = Field()
    stalker, target = field.ally("stalker", 10.0), field.passive("marauder", 15.0)
    field.attack(stalker, target, ready=5)  # fires in loop 8
    field.say(1, stalker, WEST)
    film = play([field], 3)
    assert shots(film, 0, stalker).tolist() == [8]
    assert film.health[0, -1, target] == 125 - 13
    assert film.x[0, -1, stalker] < 10 - 1.4  # the backswing does not hold it


def test_nobody_shoots_while_walking_or_idle():
    field = Field()
    walker, idler = field.ally("marine", 16.0, 14.0), field.ally("marine", 16.0, 18.0)
    target = field.passive("marauder", 18.0)
    for step in range(4):
        field.say(step, walker, WEST)
    film = play([field], 4)
    assert (film.health[0, :, target] == 125).all()
    assert (film.cooldown[0, :, [walker, idler]] == 0).all()


def test_dead_shooters_and_their_own_side_are_safe():
    """Everything fires at one agent in a crowd of enemies: no enemy is hurt."""
    field = Field()
    target = field.ally("colossus", 16.0)
    enemies = [field.enemy(name, 16 + 2.2 * np.cos(a), 16 + 2.2 * np.sin(a)) for a, name in
               enumerate(n for n in NAMES[N:] if n not in ("medivac",))]  # fmt: skip
    film = play([field], 6)
    assert len(falls(film, 0, target)) > 0
    for unit in enemies:
        if NAMES[unit] != "baneling":  # they burst
            assert len(falls(film, 0, unit)) == 0, NAMES[unit]


def parting_shots(ours: bool) -> tuple[list[int], list[int]]:
    """When a stalker and a colossus fire whose targets run away, 5.95 away when the weapon is ready."""
    fields, shooters = [], []
    for name in ("stalker", "colossus"):
        field = Field()
        shooter = (field.ally if ours else field.enemy)(name, 16.0)
        start = 16 + RADIUS[name] + RADIUS["zergling"] + 5.95 - READY * 2.9531 / 16
        runner = (field.passive if ours else field.ally)("zergling", start)
        field.attack(shooter, runner, ready=READY)
        field.move(runner, 31.0, 16.0)
        if ours:
            field.set(runner, goal_x=31.0, order=SCAN, cooldown=HARMLESS)
        fields.append(field)
        shooters.append(shooter)
    film = play(fields, 2)
    stalker, colossus = (shots(film, case, shooter).tolist() for case, shooter in enumerate(shooters))
    return stalker, colossus


def test_a_target_may_get_a_little_away_before_the_damage_point():
    # 6.5 away when the stalker releases; a colossus tolerates nothing, and is too slow to catch up.
    assert parting_shots(ours=True) == ([READY + 3], [])


def test_enemies_finish_an_attack_on_a_target_that_gets_a_little_away():
    assert parting_shots(ours=False) == ([READY + 3], [])
