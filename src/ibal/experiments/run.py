"""A whole training and its folder, from a configuration: what ``ibal train`` and ``ibal.train`` do.

    summary = train_run(RunConfig(env="smac/8m", method="ibal", seeds=3), Path("runs/ibal-8m"))

runs/ibal-8m/config.toml   what it was        runs/ibal-8m/policy/seed-<k>.safetensors   the teams
runs/ibal-8m/metrics.jsonl its numbers        runs/ibal-8m/checkpoints/                  what it can go on from
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from ibal import envs, rng
from ibal.adversaries.base import Adversary
from ibal.experiments.config import (
    BOOKKEEPING,
    CONFIG_FILE,
    RunConfig,
    as_dict,
    config_hash,
    flat,
    load_toml,
    save_toml,
)
from ibal.experiments.methods import adversary_of, world_of
from ibal.experiments.pretrained import learner_state
from ibal.files import Claim, claimed
from ibal.learners.config import PpoConfig, PqnConfig
from ibal.options import ConfigError
from ibal.training import runner
from ibal.training.learner import check_shown
from ibal.training.log import METRICS_FILE, ConsoleKind, open_log
from ibal.training.loop import workers_for
from ibal.types import Env

CONSOLE: ConsoleKind = "auto"
NEVER = 1e9  # seconds: no checkpoint on the way
LEAST = 8  # episodes of a batch that are worth a device


def train_run(
    config: RunConfig, out: Path, *, env: Env | None = None, adversary: Adversary | None = None, resume: bool = False,
    kept: bool = True, console: ConsoleKind = CONSOLE, tensorboard: bool = False, wandb: bool = False,
    note: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:  # fmt: skip
    """Train what ``config`` says into the folder ``out``, and return what came of it (``training.runner.run``).

    ``env`` and ``adversary`` stand for those that ``config`` names, where they are objects of the caller's program.
    ``resume`` goes on with what ``out`` holds. ``kept=False``: the folder will be thrown away, so nothing is saved that
    only a resumed training needs. ``note`` is told what is damaged and passed over before the log is open.

    Ctrl-C, once, ends the training after its chunk: ``finished`` is then False, and everything is there as it is at
    the end. Raises ConfigError for what cannot be run or an ``out`` that is taken, ``Busy`` where another process
    trains into it, and as ``run``, ``open_log`` and ``learner_state`` do.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    with claimed(out) as held:
        config = divided(pinned(config, out, env, resume), out, resume)
        _check_folder(held, config, resume)
        use_cores(config.seeds)
        env = _environment(config) if env is None else env
        env = _world(config, env)
        adversary = _adversary(config, env) if adversary is None else adversary
        check_shown(env.spec, config.learner, adversary.threat, f"method {config.method}")
        starts = config.init and not (resume and _began(out))
        pretrained = learner_state(Path(config.init), env, config, note) if starts else None
        train = config.train if kept else replace(config.train, checkpoint_replay="none", checkpoint_every=NEVER)
        table = as_dict(config)
        with (
            _nothing_half_written(out),
            open_log(out, table, console=console, tensorboard=tensorboard, wandb=wandb) as log,
        ):
            save_toml(config, out / CONFIG_FILE)
            where = f", into {out}" if kept else ""
            log.note(f"training on {config.env}, {config.seeds} seed{'s' * (config.seeds > 1)}{where}")
            meta = {
                "env": config.env,
                "env_options": dict(config.env_options),
                "method": config.method,
                "config_hash": config_hash(config),
                "config": table,
            }
            return runner.run(
                env, config.learner, train, seeds=range(config.seed, config.seed + config.seeds), out=out, log=log,
                adversary=adversary, pretrained=pretrained, resume=resume, meta=meta, claim=held,
            )  # fmt: skip


def pinned(config: RunConfig, out: Path, env: Env | None = None, resume: bool = False) -> RunConfig:
    """Let a configuration say by which version of its rules the environment is played, so that the run can go on by the
    same: that of ``env``, that of the run in ``out`` which is resumed (one that says none is older than versions), or
    else the newest."""
    given = dict(config.env_options)
    name = envs.TABLE.resolve(config.env) if env is None else env.spec.name
    if "version" in given or not envs.versions(name):
        return config
    if resume and (out / CONFIG_FILE).exists():
        saved = dict(load_toml(out / CONFIG_FILE).env_options)
        given |= {"version": saved["version"]} if "version" in saved else {}
    else:
        given["version"] = envs.versions(name)[-1] if env is None else env.spec.version
    return replace(config, env_options=tuple(sorted(given.items())))


