"""Games small enough to know the right answer, for testing learners and attacks (``leak.py``: for estimators).

Every game here has the metric ``win``: 1 at the end of an episode whose return was the best possible for the way
it started. The probe games can each be solved only if one part of a learner works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ibal import rng
from ibal.types import Actions, Block, Env, EnvSpec, ObsLayout, PRNGKey, TimeStep

N_AGENTS = 2

TWO_STEP_B = ((0.0, 1.0), (1.0, 8.0))
CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))

Scalar = Float[Array, ""]
Index = Int[Array, ""]


def _at_node_0(key: PRNGKey) -> Index:
    return jnp.int32(0)


def _coin(key: PRNGKey) -> Index:
    return jax.random.bernoulli(rng.stream(key, "start")).astype(jnp.int32)


def _see_one(t: Index, node: Index) -> Float[Array, "1"]:
    return jnp.ones(1)


def _see_sign(t: Index, node: Index) -> Float[Array, "1"]:
    return (2 * node - 1)[None].astype(jnp.float32)


class Game(NamedTuple):
    """A finite game of two agents that both see the same.

    ``nodes`` is where it can be, ``observe(t, node)`` what is seen there, ``pay(t, node, actions) -> (reward, next
    node)``; ``best[start node]`` is the best possible return.
    """

    name: str
    pay: Callable[[Index, Index, Actions], tuple[Scalar, Index]]
    observe: Callable[[Index, Index], Float[Array, "o"]] = _see_one
    features: tuple[str, ...] = ("constant",)
    nodes: tuple[str, ...] = ("only",)
    best: tuple[float, ...] = (1.0,)
    start: Callable[[PRNGKey], Index] = _at_node_0
    n_actions: int = 2
    horizon: int = 1


class GameState(NamedTuple):
    """``score`` is the return so far."""

    t: Index
    start: Index
    node: Index
    score: Scalar


def two_step() -> Env:
    """The two-step game: agent 0's first action picks the second step's game, 7 for everything or ``TWO_STEP_B``.

    Source: QMIX (Rashid et al. 2018), section 5. A sum of utilities (VDN) learns to take the 7; the best is 8.
    """
    payoff = jnp.array(TWO_STEP_B)

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        second = jnp.where(node == 1, jnp.float32(7.0), payoff[actions[0], actions[1]])
        return jnp.where(t == 0, jnp.float32(0.0), second), jnp.where(t == 0, 1 + actions[0], node)

    def observe(t: Index, node: Index) -> Float[Array, "3"]:
        return jax.nn.one_hot(node, 3, dtype=jnp.float32)

    nodes = ("first", "second_a", "second_b")
    return _build(Game("two-step", pay, observe, features=nodes, nodes=nodes, best=(8.0, 7.0, 8.0), horizon=2))


def climbing() -> Env:
    """The climbing game: one step, the payoff matrix ``CLIMBING``; any slip from the best joint action costs 30.

    Source: Claus and Boutilier (1998), "The dynamics of reinforcement learning in cooperative multiagent systems".
    """
    payoff = jnp.array(CLIMBING)

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return payoff[actions[0], actions[1]], node

    return _build(Game("climbing", pay, best=(11.0,), n_actions=3))


def probe_value() -> Env:
    """One step, always the same to see, reward 1 whatever is done: the value must become 1."""

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return jnp.float32(1.0), node

    return _build(Game("probe-value", pay))


def probe_observation() -> Env:
    """One step, the reward is the observation, +1 or -1: the value must depend on what is seen."""

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return _see_sign(t, node)[0], node

    return _build(
        Game(
            "probe-observation",
            pay,
            _see_sign,
            features=("sign",),
            nodes=("minus", "plus"),
            best=(-1.0, 1.0),
            start=_coin,
        )
    )


def probe_discount() -> Env:
    """Two steps, reward 1 after the second: the value of the first step must become the discount factor."""

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return (t == 1).astype(jnp.float32), node

    def observe(t: Index, node: Index) -> Float[Array, "1"]:
        return t[None].astype(jnp.float32)

    return _build(Game("probe-discount", pay, observe, features=("step",), horizon=2))


def probe_action() -> Env:
    """One step, reward = share of agents that chose action 1: each agent's policy must learn its own action."""

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return (actions == 1).mean(dtype=jnp.float32), node

    return _build(Game("probe-action", pay))


