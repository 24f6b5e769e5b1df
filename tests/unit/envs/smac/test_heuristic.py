"""SMAC's scripted team picks the targets that SMAC's code picks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac import env as smac
from ibal.envs.smac.heuristic import autopilot, heuristic_actions, heuristic_targets
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.spawn import initial_units
from ibal.envs.smac.state import ATTACK, HEAL, IDLE, EnvState, Units
from ibal.types import TimeStep

# Agents: 0, 1 marauders, 2 .. 8 marines, 9 medivac; enemies, from 10: 7 marines, 2 marauders, 1 medivac.
MMM = scenario("MMM")
MEDIVAC, ENEMY_MEDIVAC = 9, 19


@pytest.fixture(scope="module")
def state() -> EnvState:
    """A game that has just begun; enemies numbered backwards."""
    nobody, no, life = jnp.full(10, -1), jnp.zeros(10, bool), jnp.zeros(10)
    units = initial_units(MMM, Rules())
    return EnvState(units, jnp.int32(0), jnp.arange(10)[::-1], life, life, nobody, no, ~no, jnp.array(False))


def units(state: EnvState, **changes: dict[int, float]) -> Units:
    """The units at reset, everybody idle, with some entries changed."""
    base = state.units._replace(order=jnp.full(20, IDLE), target=jnp.full(20, -1))
    for name, values in changes.items():
        field = np.array(getattr(base, name))
        for index, value in values.items():
            field[index] = value
        base = base._replace(**{name: jnp.asarray(field)})
    return base


def test_fighters_take_the_nearest_at_any_distance(state: EnvState) -> None:
    start = units(state)
    gap = np.hypot(start.x[:9, None] - start.x[None, 10:], start.y[:9, None] - start.y[None, 10:])
    gap[:2, ENEMY_MEDIVAC - 10] = np.inf  # marauders cannot hit it
    np.testing.assert_array_equal(heuristic_targets(start, MMM)[:9], 10 + gap.argmin(axis=1))
    assert gap.min() > 6


def test_marauders_skip_medivacs_and_marines_do_not(state: EnvState) -> None:
    near = units(state, x={ENEMY_MEDIVAC: 9.0}, y={ENEMY_MEDIVAC: 16.0})
    target = heuristic_targets(near, MMM)
    assert (target[2:9] == ENEMY_MEDIVAC).all()
    assert (target[:2] != ENEMY_MEDIVAC).all()


def test_a_target_is_kept_until_it_dies(state: EnvState) -> None:
    far = 16
    held = {"order": {2: ATTACK}, "target": {2: far}}
    assert heuristic_targets(units(state, **held), MMM)[2] == far
    assert heuristic_targets(units(state, **held, health={far: 0.0}), MMM)[2] != far


def test_the_medivac_heals_the_nearest_damaged_and_keeps_it_until_whole(state: EnvState) -> None:
    assert heuristic_targets(units(state), MMM)[MEDIVAC] == -1
    spot = {"x": {2: 5.0, 3: 4.0, MEDIVAC: 3.0}, "y": {2: 16.0, 3: 16.0, MEDIVAC: 16.0}}
    assert heuristic_targets(units(state, **spot, health={2: 20.0}), MMM)[MEDIVAC] == 2
    hurt = {2: 20.0, 3: 20.0}
    assert heuristic_targets(units(state, **spot, health=hurt), MMM)[MEDIVAC] == 3
    busy = {"order": {MEDIVAC: HEAL}, "target": {MEDIVAC: 2}}
    assert heuristic_targets(units(state, **spot, **busy, health=hurt), MMM)[MEDIVAC] == 2
    assert heuristic_targets(units(state, **spot, **busy, health={3: 20.0}), MMM)[MEDIVAC] == 3
    assert heuristic_targets(units(state, **spot, health={MEDIVAC: 20.0}), MMM)[MEDIVAC] == -1


def test_the_dead_do_nothing_and_nobody_left_means_no_target(state: EnvState) -> None:
    assert heuristic_targets(units(state, health={4: 0.0}), MMM)[4] == -1
    won = units(state, health=dict.fromkeys(range(10, 20), 0.0))
    assert (heuristic_targets(won, MMM) == -1).all()


def test_actions_name_enemies_as_agents_number_them(state: EnvState) -> None:
    state = state._replace(units=units(state, health={4: 0.0, 2: 20.0}))
    target, actions = heuristic_targets(state.units, MMM), heuristic_actions(state, MMM)
    order = np.asarray(state.enemy_order)
    for agent in (0, 1, 2, 3, 5, 8):
        assert 10 + order[actions[agent] - 6] == target[agent]
    assert actions[MEDIVAC] == 6 + 2
    assert actions[4] == 0


def test_autopilot_replaces_what_is_played(state: EnvState) -> None:
    env = smac.make("MMM", check_actions=False)
    zero = jnp.zeros(())
    empty = TimeStep(zero, zero, zero, zero, zero, zero, zero, {})
    env = autopilot(env._replace(step=lambda key, state, played, params: (state._replace(last_action=played), empty)))
    after, _ = env.step(jax.random.key(0), state, jnp.ones(10, jnp.int32), env.params)
    np.testing.assert_array_equal(after.last_action, heuristic_actions(state, MMM))
