"""Recorded episodes in which every mutual information is known in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng
from ibal.types import Block, Env, EnvSpec, Episodes, ObsLayout

ACTIONS = 4
LEVELS = np.linspace(-1.5, 1.5, ACTIONS)
GAINS = np.array([1.0, 0.5, 0.0])  # dimensions 0..2 of agent i: gain * level of the next agent's action, plus noise
NOISE = 0.8
OWN_NOISE = 0.3
COPIES = np.array([0.9, 0.5, 0.0])  # follow: chance that agent 1 copies agent 0, by what agent 0 does


def spec(n_agents: int = 3, n_actions: int = ACTIONS, obs_size: int = 5, noop: int | None = None) -> EnvSpec:
    state = ObsLayout(
        (Block("ally", 0, 0, ("x", "y")), Block("last_action", 0, 2, ("a", "b")), Block("ally", 1, 4, ("x",)))
    )
    return EnvSpec(
        name="toy", n_agents=n_agents, n_actions=n_actions, obs_size=obs_size, state_size=5, horizon=6,
        action_names=tuple(map(str, range(n_actions))), metric_names=(),
        obs_layout=ObsLayout((Block("own", 0, 0, tuple(f"f{d}" for d in range(obs_size))),)), state_layout=state,
        noop_action=noop,
    )  # fmt: skip


def episodes(obs, action, length, **fields) -> Episodes:
    """Fill what a test does not care about; padding of observations becomes NaN, so that whoever reads it is found."""
    b, t, n = action.shape
    obs = np.where((np.arange(t + 1)[None] <= length[:, None])[..., None, None], obs, np.nan)
    record = Episodes(
        obs=jnp.asarray(obs, jnp.float32), seen=None, state=jnp.zeros((b, t + 1, 5)),
        avail=jnp.ones((b, t + 1, n, ACTIONS), bool), action=jnp.asarray(action, jnp.int32), executed=None,
        reward=jnp.zeros((b, t)), terminated=jnp.zeros((b, t), bool), length=jnp.asarray(length, jnp.int32),
    )  # fmt: skip
    return record._replace(**fields)


def channels(seed: int = 0, count: int = 2000) -> Episodes:
    """Random actions; agent i sees the action of agent i+1 through three channels, its own action, and a drift.

    Dimension 3 is the level of the own action; dimension 4 a random walk.
    """
    draw = np.random.default_rng(seed)
    t, n = 6, 3
    action = draw.integers(0, ACTIONS, (count, t, n))
    obs = draw.normal(size=(count, t + 1, n, 5)) * NOISE
    shown = LEVELS[np.roll(action, -1, axis=2)]
    obs[:, 1:, :, :3] += GAINS * shown[..., None]
    obs[:, 1:, :, 3] = LEVELS[action] + OWN_NOISE * draw.normal(size=action.shape)
    obs[:, :, :, 4] = np.cumsum(obs[:, :, :, 4], axis=1)
    return episodes(obs, action, draw.integers(1, t + 1, count))


def follow(seed: int = 0, count: int = 4000) -> Episodes:
    """Agent 0 plays uniformly from 0..2, agent 1 copies it with chance COPIES[a] and is uniform else, agent 2 alone."""
    draw = np.random.default_rng(seed)
    shape = (count, 6)
    leader = draw.integers(0, 3, shape)
    follower = np.where(draw.random(shape) < COPIES[leader], leader, draw.integers(0, 3, shape))
    loner = draw.choice(3, shape, p=[0.6, 0.3, 0.1])
    action = np.stack([leader, follower, loner], axis=2)
    avail = jnp.ones((count, 7, 3, 3), bool)
    return episodes(np.zeros((count, 7, 3, 5)), action, np.full(count, 6), avail=avail)


def follower_given() -> np.ndarray:
    """Return p(a of agent 1 | a of agent 0) of ``follow``, [3, 3]."""
    return np.diag(COPIES) + (1 - COPIES[:, None]) / 3


def random_play(env: Env, seed: int, count: int) -> Episodes:
    """Play ``count`` episodes with uniformly random actions (all must be legal) to the horizon."""
    s = env.spec

    def episode(key: jax.Array):
        world = rng.stream(key, "env")
        state, first = env.reset(rng.at(world, 0), env.params)
        actions = jax.random.randint(rng.stream(key, "policy"), (s.horizon, s.n_agents), 0, s.n_actions)

        def step(state, x):
            state, seen = env.step(rng.at(world, 1 + x[0]), state, x[1], env.params)
            return state, seen

        _, seen = jax.lax.scan(step, state, (jnp.arange(s.horizon), actions))
        rows = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, seen)
        return Episodes(
            obs=rows.obs, seen=None, state=rows.state, avail=rows.avail, action=actions, executed=None,
            reward=seen.reward, terminated=seen.terminated, length=jnp.int32(s.horizon),
        )  # fmt: skip

    return jax.jit(jax.vmap(episode))(rng.episodes(rng.root(seed), count))
