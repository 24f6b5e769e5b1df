"""Play episodes in anybody's world with anybody's team, step by step in Python, as a compiled game plays them.

    world = MyWorld()                                         # .spec, .reset(key) and .step(actions), see ``World``
    team = black_box(my_function, world.spec)                 # obs[n, o], avail[n, a] -> actions[n]; or a ``Policy``
    played = play(world, team, RandomConfig().build(world.spec), key=rng.episode(rng.root(0), 7))
    played.returns, played.length, played.turns.executed

The decision is that of ``game.decide``, the keys are those of ``game.keys`` and the referee is the same: in a world
whose numbers are those of a compiled one, the episode is the same, with and without an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng, tree
from ibal.contract import ContractError, called
from ibal.envs.check import check_spec, result_of
from ibal.game import referee, turn
from ibal.game.attacked import SILENT
from ibal.game.decide import Decision, Turn, decide
from ibal.game.keys import attack_key, opened, team_key, world_key
from ibal.game.turn import Game
from ibal.types import Adversary, Block, Env, EnvSpec, ObsLayout, Policy, TimeStep


@runtime_checkable
class World(Protocol):
    """An environment in Python. ``reset(key)`` begins the episode of a key of ``ibal.rng``: a world that draws from a
    generator of its own seeds it with ``game.keys.world_seed(key)``. Both return the moment that follows (``moment``
    makes one of plain arrays)."""

    spec: EnvSpec

    def reset(self, key: jax.Array) -> TimeStep:
        """Begin an episode."""
        ...

    def step(self, actions: np.ndarray) -> TimeStep:
        """Let the team do ``actions`` [n] (int32), which are available."""
        ...


class HostPolicy(NamedTuple):
    """A team in Python, NumPy in and out. ``start() -> carry``; ``scores(carry, obs[n, o], avail[n, a],
    last_action[n]) -> (carry, scores[n, a])``; ``select(generator, scores, avail) -> actions[n]``, whatever it draws
    from the generator given. ``kind`` and ``reveals`` ("nothing" or "scores") as of a ``Policy``."""

    start: Callable[[], Any]
    scores: Callable[[Any, np.ndarray, np.ndarray, np.ndarray], tuple[Any, Any]]
    select: Callable[[np.random.Generator, np.ndarray, np.ndarray], Any]
    reveals: str = "nothing"
    kind: str = "nothing"


class Played(NamedTuple):
    """An episode in NumPy: its return and length; the moments [t+1], the last one included; what was seen, meant and
    done [t]."""

    returns: float
    length: int
    steps: TimeStep
    turns: Turn


def play(
    world: World, policy: Policy | HostPolicy, adversary: Adversary, attacker: Any = None, *, key: jax.Array
) -> Played:
    """Play the episode of ``key`` to its end, at most ``spec.horizon`` steps.

    A ``Policy`` is compiled together with the adversary; a ``HostPolicy`` is called as it is, and an attack that asks
    it for more than the scores it gave is refused. ``attacker`` is the adversary's state (None: as ``init`` makes it).

    Raises ContractError where world, policy or adversary break their contract: there is no result then.
    """
    check_spec(world.spec)
    spec = world.spec
    if missing := referee.refusal(adversary.threat, policy):
        raise ContractError(f"the attack needs the {missing}, and this team does not show them", "attack")
    attacker = adversary.init(rng.root(0)) if attacker is None else attacker
    decided: Any = _compiled_team if isinstance(policy, Policy) else _python_team
    step = _told("reset", spec, world.reset(key))
    memory = _begin(adversary, attacker, attack_key(key, "begin"), step)
    nobody = jnp.full(spec.n_agents, -1, jnp.int32)
    game = Game((), step, policy.start(), nobody, memory)
    fault = _at_start(step)
    steps, turns = [step], []
    for t in range(spec.horizon):
        done, carry, memory = decided(spec, policy, adversary, attacker, key, jnp.int32(t), game)
        step = _told("step", spec, world.step(np.asarray(done.executed, np.int32)))
        fault = _watch(fault, adversary.threat, game.step, done, step, jnp.int32(t))
        game = Game((), step, carry, jnp.asarray(done.intended, jnp.int32), memory)
        steps.append(step)
        turns.append(done)
        if bool(step.terminated) or bool(step.truncated):
            break
    referee.require_fair(fault, spec, adversary.threat)
    rows = tree.on_host(steps)
    return Played(float(rows.reward[1:].sum()), len(turns), rows, tree.on_host(turns))


def moment(
    spec: EnvSpec, obs: Any, avail: Any = None, *, reward: float = 0.0, terminated: bool = False,
    truncated: bool = False, alive: Any = None, state: Any = None, metrics: Mapping[str, float] | None = None,
) -> TimeStep:  # fmt: skip
    """Return a moment of a world as its ``reset`` and ``step`` must, made of plain numbers.

    ``obs`` [n, o]; ``avail`` [n, a] (None: everything is); ``alive`` [n] (None: everybody is); ``state`` [s] (None: all
    observations in a row). Raises ContractError for a shape that is not that of ``spec``.
    """
    n, a = spec.n_agents, spec.n_actions
    obs = np.asarray(obs, np.float32)
    parts: dict[str, Any] = {
        "obs": obs,
        "state": np.asarray(obs.reshape(-1) if state is None else state, np.float32),
        "avail": np.ones((n, a), bool) if avail is None else np.asarray(avail).astype(bool),
        "alive": np.ones(n, bool) if alive is None else np.asarray(alive).astype(bool),
        "reward": np.float32(reward), "terminated": np.bool_(terminated), "truncated": np.bool_(truncated),
        "metrics": {name: np.float32(value) for name, value in (metrics or {}).items()},
    }  # fmt: skip
    step = TimeStep(**parts)
    return _told("moment", spec, step)


def plain_spec(
    name: str, n_agents: int, n_actions: int, obs_size: int, horizon: int, *, state_size: int | None = None,
    metric_names: tuple[str, ...] = (),
) -> EnvSpec:  # fmt: skip
    """Return the description of a world that says no more than its sizes; ``state_size`` None: all observations in a
    row. Attacks that hide other agents need a layout that names them, and are refused."""

    def layout(size: int) -> ObsLayout:
        return ObsLayout((Block("own", 0, 0, tuple(f"entry_{i}" for i in range(size))),), "anonymous")

    states = n_agents * obs_size if state_size is None else state_size
    actions = tuple(f"action_{i}" for i in range(n_actions))
    return EnvSpec(
        name, n_agents, n_actions, obs_size, states, horizon, actions, metric_names, layout(obs_size), layout(states)
    )


def black_box(act: Callable[[np.ndarray, np.ndarray], Any], spec: EnvSpec) -> HostPolicy:
    """Return the team of a function ``act(obs[n, o], avail[n, a]) -> actions[n]``. Nothing is known of it but what it
    does: its scores are 1 for the action it chose."""

    def scores(carry: Any, obs: np.ndarray, avail: np.ndarray, last_action: np.ndarray) -> tuple[Any, np.ndarray]:
        chosen = np.asarray(act(obs, avail))
        if chosen.shape != (spec.n_agents,) or not np.issubdtype(chosen.dtype, np.integer):
            got = f"{chosen.dtype}{list(chosen.shape)}"
            raise ContractError(f"the function gave {got}; integers [{spec.n_agents}] were expected", "policy")
        if bad := [i for i in range(spec.n_agents) if not 0 <= chosen[i] < spec.n_actions or not avail[i, chosen[i]]]:
            raise ContractError(f"the function gave agent {bad[0]} an action that is not available", "policy")
        return carry, np.eye(spec.n_actions, dtype=np.float32)[chosen]

    return HostPolicy(lambda: (), scores, lambda generator, scores, avail: np.argmax(scores, axis=1))


class Hosted:
    """A compiled environment as a world of this loop: what others' worlds are compared with."""

    def __init__(self, env: Env, params: Any = None) -> None:
        self.spec = env.spec
        self._params = env.params if params is None else params
        self._world = referee.bare(env)

    def reset(self, key: jax.Array) -> TimeStep:
        """Begin the episode that a compiled game has under this key."""
        self._key, self._clock = key, 0
        self._state, step = _opened(self._world, key, self._params)
        return step

    def step(self, actions: np.ndarray) -> TimeStep:
        """Go on as the compiled game does."""
        self._clock += 1
        self._state, step = _stepped(
            self._world, self._key, np.int32(self._clock), self._state, np.asarray(actions, np.int32), self._params
        )
        return step


