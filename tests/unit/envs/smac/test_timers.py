"""What happens by itself as time goes by: shields, Zerg life, energy, heals, a medivac gathering speed."""

import numpy as np
import pytest

from ibal.envs.smac.state import IDLE
from unit.envs.smac.lab import EAST, LAB, NAMES, STOP, Field, N, aim, falls, play

TYPES = dict(zip(NAMES, (*LAB.ally_types, *LAB.enemy_types), strict=True))


def idle(**starts: dict[str, float]) -> tuple[Field, dict[str, int]]:
    """Agents standing far from each other, with the given values."""
    field = Field()
    return field, {name: field.ally(name, 4 + 4 * i, **values) for i, (name, values) in enumerate(starts.items())}


def test_shields_wait_ten_seconds_and_then_gain_two_a_second():
    field, who = idle(stalker={"shield": 10, "calm": 0}, zealot={"shield": 48.9, "calm": 0}, colossus={"shield": 149})
    film = play([field], 24)
    stalker, zealot, colossus = (film.shield[0, :, who[name]] for name in ("stalker", "zealot", "colossus"))
    assert (stalker[:160] == 10).all()  # 160 loops
    assert 10 <= stalker[160] <= 10.125
    np.testing.assert_allclose(np.diff(stalker[161:]), 0.125, atol=1e-5)  # 2 a second over 16 loops
    assert (zealot[:160] == np.float32(48.9)).all()
    assert zealot[-1] == zealot.max() == 50  # 8.8 loops later
    assert colossus[9] == colossus.max() == 150  # last hurt long ago: 8 loops
    assert (film.health[0, :, who["stalker"]] == 80).all()


def test_a_hit_stops_the_shield_for_another_ten_seconds():
    field = Field()
    victim = field.ally("stalker", 16.0, shield=30)
    field.attack(field.enemy("spine_crawler", 22.0), victim, ready=4)
    field.set(NAMES.index("spine_crawler"), health=1e-3)
    # The crawler hits the shield once for 30, then is killed by a marine that waits for it.
    killer = field.ally("marine", 24.0)
    field.attack(killer, NAMES.index("spine_crawler"), ready=24)
    film = play([field], 28)
    hits = falls(film, 0, victim)
    assert len(hits) == 1
    shield, hit = film.shield[0, :, victim], hits[0]
    assert (shield[: hit - 1] >= 30).all()
    assert abs(shield[hit] - (shield[hit - 1] - 30)) < 0.13
    assert (shield[hit : hit + 160] == shield[hit]).all()
    assert shield[hit + 162] > shield[hit]
    np.testing.assert_allclose(np.diff(shield[hit + 162 :]), 0.125, atol=1e-5)


def test_only_zerg_regain_life():
    wounded = {name: {"health": TYPES[name].health - 20} for name in NAMES[:N] if name != "medivac"}
    field, who = idle(**wounded)
    film = play([field], 10)
    for name, unit in who.items():
        gained = film.health[0, -1, unit] - film.health[0, 0, unit]
        zerg = name in ("zergling", "hydralisk", "baneling")
        assert gained == pytest.approx(80 * 0.2734 / 16 if zerg else 0, abs=1e-3), name  # 0.2734 a second


def test_regeneration_ends_at_full_life_and_not_after_death():
    field = Field()
    hydralisk = field.ally("hydralisk", 8.0, health=79.9)
    zergling = field.ally("zergling", 12.0, health=0)
    crawler = field.passive("spine_crawler", 24.0, health=299)
    film = play([field], 2)
    assert film.health[0, 5, hydralisk] == pytest.approx(79.9 + 5 * 0.0170875, abs=1e-4)
    assert film.health[0, -1, hydralisk] == 80  # 0.1 is 5.9 loops
    assert (film.health[0, :, zergling] == 0).all()
    assert film.health[0, -1, crawler] == pytest.approx(299 + 16 * 0.0170875, abs=1e-4)