def divided(config: RunConfig, out: Path, resume: bool = False) -> RunConfig:
    """Let a configuration say into how many parts the work of a seed is divided: as it does itself, as the run in
    ``out`` which is resumed does, or else into as many as there are cores that no other seed needs, at least
    ``LEAST`` episodes of every batch for each."""
    train, learner = config.train, config.learner
    if train.parts or isinstance(learner, PpoConfig):
        return config
    if resume:
        known = (out / CONFIG_FILE).exists()
        parts = load_toml(out / CONFIG_FILE).train.parts if known else 0
    else:
        use_cores(config.seeds)
        found = jax.local_device_count() if jax.default_backend() == "cpu" else 1
        free = found // workers_for(config.seeds, found)
        batch = train.envs if isinstance(learner, PqnConfig) else learner.batch
        batches = [k for k in range(1, batch // LEAST + 1) if batch % k == 0]
        able = (k for k in batches if k <= free and train.envs % k == 0)
        parts = max(able, default=1)
    return config if parts < 2 else replace(config, train=replace(train, parts=parts))


def _check_folder(held: Claim, config: RunConfig, resume: bool) -> None:
    """Refuse a run folder that cannot be used."""
    out = held.path.parent
    content = {path.name for path in out.iterdir() if path != held.path and not path.name.endswith(".writing")}
    if not content:  # of a training that was killed before it wrote anything, if of any: there is nothing to lose
        return
    if not resume:
        # A training that died before its first checkpoint leaves nothing to continue, and nothing to lose. A folder
        # with no more than a configuration may be where the user keeps it.
        died = held.abandoned or METRICS_FILE in content
        if died and content <= {CONFIG_FILE, METRICS_FILE, "checkpoints"} and not _began(out):
            return
        raise ConfigError(f"--out {out} exists; continue it with --resume, or name another folder")
    if not (out / CONFIG_FILE).exists():
        raise ConfigError(f"--out {out} has no {CONFIG_FILE}: it is no run folder, and nothing in it can be resumed")
    asked, saved = flat(config), flat(load_toml(out / CONFIG_FILE))
    for name in sorted(asked.keys() | saved.keys()):
        if name not in BOOKKEEPING and asked.get(name) != saved.get(name):
            raise ConfigError(
                f"--resume: {name} is {saved.get(name)} in {out / CONFIG_FILE}, {asked.get(name)} is asked for; a "
                f"resumed training keeps its configuration (only {', '.join(BOOKKEEPING)} may change), so "
                "leave it out or name another --out"
            )


def _began(out: Path) -> bool:
    """Say whether a training has left something to continue."""
    folder = out / "checkpoints"
    return folder.exists() and any(not path.name.endswith(".writing") for path in folder.iterdir())


@contextlib.contextmanager
def _nothing_half_written(out: Path) -> Generator[None]:
    """Remove what a training that fails at once would leave: the same command can then be given again."""
    before = (out / CONFIG_FILE).exists()
    try:
        yield
    except BaseException:
        metrics = out / METRICS_FILE
        learned = metrics.is_file() and '"chunk"' in metrics.read_text(encoding="utf-8", errors="replace")
        if not (before or _began(out) or learned):
            for path in (metrics, out / CONFIG_FILE):
                with contextlib.suppress(OSError):
                    path.unlink()
        raise


def use_cores(seeds: int) -> None:
    """Make cores of a CPU devices of their own: as many for each seed (or group of seeds) as for the others; 0: all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = workers_for(seeds or cores, cores)
    devices = cores // workers * workers
    # Too late where jax is in use already, as in a program that calls this command: then there is one device.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)


def _environment(config: RunConfig) -> Env:
    try:
        return envs.made(config.env, envs.as_recorded(config.env, {"env_options": dict(config.env_options)}))
    except (ValueError, TypeError) as error:
        if config.env_options and config.env in envs.TABLE:  # an error of the user's own function keeps its traceback
            raise ConfigError(f"{config.env} does not take its env_options: {error}") from error
        raise


def _world(config: RunConfig, env: Env) -> Env:
    try:
        return world_of(config.method, env)
    except ValueError as error:
        raise ConfigError(f"method {config.method}: {error}") from error


def _adversary(config: RunConfig, env: Env) -> Adversary:
    try:
        made = adversary_of(config.method, env.spec, dict(config.method_options))
        if (world := made.world) is not None:  # what the world cannot follow is told now, not while it is compiled
            jax.eval_shape(lambda: world(made.init(rng.root(0)), env))
        return made
    except ValueError as error:
        raise ConfigError(f"method {config.method}: {error}") from error