def _told(name: str, spec: EnvSpec, step: Any) -> TimeStep:
    return result_of(name, spec, ((), step))[1]


def _python_team(
    spec: EnvSpec, policy: HostPolicy, adversary: Adversary, attacker: Any, key: jax.Array, t: jax.Array, game: Game
) -> Decision:
    """Decide with a team that is asked in Python; the adversary's two functions are compiled."""
    avail, last = np.asarray(game.step.avail), np.asarray(game.last_action)
    asked = (spec, SILENT, adversary, attacker, key, t, game._replace(carry=()))  # its carry is the team's own

    def scores(seen: jax.Array) -> tuple[Any, jax.Array]:
        carry, scores = called("policy", "policy.scores", policy.scores, game.carry, np.asarray(seen), avail, last)
        scores = np.asarray(scores, np.float32)
        referee.check_scores(spec, scores, (), ())
        return carry, jnp.asarray(scores)

    def select(scores: jax.Array) -> jax.Array:
        generator = np.random.default_rng(np.asarray(jax.random.key_data(team_key(key, t))))
        chosen = np.asarray(policy.select(generator, np.asarray(scores), avail))
        return jnp.asarray(referee.actions_of(spec, "policy.select", chosen), jnp.int32)

    return decide(lambda: _look(*asked), scores, select, lambda *choice: _act(*asked, *choice))


# Compiled once for the same functions: further episodes compile nothing.
_opened = jax.jit(opened, static_argnums=0)
_stepped = jax.jit(
    lambda env, key, clock, state, actions, params: env.step(world_key(key, clock), state, actions, params),
    static_argnums=0,
)
_begin = jax.jit(lambda adversary, attacker, key, step: adversary.begin(key, attacker, step), static_argnums=0)
_look = jax.jit(turn.look, static_argnums=(0, 1, 2))
_act = jax.jit(turn.act, static_argnums=(0, 1, 2))
_compiled_team = jax.jit(turn.decision, static_argnums=(0, 1, 2))
_at_start = jax.jit(referee.at_start)
_watch = jax.jit(referee.watch, static_argnums=1)
