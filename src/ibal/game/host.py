"""Play episodes in anybody's world with anybody's team, step by step in Python, as a compiled game plays them.

    world = MyWorld()                                         # .spec, .reset(key) and .step(actions), see ``World``
    team = boxes.black_box(my_function, world.spec)           # obs[n, o], avail[n, a] -> actions[n]; or a ``Policy``
    played = play(world, team, RandomConfig().build(world.spec), key=rng.episode(rng.root(0), 7))
    played.returns, played.length, played.turns.executed

The decision is that of ``game.decide``, the keys are those of ``game.keys`` and the referee is the same: in a world
whose numbers are those of a compiled one, the episode is the same, with and without an attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng, tree
from ibal.contract import ContractError, called
from ibal.envs.check import check_result, check_spec
from ibal.game import referee, turn
from ibal.game.attacked import SILENT
from ibal.game.decide import Decision, Turn, decide
from ibal.game.keys import attack_key, opened, team_key, world_key
from ibal.game.turn import Game
from ibal.types import Adversary, Block, Env, EnvSpec, HostPolicy, ObsLayout, Policy, Threat, TimeStep

UNTOUCHED = "untouched"
"""An attribute of functions of an adversary that leave everything alone: nobody pays for calling them from Python."""


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


class Played(NamedTuple):
    """An episode in NumPy: its return and length; the moments [t+1], the last one included; what was seen, meant and
    done [t]; what the adversary remembered at its end; pictures [t+1] if they were asked for."""

    returns: float
    length: int
    steps: TimeStep
    turns: Turn
    memory: Any = ()
    pictures: tuple[Any, ...] = ()


def play(
    world: World, policy: Policy | HostPolicy, adversary: Adversary, attacker: Any = None, *, key: jax.Array,
    max_steps: int | None = None, picture: Callable[[], Any] | None = None,
) -> Played:  # fmt: skip
    """Play the episode of ``key`` to its end, at most ``spec.horizon`` steps, or ``max_steps``.

    A ``Policy`` is compiled together with the adversary; a ``HostPolicy`` is called as it is, and an attack that asks
    it for more than the scores it gave is refused. ``attacker`` is the adversary's state (None: as ``init`` makes it).
    ``picture()`` is called at every moment.

    Raises ContractError where world, policy or adversary break their contract, or die: there is no result then.
    """
    check_spec(world.spec)
    spec = world.spec
    if missing := referee.refusal(adversary.threat, policy):
        raise ContractError(f"the attack needs the {missing}, and this team does not show them", "attack")
    attacker = adversary.init(rng.root(0)) if attacker is None else attacker
    decided: Any = _compiled_team if isinstance(policy, Policy) else _python_team
    step = _told("reset", spec, _alive("environment", spec.name, 0, world.reset, key))
    memory = _begin(adversary, attacker, attack_key(key, "begin"), step)
    nobody: Any = np.full(spec.n_agents, -1, np.int32)
    game = Game((), step, _alive("policy", "the team", 0, policy.start), nobody, memory)
    shots = [] if picture is None else [picture()]
    draws = np.asarray(_draws(key, spec.horizon))
    steps, turns = [step], []
    for t in range(min(spec.horizon, max_steps or spec.horizon)):
        done, carry, memory = decided(spec, policy, adversary, attacker, key, np.int32(t), game, draws[t])
        executed = np.asarray(done.executed, np.int32)
        step = _told("step", spec, _alive("environment", spec.name, t + 1, world.step, executed))
        told: Any = np.asarray(done.intended, np.int32)
        game = Game((), step, carry, told, memory)
        steps.append(step)
        turns.append(done)
        shots += [] if picture is None else [picture()]
        if bool(step.terminated) or bool(step.truncated):
            break
    rows, done = tree.on_host(steps), tree.on_host(turns)
    referee.require_fair(_watched(spec, adversary.threat, rows, done), spec, adversary.threat)
    total = float(rows.reward[1:].sum())
    return Played(total, len(turns), rows, done, game.memory, tuple(shots))


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

    @property
    def state(self) -> Any:
        """The world's own state."""
        return self._state

    def step(self, actions: np.ndarray) -> TimeStep:
        """Go on as the compiled game does."""
        self._clock += 1
        self._state, step = _stepped(
            self._world, self._key, np.int32(self._clock), self._state, np.asarray(actions, np.int32), self._params
        )
        return step


