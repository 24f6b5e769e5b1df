"""One iteration of training, top to bottom, in the order of the paper's Algorithm 1; and many in one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from ibal import rng, tree
from ibal.adversaries import referee
from ibal.adversaries.base import Adversary, Feedback
from ibal.envs.check import check_kept
from ibal.learners.base import Learner
from ibal.training import replay
from ibal.training.config import TrainConfig
from ibal.training.rollout import Rollout, collect
from ibal.training.state import Progress, TrainState
from ibal.types import Env

SEED = "seed"  # the axis over which the seeds of one device are trained at once
DEVICE = "device"  # the axis of devices that have seeds of their own
FAULT = "fault"  # beside the metrics of an iteration: the first rule that one of its games broke


class Trainer(NamedTuple):
    """``init(key) -> TrainState`` and ``chunk(state) -> (state, metrics)``: ``TrainConfig.chunk`` iterations, metrics
    with a leading axis of iterations. Both are for one seed: ``seeds`` makes them those of many."""

    init: Callable[[jax.Array], TrainState]
    chunk: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def trainer(
    env: Env, learner: Learner, adversary: Adversary, batch: int, config: TrainConfig, axis: str | None = None
) -> Trainer:
    """Put environment, learner and adversary together. ``axis`` names the axis that the caller vmaps over, if any."""

    def init(key: jax.Array) -> TrainState:
        learned, attacker = learner.init(rng.stream(key, "learner")), adversary.init(rng.stream(key, "adversary"))
        example = jax.eval_shape(lambda: _play(key, learned, attacker, jnp.int32(0)).episodes)
        zero = jnp.int32(0)
        progress = Progress(zero, zero, zero, jnp.float32(0), None if adversary.alone is None else zero)
        return TrainState(key, learned, attacker, replay.init(example, config.replay), progress)

    def _play(key: jax.Array, learned: Any, attacker: Any, env_steps: jax.Array) -> Rollout:
        policy = learner.policy(learned, epsilon(env_steps, config))
        keys = rng.episodes(key, config.envs)
        return collect(env, policy, adversary, attacker, keys, axis=axis)

    def iterate(state: TrainState, _: None) -> tuple[TrainState, dict[str, Any]]:
        before = state.progress
        here = rng.at(rng.stream(state.key, "iteration"), before.iteration)
        iteration = tree.common(before.iteration, axis)

        rollout = _play(rng.stream(here, "rollout"), state.learner, state.attacker, before.env_steps)
        stored = replay.add(state.replay, rollout.episodes, axis)
        played, episodes, extra, share = rollout.episodes.length.sum(), config.envs, None, 1.0
        if adversary.alone is not None and before.extra is not None:
            alone = adversary.alone(iteration)
            stored = replay.forgotten(state.replay, stored, alone)
            extra = before.extra + jnp.where(alone, played, 0)
            played, episodes, share = (jnp.where(alone, 0 * of, of) for of in (played, episodes, share))
        steps = before.env_steps + played

        left = jnp.maximum(1 - steps / config.steps, 0.0)
        learned, owed, learning = _learn(rng.stream(here, "learner"), state.learner, stored, before.owed, share, left)

        # NaN passes no threshold: what waits for success waits for ever where there is none.
        success = rollout.metrics["win"].mean() if env.spec.has_win else jnp.float32(jnp.nan)
        feedback = Feedback(success, rollout.returns.mean(), steps.astype(jnp.float32), iteration, 1 - left)
        attacker, attacking = adversary.update(
            rng.stream(here, "adversary"), state.attacker, rollout.episodes, feedback
        )
        check_kept("update changes", "the adversary's state", state.attacker, attacker, "attack")

        progress = Progress(before.iteration + 1, steps, before.episodes + episodes, owed, extra)
        metrics = {
            "env_steps": steps, "return": feedback.returns, "epsilon": epsilon(steps, config),
            "length": rollout.episodes.length.mean(dtype=jnp.float32), **learning, **attacking,
            FAULT: referee.first(rollout.fault),
        }  # fmt: skip
        if env.spec.has_win:
            metrics["win"] = success
        return TrainState(state.key, learned, attacker, stored, progress), metrics

    def _learn(
        key: jax.Array, learned: Any, stored: replay.Replay, owed: jax.Array, share: Any, left: jax.Array
    ) -> tuple[Any, jax.Array, Any]:
        """Do the gradient steps that a ``share`` of the new episodes is worth; return them with the part of one left
        over."""
        ready = (stored.filled >= max(config.learn_from, batch)).astype(jnp.float32)
        owed = owed + ready * share * config.envs * config.updates_per_episode
        count = jnp.floor(owed).astype(jnp.int32)

        def one(index: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, sums = carry
            here = rng.at(key, index)
            chosen = replay.sample(here, stored, batch)
            state, metrics = learner.update(rng.stream(here, "update"), state, stored.episodes, chosen, left)
            return state, jax.tree.map(jnp.add, sums, metrics)

        nobody = jnp.zeros(batch, jnp.int32)
        shapes = jax.eval_shape(lambda: learner.update(key, learned, stored.episodes, nobody, left)[1])
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        count = tree.common(count, axis)
        learned, sums = jax.lax.fori_loop(0, count, one, (learned, nothing))
        done = jnp.maximum(count, 1).astype(jnp.float32)
        metrics = jax.tree.map(lambda total: jnp.where(count > 0, total / done, jnp.nan), sums)
        return learned, owed - count.astype(jnp.float32), metrics | {"updates": count}

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        return jax.lax.scan(iterate, state, None, length=config.chunk)

    return Trainer(init, chunk)


def compiled(make: Callable[[str | None], Trainer], seeds: int) -> Trainer:
    """Compile a trainer whose arrays have a leading axis of ``seeds``; the state that goes in is used up.

    ``make(axis)`` builds the trainer of one seed. Where there are several devices, each takes as many seeds as the
    others (``devices_for``), and nothing is exchanged. The seeds of a device are vmapped, but a single one is not:
    products of batches of one matrix are slower than products of matrices.
    """
    devices = devices_for(seeds)
    vmapped = seeds > len(devices)
    one = make(SEED if vmapped else None)

    def over(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if vmapped:
            many: Callable[[Any], Any] = jax.vmap(f, axis_name=SEED)
        else:
            many = lambda x: jax.tree.map(lambda leaf: leaf[None], f(tree.at(x, 0)))  # noqa: E731
        if len(devices) == 1:
            return many
        mesh = Mesh(np.array(devices), (DEVICE,))
        return jax.shard_map(many, mesh=mesh, in_specs=P(DEVICE), out_specs=P(DEVICE), check_vma=False)

    return Trainer(jax.jit(over(one.init)), jax.jit(over(one.chunk), donate_argnums=0))


def devices_for(seeds: int) -> list[Any]:
    """Return the devices that train ``seeds`` seeds: as many as can have the same number of them each."""
    found = jax.local_devices()
    return found[: workers_for(seeds, len(found))]


def workers_for(seeds: int, most: int) -> int:
    """Return how many of ``most`` workers can have the same number of ``seeds`` each."""
    return max(k for k in range(1, most + 1) if seeds % k == 0)


def epsilon(env_steps: jax.Array, config: TrainConfig) -> Float[Array, ""]:
    """Share of random actions after this many environment steps: linear from start to end, then flat."""
    part = jnp.clip(env_steps / max(config.epsilon_steps, 1), 0.0, 1.0)
    return config.epsilon_start + part * (config.epsilon_end - config.epsilon_start)
