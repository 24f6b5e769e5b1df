"""How fast a training is on this machine, and where its time goes.

Every figure of a map comes from a program that trains as ``ibal train`` does: whole iterations are timed, then their
parts on the same data, each in a program of its own. What the parts leave over is called the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ibal import rng, tree
from ibal.adversaries.base import Adversary, natural
from ibal.game.keys import team_key, world_key
from ibal.learners.base import Progress
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig, ValueConfig
from ibal.training.config import TrainConfig
from ibal.training.learner import batch_learner, learner_for
from ibal.training.loop import DEVICE, LEARNING, Trainer
from ibal.training.memory import forecast
from ibal.training.rollout import collect
from ibal.training.runner import build
from ibal.training.state import TrainState
from ibal.types import Env, EnvSpec, Episodes

PAPER_HOURS = {"3m": 36.57, "2s3z": 42.22, "8m": 52.90, "MMM": 57.57}  # 10M steps of QMIX, paper, Table 14


class TrainSpeed(NamedTuple):
    """Shares are of the whole iteration; ``gflops`` is the useful work of one learner, ``gflops_all`` that of one per
    device (per core, in ``ibal bench train``), each with a seed of its own."""

    steps_per_s: float
    environment: float
    policy: float
    learner: float
    rest: float
    padding: float
    gflops: float
    gflops_all: float
    update_ms: float
    first_call_s: float


def matmul_peak(size: int = 3072, repeats: int = 5) -> float:
    """Return the fastest large float32 product seen, in GFLOP/s."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / seconds(lambda: product(a), repeats) / 1e9


def step_flops(spec: EnvSpec, learner: LearnerConfig) -> int:
    """Count the floating-point operations that a gradient step takes for one time step of one episode.

    Value learners: online network and mixer forward (1), backward (2) and target forward (1). Policy gradients and PQN:
    the networks forward (1) and backward (2), in every epoch. A multiply and an add are two. Element-wise work,
    padding, one-hots and the optimiser are not counted.
    """
    h, a, n, s = learner.hidden, spec.n_actions, spec.n_agents, spec.state_size
    seen, recurrent = spec.obs_size + a + n, 2 * h * 3 * h
    if isinstance(learner, PpoConfig):
        judged = spec.obs_size + n + s * (learner.name == "mappo")
        return 3 * 2 * n * ((seen + judged) * h + 2 * (h * h + recurrent) + h * a + h)
    mixers = {"iql": 0, "vdn": 0, "qmix": s * (64 + 32 + 64 + 32) + 64 * 32 * n + 64 * 32 + 32 * n + 2 * 32}
    if learner.mixer not in mixers:
        raise ValueError(f'the operations of mixer "{learner.mixer}" are not counted; choose {", ".join(mixers)}')
    if isinstance(learner, PqnConfig):
        return 3 * 2 * (n * (seen * h + h * h + recurrent + h * a) + mixers[learner.mixer])
    return 4 * 2 * (n * (seen * h + recurrent + h * a) + mixers[learner.mixer])


class _Lesson(NamedTuple):
    """A part of a training's learning that can be timed alone: ``update(state, episodes) -> state``, what it is given,
    its gradient steps and its useful operations."""

    update: Callable[[Any, Any], Any]
    state: Any
    episodes: Any
    steps: int
    flops: int


def _lesson(env: Env, learner: LearnerConfig, train: TrainConfig, one: TrainState, played: Episodes) -> _Lesson:
    """Return one gradient step of a value learner, or all that another one learns from the episodes played."""
    key, flops = rng.root(0), step_flops(env.spec, learner)
    if not isinstance(learner, ValueConfig):
        learn = learner_for(env, learner, train, natural())
        now = Progress(jnp.int32(0), jnp.float32(1))
        steps = learner.epochs * learner.minibatches
        useful = learner.epochs * flops * int(played.length.sum())
        return _Lesson(lambda s, e: learn.update(key, s, e, now)[0], one.learner, played, steps, useful)
    held, batch = one.learner.replay, batch_learner(env.spec, learner, train, natural())
    chosen = jnp.asarray(np.random.default_rng(0).choice(int(held.filled), learner.batch, replace=False))
    useful = flops * int(held.episodes.length[chosen].sum())
    update = lambda s, e: batch.update(key, s, e, chosen, jnp.float32(1))[0]  # noqa: E731
    return _Lesson(update, one.learner.learned, held.episodes, 1, useful)


