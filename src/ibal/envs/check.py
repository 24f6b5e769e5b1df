"""``check_env``: the contract of ``Env`` as assertions that anyone can run on their own environment.

    from ibal.envs.check import check_env
    check_env(my_env)                                   # or: ibal env check my_pkg.mod:make

This is the one module of ``ibal.envs`` that compiles: it plays the environment the way a rollout does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ibal import rng, tree
from ibal.contract import ContractError, raised_in, require_call
from ibal.types import Env, EnvSpec, ObsLayout, TimeStep

__all__ = ["ContractError", "Report", "check_env"]

WHOSE = "environment"
BATCHED_STEPS = 8  # vmap is compared over few steps: rounding differs between programs, and games are chaotic
LONGEST_CHECK = 10_000  # steps; beyond that the end of an episode is not waited for unless asked
EPISODES, ALL_STEPS = 8, 20_000  # so many episodes, or two where together they are longer than this


@dataclass(frozen=True)
class Report:
    """What was checked: the rules that hold, how many steps of how many episodes were played, and when the first one
    ended (None: it did not, or its end was not reached)."""

    name: str
    steps: int
    episode_length: int | None
    rules: tuple[str, ...]
    episodes: int = 1


class Trajectory(NamedTuple):
    """``steps`` has rows 0 (reset) to T; ``first`` and ``last`` are the environment states of its two ends."""

    steps: TimeStep
    first: Any
    last: Any


def check_env(
    env: Env, key: Key[Array, ""] | None = None, steps: int | None = None, episodes: int | None = None
) -> Report:
    """Hold ``env`` to the contract of ``ibal.types.Env``; raises ContractError at the first rule that is broken.

    Plays ``episodes`` episodes (default: 8, or 2 long ones) of ``steps`` steps (default: a little more than
    ``spec.horizon``) with random actions from ``key``, once choosing among the available ones, once among all.
    """
    for name, value in (("steps", steps), ("episodes", episodes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; at least 1 is needed")
    check_functions(env)
    check_spec(env.spec)
    key = rng.root(0) if key is None else key
    steps = min(env.spec.horizon + 2, LONGEST_CHECK) if steps is None else steps
    episodes = min(EPISODES, max(2, ALL_STEPS // steps)) if episodes is None else episodes
    _check_arrays("params", env.params)
    _check_abstract(env, key)

    play = jax.jit(_player(env, steps))
    legal = play(key, env.params, False)
    rows, again = _on_host(legal.steps), _on_host(play(key, env.params, False).steps)
    _check_equal("the same key gave two different trajectories", rows, again)
    for i in range(episodes):
        one = key if i == 0 else rng.at(rng.stream(key, "more"), i)
        note = f"in episode {i}: " if i else ""
        check_steps(env.spec, rows if i == 0 else _on_host(play(one, env.params, False).steps), note)
        stray = _on_host(play(one, env.params, True).steps)
        check_steps(env.spec, stray, f"{note}with actions that are not available: ")
    _check_vmap(env, key, rows, min(steps, BATCHED_STEPS))
    check_frame(env, legal.first, tree.at(rows, 0))
    check_frame(env, legal.last, tree.at(rows, -1))

    ends = np.flatnonzero(rows.terminated | rows.truncated)
    return Report(env.spec.name, steps, int(ends[0]) if ends.size else None, _rules(env, steps), episodes)


def _rules(env: Env, steps: int) -> tuple[str, ...]:
    """Say which rules were checked; those that do not apply to this environment or this length are left out."""
    rules = [
        "the spec is consistent: sizes, action names, no-op and idle actions",
        "the layouts name every index of observation and state exactly once",
        "params and state are pytrees of arrays; the state keeps its structure, shapes and types",
        "reset and step give the shapes and types of the spec, and the metrics it lists",
        "reset and step compile; the same key gives the same trajectory; vmap gives what a loop gives",
        "every agent can do something at every step; dead agents only the no-op, living ones never",
        "an episode starts going on, with reward 0; it is terminated or truncated, not both",
        "step never resets: after the end it keeps saying that it is the end",
        "no number is NaN or infinite, also when unavailable actions are sent",
    ]
    if steps >= env.spec.horizon:
        rules.append("an episode has ended by the horizon")
    if env.spec.idle_actions:
        rules.append("a living agent can always be idle")
    if env.frame is not None:
        rules.append("pictures have one entry per unit, agents first, and agree with the time-step")
    return tuple(rules)


def _require(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise ContractError(message, WHOSE)


def check_functions(env: Env) -> None:
    """Raise ContractError if the functions of an environment cannot be called as they will be; nothing runs."""
    _require(isinstance(env.spec, EnvSpec), f"env.spec is a {type(env.spec).__name__}; an EnvSpec was expected")
    require_call(WHOSE, "reset", env.reset, "key, params")
    require_call(WHOSE, "step", env.step, "key, state, actions, params")
    if env.frame is not None:
        require_call(WHOSE, "frame", env.frame, "state, params")


def check_spec(spec: EnvSpec) -> None:
    """Hold sizes, names and layouts to each other: the part of ``check_env`` that runs nothing."""
    _check_sizes(spec)
    _check_layout("obs", spec.obs_layout, spec.obs_size, spec.n_agents)
    _check_layout("state", spec.state_layout, spec.state_size, spec.n_agents)


def _check_sizes(spec: EnvSpec) -> None:
    for name in ("n_agents", "n_actions", "obs_size", "state_size", "horizon"):
        value = getattr(spec, name)
        _require(isinstance(value, int) and value >= 1, f"spec.{name} is {value!r}; it must be an int of at least 1")
    _require(
        len(spec.action_names) == spec.n_actions,
        f"spec.action_names has {len(spec.action_names)} names but spec.n_actions is {spec.n_actions}",
    )
    for field in ("action_names", "metric_names"):
        names = getattr(spec, field)
        twice = sorted({n for n in names if names.count(n) > 1})
        _require(not twice, f"spec.{field} has {twice} more than once")
    special = [("noop_action", a) for a in (spec.noop_action,) if a is not None]
    for field, action in special + [("idle_actions", a) for a in spec.idle_actions]:
        _require(
            0 <= action < spec.n_actions, f"spec.{field} names action {action}; actions are 0..{spec.n_actions - 1}"
        )
    try:
        hash(spec)
    except TypeError as error:
        raise ContractError(f"the spec must be hashable (tuples, not lists): {error}", WHOSE) from None


def _check_layout(vector: str, layout: ObsLayout, size: int, n_agents: int) -> None:
    end = 0
    for block in layout.blocks:
        _require(
            block.start == end,
            f"{vector}_layout: block {block.entity} starts at {block.start}, but the one before it ends at {end}",
        )
        _require(bool(block.features), f"{vector}_layout: block {block.entity} has no features")
        end = block.stop
    _require(end == size, f"{vector}_layout names {end} indices but spec.{vector}_size is {size}")
    names = layout.names
    twice = sorted({n for n in names if names.count(n) > 1})
    _require(not twice, f"{vector}_layout: {twice[:3]} named more than once")
    known = ("skip-self", "all", "anonymous")
    _require(layout.allies in known, f"{vector}_layout.allies is {layout.allies!r}; known are {', '.join(known)}")
    limit = n_agents - (layout.allies == "skip-self")
    for block in layout.blocks:
        if block.kind == "ally" and layout.allies != "anonymous":
            _require(
                0 <= block.slot < limit,
                f"{vector}_layout: {block.entity} is no agent; with allies={layout.allies!r} slots are 0..{limit - 1}",
            )


def _check_arrays(what: str, values: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
        is_array = isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)
        where = what + jax.tree_util.keystr(path)
        _require(is_array, f"{where} is {leaf!r}, a {type(leaf).__name__}; {what} is a pytree of arrays")


def _check_abstract(env: Env, key: Array) -> None:
    """Shapes and types, by tracing alone."""
    spec = env.spec
    first, start = _trace("reset", env.reset, key, env.params)
    _check_arrays("state", first)
    _check_step("reset", spec, start)
    actions = jax.ShapeDtypeStruct((spec.n_agents,), jnp.int32)
    second, step = _trace("step", env.step, key, first, actions, env.params)
    _check_step("step", spec, step)
    check_kept("step() changes", "the state", first, second)


def check_kept(who: str, what: str, before: Any, after: Any, whose: str = WHOSE) -> None:
    """Raise ContractError unless two pytrees are alike in structure, shapes and types: "step() changes the state …"."""
    was, now = jax.tree.structure(before), jax.tree.structure(after)
    if was != now:
        raise ContractError(f"{who} the structure of {what}: {was} -> {now}", whose)
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in pairs:
        was, now = kind(old), kind(new)
        if was != now:
            where = f"{what.split()[-1]}{jax.tree_util.keystr(path)}"
            raise ContractError(f"{who} {where} from {was} to {now}", whose)


def kind(array: Any) -> str:
    """Return type and shape of an array as "float32[2, 3]"."""
    if isinstance(array, jax.ShapeDtypeStruct | jax.Array):
        return f"{array.dtype}{list(array.shape)}"
    return f"{jnp.result_type(array)}{list(jnp.shape(array))}"


def result_of(name: str, spec: EnvSpec, result: Any) -> tuple[Any, TimeStep]:
    """Return what ``reset`` or ``step`` gave, while it is traced, as (state, TimeStep) of arrays.

    Raises ContractError if the shapes or the types are not those of ``spec``.
    """
    state, step = check_result(name, spec, result)
    return state, jax.tree.map(jnp.asarray, step)


def check_result(name: str, spec: EnvSpec, result: Any) -> tuple[Any, TimeStep]:
    """Return what ``reset`` or ``step`` gave as it is. Raises as ``result_of``."""
    _require(_is_result(result), f"{name}() must return (state, TimeStep), got {type(result).__name__}")
    state, step = result
    _check_step(name, spec, step)
    return state, step


def _is_result(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], TimeStep)


def _trace(name: str, function: Callable[..., Any], *args: Any) -> tuple[Any, TimeStep]:
    try:
        result = jax.eval_shape(function, *args)
    except jax.errors.JAXTypeError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            f"{name}() cannot be compiled, it looks at the value of an array: {reason}", WHOSE
        ) from error
    except TypeError as error:
        if raised_in(error) is not None:  # an error of its own keeps its traceback
            raise
        reason = str(error).splitlines()[0]
        raise ContractError(f"{name}() gave something that is no array: {reason}", WHOSE) from error
    _require(_is_result(result), f"{name}() must return (state, TimeStep), got {type(result).__name__}")
    return result


def _check_step(name: str, spec: EnvSpec, step: TimeStep) -> None:
    n, a = spec.n_agents, spec.n_actions
    wanted = {
        "obs": ((n, spec.obs_size), "float32", f"n_agents={n}, obs_size={spec.obs_size}"),
        "state": ((spec.state_size,), "float32", f"state_size={spec.state_size}"),
        "avail": ((n, a), "bool", f"n_agents={n}, n_actions={a}"),
        "alive": ((n,), "bool", f"n_agents={n}"),
        "reward": ((), "float32", "one reward for the team"),
        "terminated": ((), "bool", "one flag for the team"),
        "truncated": ((), "bool", "one flag for the team"),
    }
    for field, (shape, dtype, why) in wanted.items():
        found, its_type = _measured(f"{name}() gave {field}", getattr(step, field))
        _require(found == shape, f"{name}() gave {field} {found} but spec says {why}")
        _require(its_type == dtype, f"{name}() gave {field} of {its_type}; it must be {dtype}")
    _require(isinstance(step.metrics, dict), f"{name}() gave metrics that are no dict: {type(step.metrics).__name__}")
    found, listed = set(step.metrics), set(spec.metric_names)
    _require(
        found == listed,
        f"{name}() gave metrics {sorted(found)} but spec.metric_names is {sorted(listed)}; they are fixed",
    )
    for key, value in step.metrics.items():
        found, _ = _measured(f'{name}() gave metric "{key}"', value)
        _require(found == (), f'{name}() gave metric "{key}" of shape {found}; metrics are scalars')


def _measured(what: str, value: Any) -> tuple[tuple[int, ...], str]:
    """Return shape and type of an array or a number. Raises ContractError for anything else."""
    if isinstance(value, jax.ShapeDtypeStruct | jax.Array):
        return value.shape, str(value.dtype)
    try:
        return jnp.shape(value), str(jnp.result_type(value))
    except (TypeError, ValueError):
        raise ContractError(f"{what} {value!r}, a {type(value).__name__}; an array was expected", WHOSE) from None


def _player(env: Env, steps: int) -> Callable[[Array, Any, Any], Trajectory]:
    """Return ``play(key, params, stray)``: an episode of random actions, of any action at all if ``stray``."""

    def play(key: Array, params: Any, stray: Any) -> Trajectory:
        def advance(carry: tuple[Any, TimeStep], t: Array) -> tuple[tuple[Any, TimeStep], TimeStep]:
            state, step = carry
            allowed = step.avail | jnp.asarray(stray)
            draw = jax.random.uniform(rng.at(rng.stream(key, "policy"), t), allowed.shape)
            actions = jnp.argmax(jnp.where(allowed, draw, -1.0), axis=1).astype(jnp.int32)
            state, step = env.step(rng.at(rng.stream(key, "env"), t), state, actions, params)
            return (state, step), step

        first, start = env.reset(rng.stream(key, "reset"), params)
        (last, _), rest = jax.lax.scan(advance, (first, start), jnp.arange(steps))
        rows = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, rest)
        return Trajectory(rows, first, last)

    return play


def _on_host(steps: TimeStep) -> Any:
    """Return the time-steps as NumPy arrays: what is asserted below must not compile anything."""
    return jax.tree.map(np.asarray, steps)


def check_steps(spec: EnvSpec, rows: TimeStep, note: str = "") -> None:
    """Hold the values of one episode to the rules: rows 0 (reset) to T in NumPy arrays, however they were made."""
    for field, axes in (("obs", ("agent", "index")), ("state", ("index",)), ("reward", ())):
        _first_bad(~np.isfinite(getattr(rows, field)), f"{note}{field} is NaN or infinite", axes)
    for name, values in rows.metrics.items():
        _first_bad(~np.isfinite(values), f'{note}metric "{name}" is NaN or infinite')
    if spec.has_win:
        won = rows.metrics["win"]
        _first_bad((won < 0) | (won > 1), f'{note}metric "win" is not within 0 (lost) .. 1 (won)')
    _first_bad(~rows.avail.any(axis=2), f"{note}an agent has no available action", ("agent",))
    _check_noop(spec, rows, note)
    if spec.idle_actions:
        stuck = rows.alive & ~rows.avail[:, :, list(spec.idle_actions)].any(axis=2)
        _first_bad(stuck, f"{note}a living agent cannot choose any of spec.idle_actions", ("agent",))
    _check_end(spec, rows, note)


def _check_noop(spec: EnvSpec, rows: Any, note: str) -> None:
    dead = ~rows.alive
    if spec.noop_action is None:  # then who is out of the game is idle
        idle = np.isin(np.arange(spec.n_actions), spec.idle_actions)
        busy = (rows.avail & ~idle).any(axis=2)
        message = "an agent is not alive, but spec.noop_action is None and it can do more than spec.idle_actions"
        _first_bad(dead & busy, f"{note}{message}", ("agent",))
        return
    only_noop = rows.avail[:, :, spec.noop_action] & (rows.avail.sum(axis=2) == 1)
    _first_bad(dead & ~only_noop, f"{note}a dead agent must have the no-op available and nothing else", ("agent",))
    idler = rows.alive & rows.avail[:, :, spec.noop_action]
    _first_bad(idler, f"{note}a living agent has the no-op available; it is for dead agents", ("agent",))


def _check_end(spec: EnvSpec, rows: Any, note: str) -> None:
    ended = rows.terminated | rows.truncated
    _require(not ended[0], f"{note}reset() gave an episode that has already ended")
    _require(rows.reward[0] == 0.0, f"{note}reset() gave reward {rows.reward[0]}; nothing was done yet, it must be 0")
    _require(rows.alive[0].any(), f"{note}reset() gave a team of which nobody is alive")
    both = rows.terminated & rows.truncated
    _first_bad(both, f"{note}terminated and truncated at once; an episode that terminated was not cut")
    resumed = ended[:-1] & ~ended[1:]
    _first_bad(resumed, f"{note}the next step() after the end said the episode goes on; step never resets by itself")
    if len(ended) > spec.horizon:
        _require(
            bool(ended[spec.horizon]),
            f"{note}the episode has not ended after spec.horizon={spec.horizon} steps; terminate or truncate it",
        )


def _first_bad(bad: Any, message: str, axes: tuple[str, ...] = ()) -> None:
    """Raise if anything is True in ``bad[t, ...]``, and say where."""
    if not bad.any():
        return
    where = zip(("step", *axes), np.argwhere(bad)[0], strict=True)
    found = ", ".join(f"{name} {index}" for name, index in where)
    raise ContractError(f"{message} (at {found}; step 0 is the reset)", WHOSE)


def _check_vmap(env: Env, key: Array, rows: Any, steps: int) -> None:
    """Traced anew, so this also finds functions that use more than their arguments (np.random, globals)."""
    keys = jnp.stack([rng.stream(key, "other"), key])
    batch = jax.jit(jax.vmap(_player(env, steps), (0, None, None)))(keys, env.params, False)
    message = (
        "vmap over two keys gave something else than one alone; reset and step may use nothing but their arguments "
        "(no np.random, no Python state)"
    )
    _check_equal(message, tree.at(rows, slice(0, steps + 1)), tree.at(_on_host(batch.steps), 1), tolerance=1e-4)


def _check_equal(message: str, a: Any, b: Any, tolerance: float = 0.0) -> None:
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        same = np.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
        _require(same, f"{message}; it shows in {jax.tree_util.keystr(path).lstrip('.')}")


def check_frame(env: Env, state: Any, step: TimeStep) -> None:
    """Hold the picture of one moment to the scene and to the time-step of that moment."""
    spec, scene = env.spec, env.spec.scene
    if env.frame is None or scene is None:
        _require(env.frame is None and scene is None, "frame and spec.scene belong together; one of them is missing")
        return
    n, u = spec.n_agents, len(scene.teams)
    agents_first = scene.teams[:n] == (0,) * n and 0 not in scene.teams[n:]
    _require(agents_first, f"spec.scene.teams is {scene.teams}; the {n} agents (team 0) come first, then the others")
    picture: Any = jax.tree.map(np.asarray, jax.jit(env.frame)(state, env.params))
    for field, value in picture._asdict().items():
        shape = (u, 2) if field == "position" else (u,)
        _require(value.shape == shape, f"frame() gave {field} {value.shape} but spec.scene.teams has {u} units")
        _require(np.isfinite(value).all(), f"frame() gave {field} with NaN or infinite numbers")
    _require(_within(picture.kind, 0, len(scene.kinds)), f"frame() gave kind outside 0..{len(scene.kinds) - 1}")
    _require(_within(picture.target, -1, u), f"frame() gave target outside -1..{u - 1}")
    _require(
        bool((picture.alive[:n] == np.asarray(step.alive)).all()),
        f"frame() says that {picture.alive[:n]} of the agents are alive, the time-step {np.asarray(step.alive)}",
    )


def _within(values: np.ndarray, low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())
