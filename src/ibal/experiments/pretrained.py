"""What another run has learned, as the start of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ibal import rng
from ibal.experiments.config import RunConfig, load_toml
from ibal.experiments.methods import adversary_of
from ibal.options import ConfigError
from ibal.train import checkpoint
from ibal.train.runner import as_saved, build
from ibal.types import Env


def learner_state(run: Path, env: Env, config: RunConfig) -> Any:
    """Return the learner's state (networks, targets, moments; axis of seeds first) of the newest checkpoint of ``run``.

    A run of one seed starts all seeds of ``config``; otherwise both must have the same number. Raises ConfigError for a
    run of another environment or other networks, CheckpointError when nothing can be read.
    """
    if not (run / "config.toml").exists():
        raise ConfigError(f"--init {run} is no run folder: it has no config.toml")
    source = load_toml(run / "config.toml")
    for name, theirs, ours in (
        ("environment", source.env, config.env),
        ("mixer", source.learner.mixer, config.learner.mixer),
        ("hidden size", source.learner.hidden, config.learner.hidden),
        ("optimiser", source.learner.optimiser, config.learner.optimiser),
    ):
        if theirs != ours:
            raise ConfigError(f"--init {run}: its {name} is {theirs}, this training has {ours}; they must be the same")
    if source.seeds not in (1, config.seeds):
        raise ConfigError(f"--init {run} has {source.seeds} seeds, this training {config.seeds}; both or the first: 1")
    adversary = adversary_of(source.method, env.spec)
    keys = jnp.stack([rng.root(seed) for seed in range(source.seeds)])
    make = build(env, source.learner, source.train, source.seeds, adversary)
    template = jax.eval_shape(lambda keys: as_saved(make.init(keys), source.train), keys)
    found = checkpoint.restore(run / "checkpoints", template)
    if found is None:
        raise ConfigError(f"--init {run} holds no checkpoint")
    if source.seeds == config.seeds:
        return found.state.learner
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, config.seeds, axis=0), found.state.learner)
