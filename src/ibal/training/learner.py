"""The learner of a training, from its configuration."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import rng
from ibal.adversaries.base import Adversary
from ibal.learners import replayed
from ibal.learners.base import BatchLearner, Learner, Progress
from ibal.learners.config import ValueConfig
from ibal.learners.replayed import with_replay
from ibal.learners.value import value_learner
from ibal.nets import pymarl
from ibal.nets.agents import Agent
from ibal.training.config import TrainConfig
from ibal.training.rollout import collect
from ibal.types import Env, EnvSpec, Episodes


def learner_for(
    env: Env, config: ValueConfig, train: TrainConfig, adversary: Adversary, axis: str | None = None
) -> Learner:
    """Build the learner that ``config`` describes, for a training against ``adversary``. ``axis`` names the axis that
    the training is vmapped over, if any."""
    one = batch_learner(env.spec, config, train, adversary)
    example = recorded(env, one, adversary, train.envs)
    learner = with_replay(
        one, example, capacity=train.replay, ratio=train.updates_per_episode, batch=config.batch,
        learn_from=train.learn_from, axis=axis,
    )  # fmt: skip

    def update(key: jax.Array, state: Any, episodes: Episodes, progress: Progress) -> tuple[Any, dict[str, jax.Array]]:
        state, metrics = learner.update(key, state, episodes, progress)
        return state, metrics | {"epsilon": epsilon(progress.env_steps, train)}

    return learner._replace(update=update)


def batch_learner(spec: EnvSpec, config: ValueConfig, train: TrainConfig, adversary: Adversary) -> BatchLearner:
    """Build the part of a value learner that does one gradient step."""
    reobserve = adversary.reobserve if "obs" in adversary.threat.channels else None
    return value_learner(spec, config, reobserve, lambda env_steps: epsilon(env_steps, train))


def agent_for(spec: EnvSpec, config: ValueConfig) -> Agent:
    """Return the team that plays greedily with what such a learner has learned."""
    return pymarl.pymarl_agent(spec, config.hidden)


def weights_of(state: Any) -> Any:
    """Return what that team plays with, out of a learner's state (abstract or not, with or without an axis of seeds).
    Every learner keeps it as ``params.agent``."""
    return replayed.learned(state).params.agent


def recorded(env: Env, learner: BatchLearner, adversary: Adversary, count: int) -> Episodes:
    """Return the shapes of what ``count`` games leave; nothing is played."""

    def play() -> Episodes:
        key = rng.root(0)
        policy = learner.policy(learner.init(key), Progress(jnp.int32(0), jnp.float32(1)))
        return collect(env, policy, adversary, adversary.init(key), rng.episodes(key, count)).episodes

    return jax.eval_shape(play)


def epsilon(env_steps: jax.Array, config: TrainConfig) -> Float[Array, ""]:
    """Share of random actions after this many environment steps: linear from start to end, then flat."""
    part = jnp.clip(env_steps / max(config.epsilon_steps, 1), 0.0, 1.0)
    return config.epsilon_start + part * (config.epsilon_end - config.epsilon_start)
