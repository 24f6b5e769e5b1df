"""One iteration of training, top to bottom, in the order of the paper's Algorithm 1; and many in one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ibal import rng, tree
from ibal.adversaries.base import Adversary, Feedback
from ibal.envs.check import check_kept
from ibal.game import referee
from ibal.learners.base import Learner, Progress
from ibal.training.config import TrainConfig
from ibal.training.rollout import collect
from ibal.training.state import Counters, TrainState
from ibal.types import Env

SEED = "seed"  # the axis over which the seeds of one device are trained at once
DEVICE = "device"  # the axis of devices that have seeds of their own
LEARNING = "learning"  # beside the metrics of an iteration: those of the learner
FAULT = "fault"  # beside the metrics of an iteration: the first rule that one of its games broke


class Trainer(NamedTuple):
    """``init(key) -> TrainState`` and ``chunk(state) -> (state, metrics)``: ``TrainConfig.chunk`` iterations, metrics
    with a leading axis of iterations. Both are for one seed: ``seeds`` makes them those of many."""

    init: Callable[[jax.Array], TrainState]
    chunk: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def trainer(
    env: Env, learner: Learner, adversary: Adversary, config: TrainConfig, axis: str | None = None
) -> Trainer:  # fmt: skip
    """Put environment, learner and adversary together. ``axis`` names the axis that the caller vmaps over, if any."""

    def init(key: jax.Array) -> TrainState:
        learned, attacker = learner.init(rng.stream(key, "learner")), adversary.init(rng.stream(key, "adversary"))
        zero = jnp.int32(0)
        counters = Counters(zero, zero, zero, None if adversary.alone is None else zero)
        return TrainState(key, learned, attacker, counters)

    def now(steps: jax.Array, alone: jax.Array | None) -> Progress:
        return Progress(steps, jnp.maximum(1 - steps / config.steps, 0.0), alone)

    def iterate(state: TrainState, _: None) -> tuple[TrainState, dict[str, Any]]:
        before = state.progress
        here = rng.at(rng.stream(state.key, "iteration"), before.iteration)
        iteration = tree.common(before.iteration, axis)
        alone = None if adversary.alone is None else adversary.alone(iteration)

        policy = learner.policy(state.learner, now(before.env_steps, alone))
        keys = rng.episodes(rng.stream(here, "rollout"), config.envs)
        rollout = collect(env, policy, adversary, state.attacker, keys, axis=axis)
        played, episodes, extra = rollout.episodes.length.sum(), config.envs, None
        if alone is not None and before.extra is not None:
            extra = before.extra + jnp.where(alone, played, 0)
            played, episodes = (jnp.where(alone, 0 * of, of) for of in (played, episodes))
        steps = before.env_steps + played

        progress = now(steps, alone)
        learned, learning = learner.update(rng.stream(here, "learner"), state.learner, rollout.episodes, progress)

        # NaN passes no threshold: what waits for success waits for ever where there is none.
        success = rollout.metrics["win"].mean() if env.spec.has_win else jnp.float32(jnp.nan)
        feedback = Feedback(success, rollout.returns.mean(), steps.astype(jnp.float32), iteration, 1 - progress.left)
        attacker, attacking = adversary.update(
            rng.stream(here, "adversary"), state.attacker, rollout.episodes, feedback
        )
        check_kept("update changes", "the adversary's state", state.attacker, attacker, "attack")

        counters = Counters(before.iteration + 1, steps, before.episodes + episodes, extra)
        metrics = {
            "env_steps": steps, "return": feedback.returns,
            "length": rollout.episodes.length.mean(dtype=jnp.float32), **attacking,
            LEARNING: learning, FAULT: referee.first(rollout.fault),
        }  # fmt: skip
        if env.spec.has_win:
            metrics["win"] = success
        return TrainState(state.key, learned, attacker, counters), metrics

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
