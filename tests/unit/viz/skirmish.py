"""A tiny team fight with everything a replay can show (walls, shields, energy, healing, deaths): an Env made for
these tests, so that they need no game engine. Three agents (one heals) against three enemies on an 16 x 12 field."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal.adversaries.base import Adversary, Threat, adversary
from ibal.types import Block, Env, EnvSpec, Frame, ObsLayout, Policy, Scene, TimeStep
from ibal.viz import Overlay, Trajectory, record

N, M = 3, 3
U, A = N + M, 6 + M
SIGHT, REACH, HORIZON = 7.0, 5.0, 40
FEATURES = ("visible", "distance", "rel_x", "rel_y", "health")
MOVES = jnp.array([[0, 0], [0, 0], [0, 1], [0, -1], [1, 0], [-1, 0], [0, 0], [0, 0], [0, 0]], jnp.float32)
MAX_HEALTH = jnp.array([45, 100, 150, 45, 100, 80], jnp.float32)
MAX_SHIELD = jnp.array([0, 50, 0, 0, 50, 80], jnp.float32)
KIND = jnp.array([0, 1, 2, 0, 1, 3], jnp.int32)
TEAM = jnp.array([0] * N + [1] * M)


def _blocks() -> ObsLayout:
    blocks, start = [Block("move", 0, 0, ("north", "south", "east", "west"))], 4
    for kind, count in (("enemy", M), ("ally", N - 1)):
        for slot in range(count):
            blocks.append(Block(kind, slot, start, FEATURES))
            start += len(FEATURES)
    blocks.append(Block("own", 0, start, ("health",)))
    return ObsLayout(tuple(blocks))


LAYOUT = _blocks()
WALKABLE = tuple(tuple(int(2 <= y < 10 and not (7 <= x < 9 and y < 4)) for x in range(16)) for y in range(12))
SCENE = Scene(
    "skirmish", 16.0, 12.0, ("marine", "zealot", "medivac", "sentry </script>"), (0,) * N + (1,) * M, WALKABLE, SIGHT
)
SPEC = EnvSpec(
    "test/skirmish", N, A, LAYOUT.size, 4, HORIZON,
    ("no-op", "stop", "north", "south", "east", "west", *(f"target {i}" for i in range(M))), ("win",),
    LAYOUT, ObsLayout((Block("world", 0, 0, ("a", "b", "c", "d")),)), 0, (1,), SCENE,
)  # fmt: skip


OTHERS = jnp.array([[*range(N, U), *(a for a in range(N) if a != i)] for i in range(N)])


def _observe(state: dict) -> jax.Array:
    position, health = state["position"], state["health"]
    offset = (position[OTHERS] - position[:N, None]) / SIGHT
    distance = jnp.sqrt((offset**2).sum(-1))
    seen = (health[OTHERS] > 0) & (health[:N, None] > 0) & (distance <= 1)
    share = health / MAX_HEALTH
    features = jnp.stack([jnp.ones((N, U - 1)), distance, offset[..., 0], offset[..., 1], share[OTHERS]], axis=-1)
    features = jnp.where(seen[..., None], features, 0.0).reshape(N, -1)
    return jnp.concatenate([jnp.ones((N, 4)), features, share[:N, None]], axis=1)


def _timestep(state: dict, reward: jax.Array) -> TimeStep:
    alive = state["health"][:N] > 0
    distance = jnp.linalg.norm(state["position"][:N, None] - state["position"][None, N:], axis=-1)
    target = (distance <= REACH) & (state["health"][N:] > 0)[None]
    target = target.at[2].set(jnp.arange(M) < 2)  # the medivac heals agents 0 and 1
    living = jnp.concatenate([jnp.zeros((N, 1), bool), jnp.ones((N, 5), bool), target], axis=1)
    dead = jnp.arange(A) == 0
    won, lost = (state["health"][N:] <= 0).all(), ~alive.any()
    return TimeStep(
        _observe(state), jnp.zeros(4), jnp.where(alive[:, None], living, dead[None]), alive, reward, won | lost,
        jnp.asarray(False), {"win": won.astype(jnp.float32)},
    )  # fmt: skip


def _reset(key, params):
    spread = jax.random.uniform(key, (U, 2), minval=-0.5, maxval=0.5)
    base = jnp.array([[3, 4], [3, 6], [3, 8], [13, 4], [13, 6], [13, 8]], jnp.float32)
    state = {
        "position": base + spread, "health": MAX_HEALTH, "shield": MAX_SHIELD, "target": jnp.full(U, -1),
        "energy": jnp.where(KIND == 2, 50.0, 0.0), "key": key,
    }  # fmt: skip
    return state, _timestep(state, jnp.asarray(0.0))


def _step(key, state, actions, params):
    alive = state["health"] > 0
    closest = jnp.argmin(
        jnp.linalg.norm(state["position"][N:, None] - state["position"][None, :N], axis=-1)
        + jnp.where(alive[None, :N], 0.0, 1000.0), axis=1,
    )  # fmt: skip
    own = jnp.where(actions >= 6, jnp.where(jnp.arange(N) == 2, actions - 6, actions - 6 + N), -1)
    gap = jnp.linalg.norm(state["position"][N:] - state["position"][closest], axis=-1)
    theirs = jnp.where(gap <= REACH, closest, -1)
    target = jnp.where(alive, jnp.concatenate([own, theirs]), -1)
    chase = (state["position"][closest] - state["position"][N:]) / jnp.maximum(gap, 1e-3)[:, None]
    move = jnp.concatenate([MOVES[actions], jnp.where((gap > REACH - 1)[:, None], chase, 0.0)])
    position = jnp.where(alive[:, None], state["position"] + 0.6 * move, state["position"])
    position = jnp.clip(position, 2.0, jnp.array([[14.0, 10.0]]))
    heals = (TEAM[jnp.clip(target, 0)] == TEAM) & (target >= 0)
    force = jnp.where(target >= 0, jnp.where(heals, -6.0, 14.0), 0.0)
    hits = jnp.zeros(U).at[jnp.clip(target, 0)].add(force)
    absorbed = jnp.clip(hits, 0, state["shield"])
    health = jnp.where(alive, jnp.clip(state["health"] - hits + absorbed, 0, MAX_HEALTH), 0.0)
    reward = ((state["health"] + state["shield"])[N:] - (health + state["shield"] - absorbed)[N:]).sum() / 50
    state = {
        "position": position, "health": health, "shield": state["shield"] - absorbed, "target": target,
        "energy": state["energy"] - jnp.where(heals, 2.0, 0.0), "key": key,
    }  # fmt: skip
    return state, _timestep(state, reward)


def _frame(state, params):
    return Frame(
        state["position"], jnp.array([0.4, 0.5, 0.75, 0.4, 0.5, 0.6]), KIND, state["health"], MAX_HEALTH,
        state["shield"], MAX_SHIELD, state["energy"], state["health"] > 0, state["target"],
    )  # fmt: skip


def make() -> Env:
    """The environment as ``ibal replay --env`` finds it."""
    return Env(SPEC, (), _reset, _step, _frame)


@cache  # one object: recording with it twice compiles once
def brawler(spec: EnvSpec = SPEC) -> Policy:
    """Walk east until someone is in reach, then shoot the lowest-numbered target."""
    wanted = jnp.array([[0, 1, 2, 1, 3, 1, 9, 8, 7]] * N, jnp.float32)
    return Policy(
        start=lambda: (),
        scores=lambda carry, obs, avail, last: (carry, wanted),
        select=lambda key, scores, avail: jnp.argmax(jnp.where(avail, scores, -1.0), axis=1),
    )


class Jam(NamedTuple):
    """What the jammer remembers: who is attacked, who is blind to what, how often it was asked."""

    group: jax.Array
    mask: jax.Array
    asked: jax.Array


@cache  # one object: recording with it twice compiles once
def jammer() -> Adversary:
    """Blind agent 1 to its allies, and make agent 0 stop on every third step."""
    blind = jnp.asarray(LAYOUT.mask("ally"))[None] & (jnp.arange(N) == 1)[:, None]

    def act(key, state, memory, view):
        strike = (memory.asked % 3 == 2) & (jnp.arange(N) == 0) & view.step.avail[:, 1]
        return jnp.where(strike, 1, view.actions), memory._replace(asked=memory.asked + 1)

    return adversary(
        threat=Threat(channels=("obs", "act")),
        begin=lambda key, state, step: Jam(jnp.array([True, True, False]), blind, jnp.asarray(0)),
        observe=lambda key, state, memory, view: (jnp.where(memory.mask, 0.0, view.step.obs), memory),
        act=act,
    )


def play(attacked: bool = False, seed: int = 0, label: str = "") -> Trajectory:
    """One recorded fight."""
    attack = jammer() if attacked else None
    return record(make(), brawler(), jax.random.key(seed), adversary=attack, label=label)


def blank(length: int = 3) -> Trajectory:
    """A trajectory of zeros, made without JAX."""
    t = length + 1
    steps = TimeStep(
        np.zeros((t, N, SPEC.obs_size), np.float32), np.zeros((t, 4)), np.ones((t, N, A), bool), np.ones((t, N), bool),
        np.zeros(t), np.zeros(t, bool), np.zeros(t, bool), {},
    )  # fmt: skip
    ones = np.ones((t, U))
    frames = Frame(
        np.full((t, U, 2), 6.0), ones * 0.4, np.zeros((t, U), int), ones, ones, ones * 0, ones * 0, ones * 0,
        ones.astype(bool), -np.ones((t, U), int),
    )  # fmt: skip
    actions = np.ones((length, N), int)
    return Trajectory(frames, steps, actions, actions, Overlay())


def huddle(length: int = 3, swapped: int = -1) -> Trajectory:
    """Agents who stand shoulder to shoulder at one end of the field, enemies at the other; made without JAX.

    Agent 1 has lost half of its health; agent ``swapped`` was made to do something else, at every step.
    """
    calm = blank(length)
    places = np.array([[3, 6], [3, 6.7], [3, 5.3], [13, 6], [13, 6.7], [13, 5.3]], float)
    frames = calm.frames._replace(
        position=np.broadcast_to(places, (length + 1, U, 2)),
        health=np.broadcast_to(np.array([1, 0.5, 1, 1, 1, 1]), (length + 1, U)),
    )
    intended = calm.intended + (np.arange(N) == swapped)
    groups = np.broadcast_to(np.array([1, 2, 2]), (length, N))
    return calm._replace(frames=frames, intended=intended, overlay=Overlay(groups=groups))


PEACE = Scene("stroll", 10.0, 8.0, ("walker",), (0, 0), ((1,) * 10,) * 8, 3.0)
PEACEFUL = EnvSpec(
    "test/stroll", 2, 6, 4, 4, 5, ("no-op", "stop", "north", "south", "east", "west"), (),
    ObsLayout((Block("own", 0, 0, ("x", "y")), Block("ally", 0, 2, ("x", "y")))),
    ObsLayout((Block("world", 0, 0, ("a", "b", "c", "d")),)), 0, (1,), PEACE,
)  # fmt: skip


def stroll(length: int = 5) -> Trajectory:
    """Two agents walk east and nobody is there to fight; made without JAX."""
    t = length + 1
    east = np.arange(t)[:, None] * np.array([1.0, 0.5]) + np.array([2.0, 3.0])
    position = np.stack([east, np.broadcast_to([4.0, 5.0], (t, 2))], axis=2)
    obs = np.concatenate([position, position[:, ::-1]], axis=2)
    steps = TimeStep(
        obs, np.zeros((t, 4)), np.ones((t, 2, 6), bool), np.ones((t, 2), bool), np.ones(t), np.zeros(t, bool),
        np.arange(t) == length, {},
    )  # fmt: skip
    ones = np.ones((t, 2))
    frames = Frame(
        position, ones * 0.4, np.zeros((t, 2), int), ones, ones, ones * 0, ones * 0, ones * 0, ones.astype(bool),
        -np.ones((t, 2), int),
    )  # fmt: skip
    actions = np.full((length, 2), 4)
    return Trajectory(frames, steps, actions, actions, Overlay())


AROUND = [f"{row:+d}{col:+d}" for row in (-1, 0, 1) for col in (-1, 0, 1)]
TILED = replace(
    PEACEFUL, obs_size=18,
    obs_layout=ObsLayout(tuple(
        Block("food" if plane else "own" if i == 4 else "ally", i - (not plane and i > 4), 9 * plane + i, (name,))
        for plane in (0, 1) for i, name in enumerate(AROUND)
    ), "anonymous"),
)  # fmt: skip


def cells() -> Trajectory:
    """The walk of ``stroll``, seen as two planes of 3 x 3 cells; an attack hides three of agent 0's; without JAX."""
    walk = stroll()
    obs = np.broadcast_to(np.arange(18.0), (walk.length + 1, 2, 18))
    masked = np.zeros((walk.length, 2, 18), bool)
    masked[0, 0, [2, 5, 9]] = True
    overlay = Overlay(seen=np.where(masked, 0.0, obs[:-1]), masked=masked)
    return walk._replace(steps=walk.steps._replace(obs=obs), overlay=overlay)
