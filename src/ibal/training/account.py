"""Where the time of an environment step goes, part by part.

Whole iterations are timed as they train. Each part is timed in a program of its own on the same data; what is not a
program's own but the difference of two is said so in ``PARTS``. What the parts leave over is the rest, so the table
sums to the whole: how small the rest is says how good the account is.
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
from ibal.nets.mixers import mixer
from ibal.nets.mixers.vdn import VdnParams
from ibal.training import bench
from ibal.training.config import TrainConfig
from ibal.training.learner import batch_learner, learner_for, told_by
from ibal.training.loop import LEARNING
from ibal.training.rollout import collect
from ibal.training.runner import build
from ibal.training.state import TrainState
from ibal.types import Env

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


class Counted(NamedTuple):
    """What was counted while chunks were timed: environment steps, gradient steps, and the share of padding."""

    steps: int
    updates: int
    padding: float


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
    """Train one seed on one device for ``warm_up`` chunks, then time ``repeats`` more and their parts."""
    adversary = adversary or natural()
    make = build(env, learner, train, 1, adversary)
    state = make.init(rng.root(0)[None])
    for _ in range(warm_up):
        state, _ = make.chunk(state)
    jax.block_until_ready(state.progress)
    one = jax.jit(tree.at)(state, 0)
    counted = Counted(0, 0, 0.0)

    def chunk() -> TrainState:
        nonlocal state, counted
        before = int(state.progress.env_steps[0])
        state, metrics = make.chunk(state)
        learned = metrics[LEARNING]
        counted = Counted(
            counted.steps + int(state.progress.env_steps[0]) - before,
            counted.updates + int(learned["updates"].sum()),
            counted.padding + float(learned["padding"].mean()) / (repeats + 1),
        )
        return state

    rollouts, games = _games(env, learner, train, adversary, one)
    lessons = _lessons(env, learner, train, adversary, one)
    spans = bench.shortest({"chunk": chunk, **rollouts, **lessons}, repeats)
    steps, updates, padding = counted
    mine = _of_lessons(spans)
    idle = padding * (mine["forward"] + mine["backward"] + mine["mixer"])
    for name in ("forward", "backward", "mixer"):
        mine[name] *= 1 - padding
    found = _of_games(spans, games) | {
        name: span * updates / steps for name, span in (mine | {"padding": idle}).items()
    }
    replayed = updates * learner.batch * float(one.learner.replay.episodes.length.mean()) / steps
    return Account(
        {name: 1e6 * found[name] for name in PARTS},
        # How many steps a chunk has is chance, and most of its time goes to gradient steps, as many in every chunk.
        1e6 * spans["chunk"] * (repeats + 1) / steps,
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


def _lessons(env: Env, learner: ValueConfig, train: TrainConfig, adversary: Adversary, one: Any) -> Calls:
    """Return what a gradient step does, up to one part after another; each call does it ``UPDATES`` times."""
    kept, learned = one.learner.replay, one.learner.learned
    batch, row = learner.batch, env.spec.horizon + 1
    of = lanes.plan(env.spec.n_agents, batch, row)
    steps = batch_learner(env.spec, learner, train, adversary)
    again, tells = adversary.reobserve if "obs" in adversary.threat.channels else None, told_by(learner, adversary)
    chosen = jnp.stack([replay.sample(rng.at(rng.root(2), i), kept, batch) for i in range(UPDATES)])

    def each(
        one_step: Callable[[Int[Array, "b"], Any], Any], begin: Any, choose: bool = False
    ) -> Callable[[], Any]:  # fmt: skip
        """``one_step(chosen, carry) -> carry`` over all batches; with ``choose``, batches drawn on the way."""

        def many(begin: Any, kept: Any) -> Any:
            def step(index: jax.Array, carry: Any) -> Any:
                which = replay.sample(rng.at(rng.root(2), index), kept, batch) if choose else chosen[index]
                return one_step(which, carry)

            return jax.lax.fori_loop(0, UPDATES, step, begin)

        run = jax.jit(many)
        return lambda: run(begin, kept)

    def task(which: Int[Array, "b"]) -> td.Task:
        laid = lanes.lay(slots(kept.episodes)[which], of, row)
        return td.Task(
            learned.params, learned.target, kept.episodes, which, laid, of, mixer(learner.mixer), learner, again,
            told_of(tells, kept.episodes, which),
        )  # fmt: skip

    def read(which: Int[Array, "b"], total: jax.Array) -> jax.Array:
        now = task(which)

        def block(index: jax.Array, total: jax.Array) -> jax.Array:
            seen = td.block_of(now, jnp.int32(0), index)
            return total + sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves(seen))

        return jax.lax.fori_loop(0, now.laid.blocks[0], block, total)

    def forward(which: Int[Array, "b"], work: td.Work) -> td.Work:
        return td.forward(task(which), jnp.int32(0), work)

    def gradient(name: str, params: td.ValueParams, target: td.ValueParams) -> Callable[[], Any]:
        mix = mixer(name)
        work = td.work_for(params, kept.episodes, batch, mix, tells)

        def step(which: Int[Array, "b"], carry: Any) -> Any:
            found, work = carry
            new, _, work = td.gradient(params, target, kept.episodes, which, work, mix, learner, again, tells=tells)
            return jax.tree.map(jnp.add, found, new), work

        return each(step, (jax.tree.map(jnp.zeros_like, params), work))

    def update(which: Int[Array, "b"], carry: Any) -> Any:
        state, work = carry
        assert steps.update_in is not None
        state, _, work = steps.update_in(rng.root(3), state, kept.episodes, which, jnp.float32(1), work)
        return state, work

    work = td.work_for(learned.params, kept.episodes, batch, mixer(learner.mixer), tells)
    return {
        "sampling": each(lambda which, total: total + which, jnp.zeros(batch, jnp.int32), choose=True),
        "layout": each(lambda which, total: total + task(which).laid.episode.sum(), jnp.int32(0)),
        "reading": each(read, jnp.float32(0)),
        "ahead": each(forward, work),
        "gradient": gradient(learner.mixer, learned.params, learned.target),
        "plain": gradient("vdn", *(td.ValueParams(p.agent, VdnParams()) for p in (learned.params, learned.target))),
        "update": each(update, (learned, work)),
    }


def _of_lessons(spans: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds for a gradient step of everything that one does, padding included."""
    reading = max(0.0, spans["reading"] - spans["layout"])
    mixing = max(0.0, spans["gradient"] - spans["plain"])
    found = {
        "sampling": spans["sampling"], "layout": spans["layout"], "reading": 2 * reading, "mixer": mixing,
        "forward": spans["ahead"] - spans["layout"] - reading - mixing / 4,
        "backward": spans["gradient"] - spans["ahead"] - reading - 3 * mixing / 4,
        "optimiser": spans["update"] - spans["gradient"],
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
