from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.smac.env import make
from ibal.envs.smac.perturb import disable, remove, weaken
from ibal.envs.smac.scenarios import scenario
from ibal.types import Env

STOP, NORTH, EAST, ATTACK = 1, 2, 4, 6
KEY = jax.random.key(0)


class Play:
    """An environment with compiled functions, stepped from tests."""

    def __init__(self, env: Env) -> None:
        self.env, self._reset, self._step = env, jax.jit(env.reset), jax.jit(env.step)

    def reset(self, params=None, seed: int = 0):
        self.params = self.env.params if params is None else params
        self.state, self.now = self._reset(jax.random.key(seed), self.params)
        self.clock = 0
        return self.now

    def step(self, *actions: int):
        self.clock += 1
        key = jax.random.fold_in(KEY, self.clock)
        self.state, self.now = self._step(key, self.state, jnp.array(actions, jnp.int32), self.params)
        return self.now


@pytest.fixture(scope="module")
def play() -> Play:
    return Play(make("3m"))


def x_of(state_vector) -> np.ndarray:
    return np.asarray(state_vector)[[2, 6, 10]]


def test_reset_fits_the_spec(play: Play):
    now, spec = play.reset(), play.env.spec
    assert (now.obs.shape, now.state.shape, now.avail.shape) == ((3, 30), (48,), (3, 9))
    assert (spec.obs_size, spec.state_size, spec.n_actions) == (30, 48, 9)
    assert sorted(now.metrics) == sorted(spec.metric_names)
    assert {m.dtype for m in now.metrics.values()} == {jnp.dtype(jnp.float32)}
    assert (float(now.reward), bool(now.terminated), bool(now.truncated)) == (0.0, False, False)
    assert spec.scene is not None
    assert spec.scene.teams == (0, 0, 0, 1, 1, 1)


def test_illegal_actions_become_stop_and_are_counted(play: Play):
    before = play.reset()
    now = play.step(ATTACK, 0, 77)
    assert float(now.metrics["illegal_actions"]) == 3
    assert np.flatnonzero(now.state[21:]).tolist() == [STOP, 9 + STOP, 18 + STOP]
    np.testing.assert_allclose(x_of(now.state), x_of(before.state), atol=1e-5)  # bodies in touch may press
    assert float(play.step(EAST, NORTH, STOP).metrics["illegal_actions"]) == 0


def test_disabled_agents_stand_still_and_look_natural(play: Play):
    now = play.reset(disable(play.env.params, [1]))
    assert np.flatnonzero(now.avail[1]).tolist() == [STOP]
    assert now.obs[1, :4].tolist() == [1, 1, 1, 1]
    before = x_of(now.state)
    now = play.step(EAST, EAST, EAST)
    moved = x_of(now.state) - before
    assert moved[1] == 0
    assert (moved[[0, 2]] > 0.04).all()
    assert np.flatnonzero(now.state[21:]).tolist() == [EAST, 9 + STOP, 18 + EAST]


def test_drawn_disabled_agents_follow_the_reset_key(play: Play):
    params = disable(play.env.params, 1)
    drawn = [np.asarray(play.reset(params, seed).avail.sum(1) == 1).tolist() for seed in range(12)]
    assert all(sum(row) == 1 for row in drawn)
    assert len({tuple(row) for row in drawn}) == 3
    assert np.asarray(play.reset(params, 5).avail.sum(1) == 1).tolist() == drawn[5]


def test_perturbing_changes_nothing_else(play: Play):
    plain, disabled = play.reset(seed=9), play.reset(disable(play.env.params, 2), seed=9)
    assert (plain.state == disabled.state).all()
    assert (plain.obs == disabled.obs).all()


def test_absent_agents_are_dead_from_the_start(play: Play):
    now = play.reset(remove(play.env.params, [2]))
    assert now.alive.tolist() == [True, True, False]
    assert np.flatnonzero(now.avail[2]).tolist() == [0]
    assert (now.state[8:12] == 0).all()
    now = play.step(STOP, STOP, 0)
    assert float(now.metrics["dead_allies"]) == 0  # nobody has been killed
    assert float(now.metrics["illegal_actions"]) == 0


