"""The host's side of a training: chunks of compiled iterations; between them evaluation, logs, checkpoints."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibal import rng, tree
from ibal.adversaries.base import Adversary, Threat, natural
from ibal.contract import advice
from ibal.evaluation.episodes import check_games, play
from ibal.files import Claim, claimed
from ibal.game import referee
from ibal.learners import replayed
from ibal.learners.config import LearnerConfig
from ibal.nets.agents import Agent
from ibal.nets.bundle import save_bundle
from ibal.options import LARGEST, ConfigError
from ibal.training import checkpoint, memory
from ibal.training.config import TrainConfig
from ibal.training.learner import agent_for, check_shown, learner_for, weights_of
from ibal.training.log import Log
from ibal.training.loop import FAULT, LEARNING, Trainer, compiled, trainer
from ibal.training.signals import asked_to_stop
from ibal.training.state import TrainState
from ibal.types import Env

FINAL_EPISODES = 512


class TrainingError(Exception):
    """A training that cannot go on; the message says why and where the last good state is."""


class _Run(NamedTuple):
    """What does not change during a run."""

    env: Env
    learner: LearnerConfig
    train: TrainConfig
    seeds: Sequence[int]
    out: Path
    log: Log
    meta: dict[str, Any]
    team: Agent  # one object for the whole run: evaluation is compiled for it
    threat: Threat
    claim: Claim


def run(
    env: Env, learner: LearnerConfig, train: TrainConfig, *, seeds: Sequence[int], out: Path, log: Log,
    adversary: Adversary | None = None, pretrained: Any = None, resume: bool = False,
    meta: dict[str, Any] | None = None, claim: Claim | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train every seed for ``train.steps`` environment steps, and return what came of it.

    ``pretrained`` is a learner's state to start from instead of a fresh one; its axis of seeds is theirs, or of one for
    all. Writes ``out/checkpoints`` (full state), with each of them ``out/policy/seed-<k>.safetensors`` (bundles; those
    on the way, if asked for, as ``out/snapshots/seed-<k>-<steps>.safetensors``) and the log. ``resume`` continues from
    the newest good checkpoint, bit for bit as if nothing had happened. ``claim`` is the caller's on ``out``, if it has
    one. Raises ``TrainingError`` when the training does not fit into memory, when the loss is no longer finite, a game
    was not fair or ``out`` is gone, ``CheckpointError`` when nothing can be resumed or written, ``Busy`` when another
    process trains into ``out``, ``ConfigError`` for a budget that no counter holds.
    """
    with ExitStack() as stack:
        held = claim or stack.enter_context(claimed(out))
        team = agent_for(env.spec, learner)
        adversary = adversary or natural()
        check_shown(env.spec, learner, adversary.threat)
        meta = {"version": env.spec.version} | (meta or {})
        this = _Run(env, learner, train, seeds, out, log, meta, team, adversary.threat, held)
        return _run(this, adversary, pretrained, resume)


def _run(this: _Run, adversary: Adversary, pretrained: Any, resume: bool) -> dict[str, Any]:
    train = this.train
    if excuse := use_compilation_cache():
        this.log.note(excuse)
    make = build(this.env, this.learner, train, len(this.seeds), adversary)
    empty, parts = _forecast(this, make)
    with asked_to_stop(this.log.note) as stopping:
        state, played = _begin(this, make, empty, resume)
        if pretrained is not None and played == 0:
            mine = begun(pretrained, replayed.learned(state.learner), this.env.spec.state_size)
            state = state._replace(learner=replayed.with_learned(state.learner, mine))
        saved = time.monotonic()
        if played == 0 and train.eval_every < train.steps:  # a curve needs a beginning: with --init it is no zero
            _evaluate(this, state, train.eval_episodes)
        while played < train.steps and not stopping():
            before, started = played, time.monotonic()
            state, metrics = make.chunk(state)
            played = _report(this, state, metrics, time.monotonic() - started)
            _check_there(this)
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
    _check_there(this)
    return {
        "finished": finished, "env_steps": played, "seeds": results, "out": str(this.out),
        "memory": {
            "predicted": sum(parts.values()), "predicted_from_cache": memory.from_cache(parts), "peak": memory.peak(),
        },
    }  # fmt: skip


