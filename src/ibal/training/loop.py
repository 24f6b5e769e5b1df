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
from ibal.learners.replayed import Replayed
from ibal.options import ConfigError
from ibal.training.config import TrainConfig
from ibal.training.rollout import collect
from ibal.training.state import Counters, TrainState
from ibal.types import Env

SEED = "seed"  # the axis over which the seeds of one device are trained at once
DEVICE = "device"  # the axis of devices that have seeds of their own
PART = "part"  # the axis of devices that share the work of one seed
LEARNING = "learning"  # beside the metrics of an iteration: those of the learner
FAULT = "fault"  # beside the metrics of an iteration: the first rule that one of its games broke


class Trainer(NamedTuple):
    """``init(key) -> TrainState`` and ``chunk(state) -> (state, metrics)``: ``TrainConfig.chunk`` iterations, metrics
    with a leading axis of iterations. Both are for one seed: ``seeds`` makes them those of many."""

    init: Callable[[jax.Array], TrainState]
    chunk: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]


def trainer(
    env: Env, learner: Learner, adversary: Adversary, config: TrainConfig, axis: str | None = None,
    part: str | None = None,
) -> Trainer:  # fmt: skip
    """Put environment, learner and adversary together. ``axis`` names the axis that the caller vmaps over, if any, and
    ``part`` that of the devices that share the work, for which the learner was made too: each plays some of the
    episodes and learns from them; the adversary sees them all, on every device."""

    def mine(keys: jax.Array) -> jax.Array:
        size = config.envs // config.shares
        return keys if part is None else jax.lax.dynamic_slice_in_dim(keys, jax.lax.axis_index(part) * size, size)

    def together(played: Any) -> Any:
        return played if part is None else jax.tree.map(lambda a: jax.lax.all_gather(a, part, tiled=True), played)

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
        keys = mine(rng.episodes(rng.stream(here, "rollout"), config.envs))
        own = collect(env, policy, adversary, state.attacker, keys, axis=axis)
        rollout = together(own)  # what is not asked for is not sent
        played, episodes, extra = rollout.episodes.length.sum(), config.envs, None
        if alone is not None and before.extra is not None:
            extra = before.extra + jnp.where(alone, played, 0)
            played, episodes = (jnp.where(alone, 0 * of, of) for of in (played, episodes))
        steps = before.env_steps + played

        progress = now(steps, alone)
        lesson = rng.stream(here, "learner")
        lesson = lesson if part is None else rng.at(lesson, jax.lax.axis_index(part))
        learned, learning = learner.update(lesson, state.learner, own.episodes, progress)

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


def compiled(make: Callable[[str | None, str | None], Trainer], seeds: int, parts: int = 1) -> Trainer:
    """Compile a trainer whose arrays have a leading axis of ``seeds``; the state that goes in is used up.

    ``make(axis, part)`` builds the trainer of one seed. Where there are several devices, each (or each ``parts`` of
    them) takes as many seeds as the others (``devices_for``), and seeds exchange nothing. The seeds of a device are
    vmapped, but a single one is not: products of batches of one matrix are slower than products of matrices. The parts
    of a seed share its gradients; each keeps its own episodes, one after another in the arrays of the whole.
    """
    devices = devices_for(seeds, parts)
    vmapped = seeds * parts > len(devices)
    one = make(SEED if vmapped else None, PART if parts > 1 else None)

    def over(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if vmapped:
            return jax.vmap(f, axis_name=SEED)
        return lambda x: jax.tree.map(lambda leaf: leaf[None], f(tree.at(x, 0)))

    init, chunk = over(one.init), over(one.chunk)
    if len(devices) > 1:
        mesh = Mesh(np.array(devices).reshape(-1, parts), (DEVICE, PART))
        state = jax.tree.map(lambda _: P(DEVICE), jax.eval_shape(one.init, jax.eval_shape(lambda: rng.root(0))))
        if parts > 1 and isinstance(state.learner, Replayed):
            kept = state.learner.replay
            kept = kept._replace(episodes=jax.tree.map(lambda _: P(DEVICE, PART), kept.episodes))
            state = state._replace(learner=state.learner._replace(replay=kept))
        init = jax.shard_map(init, mesh=mesh, in_specs=P(DEVICE), out_specs=state, check_vma=False)
        chunk = jax.shard_map(chunk, mesh=mesh, in_specs=(state,), out_specs=(state, P(DEVICE)), check_vma=False)
    return Trainer(jax.jit(init), jax.jit(chunk, donate_argnums=0))


def devices_for(seeds: int, parts: int = 1) -> list[Any]:
    """Return the devices that train ``seeds`` seeds, ``parts`` of them each: as many as can have the same number of
    seeds. Raises ConfigError where there are too few."""
    found = jax.local_devices()
    if len(found) < parts:
        raise ConfigError(
            f"train.parts = {parts}, but JAX has {len(found)} device{'s' * (len(found) > 1)} here; set "
            f"JAX_NUM_CPU_DEVICES={parts} before it is first used"
        )
    return found[: workers_for(seeds, len(found) // parts) * parts]


def workers_for(seeds: int, most: int) -> int:
    """Return how many of ``most`` workers can have the same number of ``seeds`` each."""
    return max(k for k in range(1, most + 1) if seeds % k == 0)
