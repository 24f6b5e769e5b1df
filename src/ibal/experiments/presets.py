"""Named starting points: how a team learns and how much it collects. A preset says nothing of environment and seeds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ibal.experiments.config import RunConfig
from ibal.learners.config import ValueConfig
from ibal.options import ConfigError
from ibal.registry import hint
from ibal.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """Learner and budget of a ``RunConfig``; ``help`` is one line."""

    help: str
    learner: ValueConfig = field(default_factory=ValueConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


PRESETS: dict[str, Preset] = {
    "paper": Preset("PyMARL's hyper-parameters and update ratio, as in the paper"),
    "laptop": Preset(
        "learns fastest in wall-clock time on a few cores",
        ValueConfig(optimiser="adam", lr=5e-4, lr_anneal=True, td_lambda=0.6, target_every=100),
        TrainConfig(updates_per_episode=0.25),
    ),
    "smoke": Preset(
        "a minute or two, nearly all of it compiling: shows that everything runs, learns nothing",
        ValueConfig(batch=8),
        # Evaluated at its end only: an evaluation on the way, of another size, would be compiled on its own.
        TrainConfig(steps=4000, envs=8, replay=64, learn_from=8, eval_every=4000, eval_episodes=8),
    ),
}


def apply_preset(name: str, base: RunConfig = RunConfig()) -> RunConfig:
    """Return ``base`` with the learner and the budget of a preset. Raises ConfigError with the closest name."""
    if name not in PRESETS:
        raise ConfigError(f'unknown preset "{name}".{hint(name, PRESETS)} Presets: {", ".join(PRESETS)}')
    return replace(base, learner=PRESETS[name].learner, train=PRESETS[name].train)
