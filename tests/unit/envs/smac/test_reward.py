from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.layout import max_reward
from ibal.envs.smac.reward import Outcome, life, outcome, step_reward
from ibal.envs.smac.rules import Interface, Rules
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.spawn import initial_units

PLAIN = Interface()
GOING = Outcome(*(jnp.bool_(False) for _ in range(4)))
WON, LOST = GOING._replace(won=jnp.bool_(True)), GOING._replace(lost=jnp.bool_(True))


def pay(before, after, allies=None, result=GOING, map_name="3m", interface=PLAIN, rules=Rules()) -> float:
    game = scenario(map_name)
    ally_before, ally_after = allies or ([45.0] * game.n_agents, [45.0] * game.n_agents)
    enemies = (jnp.array(before, jnp.float32), jnp.array(after, jnp.float32))
    own = (jnp.array(ally_before, jnp.float32), jnp.array(ally_after, jnp.float32))
    return float(step_reward(enemies, own, result, game, interface, rules))


def test_one_marine_hit():
    assert pay([45, 45, 45], [39, 45, 45]) == pytest.approx(0.328767, abs=1e-6)  # 6 * 20 / 365


def test_kill_pays_the_rest_of_the_life_and_ten():
    assert pay([45, 3, 45], [45, 0, 45]) == pytest.approx(13 * 20 / 365, rel=1e-6)


def test_winning_step_of_3m():
    assert pay([0, 0, 3], [0, 0, 0], result=WON) == pytest.approx(11.671, abs=1e-3)  # (3 + 10 + 200) * 20 / 365


def test_the_dead_pay_nothing_more():
    assert pay([0, 45, 45], [0, 45, 45]) == 0.0


def test_own_losses_cost_nothing_by_default():
    assert pay([45] * 3, [45] * 3, allies=([45, 45, 6], [20, 45, 0])) == 0.0


def test_regeneration_pays_because_smac_takes_the_absolute_value():
    before, after = [160, 160, 150, 150, 100], [160, 160, 150, 150, 110]
    ally = ([160.0] * 5, [160.0] * 5)
    assert pay(before, after, ally, map_name="2s3z") == pytest.approx(10 * 20 / 1020, rel=1e-6)
    assert pay(before, after, ally, map_name="2s3z", rules=Rules(abs_reward=False)) == 0.0


def test_regeneration_cancels_damage_within_a_step():
    # One zealot lost 7 (a stalker's hit of 10 through 1 armour, netted with 2 of regeneration), one regained 4.
    before, after = [160, 160, 150, 150, 100], [160, 160, 150, 143, 104]
    assert pay(before, after, ([160.0] * 5,) * 2, map_name="2s3z") == pytest.approx(3 * 20 / 1020, rel=1e-6)


def test_signed_reward():
    # Enemy: 6 lost and a kill of 12 (+10). Own: 20 lost, one death that had 6 (-10); own side counts half.
    signed = Interface(reward_only_positive=False)
    got = pay([45, 12, 45], [39, 0, 45], ([45, 45, 6], [25, 45, 0]), interface=signed)
    assert got == pytest.approx((6 + 12 + 10 - 0.5 * (20 + 6 + 10)) * 20 / 365, rel=1e-6)
    got = pay([45, 45, 30], [45, 45, 35], interface=signed)
    assert got == pytest.approx(-5 * 20 / 365, rel=1e-6)


def test_defeat_bonus_and_unscaled():
    interface = Interface(reward_defeat=-50.0, reward_scale=False)
    assert pay([45, 45, 45], [39, 45, 45], result=LOST, interface=interface) == pytest.approx(6 - 50)


@pytest.mark.parametrize(("result", "sign"), [(GOING, 0), (WON, 1), (LOST, -1)])
def test_sparse_reward_is_scaled_too(result, sign):
    assert pay([45, 45, 5], [39, 45, 0], result=result, interface=Interface(reward_sparse=True)) == pytest.approx(
        sign * 20 / 365, rel=1e-6
    )


def test_scale_follows_the_options():
    assert max_reward(scenario("3m"), Interface(reward_win=0.0, reward_death_value=1.0)) == 3 + 3 * 45
    assert pay([45, 45, 45], [39, 45, 45], interface=Interface(reward_scale_rate=1.0)) == pytest.approx(6 / 365)


def test_life_of_a_unit_killed_through_its_shield_is_zero():
    units = initial_units(scenario("2s3z"), Rules())
    units = units._replace(health=units.health.at[0].set(0.0), shield=units.shield.at[0].set(30.0))
    assert life(units)[:3].tolist() == [0.0, 160.0, 150.0]


def decide(alive_allies, alive_enemies, map_name="3m", step=1, limit=None) -> str:
    game = scenario(map_name)
    game = game if limit is None else replace(game, limit=limit)
    alive = np.zeros(game.n_agents + game.n_enemies, bool)
    alive[list(alive_allies)] = True
    alive[[game.n_agents + j for j in alive_enemies]] = True
    result = outcome(jnp.asarray(alive), jnp.int32(step), game)
    names = [name for name, value in result._asdict().items() if bool(value)]
    assert len(names) <= 1
    return names[0] if names else "going"


@pytest.mark.parametrize(
    ("allies", "enemies", "expected"),
    [([0, 1], [2], "going"), ([], [2], "lost"), ([1], [], "won"), ([], [], "drawn")],
)
def test_outcome_on_3m(allies, enemies, expected):
    assert decide(allies, enemies) == expected


def test_time_limit_only_counts_when_nothing_else_happened():
    assert decide([0], [0], step=59) == "going"
    assert decide([0], [0], step=60) == "timeout"
    assert decide([0], [], step=60) == "won"
    assert decide([0], [0], step=3, limit=3) == "timeout"


# MMM: agents 0, 1 marauders, 2 .. 8 marines, 9 medivac; enemies by creation 0 .. 6 marines, 7, 8 marauders, 9 medivac
@pytest.mark.parametrize(
    ("allies", "enemies", "expected"),
    [
        ([9], [0], "lost"),  # only the medivac is left
        ([9], [], "lost"),  # defeat is tested first, even with no enemy left
        ([], [], "lost"),  # nobody left is a defeat here, not a draw
        ([9], [9], "lost"),
        ([2], [9], "won"),  # exactly one enemy left, a medivac
        ([2], [0, 9], "going"),
        ([2], [0], "going"),  # exactly one enemy left, a marine
        ([2, 9], [], "won"),
        ([0, 9], [7, 9], "going"),
    ],
)
def test_outcome_on_mmm(allies, enemies, expected):
    assert decide(allies, enemies, map_name="MMM") == expected


def test_a_time_out_is_an_end_unless_the_episode_continues():
    late = GOING._replace(timeout=jnp.bool_(True))
    assert [bool(x) for x in late.ended(PLAIN)] == [True, False]
    assert [bool(x) for x in late.ended(Interface(continuing_episode=True))] == [False, True]
    assert [bool(x) for x in WON.ended(Interface(continuing_episode=True))] == [True, False]
