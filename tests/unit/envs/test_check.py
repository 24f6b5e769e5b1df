"""``check_env`` passes a sound world and names the rule that an unsound one breaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibal.envs.base import with_auto_reset
from ibal.envs.check import ContractError, check_env, check_frame, check_steps
from ibal.types import Block, Env, ObsLayout, TimeStep


def changed(env: Env, only: str = "both", **fields: Any) -> Env:
    """Return ``env`` with fields of its time-steps replaced: a value, or a function of the time-step."""

    def patch(result: tuple[Any, TimeStep]) -> tuple[Any, TimeStep]:
        state, step = result
        return state, step._replace(**{k: v(step) if callable(v) else v for k, v in fields.items()})

    env_reset, env_step = env.reset, env.step
    if only != "step":
        env = env._replace(reset=lambda key, params: patch(env_reset(key, params)))
    if only != "reset":
        env = env._replace(step=lambda key, state, actions, params: patch(env_step(key, state, actions, params)))
    return env


def respec(env: Env, **fields: Any) -> Env:
    return env._replace(spec=replace(env.spec, **fields))


def test_a_sound_world_passes_and_the_report_says_what_was_seen(ledge: Env) -> None:
    report = check_env(ledge, jax.random.key(0))
    assert report.steps == 8  # horizon 6 and two more
    assert report.episode_length is not None
    assert report.episode_length <= 6
    rules = " | ".join(report.rules)
    assert "idle" in rules
    assert "pictures" in rules
    assert "horizon" in rules


def test_rules_that_do_not_apply_are_not_claimed(ledge: Env) -> None:
    bare = respec(ledge, scene=None, idle_actions=())._replace(frame=None)
    rules = " | ".join(check_env(bare, jax.random.key(0), steps=2).rules)
    assert "idle actions" in rules  # of the spec
    assert "always be idle" not in rules
    assert "pictures" not in rules
    assert "horizon" not in rules


def _with_list(env: Env) -> Env:
    spec = replace(env.spec)
    object.__setattr__(spec, "metric_names", ["fallen"])  # the type checker of the tests refuses it any other way
    return env._replace(spec=spec)


SPEC_FAULTS = {
    "size": (lambda env: respec(env, obs_size=3), r"obs_layout names 2 indices but spec\.obs_size is 3"),
    "names": (lambda env: respec(env, action_names=("a", "b")), r"action_names has 2 names but spec\.n_actions is 4"),
    "twice": (lambda env: respec(env, metric_names=("fallen", "fallen")), r"metric_names has \['fallen'\] more than"),
    "idle": (lambda env: respec(env, idle_actions=(9,)), r"idle_actions names action 9; actions are 0\.\.3"),
    "horizon": (lambda env: respec(env, horizon=0), r"horizon is 0; it must be an int of at least 1"),
    "hash": (lambda env: _with_list(env), r"must be hashable \(tuples, not lists\)"),
    "gap": (
        lambda env: respec(env, obs_layout=ObsLayout((Block("own", 0, 0, ("a",)), Block("own", 1, 2, ("b",))))),
        r"block own\[1\] starts at 2, but the one before it ends at 1",
    ),
    "same name": (
        lambda env: respec(env, obs_layout=ObsLayout((Block("own", 0, 0, ("a", "a")),))),
        r"\['own\[0\]\.a'\] named more than once",
    ),
    "ally": (
        lambda env: respec(env, obs_layout=ObsLayout((Block("ally", 1, 0, ("a", "b")),))),
        r"ally\[1\] is no agent; with allies='skip-self' slots are 0\.\.0",
    ),
    "params": (
        lambda env: env._replace(params={"cost": 1.0}),
        r"params\['cost'\] is 1\.0, a float; params is a pytree",
    ),
}


@pytest.mark.parametrize("fault", SPEC_FAULTS)
def test_an_inconsistent_spec_is_named(ledge: Env, fault: str) -> None:
    breaking, message = SPEC_FAULTS[fault]
    with pytest.raises(ContractError, match=message):
        check_env(breaking(ledge))


def _grows(env: Env) -> Env:
    def step(key: Any, state: Any, actions: Any, params: Any) -> Any:
        after, seen = env.step(key, state, actions, params)
        return after._replace(t=after.t.astype(jnp.float32)), seen

    return env._replace(step=step)


def _looks(env: Env) -> Env:
    def step(key: Any, state: Any, actions: Any, params: Any) -> Any:
        return env.step(key, state, actions if actions[0] > 0 else -actions, params)

    return env._replace(step=step)


SHAPE_FAULTS = {
    "obs": (
        lambda env: changed(env, obs=lambda s: jnp.zeros((2, 3))),
        r"reset\(\) gave obs \(2, 3\) but spec says n_agents=2, obs_size=2",
    ),
    "step only": (
        lambda env: changed(env, "step", avail=lambda s: s.avail[:, :3]),
        r"step\(\) gave avail \(2, 3\) but spec says n_agents=2, n_actions=4",
    ),
    "type": (lambda env: changed(env, reward=jnp.int32(0)), r"reset\(\) gave reward of int32; it must be float32"),
    "metrics": (
        lambda env: changed(env, "step", metrics={"win": jnp.float32(0)}),
        r"step\(\) gave metrics \['win'\] but spec\.metric_names is \['fallen'\]",
    ),
    "state": (_grows, r"step\(\) changes state\.t from int32\[\] to float32\[\]"),
    "tuple": (
        lambda env: env._replace(reset=lambda key, params: env.reset(key, params)[1]),
        r"reset\(\) must return \(state, TimeStep\), got TimeStep",
    ),
    "value": (_looks, r"step\(\) cannot be compiled, it looks at the value of an array"),
}


@pytest.mark.parametrize("fault", SHAPE_FAULTS)
def test_a_wrong_shape_or_type_is_named(ledge: Env, fault: str) -> None:
    breaking, message = SHAPE_FAULTS[fault]
    with pytest.raises(ContractError, match=message):
        check_env(breaking(ledge))


def _chance(env: Env) -> Env:
    """Draws while it is traced: every compilation has other numbers."""
    draws = np.random.default_rng(0)

    def step(key: Any, state: Any, actions: Any, params: Any) -> Any:
        after, seen = env.step(key, state, actions, params)
        return after, seen._replace(reward=jnp.float32(draws.random()))

    return env._replace(step=step)


def _falls_apart(env: Env) -> Env:
    """NaN as soon as a living agent sends the no-op."""

    def step(key: Any, state: Any, actions: Any, params: Any) -> Any:
        after, seen = env.step(key, state, actions, params)
        wrong = ((actions == 0) & (state.place <= 4)).any()
        return after, seen._replace(reward=jnp.where(wrong, jnp.nan, seen.reward))

    return env._replace(step=step)


PLAY_FAULTS = {
    "auto-reset": (with_auto_reset, "the next step.. after the end said the episode goes on"),
    "stray": (_falls_apart, "with actions that are not available: reward is NaN"),
    "chance": (_chance, "vmap over two keys gave something else .* it shows in reward"),
    "no picture": (lambda env: env._replace(frame=None), "frame and spec.scene belong together"),
}


@pytest.mark.parametrize("fault", PLAY_FAULTS)
def test_what_only_playing_shows_is_named(ledge: Env, fault: str) -> None:
    breaking, message = PLAY_FAULTS[fault]
    with pytest.raises(ContractError, match=message):
        check_env(breaking(ledge), jax.random.key(0))


def test_what_happens_in_one_episode_of_many_is_found(ledge: Env) -> None:
    def rare(key: jax.Array, state: Any, actions: Any, params: Any) -> Any:
        after, seen = ledge.step(key, state, actions, params)
        return after, seen._replace(reward=jnp.where(jax.random.uniform(key) < 0.03, jnp.nan, seen.reward))

    env = ledge._replace(step=rare)
    assert check_env(env, jax.random.key(0), episodes=1).episodes == 1
    with pytest.raises(ContractError, match=r"in episode \d: .*reward is NaN or infinite"):
        check_env(env, jax.random.key(0))


def episode(ledge: Env) -> TimeStep:
    """Return an episode, in NumPy: agent 1 falls in step 2, agent 0 stays, and step 6 is the last."""
    state, seen = ledge.reset(jax.random.key(0), ledge.params)
    rows = [seen]
    step = jax.jit(ledge.step)
    for t in range(7):
        state, seen = step(jax.random.key(t), state, jnp.array([1, 3 if t < 2 else 0], jnp.int32), ledge.params)
        rows.append(seen)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def test_a_sound_episode_passes(ledge: Env) -> None:
    rows = episode(ledge)
    np.testing.assert_array_equal(rows.alive[:, 1], [True, True, False, False, False, False, False, False])
    np.testing.assert_array_equal(rows.truncated, [False] * 6 + [True] * 2)
    check_steps(ledge.spec, rows)


# field of the time-step, where in it, what is put there, what is said about it
STEP_FAULTS = {
    "nan": ("reward", (1,), np.nan, r"reward is NaN or infinite \(at step 1; step 0 is the reset\)"),
    "infinite": (
        "obs",
        (0, 1, 0),
        np.inf,
        r"obs is NaN or infinite \(at step 0, agent 1, index 0; step 0 is the reset\)",
    ),
    "no action": ("avail", (3, 0), False, r"an agent has no available action \(at step 3, agent 0;"),
    "living no-op": ("avail", (2, 0, 0), True, r"a living agent has the no-op available.*\(at step 2, agent 0;"),
    "dead moves": ("avail", (4, 1, 2), True, r"a dead agent must have the no-op .* nothing else \(at step 4, agent 1;"),
    "not idle": (
        "avail",
        (1, 0, 1),
        False,
        r"a living agent cannot choose any of spec\.idle_actions \(at step 1, agent 0",
    ),
    "begins over": ("terminated", (0,), True, r"reset\(\) gave an episode that has already ended"),
    "begins paid": ("reward", (0,), 1.0, r"reset\(\) gave reward 1\.0; nothing was done yet"),
    "both": ("terminated", (6,), True, r"terminated and truncated at once.*\(at step 6;"),
    "goes on": ("truncated", (7,), False, r"the next step\(\) after the end said the episode goes on"),
    "endless": ("truncated", slice(None), False, r"has not ended after spec\.horizon=6 steps"),
}


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_a_broken_rule_is_named_and_located(ledge: Env, fault: str) -> None:
    field, where, value, message = STEP_FAULTS[fault]
    rows = episode(ledge)
    getattr(rows, field)[where] = value
    with pytest.raises(ContractError, match=message):
        check_steps(ledge.spec, rows)


def test_the_dead_need_a_no_op(ledge: Env) -> None:
    with pytest.raises(ContractError, match=r"not alive, but spec\.noop_action is None.*\(at step 2, agent 1;"):
        check_steps(replace(ledge.spec, noop_action=None), episode(ledge))


def test_without_a_no_op_the_dead_are_idle(ledge: Env) -> None:
    check_steps(replace(ledge.spec, noop_action=None, idle_actions=(0, 1)), episode(ledge))


PICTURE_FAULTS = {
    "size": ("health", np.ones(3, np.float32), r"frame\(\) gave health \(3,\) but spec\.scene\.teams has 2 units"),
    "nan": ("position", np.full((2, 2), np.nan, np.float32), r"frame\(\) gave position with NaN"),
    "kind": ("kind", np.ones(2, np.int32), r"frame\(\) gave kind outside 0\.\.0"),
    "target": ("target", np.full(2, 2, np.int32), r"frame\(\) gave target outside -1\.\.1"),
    "dead": (
        "alive",
        np.array([True, False]),
        r"says that \[ True False\] of the agents are alive, the time-step \[ True",
    ),
}


@pytest.mark.parametrize("fault", PICTURE_FAULTS)
def test_a_wrong_picture_is_named(ledge: Env, fault: str) -> None:
    field, value, message = PICTURE_FAULTS[fault]
    frame = ledge.frame
    assert frame is not None
    broken = ledge._replace(frame=lambda state, params: frame(state, params)._replace(**{field: jnp.asarray(value)}))
    state, seen = ledge.reset(jax.random.key(0), ledge.params)
    check_frame(ledge, state, seen)
    with pytest.raises(ContractError, match=message):
        check_frame(broken, state, seen)


def test_agents_come_first_in_the_scene(ledge: Env) -> None:
    state, seen = ledge.reset(jax.random.key(0), ledge.params)
    scene = replace(ledge.spec.scene, teams=(0, 1))
    with pytest.raises(ContractError, match=r"the 2 agents \(team 0\) come first"):
        check_frame(respec(ledge, scene=scene), state, seen)
