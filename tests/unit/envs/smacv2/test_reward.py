"""Rewards and ends, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from ibal.envs.smac.reward import Outcome
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.reward import max_reward, outcome, step_reward
from unit.envs.smacv2.duel import kinds, team

ENEMIES = ("marauder", "marauder", "marine", "marine", "medivac")
EPISODE = Options(max_reward="episode")


def paid(before: list[float], after: list[float], won: bool = False, options: Options = EPISODE) -> float:
    army = team("terran", 5, 5)
    kind = kinds(army, *ENEMIES, *ENEMIES)
    no = jnp.array(False)
    result = Outcome(jnp.array(won), no, no, no)
    enemies = jnp.array(before, jnp.float32), jnp.array(after, jnp.float32)
    allies = (jnp.ones(5), jnp.ones(5))
    return float(step_reward(enemies, allies, kind, result, army, options))


FULL = [125.0, 125.0, 45.0, 45.0, 150.0]


def test_damage_deaths_and_the_win() -> None:
    """10 x 5 + 200 + 490 = 740 are worth 20."""
    assert float(max_reward(kinds(team("terran", 5, 5), *ENEMIES, *ENEMIES), team("terran", 5, 5), EPISODE)) == 740
    assert paid(FULL, [120.0, *FULL[1:]]) == pytest.approx(5 * 20 / 740)
    assert paid([*FULL[:3], 4.0, 150.0], [*FULL[:3], 0.0, 150.0]) == pytest.approx(14 * 20 / 740)
    assert paid([0.0] * 5, [0.0] * 5, won=True) == pytest.approx(200 * 20 / 740)
    assert paid(FULL, [0.0] * 5, won=True) == pytest.approx(20)
    assert paid(FULL, [120.0, *FULL[1:]], options=Options()) == pytest.approx(5 * 20 / 707.5)


def test_enemies_that_recover_pay_nothing() -> None:
    assert paid([10.0] * 5, [30.0] * 5) == 0


def ends(army: Army, names: tuple[str, ...], alive: list[int], step: int = 10) -> str:
    decide = jax.jit(lambda a, k, s: outcome(a, k, s, army))
    result = decide(jnp.array(alive, bool), kinds(army, *names), jnp.int32(step))
    return "".join(name for name, flag in result._asdict().items() if flag)


def test_terran_teams_of_medivacs_do_not_count() -> None:
    army, names = team("terran", 2, 2), ("marine", "medivac", "marine", "medivac")
    assert ends(army, names, [1, 1, 1, 1]) == ""
    assert ends(army, names, [0, 1, 1, 1]) == "lost"
    assert ends(army, names, [1, 0, 0, 1]) == "won"
    assert ends(army, names, [0, 1, 0, 1]) == "lost"  # tested first
    assert ends(army, names, [0, 0, 0, 0]) == "lost"
    assert ends(army, ("marine", "marine", "medivac", "medivac"), [1, 1, 1, 1]) == "won"


def test_double_knock_outs_and_the_limit() -> None:
    army, names = team("zerg", 1, 1), ("zergling", "zergling")
    assert ends(army, names, [0, 0]) == "drawn"
    assert ends(army, names, [1, 1], 199) == ""
    assert ends(army, names, [1, 1], 200) == "timeout"
    assert ends(army, names, [1, 0], 200) == "won"
    assert ends(army, names, [0, 1]) == "lost"