def probe_joint() -> Env:
    """One step, reward 1 if *both* agents choose action 1 on +1 or both action 0 on -1, else 0: joint, and on sight."""

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return (actions == node).all().astype(jnp.float32), node

    return _build(
        Game("probe-joint", pay, _see_sign, features=("sign",), nodes=("minus", "plus"), best=(1.0, 1.0), start=_coin)
    )


def probe_memory(delay: int = 3) -> Env:
    """A sign is shown at the start only and asked for ``delay`` steps later; reward = share of agents that answer it.

    Without memory the best expected return is 0.5, with memory 1.
    """
    if not 1 <= delay <= 1000:
        raise ValueError(f"delay is {delay}; sign and question are 1 to 1000 steps apart, or nothing is remembered")

    def observe(t: Index, node: Index) -> Float[Array, "2"]:
        sign = jnp.where(t == 0, _see_sign(t, node)[0], jnp.float32(0.0))
        return jnp.stack([sign, (t == delay).astype(jnp.float32)])

    def pay(t: Index, node: Index, actions: Actions) -> tuple[Scalar, Index]:
        return jnp.where(t == delay, (actions == node).mean(dtype=jnp.float32), jnp.float32(0.0)), node

    return _build(
        Game(
            "probe-memory",
            pay,
            observe,
            features=("sign", "asked"),
            nodes=("minus", "plus"),
            best=(1.0, 1.0),
            start=_coin,
            horizon=delay + 1,
        )
    )


def _build(game: Game) -> Env:
    """Turn a game into an environment; after the end nothing changes and nothing is paid."""
    best = jnp.array(game.best)
    clock = tuple(f"step_{t}" for t in range(game.horizon + 1))

    def look(state: GameState, reward: Scalar) -> tuple[GameState, TimeStep]:
        ended = state.t >= game.horizon
        seen = game.observe(state.t, state.node)
        return state, TimeStep(
            obs=jnp.broadcast_to(seen[None, :], (N_AGENTS, len(game.features))),
            state=jnp.concatenate([jax.nn.one_hot(state.t, len(clock)), jax.nn.one_hot(state.node, len(game.nodes))]),
            avail=jnp.ones((N_AGENTS, game.n_actions), bool),
            alive=jnp.ones(N_AGENTS, bool),
            reward=reward,
            terminated=ended,
            truncated=jnp.array(False),
            metrics={"win": (ended & (state.score >= best[state.start] - 1e-5)).astype(jnp.float32)},
        )

    def reset(key: PRNGKey, params: tuple[()]) -> tuple[GameState, TimeStep]:
        start = game.start(key)
        return look(GameState(jnp.int32(0), start, start, jnp.float32(0.0)), jnp.float32(0.0))

    def step(key: PRNGKey, state: GameState, actions: Actions, params: tuple[()]) -> tuple[GameState, TimeStep]:
        open_ = state.t < game.horizon
        reward, node = game.pay(state.t, state.node, actions.astype(jnp.int32))
        reward = jnp.where(open_, reward, jnp.float32(0.0))
        t = jnp.minimum(state.t + 1, game.horizon)
        return look(GameState(t, state.start, jnp.where(open_, node, state.node), state.score + reward), reward)

    spec = EnvSpec(
        name=f"toy/{game.name}",
        n_agents=N_AGENTS,
        n_actions=game.n_actions,
        obs_size=len(game.features),
        state_size=len(clock) + len(game.nodes),
        horizon=game.horizon,
        action_names=tuple(f"action_{a}" for a in range(game.n_actions)),
        metric_names=("win",),
        obs_layout=ObsLayout((Block("game", 0, 0, game.features),), "anonymous"),
        state_layout=ObsLayout((Block("clock", 0, 0, clock), Block("game", 0, len(clock), game.nodes)), "anonymous"),
    )
    return Env(spec, (), reset, step)