def measure(env: Env, learner: LearnerConfig, train: TrainConfig, *, warm_up: int = 3, repeats: int = 3) -> TrainSpeed:
    """Train for ``warm_up`` chunks, then time ``repeats`` more and their parts."""
    make = build(env, learner, train, 1, natural())
    started = time.perf_counter()
    state, _ = make.chunk(make.init(rng.root(0)[None]))
    jax.block_until_ready(state.progress)
    first = time.perf_counter() - started
    for _ in range(warm_up):
        state, _ = make.chunk(state)

    before, whole, updates, padding = int(state.progress.env_steps[0]), 0.0, 0, []
    for _ in range(repeats):
        started = time.perf_counter()
        state, metrics = jax.block_until_ready(make.chunk(state))
        whole += time.perf_counter() - started
        updates += int(metrics[LEARNING]["updates"].sum())
        padding.append(float(metrics[LEARNING]["padding"].mean()))
    steps = int(state.progress.env_steps[0]) - before
    iterations = repeats * train.chunk

    one = jax.jit(tree.at)(state, 0)
    keys = rng.episodes(rng.root(1), train.envs)
    plays = learner_for(env, learner, train, natural())
    policy = plays.policy(one.learner, Progress(one.progress.env_steps, jnp.float32(1)))
    rollout = jax.jit(lambda: collect(env, policy, natural(), (), keys).episodes)
    episodes = jax.block_until_ready(rollout())
    lockstep = int(episodes.length.max())
    spans = {
        "environment": iterations * seconds(steps_only(env, keys, lockstep)),
        "policy": iterations * seconds(policy_only(env, policy, keys, lockstep)),
    }
    lesson = _lesson(env, learner, train, one, episodes)
    update = jax.jit(lesson.update)
    update_s = seconds(lambda: update(lesson.state, lesson.episodes))
    spans["learner"] = updates / lesson.steps * update_s
    return TrainSpeed(
        steps_per_s=steps / whole,
        **{name: span / whole for name, span in spans.items()},
        rest=1 - sum(spans.values()) / whole,
        padding=float(np.mean(padding)),
        gflops=lesson.flops / update_s / 1e9,
        gflops_all=lesson.flops * len(jax.local_devices()) / _everywhere(lesson) / 1e9,
        update_ms=1e3 * update_s / lesson.steps,
        first_call_s=first,
    )


def _everywhere(lesson: _Lesson) -> float:
    """Return the seconds of a lesson that every device takes for a seed of its own."""
    devices = jax.local_devices()
    if len(devices) == 1:
        update = jax.jit(lesson.update)
        return seconds(lambda: update(lesson.state, lesson.episodes))
    spread = NamedSharding(Mesh(np.array(devices), (DEVICE,)), P(DEVICE))
    copy = jax.jit(lambda one: jax.tree.map(lambda leaf: jnp.stack([leaf] * len(devices)), one))
    states, episodes = jax.device_put(copy((lesson.state, lesson.episodes)), spread)

    def mine(states: Any, episodes: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], lesson.update(tree.at(states, 0), tree.at(episodes, 0)))

    parts = {"mesh": spread.mesh, "in_specs": P(DEVICE), "out_specs": P(DEVICE), "check_vma": False}
    update = jax.jit(jax.shard_map(mine, **parts))
    return seconds(lambda: update(states, episodes), 8)


def check_fits(env: Env, learner: LearnerConfig, train: TrainConfig, seeds: int) -> None:
    """Raise MemoryRefused for more seeds in one program than there is room for; nothing is allocated."""
    forecast(build(env, learner, train, seeds, natural()), env.spec, learner, train, seeds)


