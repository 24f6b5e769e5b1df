"""Where the time of an environment step goes, part by part.

One chunk of iterations is timed as it trains, again and again from the same state: its games and batches are then the
same every time. Each part is timed in a program of its own, on batches that are as long as those of the chunk; what is
not a program's own but the difference of two is said so in ``PARTS``. What the parts leave over is the rest, so the
table sums to the whole: how small the rest is says how good the account is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ibal import rng, tree
from ibal.adversaries.base import Adversary, natural
from ibal.learners import lanes, replay, td
from ibal.learners.base import Progress
from ibal.learners.config import ValueConfig
from ibal.learners.packing import slots, told_of
from ibal.learners.replay import Replay
from ibal.nets.mixers import mixer
from ibal.nets.mixers.vdn import VdnParams
from ibal.training import bench
from ibal.training.config import TrainConfig
from ibal.training.learner import batch_learner, learner_for, told_by
from ibal.training.loop import LEARNING
from ibal.training.rollout import collect
from ibal.training.runner import build
from ibal.training.state import TrainState
from ibal.types import Env, Episodes

PARTS = {
    "engine": "the world's steps, of games that are still on",
    "policy": "the team's decisions, of games that are still on",
    "recording": "the rollout less engine and policy: resets, referee, what is kept of a step",
    "attack": "the rollout against the adversary less that against nobody",
    "waiting": "what is computed of games that are over, until the longest ends",
    "storing": "new episodes into the replay",
    "sampling": "which episodes a batch has",
    "layout": "where its episodes stand in the lanes",
    "reading": "its data out of the replay, once forward and once backward",
    "forward": "both networks, less layout and reading",
    "backward": "the gradient less all of the way forward, less reading",
    "mixer": "the gradient less that with plain sums in the mixer's place; a quarter of it is forward",
    "padding": "slots of forward, backward and mixer that hold no step",
    "optimiser": "a whole update less the gradient",
}
ROLLOUTS = 4  # that are timed, of games of their own: how long the longest lasts is chance
UPDATES = 8  # gradient steps in a row that are timed, each of a batch of its own


Calls = dict[str, Callable[[], Any]]


class Given(NamedTuple):
    """What a gradient step is given: what is known and what was played."""

    learned: Any
    episodes: Episodes


class Lessons(NamedTuple):
    """What is timed of a gradient step, each call ``UPDATES`` of them; how many slots a gradient step of the training
    works on for one of those that are timed; and how long its episodes are."""

    calls: Calls
    share: float
    length: float


class Games(NamedTuple):
    """Environment steps of the rollouts that are timed, and the share of what they compute that is play."""

    steps: int
    busy: float


class Account(NamedTuple):
    """Microseconds of each part for an environment step, those of the whole, and useful operations per environment
    step of the parts that multiply matrices."""

    parts: dict[str, float]
    whole: float
    flops: dict[str, float]


def measure(
    env: Env, learner: ValueConfig, train: TrainConfig, adversary: Adversary | None = None, warm_up: int = 6,
    repeats: int = 5,
) -> Account:  # fmt: skip
    """Train one seed on one device for ``warm_up`` chunks, then time one more and its parts, ``repeats`` times."""
    adversary = adversary or natural()
    make = build(env, learner, train, 1, adversary)
    state = make.init(rng.root(0)[None])
    for _ in range(warm_up):
        state, _ = make.chunk(state)

    def copied() -> TrainState:
        return jax.tree.map(jnp.copy, state)  # a chunk uses up what it is given

    after, metrics = make.chunk(copied())
    steps = int(after.progress.env_steps[0] - state.progress.env_steps[0])
    updates, padding = (f(metrics[LEARNING][name]) for name, f in (("updates", jnp.sum), ("padding", jnp.nanmean)))
    updates, padding = int(updates), float(padding)
    one, kept = (jax.jit(tree.at)(part, 0) for part in (state, after.learner.replay))
    kept = kept._replace(filled=(one.learner.replay.filled + kept.filled) // 2)  # as they are halfway
    rollouts, games = _games(env, learner, train, adversary, one)
    lessons = _lessons(env, learner, train, adversary, one, kept, updates)
    spans = bench.shortest(
        {"copy": copied, "chunk": lambda: make.chunk(copied()), **rollouts, **lessons.calls}, repeats
    )  # fmt: skip
    mine = _of_lessons(spans, lessons.share)
    idle = padding * (mine["forward"] + mine["backward"] + mine["mixer"])
    for name in ("forward", "backward", "mixer"):
        mine[name] *= 1 - padding
    found = _of_games(spans, games) | {
        name: span * updates / steps for name, span in (mine | {"padding": idle}).items()
    }
    replayed = updates * learner.batch * lessons.length / steps
    return Account(
        {name: 1e6 * found[name] for name in PARTS},
        1e6 * (spans["chunk"] - spans["copy"]) / steps,
        {name: count * replayed for name, count in _operations(env, learner).items()},
    )


def _operations(env: Env, learner: ValueConfig) -> dict[str, float]:
    """Count the useful operations of a replayed step: a quarter each for the online network and the target forward, a
    half back (``bench.step_flops``)."""
    agents = bench.step_flops(env.spec, replace(learner, mixer="vdn"))
    return {"forward": agents / 2, "backward": agents / 2, "mixer": bench.step_flops(env.spec, learner) - agents}


def _games(
    env: Env, learner: ValueConfig, train: TrainConfig, adversary: Adversary, one: Any
) -> tuple[Calls, Games]:  # fmt: skip
    """Return what a rollout does, part by part and as a whole, and how much of it is play."""
    keys, now = (
        rng.episodes(rng.root(1), ROLLOUTS * train.envs).reshape(ROLLOUTS, -1),
        Progress(one.progress.env_steps, jnp.float32(1)),
    )
    plays = learner_for(env, learner, train, adversary)

    def rollout(against: Adversary, attacker: Any) -> Callable[[], Any]:
        @jax.jit
        def play(state: Any, attacker: Any) -> Any:
            return jax.lax.map(lambda mine: collect(env, plays.policy(state, now), against, attacker, mine), keys)

        return lambda: play(one.learner, attacker)

    calm, attacked = rollout(natural(), ()), rollout(adversary, one.attacker)
    episodes = attacked().episodes
    lockstep, steps = int(episodes.length.max(1).sum()), int(episodes.length.sum())
    store = jax.jit(lambda kept, new: jax.lax.fori_loop(0, UPDATES, lambda _, kept: replay.add(kept, new), kept))
    example = tree.at(episodes, 0)
    calls = {
        "calm": calm, "attacked": attacked, "engine": bench.steps_only(env, keys[0], lockstep),
        "policy": bench.policy_only(env, plays.policy(one.learner, now), keys[0], lockstep),
        "storing": lambda: store(replay.init(example, 2 * train.envs), example),
    }  # fmt: skip
    return calls, Games(steps, steps / (train.envs * lockstep))


def _of_games(spans: Mapping[str, float], games: Games) -> dict[str, float]:
    """Return the seconds for an environment step of everything that a rollout does."""
    found = {
        "engine": spans["engine"], "policy": spans["policy"],
        "recording": max(0.0, spans["calm"] - spans["engine"] - spans["policy"]),
        "attack": spans["attacked"] - spans["calm"],
    }  # fmt: skip
    waiting = (1 - games.busy) * sum(found.values())
    found = {name: games.busy * span for name, span in found.items()}
    found |= {"waiting": waiting, "storing": ROLLOUTS * spans["storing"] / UPDATES}
    return {name: span / games.steps for name, span in found.items()}


def _lessons(
    env: Env, learner: ValueConfig, train: TrainConfig, adversary: Adversary, one: Any, kept: Replay, updates: int
) -> Lessons:  # fmt: skip
    """Return what a gradient step does, up to one part after another; each call does it ``UPDATES`` times.

    Everything is an argument of the programs, as it is in a training: what a program closes over is a constant of it.
    """
    learned, batch, row = one.learner.learned, learner.batch, env.spec.horizon + 1
    of = lanes.plan(env.spec.n_agents, batch, row)
    steps = batch_learner(env.spec, learner, train, adversary)
    again, tells = adversary.reobserve if "obs" in adversary.threat.channels else None, told_by(learner, adversary)
    chosen, share, length = _batches(kept, of, row, batch, updates)

    def each(
        one_step: Callable[[Given, Int[Array, "b"], Any], Any], begin: Any, choose: bool = False
    ) -> Callable[[], Any]:  # fmt: skip
        """``one_step(given, chosen, carry) -> carry`` over all batches; with ``choose``, batches drawn on the way."""

        @jax.jit
        def many(learned: Any, kept: Replay, chosen: Int[Array, "u b"], begin: Any) -> Any:
            def step(index: jax.Array, carry: Any) -> Any:
                which = replay.sample(rng.at(rng.root(2), index), kept, batch) if choose else chosen[index]
                return one_step(Given(learned, kept.episodes), which, carry)

            return jax.lax.fori_loop(0, UPDATES, step, begin)

        return lambda: many(learned, kept, chosen, begin)

    def task(given: Given, which: Int[Array, "b"]) -> td.Task:
        laid = lanes.lay(slots(given.episodes)[which], of, row)
        return td.Task(
            given.learned.params, given.learned.target, given.episodes, which, laid, of, mixer(learner.mixer), learner,
            again, told_of(tells, given.episodes, which),
        )  # fmt: skip

    def layout(given: Given, which: Int[Array, "b"], total: jax.Array) -> jax.Array:
        return total + task(given, which).laid.episode.sum()

    def read(given: Given, which: Int[Array, "b"], total: jax.Array) -> jax.Array:
        now = task(given, which)

        def block(index: jax.Array, total: jax.Array) -> jax.Array:
            seen = td.block_of(now, jnp.int32(0), index)
            return total + sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves(seen))

        return jax.lax.fori_loop(0, now.laid.blocks[0], block, total)

    def forward(given: Given, which: Int[Array, "b"], work: td.Work) -> td.Work:
        return td.forward(task(given, which), jnp.int32(0), work)

    def gradient(name: str) -> Callable[[], Any]:
        mix = mixer(name)

        def of(params: td.ValueParams) -> td.ValueParams:
            return params if name == learner.mixer else td.ValueParams(params.agent, VdnParams())

        def step(given: Given, which: Int[Array, "b"], carry: Any) -> Any:
            params, target = of(given.learned.params), of(given.learned.target)
            new, _, work = td.gradient(
                params, target, given.episodes, which, carry[1], mix, learner, again, tells=tells
            )  # fmt: skip
            return new, work

        params = of(learned.params)
        begin = jax.tree.map(jnp.zeros_like, params), td.work_for(params, kept.episodes, batch, mix, tells)
        return each(step, begin)

    def update(given: Given, which: Int[Array, "b"], carry: Any) -> Any:
        state, work = carry
        assert steps.update_in is not None
        state, _, work = steps.update_in(rng.root(3), state, given.episodes, which, jnp.float32(1), work)
        return state, work

    work = td.work_for(learned.params, kept.episodes, batch, mixer(learner.mixer), tells)
    calls = {
        "sampling": each(lambda _, which, total: total + which, jnp.zeros(batch, jnp.int32), choose=True),
        "layout": each(layout, jnp.int32(0)),
        "reading": each(read, jnp.float32(0)),
        "ahead": each(forward, work),
        "gradient": gradient(learner.mixer),
        "plain": gradient("vdn"),
        "update": each(update, (learned, work)),
    }
    return Lessons(calls, share, length)


def _batches(
    kept: Replay, of: lanes.Plan, row: int, batch: int, count: int
) -> tuple[Int[Array, "u b"], float, float]:  # fmt: skip
    """Draw as many batches as a training does; return a few of them, from the one with the fewest slots to work on to
    the one with the most, how many slots all have on average for one of those, and the mean length of an episode."""

    def draw(index: Int[Array, ""]) -> tuple[jax.Array, jax.Array]:
        chosen = replay.sample(rng.at(rng.root(2), index), kept, batch)
        return chosen, lanes.lay(slots(kept.episodes)[chosen], of, row).blocks.sum()

    chosen, blocks = jax.jit(jax.vmap(draw))(jnp.arange(max(count, 1)))
    middles = (jnp.arange(UPDATES) * 2 + 1) * blocks.size // (2 * UPDATES)
    few = jnp.argsort(blocks)[middles]
    share = float(blocks.mean() / blocks[few].mean())
    return chosen[few], share, float(kept.episodes.length[chosen].mean())


def _of_lessons(spans: Mapping[str, float], share: float) -> dict[str, float]:
    """Return the seconds for a gradient step of everything that one does, padding included; ``share`` is how many times
    as much of what grows with the slots a gradient step of the training does as those that were timed."""
    reading = max(0.0, spans["reading"] - spans["layout"])
    mixing = max(0.0, spans["gradient"] - spans["plain"])
    grows = {
        "reading": 2 * reading, "mixer": mixing, "forward": spans["ahead"] - spans["layout"] - reading - mixing / 4,
        "backward": spans["gradient"] - spans["ahead"] - reading - 3 * mixing / 4,
    }  # fmt: skip
    found = {
        "sampling": spans["sampling"], "layout": spans["layout"],
        "optimiser": spans["update"] - spans["gradient"], **{name: share * span for name, span in grows.items()},
    }  # fmt: skip
    return {name: span / UPDATES for name, span in found.items()}


def table(name: str, found: Account, peak: float) -> list[str]:
    """Return the lines of an account; ``peak`` in GFLOP/s is that of the device the seed was trained on."""
    rest = found.whole - sum(found.parts.values())
    lines = [f"{name}: {found.whole:.1f} us for an environment step ({1e6 / found.whole:.0f} steps/s)"]
    for part, span in (found.parts | {"rest": rest}).items():
        rate = found.flops.get(part, 0.0) / span / 1e3 if span > 0 else 0.0
        work = f"{rate:8.1f} GFLOP/s {100 * rate / peak:5.1f} % of peak" if part in found.flops else ""
        lines.append(f"  {part:<10}{span:>9.2f} us{100 * span / found.whole:>7.1f} %  {work}")
    return lines
