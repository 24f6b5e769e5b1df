"""The host's side of a training: chunks of compiled iterations; between them evaluation, logs, checkpoints."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng, tree
from ibal.adversaries import referee
from ibal.adversaries.base import Adversary, Threat, natural
from ibal.contract import advice
from ibal.evaluate.episodes import play
from ibal.learners.config import ValueConfig
from ibal.learners.value import value_learner
from ibal.nets import pymarl
from ibal.nets.agents import Agent
from ibal.nets.bundle import save_bundle
from ibal.train import checkpoint, memory, replay
from ibal.train.config import TrainConfig
from ibal.train.log import Log
from ibal.train.loop import FAULT, Trainer, compiled, trainer
from ibal.train.state import TrainState
from ibal.types import Env

FINAL_EPISODES = 512


class TrainingError(Exception):
    """A training that cannot go on; the message says why and where the last good state is."""


class _Run(NamedTuple):
    """What does not change during a run."""

    env: Env
    learner: ValueConfig
    train: TrainConfig
    seeds: tuple[int, ...]
    out: Path
    log: Log
    meta: dict[str, Any]
    team: Agent  # one object for the whole run: evaluation is compiled for it
    threat: Threat


def run(
    env: Env, learner: ValueConfig, train: TrainConfig, *, seeds: Sequence[int], out: Path, log: Log,
    adversary: Adversary | None = None, pretrained: Any = None, resume: bool = False,
    meta: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train every seed for ``train.steps`` environment steps, and return what came of it.

    ``pretrained`` is a learner's state (with the axis of seeds) to start from instead of a fresh one.
    Writes ``out/checkpoints`` (full state), ``out/policy/seed-<k>.safetensors`` (bundles; those on the way, if asked
    for, as ``out/snapshots/seed-<k>-<steps>.safetensors``) and the log. ``resume``
    continues from the newest good checkpoint, bit for bit as if nothing had happened. Raises ``TrainingError`` when
    the loss is no longer finite or a game was not fair, ``CheckpointError`` when nothing can be resumed or written.
    """
    team = pymarl.pymarl_agent(env.spec, learner.hidden)
    adversary = adversary or natural()
    this = _Run(env, learner, train, tuple(seeds), out, log, meta or {}, team, adversary.threat)
    use_compilation_cache()
    make = build(env, learner, train, len(this.seeds), adversary)
    keys = jnp.stack([rng.root(seed) for seed in this.seeds])
    empty = jax.eval_shape(make.init, keys)
    parts = memory.predict(empty, env.spec, learner, train, len(this.seeds))
    try:
        log.note(memory.check(parts, train, memory.train_capacity(empty)))
    except memory.MemoryRefused as refused:
        raise TrainingError(str(refused)) from None

    state, played = _begin(this, make, keys, empty, resume)
    if pretrained is not None and played == 0:
        state = state._replace(learner=jax.tree.map(jnp.copy, pretrained))
    with _asked_to_stop() as stopping:
        saved = time.monotonic()
        if played == 0 and train.eval_every < train.steps:  # a curve needs a beginning: with --init it is no zero
            _evaluate(this, state, train.eval_episodes)
        while played < train.steps and not stopping():
            before, started = played, time.monotonic()
            state, metrics = make.chunk(state)
            played = _report(this, state, metrics, time.monotonic() - started)
            if played // train.eval_every > before // train.eval_every and played < train.steps:
                _evaluate(this, state, train.eval_episodes)
            if train.snapshot_every and played // train.snapshot_every > before // train.snapshot_every:
                _export(this, state, "snapshots", f"-{played:09d}")
            if time.monotonic() - saved > train.checkpoint_every:
                _save(this, state, played)
                saved = time.monotonic()
        _save(this, state, played)
    finished = played >= train.steps
    results = _evaluate(this, state, FINAL_EPISODES) if finished else []
    _export(this, state, "policy")
    said, took = sum(parts.values()), memory.peak()
    return {
        "finished": finished, "env_steps": played, "seeds": results, "out": str(out),
        "memory": {"predicted": said, "peak": took},
    }  # fmt: skip


def build(env: Env, learner: ValueConfig, train: TrainConfig, seeds: int, adversary: Adversary) -> Trainer:
    """Put the compiled program together (it compiles at its first call)."""
    reobserve = adversary.reobserve if "obs" in adversary.threat.channels else None
    learn = value_learner(env.spec, learner, reobserve)
    return compiled(lambda axis: trainer(env, learn, adversary, learner.batch, train, axis), seeds)