def _forecast(this: _Run, make: Trainer) -> tuple[TrainState, dict[str, int]]:
    """Return the abstract state of a fresh training and the memory it takes, or refuse it; nothing is allocated."""
    train, spec = this.train, this.env.spec
    most = train.steps + train.chunk * train.envs * spec.horizon
    if most > LARGEST:
        raise ConfigError(
            f"train.steps = {train.steps} and one chunk more, {train.chunk} x {train.envs} episodes of {spec.horizon} "
            f"steps, are {most} steps; a counter holds {LARGEST}: lower train.steps, train.chunk or train.envs"
        )
    try:
        empty, parts, line = memory.forecast(make, spec, this.learner, train, len(this.seeds))
        this.log.note(line)
        weights = jax.eval_shape(lambda params: tree.at(params, 0), weights_of(empty.learner))
        check_games(this.env, this.team, max(train.eval_episodes, FINAL_EPISODES), weights)
    except memory.MemoryRefused as refused:
        raise TrainingError(str(refused)) from None
    return empty, parts


def build(env: Env, learner: LearnerConfig, train: TrainConfig, seeds: int, adversary: Adversary) -> Trainer:
    """Put the compiled program together (it compiles at its first call)."""

    def make(axis: str | None, part: str | None) -> Trainer:
        return trainer(env, learner_for(env, learner, train, adversary, axis, part), adversary, train, axis, part)

    return compiled(make, seeds, train.shares)


def begun(given: Any, own: Any, state_size: int) -> Any:
    """Return a learner's state ``given`` for the seeds that ``own`` has, as a copy: what goes into a chunk is used up.

    Where a mixer is told more than the one that was given (``ValueConfig.privileged``), the weights of what stands
    behind the ``state_size`` numbers of the state begin at 0: it judges as before until it has learned what they mean.
    """

    def of(given: jax.Array, own: jax.Array) -> jax.Array:
        if given.shape[1:] != own.shape[1:]:
            more = own.shape[1] - given.shape[1]
            room = jnp.zeros((given.shape[0], more, *given.shape[2:]), given.dtype)
            given = jnp.concatenate((given[:, :state_size], room, given[:, state_size:]), axis=1)
        return jnp.copy(jnp.broadcast_to(given, own.shape))

    return jax.tree.map(of, given, own)