def seeds_together(env: Env, learner: LearnerConfig, train: TrainConfig, count: int) -> tuple[float, float]:
    """Return the steps per second of ``count`` seeds in one program, and of the same one after another."""

    def rate(seeds: int) -> float:
        make = build(env, learner, train, seeds, natural())
        state = make.init(jnp.stack([rng.root(seed) for seed in range(seeds)]))
        for _ in range(2):
            state, _ = make.chunk(state)
        before, started = int(state.progress.env_steps.sum()), time.perf_counter()
        state, _ = jax.block_until_ready(make.chunk(state))
        return (int(state.progress.env_steps.sum()) - before) / (time.perf_counter() - started)

    return rate(count), rate(1)


def relative_cost(
    env: Env, learner: LearnerConfig, train: TrainConfig, adversary: Adversary, other: LearnerConfig | None = None, *,
    warm_up: int = 5, rounds: int = 8,
) -> tuple[float, list[float]]:  # fmt: skip
    """Return the wall-clock per environment step of training against ``adversary`` (with the learner ``other``, if it
    has one of its own), with that of vanilla training as 1: over all rounds, and round by round.

    Chunks of the two alternate, so that noise of the machine falls on both; ``warm_up`` chunks of each come first.
    """

    def start(against: Adversary, learns: LearnerConfig) -> tuple[Trainer, TrainState]:
        make = build(env, learns, train, 1, against)
        state = make.init(rng.root(0)[None])
        for _ in range(warm_up):
            state, _ = make.chunk(state)
        return make, state

    pair = [start(natural(), learner), start(adversary, other or learner)]
    spent, steps = np.zeros((2, rounds)), np.zeros((2, rounds))
    for k in range(rounds):
        for which, (make, state) in enumerate(pair):
            before, started = int(state.progress.env_steps[0]), time.perf_counter()
            state, _ = jax.block_until_ready(make.chunk(state))
            spent[which, k] = time.perf_counter() - started
            steps[which, k] = int(state.progress.env_steps[0]) - before
            pair[which] = make, state
    each = (spent / steps)[1] / (spent / steps)[0]
    total = spent.sum(1) / steps.sum(1)
    return float(total[1] / total[0]), each.tolist()


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Return the seconds of the shortest of a few calls, after one that compiles."""
    return shortest({"it": call}, repeats)["it"]


def shortest(calls: Mapping[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """Return the seconds of the shortest of ``rounds`` calls of each, after one that compiles.

    They take turns: a moment in which the machine is busy then does not fall on all calls of one.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            jax.block_until_ready(call())
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def steps_only(env: Env, keys: jax.Array, count: int) -> Callable[[], Any]:
    """Resets and ``count`` steps of the environments alone, with the first available action."""

    def play() -> Any:
        state, step = jax.vmap(lambda key: env.reset(world_key(key, 0), env.params))(keys)

        def advance(carry: Any, t: jax.Array) -> tuple[Any, None]:
            state, step = carry
            actions = jnp.argmax(step.avail, axis=-1).astype(jnp.int32)

            def one(key: jax.Array, state: Any, action: jax.Array) -> Any:
                return env.step(world_key(key, t + 1), state, action, env.params)

            return jax.vmap(one)(keys, state, actions), None

        return jax.lax.scan(advance, (state, step), jnp.arange(count))[0][1]

    return jax.jit(play)


def policy_only(env: Env, policy: Any, keys: jax.Array, count: int) -> Callable[[], Any]:
    """``count`` decisions of the team alone, on what a reset shows."""

    def play() -> Any:
        _, step = jax.vmap(lambda key: env.reset(key, env.params))(keys)
        carry = jax.tree.map(lambda c: jnp.broadcast_to(c[None], (keys.shape[0], *c.shape)), policy.start())
        nobody = jnp.full((keys.shape[0], env.spec.n_agents), -1, jnp.int32)

        def advance(loop: Any, t: jax.Array) -> tuple[Any, None]:
            carry, last = loop
            carry, scores = jax.vmap(policy.scores)(carry, step.obs, step.avail, last)
            chosen = jax.vmap(lambda key, s, a: policy.select(team_key(key, t), s, a))
            return (carry, chosen(keys, scores, step.avail)), None

        return jax.lax.scan(advance, (carry, nobody), jnp.arange(count))[0]

    return jax.jit(play)