def test_energy_grows_to_two_hundred():
    field = Field()
    young, old = field.ally("medivac", 8.0), field.ally("medivac", 16.0, energy=199.9)
    film = play([field], 4)
    assert film.energy[0, 0, young] == 50
    np.testing.assert_allclose(np.diff(film.energy[0, :, young]), 0.5625 / 16, atol=1e-4)
    assert film.energy[0, 2, old] < 200
    assert (film.energy[0, 3:, old] == 200).all()  # 0.1 is 2.8 loops
    assert (film.energy[0, :, NAMES.index("medivac", N)] == film.energy[0, 0, NAMES.index("medivac", N)]).all()  # dead


def patient_and_healer(unit: str = "marine", health: float = 10, distance: float = 4, **values: float):
    field = Field()
    patient = field.ally(unit, 16.0, health=health)
    healer = field.ally("medivac", 16.0 + distance, **values)
    field.heal(healer, patient)
    return field, patient, healer


def test_healing_gives_nine_a_second_for_a_third_of_energy_each():
    field, patient, healer = patient_and_healer()
    film = play([field], 2)
    np.testing.assert_allclose(np.diff(film.health[0, :, patient]), 0.5625, atol=1e-4)
    np.testing.assert_allclose(np.diff(film.energy[0, :, healer]), 0.03515625 - 0.5625 * 0.33, atol=1e-4)
    assert (film.x[0, :, healer] == 20).all()


def test_fifty_energy_heal_187_life():
    field, patient, healer = patient_and_healer("marauder")
    film = play([field], 50, refill=True)  # the patient loses after each step what it gained
    gained = np.maximum(np.diff(film.health[0, :, patient]), 0)
    gained[::8] = film.health[0, 1::8, patient] - 10  # the first loop of a step starts from the old health again
    # Energy falls by 0.185625 - 0.03515625 a loop: 50 last 332.3 loops, 186.9 life (50 / 0.33 = 151.5 without
    # regeneration).
    assert gained[:332].sum() == pytest.approx(186.75, abs=0.7)
    assert film.energy[0, 330, healer] > 0
    # Afterwards only what comes in is spent: 0.03515625 / 0.33 a loop.
    np.testing.assert_allclose(gained[340:], 0.03515625 / 0.33, atol=2e-3)
    np.testing.assert_allclose(film.energy[0, 340:, healer], 0, atol=1e-3)


def test_healing_ends_at_full_life_and_the_medivac_falls_idle():
    field, patient, healer = patient_and_healer(health=43)
    film = play([field], 2)
    assert film.health[0, 3, patient] == pytest.approx(44.6875)
    assert (film.health[0, 4:, patient] == 45).all()
    assert film.order[0, -1, healer] == IDLE
    np.testing.assert_allclose(np.diff(film.energy[0, 6:, healer]), 0.03515625, atol=1e-4)
    # 2 life cost 0.66.
    assert film.energy[0, -1, healer] == pytest.approx(50 - 2 * 0.33 + 16 * 0.03515625, abs=1e-3)


# 4 from edge to edge: 4 + 0.75 + 0.375 and 4 + 0.75 + 0.5625
@pytest.mark.parametrize(("unit", "reach"), [("marine", 5.125), ("marauder", 5.3125)])
def test_the_medivac_flies_into_range_first(unit: str, reach: float):
    field, patient, healer = patient_and_healer(unit, distance=6.0)
    film = play([field], 4)
    distance = film.x[0, :, healer] - film.x[0, :, patient]
    first = np.flatnonzero(np.diff(film.health[0, :, patient]) > 0)[0] + 1
    assert distance[first - 1] > reach - 1e-3
    assert distance[first] <= reach + 1e-3
    assert distance[-1] >= reach - 0.18  # stops there: no loop is longer than 0.172


def test_a_medivac_heals_while_its_patient_walks():
    field, patient, healer = patient_and_healer(distance=-4)
    field.move(patient, 30.0, 16.0)
    film = play([field], 6)
    assert film.x[0, -1, patient] == pytest.approx(16 + 6 * 1.125, abs=1e-3)
    np.testing.assert_allclose(np.diff(film.health[0, :8, patient]), 0.5625, atol=1e-4)
    assert film.x[0, -1, healer] > 14  # it follows


