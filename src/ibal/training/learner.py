"""The learner of a training, from its configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibal import rng
from ibal.adversaries.base import Adversary, Threat, refusal
from ibal.learners import replayed
from ibal.learners.base import BatchLearner, Learner, Progress
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig, ValueConfig, name_of
from ibal.learners.packing import Reobserve
from ibal.learners.ppo.mappo import ppo_learner
from ibal.learners.pqn import pqn_learner
from ibal.learners.replayed import with_replay
from ibal.learners.value import value_learner
from ibal.nets import pymarl, valued
from ibal.nets.actor import actor_agent
from ibal.nets.agents import Agent
from ibal.options import ConfigError
from ibal.training.config import TrainConfig
from ibal.training.rollout import blank
from ibal.types import Env, EnvSpec, Episodes, Tells


def learner_for(
    env: Env, config: LearnerConfig, train: TrainConfig, adversary: Adversary, axis: str | None = None,
    part: str | None = None,
) -> Learner:  # fmt: skip
    """Build the learner that ``config`` describes, for a training against ``adversary``. ``axis`` names the axis that
    the training is vmapped over, if any, and ``part`` that of the devices that share the work of a seed
    (``train.parts``): each has an equal part of the replay and of every batch.

    What ``train`` says of a replay and of exploring is for value learners: policy gradients need neither, and PQN has
    no replay.
    """
    if isinstance(config, PpoConfig):
        if train.shares > 1:
            raise ConfigError(f"train.parts = {train.parts}, but {config.name} learns on one device; leave it out")
        return ppo_learner(env.spec, config, _rebuilds(adversary))
    if isinstance(config, PqnConfig):
        return _told(
            pqn_learner(env.spec, config, _rebuilds(adversary), lambda steps: epsilon(steps, train), axis, part), train
        )
    shares = train.shares if part else 1
    if config.batch % shares:
        raise ConfigError(f"learner.batch = {config.batch} cannot be divided among train.parts = {shares}")
    mine = replace(config, batch=config.batch // shares, smooth_rows=-(-config.smooth_rows // shares))
    one = batch_learner(env.spec, mine, train, adversary, axis, part)
    example = recorded(env, one, adversary, train.envs // shares)
    learner = with_replay(
        one, example, capacity=-(-train.replay // shares), ratio=train.updates_per_episode * shares, batch=mine.batch,
        learn_from=-(-train.learn_from // shares), axis=axis,
    )  # fmt: skip
    return _told(learner, train)


def _told(learner: Learner, train: TrainConfig) -> Learner:
    """Return a learner that also logs the share of random actions."""

    def update(key: jax.Array, state: Any, episodes: Episodes, progress: Progress) -> tuple[Any, dict[str, jax.Array]]:
        state, metrics = learner.update(key, state, episodes, progress)
        return state, metrics | {"epsilon": epsilon(progress.env_steps, train)}

    return learner._replace(update=update)


def batch_learner(
    spec: EnvSpec, config: ValueConfig, train: TrainConfig, adversary: Adversary, axis: str | None = None,
    part: str | None = None,
) -> BatchLearner:  # fmt: skip
    """Build the part of a value learner that does one gradient step."""
    explores, tells = lambda env_steps: epsilon(env_steps, train), told_by(config, adversary)
    return value_learner(spec, config, _rebuilds(adversary), explores, axis, part, tells)


def told_by(config: LearnerConfig, adversary: Adversary) -> Tells | None:
    """Return what the learner's critic is told by the adversary. Raises ConfigError where that has nothing to tell."""
    if not isinstance(config, ValueConfig) or not config.privileged:
        return None
    if adversary.tells is None:
        raise ConfigError(
            "learner.privileged tells the mixer who is attacked, and what is trained against here tells nothing; take "
            "a method such as ibal, or leave it out"
        )
    return adversary.tells


def _rebuilds(adversary: Adversary) -> Reobserve | None:
    """Return what tells a learner what the team saw; None: it saw what is stored."""
    return adversary.reobserve if "obs" in adversary.threat.channels else None


def agent_for(spec: EnvSpec, config: LearnerConfig) -> Agent:
    """Return the team that plays greedily with what such a learner has learned."""
    if isinstance(config, PpoConfig):
        return actor_agent(spec, config.hidden)
    if isinstance(config, PqnConfig):
        return valued.valued_agent(spec, config.hidden)
    return pymarl.pymarl_agent(spec, config.hidden)


def weights_of(state: Any) -> Any:
    """Return what that team plays with, out of a learner's state (abstract or not, with or without an axis of seeds).
    Every learner keeps it as ``params.agent``."""
    return replayed.learned(state).params.agent


def check_shown(spec: EnvSpec, config: LearnerConfig, threat: Threat, attack: str = "the attack") -> None:
    """Raise ConfigError where an adversary must know more of a team than such a learner has."""
    if missing := refusal(threat, agent_for(spec, config).bind(None)):
        raise ConfigError(
            f'{attack} needs the {missing}, and a team of "{name_of(config)}" has none: train it with a value learner, '
            "as --learner qmix, or choose another method"
        )


def recorded(env: Env, learner: BatchLearner, adversary: Adversary, count: int) -> Episodes:
    """Return the shapes of what ``count`` games leave; nothing is played."""

    def empty() -> Episodes:
        key = rng.root(0)
        policy = learner.policy(learner.init(key), Progress(jnp.int32(0), jnp.float32(1)))
        return blank(env, policy, adversary, adversary.init(key), rng.episodes(key, count))

    return jax.eval_shape(empty)


def epsilon(env_steps: jax.Array, config: TrainConfig) -> Float[Array, ""]:
    """Share of random actions after this many environment steps: linear from start to end, then flat."""
    part = jnp.clip(env_steps / max(config.epsilon_steps, 1), 0.0, 1.0)
    return config.epsilon_start + part * (config.epsilon_end - config.epsilon_start)
