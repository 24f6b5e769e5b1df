"""Named starting points: how a team learns and how much it collects. A preset says nothing of environment and seeds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ibal.experiments.config import RunConfig
from ibal.learners.config import PpoConfig, PqnConfig, ValueConfig
from ibal.options import ConfigError
from ibal.registry import hint
from ibal.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """Learner and budget of a ``RunConfig``: those of value learners, those of MAPPO and IPPO, and those of PQN;
    ``help`` is one line."""

    help: str
    learner: ValueConfig = field(default_factory=ValueConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)
    ppo_train: TrainConfig = field(default_factory=TrainConfig)
    pqn: PqnConfig = field(default_factory=PqnConfig)
    pqn_train: TrainConfig = field(default_factory=TrainConfig)


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        "PyMARL's hyper-parameters and update ratio, as in the paper; of MAPPO those of its authors for the map",
        ppo_train=TrainConfig(steps=10_000_000, envs=64),
        pqn_train=TrainConfig(steps=10_000_000, envs=128, epsilon_end=0.01, epsilon_steps=1_000_000),
    ),
    "laptop": Preset(
        "learns fastest in wall-clock time on a few cores",
        ValueConfig(optimiser="adam", lr=5e-4, lr_anneal=True, td_lambda=0.6, target_every=100),
        TrainConfig(updates_per_episode=0.25),
        PpoConfig(chunk=0, epochs=5, lr=1e-3, critic_lr=1e-3),
        pqn=PqnConfig(epochs=4, minibatches=4, lr=1e-3),
    ),
    "smoke": Preset(
        "a minute or two, nearly all of it compiling: shows that everything runs, learns nothing",
        ValueConfig(batch=8),
        # Evaluated at its end only: an evaluation on the way, of another size, would be compiled on its own.
        TrainConfig(steps=4000, envs=8, replay=64, learn_from=8, eval_every=4000, eval_episodes=8),
        PpoConfig(epochs=2),
        TrainConfig(steps=4000, envs=8, eval_every=4000, eval_episodes=8),
        PqnConfig(epochs=2, minibatches=2),
        TrainConfig(steps=4000, envs=8, eval_every=4000, eval_episodes=8),
    ),
}

# What the official runs on a map differ in, at about 3,200 steps an update. Those that stack frames or have no
# recurrent layer (3s_vs_4z, 3s_vs_5z, 6h_vs_8z, corridor, some of SMACv2) are recurrent here, with their epochs, clips.
# Source: on-policy's scripts/train_smac_scripts and train_smacv2_scripts.
_FIVE = {"epochs": 5}
MAPS: dict[str, dict[str, Any]] = {
    "smac/8m_vs_9m": {"clip": 0.05},
    "smac/3s_vs_5z": {"clip": 0.05},
    "smac/5m_vs_6m": {"epochs": 10, "clip": 0.05},
    "smac/10m_vs_11m": {"epochs": 10},
    "smac/25m": {"epochs": 10},
    **dict.fromkeys(
        (f"smac/{name}" for name in ("3s5z", "3s5z_vs_3s6z", "27m_vs_30m", "2c_vs_64zg", "6h_vs_8z", "corridor")), _FIVE
    ),
    "smac/MMM2": {"epochs": 5, "minibatches": 2, "gain": 1.0},
}
SHORT_GAMES = {"smac/8m": 128, "smac/3m": 128}  # environments, where games last some 25 steps


def apply_preset(name: str, base: RunConfig = RunConfig()) -> RunConfig:
    """Return ``base`` with the learner and the budget of a preset, for the kind of learner and the environment that it
    has. Raises ConfigError with the closest name."""
    if name not in PRESETS:
        raise ConfigError(f'unknown preset "{name}".{hint(name, PRESETS)} Presets: {", ".join(PRESETS)}')
    preset = PRESETS[name]
    if isinstance(base.learner, PqnConfig):
        return replace(base, learner=replace(preset.pqn, name=base.learner.name), train=preset.pqn_train)
    if not isinstance(base.learner, PpoConfig):
        return replace(base, learner=preset.learner, train=preset.train)
    learner, train = replace(preset.ppo, name=base.learner.name), preset.ppo_train
    if name == "paper":
        learner = replace(learner, **(_FIVE if base.env.startswith("smacv2/") else MAPS.get(base.env, {})))
        train = replace(train, envs=SHORT_GAMES.get(base.env, train.envs))
    return replace(base, learner=learner, train=train)