def test_a_faster_medivac_catches_up_with_a_walking_patient():
    field, patient, _ = patient_and_healer(distance=-6, speed=2.75 / 16)
    field.move(patient, 30.0, 16.0)
    film = play([field], 11)
    # At full speed already it makes good 6 - 5.125 = 0.875 at 0.03 a loop: 28 loops. The marine walks for 99.
    assert film.health[0, -1, patient] > 10 + 20 * 0.5625


def test_one_healer_at_a_time():
    field, patient, first = patient_and_healer()
    second = field.ally("medivac", 12.0)
    field.heal(second, patient)
    film = play([field], 1)
    np.testing.assert_allclose(np.diff(film.health[0, :, patient]), 0.5625, atol=1e-4)
    spent = 50 + 8 * 0.03515625 - film.energy[0, -1, [first, second]]
    np.testing.assert_allclose(np.sort(spent), [0, 8 * 0.5625 * 0.33], atol=1e-3)


def test_stop_ends_healing_and_the_same_order_goes_on():
    same, patient, healer = patient_and_healer()
    same.say(1, healer, aim(patient))
    other, _, _ = patient_and_healer()
    other.say(1, healer, STOP)
    film = play([same, other], 2)
    assert film.health[0, -1, patient] == pytest.approx(10 + 16 * 0.5625)
    assert film.health[1, -1, patient] == pytest.approx(10 + 8 * 0.5625)


def test_idle_medivacs_of_agents_heal_nobody():
    field, patient, healer = patient_and_healer()
    field.set(healer, order=IDLE, target=-1)
    assert (play([field], 2).health[0, :, patient] == 10).all()


def enemy_clinic(distance: float = 3, **values: float):
    field = Field()
    return field, field.passive("marine", 16.0, health=9), field.enemy("medivac", 16.0 + distance, **values)


def test_enemy_medivacs_heal_the_most_wounded_first():
    field, marine, _ = enemy_clinic()
    marauder = field.passive("marauder", 18.5, health=80)  # nearer, but 0.64 of its life against 0.2
    film = play([field], 2)
    np.testing.assert_allclose(np.diff(film.health[0, :, marine]), 0.5625, atol=1e-4)
    assert (film.health[0, :, marauder] == 80).all()


def test_enemy_medivacs_need_five_energy_to_begin():
    poor, marine, _ = enemy_clinic(energy=4)
    enough, _, _ = enemy_clinic(energy=5)
    film = play([poor, enough], 2)
    assert (film.health[0, :, marine] == 9).all()  # 16 loops add 0.56
    assert film.health[1, -1, marine] == pytest.approx(9 + 16 * 0.5625)


def test_a_medivac_gathers_speed():
    field = Field()
    healer = field.ally("medivac", 8.0)
    for step in range(5):
        field.say(step, healer, EAST)
    pace = np.diff(play([field], 5).x[0, :, healer])
    gain = 2.3125 / 256  # per loop, squared
    climb = np.flatnonzero(pace < 0.171875 - 1e-4)
    assert climb.tolist() == list(range(len(climb)))
    assert 18 <= len(climb) <= 20  # 2.75 / 2.3125 = 1.19 s = 19 loops
    np.testing.assert_allclose(np.diff(pace[climb]), gain, atol=1e-4)
    assert pace[0] <= gain + 1e-4
    np.testing.assert_allclose(pace[20:], 0.171875, atol=1e-4)  # 1.375 a step, within the 2 that were ordered


def test_a_medivac_that_stopped_starts_anew():
    field = Field()
    healer = field.ally("medivac", 8.0)
    for step, action in enumerate((EAST, EAST, EAST, STOP, EAST)):
        field.say(step, healer, action)
    pace = np.diff(play([field], 5).x[0, :, healer])
    assert (pace[24:32] == 0).all()
    np.testing.assert_allclose(pace[32:40], pace[:8], atol=1e-4)
