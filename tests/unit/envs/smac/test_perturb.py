import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.perturb import apply, default_params, disable, draw, perturbed, remove, weaken
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import scenario
from ibal.envs.smac.spawn import initial_units

PARAMS = default_params(scenario("2s3z"))
draws = jax.jit(jax.vmap(draw, (0, None)))


def test_nothing_by_default():
    disabled, absent = draws(jax.random.split(jax.random.key(0), 8), PARAMS)
    assert not disabled.any()
    assert not absent.any()
    units = initial_units(scenario("2s3z"), Rules())
    same = apply(units, PARAMS, absent[0])
    assert (same.health == units.health).all()
    assert (same.shield == units.shield).all()


def test_drawn_agents_differ_between_episodes_and_reach_everyone():
    disabled, absent = draws(jax.random.split(jax.random.key(1), 200), disable(PARAMS, 2))
    assert (np.asarray(disabled).sum(1) == 2).all()
    assert not absent.any()
    share = np.asarray(disabled).mean(0)
    assert ((share > 0.25) & (share < 0.55)).all()  # 2 of 5


def test_named_agents_are_the_same_in_every_episode():
    disabled, _ = draws(jax.random.split(jax.random.key(2), 20), disable(PARAMS, [0, 3]))
    assert (np.asarray(disabled) == [True, False, False, True, False]).all()


def test_absent_and_disabled_never_meet():
    params = remove(disable(PARAMS, 2), 2)
    disabled, absent = (np.asarray(x) for x in draws(jax.random.split(jax.random.key(3), 50), params))
    assert (disabled.sum(1) == 2).all()
    assert (absent.sum(1) == 2).all()
    assert not (disabled & absent).any()
    disabled, absent = (np.asarray(x) for x in draws(jax.random.split(jax.random.key(3), 50), remove(params, [1])))
    assert (absent == [False, True, False, False, False]).all()
    assert (disabled.sum(1) == 2).all()
    assert not disabled[:, 1].any()


def test_the_rest_of_the_team_is_the_limit():
    disabled, absent = draws(jax.random.split(jax.random.key(4), 5), disable(remove(PARAMS, [0]), 5))
    assert (np.asarray(disabled).sum(1) == 4).all()
    assert (np.asarray(absent).sum(1) == 1).all()


def test_health_of_agents_only():
    units = initial_units(scenario("2s3z"), Rules())
    weak = apply(units, weaken(PARAMS, 15), jnp.array([False, True, False, False, False]))
    np.testing.assert_allclose(weak.health, [68, 0, 85, 85, 85, 80, 80, 100, 100, 100], rtol=1e-6)
    np.testing.assert_allclose(weak.shield, [68, 0, 42.5, 42.5, 42.5, 80, 80, 50, 50, 50], rtol=1e-6)
    kept = apply(units, weaken(PARAMS, 15, shields=False), jnp.zeros(5, bool))
    np.testing.assert_allclose(kept.shield[:5], [80, 80, 50, 50, 50])


def test_by_name():
    assert int(perturbed(PARAMS, "dis-2").n_disabled) == 2
    assert int(perturbed(PARAMS, "abs-1").n_absent) == 1
    np.testing.assert_allclose(perturbed(PARAMS, "HP-10").health_scale, 0.9)
    both = perturbed(perturbed(PARAMS, "dis-1"), "hp-15")
    assert (int(both.n_disabled), float(both.shield_scale[0])) == (1, pytest.approx(0.85))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: perturbed(PARAMS, "blind-1"), 'unknown perturbation "blind-1"'),
        (lambda: perturbed(PARAMS, "dis-"), 'unknown perturbation "dis-"'),
        (lambda: disable(PARAMS, 6), "the team has 5 agents, not 6"),
        (lambda: remove(PARAMS, [5]), "there is no agent 5; agents are 0 .. 4"),
        (lambda: weaken(PARAMS, 100), "not by 100"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        change()