def use_compilation_cache() -> str | None:
    """Let jax keep compiled programs between processes, in the user's cache folder unless another one is set.

    Returns why that cannot be done: a user without a home, as in some containers, or one that cannot be written to.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]  (set by jax at run time)
        return None
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibal" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "not allowed", str(folder))
    except (RuntimeError, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "this user has no home folder"
        return f"compiled programs are not kept for the next start ({why}); set JAX_COMPILATION_CACHE_DIR for that"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return None


def _begin(this: _Run, make: Trainer, empty: TrainState, resume: bool) -> tuple[TrainState, int]:
    """Return the state to go on with and its steps; ``empty`` is the abstract state of a fresh one."""
    keys = jnp.stack([rng.root(seed) for seed in this.seeds])
    found = _restored(this, empty) if resume else None
    if found is None:
        this.log.begin(0)
        return make.init(keys), 0
    for sentence in found.skipped:
        this.log.note(sentence)
    this.log.begin(found.step)
    if this.train.checkpoint_replay == "full":
        return found.state, found.step
    capacity = replayed.capacity(empty.learner)
    grow = jax.vmap(lambda learner: replayed.lengthened(learner, capacity, this.train.shares))
    return found.state._replace(learner=grow(found.state.learner)), found.step


def _restored(this: _Run, empty: TrainState) -> checkpoint.Restored | None:
    expect = {name: this.meta[name] for name in ("config_hash",) if name in this.meta}
    template = jax.eval_shape(lambda state: as_saved(state, this.train), empty)
    found = checkpoint.restore(this.out / "checkpoints", template, expect=expect)
    played = this.env.spec.version
    if found is not None and found.extra.get("version", played) != played:
        raise checkpoint.CheckpointError(
            f'{this.out} was trained by version "{found.extra["version"]}" of the rules of {this.env.spec.name}, and '
            f'"{played}" is played now; make the environment with that version, or train into another folder'
        )
    if found is None:
        this.log.note(f"{this.out} holds no checkpoint yet: starting from the beginning")
    return found


def _report(this: _Run, state: TrainState, metrics: dict[str, Any], seconds: float) -> int:
    """Log a chunk, one line per seed; return the environment steps of the seed that has fewest."""
    host: dict[str, Any] = jax.tree.map(np.asarray, metrics)  # [seed, iteration]
    faults = host.pop(FAULT)
    of_learner = sorted(host[LEARNING], key=lambda name: name != "loss")
    host = dict(sorted((host.pop(LEARNING) | host).items()))
    steps = np.asarray(state.progress.env_steps)
    for i, seed in enumerate(this.seeds):
        played = tree.at(faults, i)
        if said := referee.complaint(played, this.env.spec, this.threat, referee.STORED_LARGEST, "iteration"):
            raise TrainingError(f"seed {seed}: {said}{advice(said.whose)}. {_kept(this)}")
        record = {
            name: _mean(value[i][~np.isnan(value[i])] if name in of_learner else value[i])
            for name, value in host.items()
        }  # fmt: skip
        record |= {"env_steps": int(steps[i]), "updates": int(host["updates"][i].sum())}
        if state.progress.extra is not None:  # played for the adversary alone
            record["extra_steps"] = int(state.progress.extra[i])
        learning = host["updates"][i] > 0
        broken = [name for name in of_learner if not (np.isfinite(host[name][i]) | ~learning).all()]
        broken += [name for name, value in host.items() if np.isinf(value[i]).any()]
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
    return jax.device_put(tree.at(weights_of(state.learner), seed), jax.local_devices()[0])


def _save(this: _Run, state: TrainState, played: int) -> None:
    """Write a checkpoint, and the policies as they are then: who is killed later can still be evaluated."""
    _check_there(this)
    kept = as_saved(state, this.train)
    try:
        checkpoint.save(this.out / "checkpoints", played, kept, keep=this.train.keep, extra=this.meta)
    except checkpoint.CheckpointError:
        _check_there(this)  # which may be why
        raise
    _export(this, state, "policy")


def _check_there(this: _Run) -> None:
    """Raise TrainingError where everything that was written is gone, and what would be written now is of no use."""
    if not this.claim.holds():
        raise TrainingError(
            f"{this.out} was deleted or replaced during the training; nothing is left to continue, so train again"
        )


def as_saved(state: TrainState, train: TrainConfig) -> TrainState:
    """Leave of the replay what a checkpoint shall hold, in whole iterations of episodes."""
    if train.checkpoint_replay == "full":
        return state
    tenth = replayed.capacity(state.learner) // 10 // train.envs * train.envs
    count = tenth if train.checkpoint_replay == "tail" else 0
    shorten = jax.vmap(lambda learner: replayed.shortened(learner, count, train.shares))
    return state._replace(learner=shorten(state.learner))


def _export(this: _Run, state: TrainState, folder: str, suffix: str = "") -> None:
    for i, seed in enumerate(this.seeds):
        meta = this.meta | {"seed": seed, "env_steps": int(state.progress.env_steps[i])}
        save_bundle(
            this.out / folder / f"seed-{seed}{suffix}.safetensors",
            _weights(state, i),
            this.env.spec,
            meta,
        )
