"""Environments of JaxMARL, compiled: ``jaxmarl:SMAX/2s3z``, ``jaxmarl:MPE_simple_spread_v3``, ``jaxmarl:overcooked/…``.

    env = ibal.make("jaxmarl:SMAX/2s3z")                 # against JaxMARL's own heuristic enemy, as its baselines play
    env = ibal.make("jaxmarl:hanabi", num_agents=3)      # options are those of JaxMARL's class

Played by ``step_env``, which does not reset, so that the last observation is the last one. Observations of different
sizes are filled up with zeros, actions that an agent lacks are never available. The state is JaxMARL's ``world_state``
where there is one, else all observations in a row. The reward is the mean of the agents' rewards: the team's own where
they share it. JaxMARL's ``dones`` do not say why a game ended: one that ends at its limit of steps counts as cut
off, unless it is known to be decided (SMAX). Entries have names in SMAX and in simple_spread; elsewhere an observation
is one block without names, and attacks that hide agents from each other refuse it.

Source: JaxMARL 0.2 (Rutherford et al. 2024), ``environments/multi_agent_env.py`` and the class of each environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ibal.envs.adapters import smax
from ibal.envs.adapters.frozen import frozen, largest, row, unnamed
from ibal.envs.adapters.mpe import spread
from ibal.envs.adapters.optional import as_written, library
from ibal.options import ConfigError
from ibal.registry import hint
from ibal.types import Actions, Env, EnvSpec, ObsLayout, PRNGKey, TimeStep

LIMITS = {"hanabi": 100}  # steps of games that have no limit of their own, and end sooner
RESETTING = ("coin_game", "storm", "storm_2p", "storm_np")


class Facts(NamedTuple):
    """What is known of a game beyond what all of JaxMARL's have: names, who lives, whether it is decided or won."""

    actions: tuple[str, ...] | None = None
    idle: tuple[int, ...] = ()
    obs: ObsLayout | None = None
    state: ObsLayout | None = None
    alive: Callable[[Any], Bool[Array, "n"]] | None = None
    decided: Callable[[Any], Bool[Array, ""]] | None = None
    won: Callable[[Any], Bool[Array, ""]] | None = None
    scene: Any = None
    frame: Callable[[Any], Any] | None = None


def make(name: str, **options: Any) -> Env:
    """Make a game of JaxMARL by its id; behind a stroke the map (SMAX) or the layout (overcooked).

    Raises ConfigError for a name that there is not, a game that is not played with a list of actions, or one that
    resets inside its own step.
    """
    return adapted(f"jaxmarl:{name}", *_game(name, options))


def _game(name: str, options: dict[str, Any]) -> tuple[Any, Facts]:
    head, _, rest = name.partition("/")
    jaxmarl = library("jaxmarl")
    if head == "SMAX":
        game = smax.game(rest, options)
        return game, Facts(**smax.facts(game))
    if head in RESETTING:
        raise ConfigError(f'"jaxmarl:{head}" starts anew inside its own step_env, so its last observation is lost')
    if head not in jaxmarl.registered_envs:
        known = ["SMAX/2s3z", *(one for one in jaxmarl.registered_envs if one not in RESETTING and "SMAX" not in one)]
        raise ConfigError(f'JaxMARL has no "{head}".{hint(head, known)} There are {", ".join(known)}')
    if rest:
        options = options | {"layout": _layout(head, rest)}
    try:
        game = as_written(lambda: jaxmarl.make(head, **options))()
    except ImportError as error:
        raise ConfigError(f'"jaxmarl:{name}": {error}') from error
    return game, Facts(obs=spread(game.num_agents, game.num_landmarks)) if head == "MPE_simple_spread_v3" else Facts()


def _layout(head: str, rest: str) -> Any:
    tables = {"overcooked": "overcooked_layouts", "overcooked_v2": "overcooked_v2_layouts"}
    if head not in tables:
        raise ConfigError(f'"jaxmarl:{head}/{rest}": only SMAX and overcooked have maps; leave "/{rest}" away')
    known = getattr(library("jaxmarl", "jaxmarl.environments"), tables[head])
    if rest not in known:
        raise ConfigError(f'{head} has no layout "{rest}".{hint(rest, known)} There are {", ".join(known)}')
    return known[rest]