def _alive(whose: str, who: str, step: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call what is somebody else's. Raises ContractError, one sentence, for whatever it raises."""
    try:
        return function(*args)
    except ContractError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise ContractError(f"{who} died at step {step}: {said}", whose) from error


def _told(name: str, spec: EnvSpec, step: Any) -> TimeStep:
    check_result(name, spec, ((), step))
    return jax.tree.map(np.asarray, step)  # NumPy: every operation of jax's own would be a program that is started


def _watched(spec: EnvSpec, threat: Threat, rows: TimeStep, turns: Turn) -> referee.Fault:
    """Return the first rule that was broken in an episode, all of whose steps are looked at by one program."""

    def padded(values: np.ndarray, count: int) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], count - len(values), axis=0)])

    steps = jax.tree.map(lambda values: padded(values, spec.horizon + 1), rows)
    return _look_back(
        threat, steps, jax.tree.map(lambda values: padded(values, spec.horizon), turns), np.int32(len(turns.intended))
    )


def _all_steps(threat: Threat, steps: TimeStep, turns: Turn, length: jax.Array) -> referee.Fault:
    def one(t: jax.Array) -> referee.Fault:
        return referee.watch(
            referee.Fault(jnp.int32(-1), t), threat, tree.at(steps, t), tree.at(turns, t), tree.at(steps, t + 1), t
        )

    clock = jnp.arange(turns.intended.shape[0], dtype=jnp.int32)
    faults = jax.vmap(one)(clock)
    faults = faults._replace(code=jnp.where(clock < length, faults.code, -1))
    start = referee.at_start(tree.at(steps, 0))
    return tree.where(start.code >= 0, start, referee.first(faults))


def _compiled_team(
    spec: EnvSpec, policy: Policy, adversary: Adversary, attacker: Any, key: jax.Array, t: np.int32, game: Game,
    draw: np.ndarray,
) -> Decision:  # fmt: skip
    """Decide with a team that is compiled together with the adversary."""
    return _decision(spec, policy, adversary, attacker, key, t, game)


def _python_team(
    spec: EnvSpec, policy: HostPolicy, adversary: Adversary, attacker: Any, key: jax.Array, t: np.int32, game: Game,
    draw: np.ndarray,
) -> Decision:  # fmt: skip
    """Decide with a team that is asked in Python; the adversary's two functions are compiled."""
    avail, last = np.asarray(game.step.avail), np.asarray(game.last_action)
    asked = (spec, SILENT, adversary, attacker, key, t, game._replace(carry=()))  # its carry is the team's own

    now = int(t)

    def scores(seen: Any) -> tuple[Any, Any]:
        asked = partial(_alive, "policy", "the team", now, policy.scores)
        carry, scores = called("policy", "policy.scores", asked, game.carry, np.asarray(seen), avail, last)
        scores = np.asarray(scores, np.float32)
        referee.check_scores(spec, scores, (), ())
        return carry, scores

    def select(scores: Any) -> Any:
        generator = np.random.default_rng(draw)
        chosen = np.asarray(_alive("policy", "the team", now, policy.select, generator, scores, avail))
        referee.check_actions(spec, "policy.select", chosen)
        return chosen.astype(np.int32)

    if all(getattr(function, UNTOUCHED, False) for function in (adversary.observe, adversary.act)):
        nothing = game.step.obs, game.memory
        return decide(lambda: nothing, scores, select, lambda memory, seen, values, intended: (intended, memory))
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
_decision = jax.jit(turn.decision, static_argnums=(0, 1, 2))
_look_back = jax.jit(_all_steps, static_argnums=0)
_draws = jax.jit(
    lambda key, count: jax.vmap(lambda t: jax.random.key_data(team_key(key, t)))(jnp.arange(count)), static_argnums=1
)