def test_weakened_agents_show_it(play: Play):
    now = play.reset(weaken(play.env.params, 10))
    np.testing.assert_allclose(now.obs[:, 29], 0.9, rtol=1e-6)
    assert now.state[12:21].reshape(3, 3)[:, 0].tolist() == [1, 1, 1]


def run_out(play: Play, *actions: int):
    while not (bool(play.now.terminated) or bool(play.now.truncated)):
        alive = play.now.alive.tolist()
        play.step(*(a if living else 0 for a, living in zip(actions, alive, strict=True)))
    return play.now


def test_nothing_changes_after_the_end(play: Play):
    play.reset()
    last = run_out(play, STOP, STOP, STOP)
    assert float(last.metrics["dead_allies"]) == 3
    assert not last.alive.any()
    for actions in ((0, 0, 0), (5, 6, 7)):
        now = play.step(*actions)
        assert (now.obs == last.obs).all()
        assert (now.state == last.state).all()
        assert bool(now.terminated)
        assert float(now.reward) == 0
        assert {k: float(v) for k, v in now.metrics.items()} == {k: float(v) for k, v in last.metrics.items()}
    assert int(play.state.step) < 60


def test_losing_team_earns_nothing_for_standing(play: Play):
    play.reset(seed=3)
    assert run_out(play, STOP, STOP, STOP).metrics["win"] == 0


def test_time_limit_of_a_continuing_episode():
    short = Play(make(replace(scenario("3m"), limit=2), continuing_episode=True))
    short.reset()
    assert not bool(short.step(STOP, STOP, STOP).terminated)
    for _ in range(2):  # the second time after the end
        now = short.step(STOP, STOP, STOP)
        assert (bool(now.terminated), bool(now.truncated)) == (False, True)
        assert float(now.metrics["timeout"]) == 1
        assert int(short.state.step) == 2


def test_batches_equal_single_games(play: Play):
    keys = jax.random.split(jax.random.key(5), 3)
    states, steps = jax.jit(jax.vmap(play.env.reset, (0, None)))(keys, play.env.params)
    actions = jnp.array([[EAST, NORTH, STOP], [STOP, STOP, STOP], [EAST, EAST, EAST]])
    _, steps = jax.jit(jax.vmap(play.env.step, (0, 0, 0, None)))(keys, states, actions, play.env.params)
    single_reset, single_step = jax.jit(play.env.reset), jax.jit(play.env.step)  # compiled already, by ``play``
    for i in range(3):
        state, _ = single_reset(keys[i], play.env.params)
        _, single = single_step(keys[i], state, actions[i], play.env.params)
        np.testing.assert_allclose(steps.obs[i], single.obs, atol=1e-5)
        np.testing.assert_allclose(steps.state[i], single.state, atol=1e-5)


def test_frame(play: Play):
    play.reset()
    assert play.env.frame is not None
    frame = play.env.frame(play.state, play.params)
    assert frame.position.shape == (6, 2)
    np.testing.assert_allclose(frame.position[0], [9, 15.3115], atol=1e-4)
    assert frame.max_health.tolist() == [45] * 6
    assert frame.kind.tolist() == [0] * 6
    assert frame.target.tolist() == [-1] * 6


def test_options_by_name():
    env = make("3m", obs_timestep_number=True, head_start=0)
    assert env.spec.obs_size == 31
    with pytest.raises(ValueError, match='no option "obs_last_actions"; did you mean "obs_last_action"'):
        make("3m", obs_last_actions=True)
    with pytest.raises(ValueError, match='unknown SMAC map "3mm"'):
        make("3mm")


def test_equal_games_share_their_functions():
    assert make("3m").step == make("3m").step
    assert make("3m").step != make("8m").step