def use_compilation_cache() -> None:
    """Let jax keep compiled programs between processes, in the user's cache folder unless another one is set."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]  (set by jax at run time)
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(base) / "ibal" / "jax"))


def _begin(this: _Run, make: Trainer, keys: jax.Array, empty: TrainState, resume: bool) -> tuple[TrainState, int]:
    """Return the state to go on with and its steps; ``empty`` is the abstract state of a fresh one."""
    if not resume:
        this.log.begin(0)
        return make.init(keys), 0
    expect = {name: this.meta[name] for name in ("config_hash",) if name in this.meta}
    template = jax.eval_shape(lambda state: as_saved(state, this.train), empty)
    found = checkpoint.restore(this.out / "checkpoints", template, expect=expect)
    if found is None:
        this.log.note(f"{this.out} holds no checkpoint yet: starting from the beginning")
        this.log.begin(0)
        return make.init(keys), 0
    for sentence in found.skipped:
        this.log.note(sentence)
    this.log.begin(found.step)
    if this.train.checkpoint_replay == "full":
        return found.state, found.step
    capacity = memory.train_capacity(empty)
    grow = jax.vmap(lambda ring: replay.grown(ring, capacity))
    return found.state._replace(replay=grow(found.state.replay)), found.step


def _report(this: _Run, state: TrainState, metrics: dict[str, jax.Array], seconds: float) -> int:
    """Log a chunk, one line per seed; return the environment steps of the seed that has fewest."""
    host: dict[str, Any] = jax.tree.map(np.asarray, metrics)  # [seed, iteration]
    faults = host.pop(FAULT)
    steps = np.asarray(state.progress.env_steps)
    for i, seed in enumerate(this.seeds):
        played = tree.at(faults, i)
        if said := referee.complaint(played, this.env.spec, this.threat, referee.STORED_LARGEST, "iteration"):
            raise TrainingError(f"seed {seed}: {said}{advice(said.whose)}. {_kept(this)}")
        learned = host["updates"][i] > 0
        record = {name: _mean(value[i][learned] if name in _LEARNING else value[i]) for name, value in host.items()}
        record |= {"env_steps": int(steps[i]), "updates": int(host["updates"][i].sum())}
        if state.progress.extra is not None:  # played for the adversary alone
            record["extra_steps"] = int(state.progress.extra[i])
        broken = [name for name in _LEARNING if not np.isfinite(host[name][i][learned]).all()]
        if broken:
            raise TrainingError(
                f"seed {seed}: {broken[0]} is no longer finite within the chunk that ended at step {steps[i]}. "
                f"{_kept(this)}; a smaller --learner.lr may help"
            )
        this.log.write("chunk", {"seed": seed, **record}, seconds)
    return int(steps.min())


def _kept(this: _Run) -> str:
    """Say where one can go on from."""
    folder = this.out / "checkpoints"
    kept = checkpoint.checkpoints(folder)
    return f"The last good checkpoint is kept in {folder}" if kept else "There is no checkpoint yet to go on from"


_LEARNING = ("loss", "td_error", "q_taken", "target", "grad_norm", "padding")


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _evaluate(this: _Run, state: TrainState, episodes: int) -> list[dict[str, Any]]:
    """Play greedily, every seed the same episodes, and log what came of it."""
    keys = rng.episodes(rng.stream(rng.root(0), "eval"), episodes)
    results: list[dict[str, Any]] = []
    for i, seed in enumerate(this.seeds):
        played = play(this.env, this.team, keys, _weights(state, i))
        result = {
            "seed": seed,
            "env_steps": int(state.progress.env_steps[i]),
            "episodes": episodes,
            "win": float(played.win.mean()) if this.env.spec.has_win else None,
            "return": float(played.returns.mean()),
            "length": float(played.length.mean()),
        }
        this.log.write("eval", result)
        results.append(result)
    return results


def _weights(state: TrainState, seed: int) -> Any:
    """Return the agent of one seed on one device: what lies on many is computed by all of them."""
    return jax.device_put(tree.at(state.learner.params.agent, seed), jax.local_devices()[0])


def _save(this: _Run, state: TrainState, played: int) -> None:
    kept = as_saved(state, this.train)
    checkpoint.save(this.out / "checkpoints", played, kept, keep=this.train.keep, extra=this.meta)


def as_saved(state: TrainState, train: TrainConfig) -> TrainState:
    """Leave of the replay what a checkpoint shall hold, in whole iterations of episodes."""
    if train.checkpoint_replay == "full":
        return state
    tenth = memory.train_capacity(state) // 10 // train.envs * train.envs
    count = tenth if train.checkpoint_replay == "tail" else 0
    return state._replace(replay=jax.vmap(lambda ring: replay.newest(ring, count))(state.replay))


def _export(this: _Run, state: TrainState, folder: str, suffix: str = "") -> None:
    for i, seed in enumerate(this.seeds):
        meta = this.meta | {"seed": seed, "env_steps": int(state.progress.env_steps[i])}
        save_bundle(
            this.out / folder / f"seed-{seed}{suffix}.safetensors",
            _weights(state, i),
            this.env.spec,
            meta,
        )


@contextmanager
def _asked_to_stop() -> Generator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish: the chunk is finished and saved. A second one interrupts."""
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
