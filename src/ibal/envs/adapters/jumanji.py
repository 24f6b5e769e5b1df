"""Multi-agent environments of Jumanji, compiled: ``jumanji:LevelBasedForaging-v0``, ``jumanji:RobotWarehouse-v0``, …

    env = ibal.make("jumanji:LevelBasedForaging-v0")
    env = ibal.make("jumanji:LevelBasedForaging-v0", grid_size=20, fov=3, num_agents=10, num_food=6, time_limit=50)

The mask is taken out of the observation. What each agent has a row of is its own; everything else that is shown (a
common grid, the count of steps) is shown to all. A game that is over is truncated where Jumanji's discount says that it
would have gone on (``LAST`` with a discount above 0). The reward is the team's; of several, their sum. The state is all
observations in a row. Entries have names in Level-Based Foraging; elsewhere an observation is one block.

Source: Jumanji 1.1 (Bonnet et al. 2024), ``jumanji/types.py``; ``environments/routing/lbf/observer.py`` for the names.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibal.envs.adapters.frozen import blocks, frozen, row, unnamed
from ibal.envs.adapters.optional import as_written, library
from ibal.options import ConfigError
from ibal.registry import hint
from ibal.types import Actions, Env, EnvSpec, ObsLayout, PRNGKey, TimeStep

FORAGING = "LevelBasedForaging-v0"
LAST = 2  # jumanji.types.StepType.LAST
GENERATED = ("grid_size", "fov", "num_agents", "num_food", "max_agent_level", "force_coop")


def make(name: str, **options: Any) -> Env:
    """Make a game of Jumanji by its id. Raises ConfigError for a name that there is not, or one with a single agent."""
    jumanji = library("jumanji")
    known = jumanji.registered_environments()
    if name not in known:
        raise ConfigError(f'Jumanji has no "{name}".{hint(name, known)} There are {", ".join(known)}')
    if name == FORAGING and (drawn := {word: options.pop(word) for word in GENERATED if word in options}):
        generator = library("jumanji", "jumanji.environments.routing.lbf.generator").RandomGenerator
        usual = {"grid_size": 8, "fov": 8, "num_agents": 2, "num_food": 2, "force_coop": True}
        options["generator"] = generator(**(usual | drawn))
    return adapted(f"jumanji:{name}", as_written(lambda: jumanji.make(name, **options))())


def adapted(name: str, game: Any) -> Env:
    """Return an environment of a ``jumanji.env.Environment``. Raises ConfigError for one without a team."""
    actions = game.action_spec
    key = jax.random.key(0)
    _, shown = jax.eval_shape(as_written(game.reset), key)
    seen = _fields(shown.observation)
    choices = getattr(actions, "num_values", None)
    if choices is None or len(actions.shape) != 1 or len(set(map(int, choices))) != 1:
        raise ConfigError(f"{name} is not played by a team that chooses among a list of actions")
    n, a = int(actions.shape[0]), int(choices[0])
    mask = seen.pop("action_mask", None)
    if mask is not None and mask.shape != (n, a):
        raise ConfigError(f"{name} has a mask of shape {list(mask.shape)}, not one row for each of {n} agents")
    o = sum(_each(field, leaf, n) for field, leaf in seen.items())
    if not (limit := getattr(game, "time_limit", None)):
        raise ConfigError(f"{name} has no time_limit: nothing says when its episodes end")
    spec = EnvSpec(
        name=name, n_agents=n, n_actions=a, obs_size=o, state_size=n * o, horizon=int(limit),
        action_names=tuple(f"action_{i}" for i in range(a)), metric_names=_metric_names(shown),
        obs_layout=_foraging(game, o) if name.endswith(FORAGING) else unnamed(o), state_layout=unnamed(n * o, "world"),
    )  # fmt: skip

    def moment(step: Any) -> TimeStep:
        fields = _fields(step.observation)
        legal = fields.pop("action_mask", None)
        obs = jnp.concatenate([_rows(field, leaf, n) for field, leaf in fields.items()], axis=1)
        avail = jnp.ones((n, a), bool) if legal is None else legal.astype(bool)
        nothing = ~avail.any(axis=1, keepdims=True)  # whom Jumanji leaves no action may do any: none has an effect
        over = step.step_type == LAST
        goes_on = jnp.asarray(step.discount).max() > 0
        return TimeStep(
            obs=obs, state=jnp.ravel(obs), avail=avail | nothing, alive=jnp.ones(n, bool),
            reward=jnp.asarray(step.reward, jnp.float32).sum(), terminated=over & ~goes_on, truncated=over & goes_on,
            metrics={word: jnp.asarray(step.extras[word], jnp.float32) for word in spec.metric_names},
        )  # fmt: skip

    def reset(key: PRNGKey) -> tuple[Any, TimeStep]:
        state, step = game.reset(key)
        return state, moment(step)

    def step(key: PRNGKey, state: Any, actions: Actions, clock: jax.Array) -> tuple[Any, TimeStep]:
        state, step = game.step(state, actions)
        return state, moment(step)

    return frozen(spec, as_written(reset), as_written(step))


def _fields(observation: Any) -> dict[str, Any]:
    """Return what is shown by name; an observation that has parts of its own is taken apart."""
    fields = observation._asdict() if hasattr(observation, "_asdict") else vars(observation)
    out: dict[str, Any] = {}
    for name, value in fields.items():
        parts = jax.tree.leaves(value)
        out |= {name: parts[0]} if len(parts) == 1 else {f"{name}_{i}": part for i, part in enumerate(parts)}
    return out


def _each(field: str, leaf: Any, n: int) -> int:
    """Return how many numbers each agent is shown of an array."""
    return int(leaf.size) // n if _is_own(field, leaf, n) else int(leaf.size)


def _rows(field: str, leaf: Any, n: int) -> jax.Array:
    leaf = jnp.asarray(leaf, jnp.float32)
    if _is_own(field, leaf, n):
        return leaf.reshape(n, -1)
    return jnp.broadcast_to(row(leaf, leaf.size), (n, leaf.size))


def _is_own(field: str, leaf: Any, n: int) -> bool:
    """Say whether agents have a row each. A grid of two axes is everybody's, also one with as many rows as agents."""
    return leaf.ndim > 0 and leaf.shape[0] == n and not (field == "grid" and leaf.ndim == 2)


def _metric_names(step: Any) -> tuple[str, ...]:
    return tuple(sorted(name for name, value in (step.extras or {}).items() if value.shape == ()))


def _foraging(game: Any, size: int) -> ObsLayout:
    place = ("row", "col", "level")
    named = blocks(
        *(("food", j, place) for j in range(game.num_food)), ("own", 0, place),
        *(("ally", j, place) for j in range(game.num_agents - 1)), ("time", 0, ("step",)),
    )  # fmt: skip
    return ObsLayout(named) if named[-1].stop == size else unnamed(size)
