"""Hits to kill, from the numbers of section 3 of the reference by a loop that anybody can check."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac import weapons
from ibal.envs.smac.perturb import apply, default_params, weaken
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import Units
from ibal.envs.smac.stats import stats
from unit.envs.smac.lab import LAB, NAMES, RULES, Field, N, falls, play


class Body(NamedTuple):
    life: float
    shield: float
    armor: float
    armored: bool
    radius: float


BODY = {
    "marine": Body(45, 0, 0, False, 0.375),
    "marauder": Body(125, 0, 1, True, 0.5625),
    "medivac": Body(150, 0, 1, True, 0.75),
    "stalker": Body(80, 80, 1, True, 0.625),
    "zealot": Body(100, 50, 1, False, 0.5),
    "colossus": Body(200, 150, 1, True, 1.0),
}
DAMAGE = {
    "marine": (6, 6),
    "marauder": (10, 20),
    "stalker": (10, 14),
    "zealot": (8, 8),
    "colossus": (20, 20),
}  # armored
EDGE = {"zealot": 0.05}  # how far apart to fight; others 3

# Hits that stay within the shield, + the hit that breaks it (shield left, then armour), + hits on life.
HITS = {
    ("marine", "marine"): 8,  # 45 / 6 = 7.5
    ("marine", "marauder"): 25,  # 125 / 5
    ("marine", "medivac"): 30,  # 150 / 5
    ("marine", "stalker"): 30,  # 13 leave 2; 6 - 2 - 1 = 3; 77 / 5 -> 16
    ("marine", "zealot"): 29,  # 8 leave 2; 3; 97 / 5 -> 20
    ("marine", "colossus"): 65,  # 25; 200 / 5 = 40
    ("marauder", "marine"): 5,  # 45 / 10
    ("marauder", "marauder"): 7,  # 125 / 19 = 6.6
    ("marauder", "stalker"): 9,  # 4; 80 / 19 -> 5
    ("marauder", "zealot"): 17,  # 5; 100 / 9 -> 12
    ("marauder", "colossus"): 19,  # 7 leave 10; 20 - 10 - 1 = 9; 191 / 19 -> 11
    ("stalker", "marine"): 5,
    ("stalker", "marauder"): 10,  # 125 / 13 = 9.6
    ("stalker", "medivac"): 12,  # 150 / 13 = 11.5
    ("stalker", "stalker"): 12,  # 5 leave 10; 14 - 10 - 1 = 3; 77 / 13 -> 6
    ("stalker", "zealot"): 17,
    ("stalker", "colossus"): 27,  # 10 leave 10; 3; 197 / 13 -> 16
    ("zealot", "marine"): 6,  # 45 / 8 = 5.6, so three swings
    ("zealot", "marauder"): 18,  # 125 / 7 = 17.9
    ("zealot", "stalker"): 22,  # 10; 80 / 7 -> 12
    ("zealot", "zealot"): 21,  # 6 leave 2; 8 - 2 - 1 = 5; 95 / 7 -> 14
    ("zealot", "colossus"): 48,  # 18 leave 6; 8 - 6 - 1 = 1; 199 / 7 -> 29
    ("colossus", "marine"): 3,
    ("colossus", "marauder"): 7,  # 125 / 19 = 6.6
    ("colossus", "stalker"): 9,  # 4; 80 / 19 -> 5
    ("colossus", "zealot"): 8,  # 2 leave 10; 9; 91 / 19 -> 5
    ("colossus", "colossus"): 19,
}


def strike(shield: float, life: float, damage: float, armor: float) -> tuple[float, float]:
    """One hit: shields first and without armour, the rest minus armour, at least 0.5."""
    absorbed = min(shield, damage)
    through = damage - absorbed
    return shield - absorbed, life - (max(through - armor, 0.5) if through > 0 else 0)


def history(attacker: str, target: str) -> list[tuple[float, float]]:
    """(shield, life) after every hit, down to a life of 0."""
    life, shield, armor, armored, _ = BODY[target]
    after = []
    while life > 0:
        shield, life = strike(shield, life, DAMAGE[attacker][armored], armor)
        after.append((shield, max(life, 0)))
    return after


def test_the_loop_counts_as_a_hand_does():
    assert {pair: len(history(*pair)) for pair in HITS} == HITS
    assert history("stalker", "zealot")[3:7] == [(10, 100), (0, 100), (0, 91), (0, 82)]
    assert history("zealot", "zealot")[5:8] == [(2, 100), (0, 95), (0, 88)]


@cache
def duels() -> tuple[list[tuple[str, str, int, int]], Units]:
    """Every attacker as an enemy against an idle agent, then as an agent against an enemy that does not fire."""
    fields, names = [], []
    for attacker, target in [*HITS, *((a, "zealot") for a in DAMAGE)]:
        field = Field()
        gap = EDGE.get(attacker, 3.0) + BODY[attacker].radius + BODY[target].radius
        ours = len(fields) >= len(HITS)
        one = (field.ally if ours else field.enemy)(attacker, 16.0)
        other = (field.passive if ours else field.ally)(target, 16.0 + gap)
        field.attack(one, other)
        fields.append(field)
        names.append((attacker, target, one, other))
    return names, play(fields, 113)  # the longest: 65 shots of a marine, 64 x 13.77 = 881 loops, rounded up 896


@pytest.mark.parametrize("case", range(len(HITS) + len(DAMAGE)))
def test_duel_on_the_ground(case: int):
    names, film = duels()
    attacker, target, one, other = names[case]
    at_once = 2 if attacker == "colossus" else 1  # both beams reach the main target in the same loop
    expected = history(attacker, target)
    expected = [*expected[at_once - 1 :: at_once], *([expected[-1]] if len(expected) % at_once else [])]
    loops = falls(film, case, other)
    seen = [(float(film.shield[case, t, other]), float(film.health[case, t, other])) for t in loops]
    np.testing.assert_allclose(seen, expected, atol=1e-3)
    assert film.health[case, -1, one] > 0


def pairs_at_once() -> tuple[list[tuple[int, int]], Units]:
    """One column for every pair of HITS, in which only these two are alive."""
    indices = [(NAMES.index(a, N), NAMES.index(t)) for a, t in HITS]
    fields = []
    for i, j in indices:
        field = Field()
        for k in (i, j):
            kind = BODY[NAMES[k]]
            field.set(k, health=kind.life, shield=kind.shield)
        fields.append(field)
    units = Units(**{k: np.stack([f.start[k] for f in fields], 1) for k in Units._fields})
    return indices, jax.tree.map(jnp.asarray, units)


def test_hits_resolves_the_same_numbers():
    indices, units = pairs_at_once()
    column, size = np.arange(len(indices)), len(NAMES)
    one, other = np.array(indices).T
    hit, aim = np.zeros((size, len(indices)), bool), np.full((size, len(indices)), -1, np.int32)
    hit[one, column], aim[one, column] = True, other
    resolve = jax.jit(partial(weapons.hits, stats=stats(LAB), numbers=RULES.quantities, n=N))
    counts = np.zeros(len(indices), int)
    for _ in range(max(HITS.values())):
        standing = np.asarray(units.health)[other, column] > 0
        shield, health, missed = resolve(units, np.full((size, len(indices)), 0.5, np.float32), hit, hit, aim)
        assert (np.asarray(missed)[one, column] == ~standing).all()  # nobody shoots at the dead
        counts += standing
        units = units._replace(shield=units.shield - shield, health=jnp.maximum(units.health - health, 0))
        for c in np.flatnonzero(standing):
            attacker, target = NAMES[one[c]], NAMES[other[c]]
            now = float(units.shield[other[c], c]), float(units.health[other[c], c])
            assert now == pytest.approx(history(attacker, target)[counts[c] - 1], abs=1e-4), (attacker, target)
    assert counts.tolist() == list(HITS.values())


@pytest.mark.parametrize("armor", [0.0, 1.0, 2.0])
def test_repeated_equals_hit_after_hit(armor: float):
    cases = [
        (n, raw, shield) for n in range(8) for raw in (20.0, 35.0, 80.0) for shield in (0.0, 5.0, 40.0, 50.0, 72.5)
    ]
    expected = []
    for count, raw, shield in cases:
        left, life = shield, 0.0
        for _ in range(count):
            left, life = strike(left, life, raw, armor)
        expected.append((shield - left, -life))
    count, raw, shield = (jnp.array(column, jnp.float32)[:, None] for column in zip(*cases, strict=True))
    lost, wound = weapons.repeated(count, raw, shield, jnp.full_like(raw, armor))
    np.testing.assert_allclose(np.stack([lost[:, 0], wound[:, 0]], 1), expected, atol=1e-4)


def test_a_hit_is_worth_half_a_point_at_least():
    one, none = jnp.ones((1, 1)), jnp.zeros((1, 1))
    assert float(weapons.repeated(one, one, none, 3 * one)[1][0, 0]) == 0.5
    assert float(weapons.repeated(3 * one, one, none, 3 * one)[1][0, 0]) == 1.5


@cache
def volley_program():
    return jax.jit(partial(weapons.hits, stats=stats(LAB), numbers=RULES.quantities, n=N))


def volley(shots: list[tuple[int, int]], missiles: bool = False, **health: float):
    """Let these shots (attacker, target) fall in one loop, in this order; ``health`` gives u<index>=life.

    Returns (shields lost, life lost, who did not fire).
    """
    units = Field().start
    for i in {i for shot in shots for i in shot}:
        units["health"][i], units["shield"][i] = BODY[NAMES[i]].life, 0
    for name, value in health.items():
        units["health" if name[0] == "u" else "shield"][int(name[1:])] = value
    size = len(NAMES)
    hit, aim, priority = np.zeros((size, 1), bool), np.full((size, 1), -1, np.int32), np.ones((size, 1), np.float32)
    for place, (i, j) in enumerate(shots):
        hit[i], aim[i], priority[i] = True, j, place / 100
    wide = Units(**{k: v[:, None] for k, v in units.items()})
    shield, life, missed = volley_program()(wide, priority, hit, hit & (not missiles), aim)
    return np.asarray(shield)[:, 0], np.asarray(life)[:, 0], np.flatnonzero(missed).tolist()


MARINES, STALKERS, ZEALOT = (
    range(NAMES.index("marine"), NAMES.index("marine") + 4),
    NAMES.index("stalker"),
    NAMES.index("zealot"),
)
ENEMY_MARINES = range(NAMES.index("marine", N), NAMES.index("marine", N) + 4)
ENEMY_MARAUDER, ENEMY_ZEALOT = NAMES.index("marauder", N), NAMES.index("zealot", N)


def test_two_hits_of_one_loop_break_a_shield_together():
    shield, life, missed = volley([(STALKERS, ENEMY_ZEALOT), (STALKERS + 1, ENEMY_ZEALOT)], **{f"s{ENEMY_ZEALOT}": 5})
    assert (shield[ENEMY_ZEALOT], life[ENEMY_ZEALOT], missed) == (5, (10 - 5 - 1) + (10 - 1), [])


def test_instant_shots_at_somebody_killed_in_the_same_loop_are_kept():
    target = ENEMY_MARINES[0]
    _, life, missed = volley([(m, target) for m in MARINES[:3]], **{f"u{target}": 7})
    assert life[target] == 12
    assert missed == [MARINES[2]]


def test_the_first_of_two_duellists_wins():
    us, them = MARINES[0], ENEMY_MARINES[0]
    for first, second in ((us, them), (them, us)):
        _, life, missed = volley([(first, second), (second, first)], **{f"u{us}": 6, f"u{them}": 6})
        assert (life[first], life[second], missed) == (0, 6, [second])


def test_missiles_kill_each_other():
    one, other = STALKERS, NAMES.index("stalker", N)
    _, life, missed = volley([(one, other), (other, one)], missiles=True, **{f"u{one}": 6, f"u{other}": 6})
    assert (life[one], life[other], missed) == (13, 13, [])


def test_armour_counts_when_several_shots_fall_in_one_loop():
    # 12 life, three hits of 6 through an armour of 1: 5 + 5 leave 2, so the third is fired and kills.
    _, life, missed = volley([(m, ENEMY_MARAUDER) for m in MARINES[:3]], **{f"u{ENEMY_MARAUDER}": 12})
    assert missed == []
    assert life[ENEMY_MARAUDER] == 15


def test_a_shot_that_was_not_fired_hurts_nobody():
    # The first kills the second, who then does not shoot the third; the fourth does.
    one, second, third, fourth = MARINES[0], ENEMY_MARINES[0], MARINES[1], ENEMY_MARINES[1]
    _, life, missed = volley([(one, second), (second, third), (fourth, third)], **{f"u{second}": 6, f"u{third}": 6})
    assert missed == [second]
    assert life[third] == 6


@pytest.mark.parametrize(("percent", "life", "hits"), [(0, 45.0, 8), (10, 40.5, 7), (15, 38.25, 7), (20, 36.0, 6)])
def test_weakened_marines_fall_sooner(percent: int, life: float, hits: int):
    units = initial_units(scenario("3m"), RULES)
    weak = apply(units, weaken(default_params(scenario("3m")), percent), jnp.zeros(3, bool))
    assert float(weak.health[0]) == pytest.approx(life)
    field = Field()
    target = field.ally("marine", 16.0, health=float(weak.health[0]))
    field.attack(field.enemy("marine", 20.0), target)
    film = play([field], 15)  # 7 periods of 13.77 loops: 96.4, and 7 to the first shot
    assert len(falls(film, 0, target)) == hits
    assert film.health[0, -1, target] == 0
