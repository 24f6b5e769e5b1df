"""What another run has learned, as the start of a new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ibal import rng
from ibal.envs import version_of
from ibal.experiments.config import RunConfig, load_toml
from ibal.experiments.methods import adversary_of
from ibal.learners.config import LearnerConfig, PpoConfig, PqnConfig, ValueConfig, name_of
from ibal.learners.ppo.mappo import ppo_learner
from ibal.learners.pqn import pqn_learner
from ibal.learners.replayed import LEARNED
from ibal.learners.value import value_learner
from ibal.options import ConfigError, Scalar
from ibal.training import checkpoint
from ibal.training.learner import told_by
from ibal.types import Env, Tells


def learner_state(run: Path, env: Env, config: RunConfig, note: Callable[[str], None] = lambda message: None) -> Any:
    """Return the learner's state (networks, targets, moments; axis of seeds first) of the newest checkpoint of ``run``.

    A run of one seed starts all seeds of ``config``; otherwise both must have the same number. What the run trained
    against, and how long, is of no matter, but for what its mixer was told (``ValueConfig.privileged``): nothing, or
    the same as here. Raises ConfigError for a run of another environment or other networks, CheckpointError when
    nothing can be read; ``note`` is told of what is damaged and passed over.
    """
    if not (run / "config.toml").exists():
        raise ConfigError(f"--init {run} is no run folder: it has no config.toml")
    source = load_toml(run / "config.toml")
    both = source.learner, config.learner
    mixes = all(isinstance(of, ValueConfig) for of in both)
    for name, theirs, ours in (
        ("environment", source.env, config.env),
        ("version of the rules", _version(source), _version(config)),
        ("set of environment options", _listed(source.env_options), _listed(config.env_options)),
        ("mixer" if mixes else "learner", name_of(source.learner), name_of(config.learner)),
        ("hidden size", source.learner.hidden, config.learner.hidden),
        ("optimiser", *(_optimiser(of) for of in both)),
    ):
        if theirs != ours:
            raise ConfigError(f"--init {run}: its {name} is {theirs}, this training has {ours}; they must be the same")
    if source.seeds not in (1, config.seeds):
        raise ConfigError(f"--init {run} has {source.seeds} seeds, this training {config.seeds}; both or the first: 1")
    learner = source.learner
    if isinstance(learner, PpoConfig):
        init, part = ppo_learner(env.spec, learner).init, "learner"
    elif isinstance(learner, PqnConfig):
        init, part = pqn_learner(env.spec, learner).init, "learner"
    else:
        theirs, ours = _told(source, env), _told(config, env)
        if theirs not in (None, ours) and (ours is None or theirs.size != ours.size):
            raise ConfigError(
                f"--init {run}: its mixer was told other things by its training adversary; begin with a run whose "
                "mixer was told nothing, or train by the same method with learner.privileged"
            )
        init, part = value_learner(env.spec, learner, tells=theirs).init, f"learner/{LEARNED}"
    one = jax.eval_shape(lambda: init(rng.root(0)))
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((source.seeds, *leaf.shape), leaf.dtype), one)
    advice = f"Begin with a run in {config.env} that has as many agents, actions and observations as here"
    found = checkpoint.restore(run / "checkpoints", template, part=part, advice=advice)
    if found is None:
        raise ConfigError(f"--init {run} holds no checkpoint")
    for sentence in found.skipped:
        note(sentence)
    return found.state


def _told(config: RunConfig, env: Env) -> Tells | None:
    """Return what the mixer of a training is told; None: nothing."""
    if not isinstance(config.learner, ValueConfig) or not config.learner.privileged:
        return None
    return told_by(config.learner, adversary_of(config.method, env.spec, dict(config.method_options)))


def _optimiser(of: LearnerConfig) -> str:
    if isinstance(of, ValueConfig):
        return of.optimiser
    return "radam" if isinstance(of, PqnConfig) and of.rectified else "adam"


def _listed(options: tuple[tuple[str, Scalar], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options if name != "version") or "the defaults"


def _version(config: RunConfig) -> str:
    return version_of(config.env, {"env_options": dict(config.env_options)})
