"""Whom units engage: what holds for every rule of choice that is under discussion."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.scenarios import Group, Scenario, scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, HOLD, IDLE
from ibal.envs.smac.state import SCAN as SCANNING
from ibal.envs.smac.stats import stats
from ibal.envs.smac.targeting import acquire
from unit.envs.smac.lab import HARMLESS, LAB, NAMES, RULES, Field, N, falls, play, shots

RADIUS = {"marine": 0.375, "marauder": 0.5625, "stalker": 0.625, "zealot": 0.5, "colossus": 1.0, "zergling": 0.375,
          "hydralisk": 0.625, "baneling": 0.375, "spine_crawler": 0.875}  # fmt: skip
SCAN = dict.fromkeys(RADIUS, 5.0) | {"marauder": 6, "stalker": 6, "colossus": 6, "spine_crawler": 7}


def watch(name: str, gap: float) -> tuple[Field, int, int]:
    """An enemy at its post and an idle agent whose edge is ``gap`` away from its own."""
    field = Field()
    guard = field.enemy(name, 16.0, cooldown=HARMLESS)
    return field, guard, field.ally("stalker", 16 + RADIUS[name] + 0.625 + gap)


def test_enemies_engage_what_is_near_and_leave_what_is_far():
    cases = [(name, near) for name in RADIUS for near in (True, False)]
    # Scan ranges may be measured between edges or centres: what lies between is left open.
    fields = [watch(name, SCAN[name] + (-RADIUS[name] - 0.625 - 0.05 if near else 0.05)) for name, near in cases]
    film = play([field for field, _, _ in fields], 2)
    for case, (name, near) in enumerate(cases):
        _, guard, agent = fields[case]
        assert film.target[case, 1, guard] == (agent if near else -1), name
        if not near:  # it stays at its post
            assert (film.x[case, :, guard] == 16).all()


def test_an_enemy_without_an_order_defends_itself():
    crawler = initial_units(scenario("2s_vs_1sc"), RULES)
    field = Field()
    guard, intruder = field.enemy("spine_crawler", 16.0, order=int(crawler.order[2])), field.ally("stalker", 20.0)
    film = play([field], 4)
    assert len(shots(film, 0, guard)) == 1
    assert len(falls(film, 0, intruder)) == 1


def test_a_passing_agent_is_left_behind():
    """Out of scan range nobody is noticed: the enemies march past."""
    field = Field()
    marcher, bystander = field.enemy("zealot", 24.0), field.ally("marine", 18.0, 25.0)
    field.move(marcher, 12.0, 16.0)
    film = play([field], 11)
    assert (film.target[0, :, marcher] == -1).all()
    np.testing.assert_allclose(film.x[0, ::8, marcher], np.maximum(24 - 1.125 * np.arange(12), 12), atol=1e-3)
    assert film.health[0, -1, bystander] == 45


def test_a_target_is_shot_until_dead_and_then_the_next():
    field = Field()
    guard = field.enemy("marine", 16.0)
    agents = [field.ally("marine", 18.0, health=12), field.ally("marine", 16.0, 19.0, health=12)]
    film = play([field], 8)
    assert (film.health[0, -1, agents] == 0).all()
    first, second = sorted((falls(film, 0, agent) for agent in agents), key=lambda hits: hits[0])
    assert (len(first), len(second)) == (2, 2)
    assert first[1] < second[0]
    assert film.target[0, -1, guard] == -1


def test_after_the_last_kill_the_march_goes_on():
    field = Field()
    marcher, victim = field.enemy("marine", 20.0), field.ally("marine", 17.0, health=6)
    field.move(marcher, 10.0, 16.0)
    film = play([field], 14)
    assert film.health[0, -1, victim] == 0
    assert film.target[0, -1, marcher] == -1
    assert film.x[0, -1, marcher] == pytest.approx(10, abs=1e-3)
    assert (film.order[0, -1, marcher], film.order[0, 1, marcher]) == (HOLD, SCANNING)


def test_an_enemy_that_has_arrived_still_fights():
    field = Field()
    guard, walker = field.enemy("marine", 9.0), field.ally("marine", 18.0)
    field.move(guard, 9.0, 16.0)
    field.move(walker, 12.0, 16.0)
    film = play([field], 8)
    assert len(shots(film, 0, guard)) > 0
    assert len(falls(film, 0, walker)) > 0


def test_melee_enemies_chase_what_they_have_chosen():
    field = Field()
    zealot, runner = field.enemy("zealot", 12.0), field.ally("marine", 14.0)
    field.move(runner, 22.0, 16.0)
    film = play([field], 6)
    assert (film.target[0, 2:, zealot] == runner).all()
    # Equally fast: the gap stays what it was.
    np.testing.assert_allclose(film.x[0, 8:, runner] - film.x[0, 8:, zealot], 2, atol=0.15)
    assert len(falls(film, 0, runner)) == 0


def test_agents_never_choose_a_target():
    field = Field()
    agents = [
        field.ally(name, 14.0, 10 + 2.0 * i)
        for i, name in enumerate(("marine", "stalker", "zealot", "hydralisk", "colossus"))
    ]
    for i in range(4):
        field.enemy("zealot", 17.0, 10 + 2.0 * i)
    film = play([field], 6)
    assert (film.target[0, :, agents] == -1).all()
    assert (film.order[0, :, agents] == IDLE).all()
    assert all(len(shots(film, 0, agent)) == 0 for agent in agents)


def test_only_armed_enemies_with_a_fitting_weapon_engage_a_flyer():
    field = Field()
    flyer = field.ally("medivac", 16.0)
    guards = [
        field.enemy(name, 16 + 3 * np.cos(i), 16 + 3 * np.sin(i), cooldown=HARMLESS) for i, name in enumerate(RADIUS)
    ]
    film = play([field], 1)
    engaged = {NAMES[guard] for guard in guards if film.target[0, 1, guard] == flyer}
    assert engaged == {"marine", "stalker", "hydralisk"}
    assert min(guards) >= N


def test_the_dead_have_no_target_and_are_nobodys_target():
    field = Field()
    ghost, guard = field.ally("marine", 17.0, health=0), field.enemy("marine", 16.0)
    dying, killer = field.enemy("marine", 24.0, health=6), field.ally("marine", 27.0)
    field.attack(killer, dying, ready=2)
    film = play([field], 3)
    assert (film.target[0, :, guard] != ghost).all()
    assert film.health[0, -1, dying] == 0
    assert film.target[0, -1, dying] == -1
    assert film.target[0, -1, killer] == -1
    assert film.order[0, -1, killer] == IDLE


@pytest.mark.parametrize("agents", [2, 3, 5, 8, 10])
def test_a_random_target_is_any_agent_alike(agents: int):
    kind = Group("marine", agents, (12.0, 16.0))
    game = Scenario("crowd", 100, (kind,), (Group("marine", 1, (14.0, 16.0)),), terrain="open")
    fights = 40_000
    units = jax.tree.map(lambda a: jnp.broadcast_to(a[:, None], (agents + 1, fights)), initial_units(game, RULES))
    luck, clock = jax.random.uniform(jax.random.key(0), (agents + 1, fights)), jnp.zeros((1, 1), int)
    chosen = np.asarray(
        jax.jit(partial(acquire, stats=stats(game), numbers=RULES.quantities, n=agents))(units, luck, clock)
    )[0]
    # A share of 1 / agents +- 5 %, and four standard errors of the count.
    share = np.bincount(chosen, minlength=agents) * agents / fights
    np.testing.assert_allclose(share, 1, atol=0.05 + 4 * np.sqrt(agents / fights))


def test_medivacs_heal_living_flesh_of_their_team_and_no_structures():
    table, medivac, enemy = stats(LAB).can_heal[..., 0], NAMES.index("medivac"), NAMES.index("medivac", N)
    healed = {NAMES[i] for i in np.flatnonzero(table[enemy])}
    assert healed == {"marine", "marauder", "zealot", "zergling", "hydralisk", "baneling"}
    assert np.flatnonzero(table[enemy]).min() >= N
    assert np.flatnonzero(table[medivac]).max() < N


def sniped(gap: float) -> tuple[Field, int, int]:
    """An enemy marine that reached its goal long ago, shot at by a marine whose edge is ``gap`` away from its own."""
    field = Field()
    guard, sniper = field.enemy("marine", 12.0), field.ally("marine", 12 + 0.75 + gap)
    field.attack(sniper, guard, ready=2)
    return field, guard, sniper


def test_who_holds_a_place_turns_on_who_shoots_from_beyond_scan_range():
    """Marines shoot 5 + 2 * 0.375 = 5.75 far between centres, and look for targets 5 far."""
    field, guard, sniper = sniped(4.9)
    film = play([field], 6)
    assert (film.target[0, 2:20, guard] == sniper).all()
    assert len(shots(film, 0, guard)) > 1
    assert film.health[0, -1, sniper] < 45


def test_it_is_not_noticed_before_it_can_hit():
    field, guard, sniper = sniped(9.0)  # it walks until it is in reach
    film = play([field], 6)
    gap = np.abs(film.x[0, :, sniper] - film.x[0, :, guard]) - 0.75
    noticed = int(np.argmax(film.target[0, :, guard] == sniper))
    assert noticed > 0
    assert (gap[: noticed - 1] > 5).all()


def walking_up(angle: float) -> tuple[Field, int, int]:
    """An enemy marine at its goal, and a marine that has still to walk up to it from ``angle``."""
    field = Field()
    guard, sniper = field.enemy("marine", 16.0), field.ally("marine", 16 + 7 * np.cos(angle), 16 + 7 * np.sin(angle))
    field.attack(sniper, guard)
    return field, guard, sniper


def test_no_sniper_stands_where_rounding_hides_it():
    """Who walks up to its range stops there to within rounding, on either side of it."""
    cases = [walking_up(angle) for angle in np.linspace(0, 2 * np.pi, 32, endpoint=False)]
    film = play([field for field, _, _ in cases], 6)
    for i, (_, guard, sniper) in enumerate(cases):
        shot = int(np.argmax(film.health[i, :, guard] < 45))
        assert shot > 0
        assert film.target[i, shot + 1, guard] == sniper


def test_it_follows_and_comes_back_to_its_place():
    field, guard, sniper = sniped(4.9)
    field.say(1, sniper, 1)
    for step in range(1, 8):
        field.say(step, sniper, 4)  # east, as fast as its hunter
    film = play([field], 8)
    assert (film.target[0, 3:, guard] == sniper).all()
    assert film.x[0, -1, guard] > 15
    alone = Field()
    guard = alone.enemy("marine", 15.0, order=HOLD, goal_x=12.0)
    film = play([alone], 6)
    assert film.x[0, -1, guard] == pytest.approx(12, abs=1e-3)


def test_it_calls_those_for_help_who_stand_close():
    field, guard, sniper = sniped(4.9)
    close, far = field.enemy("marine", 9.5), field.enemy("marine", 6.0)
    film = play([field], 4)
    assert (film.target[0, 3:20, close] == sniper).all()
    assert (film.target[0, :, far] == -1).all()
    assert film.target[0, 5, guard] == sniper


def test_who_is_near_comes_before_who_shoots_at_a_team_mate():
    field, _, sniper = sniped(4.9)
    helper, visitor = field.enemy("marine", 9.5), field.ally("marine", 6.0)
    film = play([field], 1)
    assert (film.target[0, 3:, helper] == visitor).all()
    assert sniper != visitor


def test_who_marches_is_not_turned_aside():
    field = Field()
    marcher, sniper = field.enemy("marine", 12.0), field.ally("marine", 12.0, 16 + 5.65)
    field.move(marcher, 4.0, 16.0)
    field.attack(sniper, marcher, ready=1)
    film = play([field], 2)
    assert (film.order[0, :, marcher] == SCANNING).all()
    assert (film.target[0, :, marcher] == -1).all()
    assert film.x[0, -1, marcher] < 10.5


@pytest.mark.parametrize(("marching", "holding"), [(False, False), (False, True), (True, True)])
def test_who_answers_is_a_rule(marching: bool, holding: bool):
    game = Scenario(
        "pair", 100, (Group("marine", 1, (12.0, 16.0)),), (Group("marine", 1, (17.5, 16.0)),), terrain="open"
    )
    units = jax.tree.map(lambda a: a[:, None], initial_units(game, RULES))
    units = units._replace(order=units.order.at[0].set(ATTACK), target=units.target.at[0].set(1))
    for order, turns in ((SCANNING, marching), (HOLD, holding)):
        found = acquire(
            units._replace(order=units.order.at[1].set(order)),
            jnp.full((2, 1), 0.5),
            jnp.zeros((1, 1), int),
            stats(game),
            RULES.quantities._replace(answer_marching=float(marching), answer_holding=float(holding)),
            1,
        )
        assert found[0, 0] == (0 if turns else -1)