def adapted(name: str, game: Any, facts: Facts) -> Env:
    """Return an environment of a ``MultiAgentEnv``. Raises ConfigError for one without a list of actions."""
    agents: list[str] = list(game.agents)
    n, counts = len(agents), [_count(name, game, agent) for agent in agents]
    a = max(counts)
    key = jax.random.key(0)
    begun = as_written(game.reset)
    shown, first = jax.eval_shape(begun, key)
    legal = _legal(game, first)
    o = largest([shown[agent] for agent in agents])
    true = _true_state(game, agents, shown, first)
    s = int(jax.eval_shape(true, shown, first).size)
    limit = _limit(name, game)
    exists = np.array([[action < count for action in range(a)] for count in counts])
    spec = EnvSpec(
        name=name, n_agents=n, n_actions=a, obs_size=o, state_size=s, horizon=limit + 1,
        action_names=facts.actions or tuple(f"action_{i}" for i in range(a)),
        metric_names=() if facts.won is None else ("win",),
        obs_layout=facts.obs or unnamed(o), state_layout=facts.state or unnamed(s, "world"),
        idle_actions=facts.idle, scene=facts.scene,
    )  # fmt: skip

    def moment(seen: Any, state: Any) -> TimeStep:
        avail = jnp.asarray(exists)
        if legal is not None:
            masks = legal(state)
            avail &= jnp.stack([row(masks[agent], a) for agent in agents]) > 0
        zero, no = jnp.float32(0), jnp.array(False)
        return TimeStep(
            obs=jnp.stack([row(seen[agent], o) for agent in agents]),
            state=true(seen, state),
            avail=avail,
            alive=jnp.ones(n, bool) if facts.alive is None else facts.alive(state),
            reward=zero, terminated=no, truncated=no,
            metrics={} if facts.won is None else {"win": facts.won(state).astype(jnp.float32)},
        )  # fmt: skip

    def reset(key: PRNGKey) -> tuple[Any, TimeStep]:
        seen, state = game.reset(key)
        return state, moment(seen, state)

    def step(key: PRNGKey, state: Any, actions: Actions, clock: jax.Array) -> tuple[Any, TimeStep]:
        acted = jnp.minimum(actions, jnp.asarray(counts, actions.dtype) - 1)  # an agent may have fewer than the others
        chosen = {agent: acted[i] for i, agent in enumerate(agents)}
        seen, state, rewards, dones, _ = game.step_env(key, state, chosen)
        over = jnp.asarray(dones["__all__"]).astype(bool).reshape(())
        cut = over & (clock >= limit)
        if facts.decided is not None:
            cut &= ~facts.decided(state)
        paid = jnp.stack([jnp.asarray(rewards[agent], jnp.float32).reshape(()) for agent in agents]).mean()
        now = moment(seen, state)
        return state, now._replace(reward=paid, terminated=over & ~cut, truncated=cut)

    return frozen(spec, as_written(reset), as_written(step), facts.frame)


def _count(name: str, game: Any, agent: str) -> int:
    space = game.action_space(agent)
    if type(space).__name__ != "Discrete":
        raise ConfigError(f"{name} is acted in by a {type(space).__name__}; a team chooses among a list of actions")
    return int(space.n)


def _limit(name: str, game: Any) -> int:
    limit = getattr(game, "max_steps", None) or LIMITS.get(name.partition(":")[2].partition("/")[0])
    if limit is None:
        raise ConfigError(f"{name} has no max_steps: nothing says when its episodes end")
    return int(limit)


def _legal(game: Any, first: Any) -> Callable[[Any], Any] | None:
    """Return the masks' function, None where JaxMARL has none for this game."""
    for name in ("get_avail_actions", "get_legal_moves"):
        function = getattr(game, name, None)
        if function is None:
            continue
        try:
            jax.eval_shape(as_written(function), first)
        except (NotImplementedError, AttributeError, TypeError):
            continue
        return function
    return None


def _true_state(game: Any, agents: list[str], shown: Any, first: Any) -> Callable[[Any, Any], jax.Array]:
    if "world_state" in shown:
        return lambda seen, state: jnp.ravel(seen["world_state"]).astype(jnp.float32)
    return lambda seen, state: jnp.concatenate([jnp.ravel(seen[agent]).astype(jnp.float32) for agent in agents])
