"""How much is collected, how often one learns from it, and when the host looks in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ibal.options import ConfigError, check_count, check_fields, check_order, check_positive, check_within

MOST_UPDATES = 1000.0  # per episode; PyMARL makes one


@dataclass(frozen=True)
class TrainConfig:
    """Budget and rhythm of a training. Counts of steps are environment steps of one seed; the defaults are PyMARL's."""

    steps: int = 1_000_000
    """Environment steps to train for."""
    envs: int = 32
    """Environments that play side by side: one iteration collects this many whole episodes."""
    updates_per_episode: float = 1.0
    """Gradient steps per collected episode (PyMARL: 1)."""
    replay: int = 5000
    """Episodes the replay keeps."""
    learn_from: int = 32
    """Episodes that must be stored before learning begins."""
    epsilon_start: float = 1.0
    """Share of random actions at the beginning."""
    epsilon_end: float = 0.05
    """Share of random actions after ``epsilon_steps``."""
    epsilon_steps: int = 50_000
    """Environment steps over which epsilon falls linearly."""
    chunk: int = 10
    """Iterations in one compiled call; the host looks in between two calls."""
    eval_every: int = 50_000
    """Environment steps between two greedy evaluations."""
    eval_episodes: int = 128
    """Episodes of an evaluation during training (the last one plays 512)."""
    snapshot_every: int = 0
    """Environment steps between two copies of the policies that are kept in ``snapshots``, for curves of anything that
    is measured afterwards; 0: none."""
    parts: int = 0
    """Devices (cores) that share the work of one seed; each plays, keeps and learns from an equal part of the episodes.
    The same numbers need the same parts. 0: what `ibal train` finds free for every seed, else one."""
    checkpoint_every: float = 300.0
    """Seconds between two checkpoints; one is always written at the end."""
    keep: int = 2
    """Checkpoints that are kept."""
    checkpoint_replay: Literal["full", "tail", "none"] = "full"
    """What a checkpoint holds of the replay: all (a resumed run equals an uninterrupted one bit for bit), the newest
    tenth, or nothing (the resumed run fills it anew before it learns on)."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be run, whoever makes it."""
        check_fields(self, "train")
        for name in ("steps", "envs", "replay", "learn_from", "chunk", "eval_every", "eval_episodes", "keep"):
            check_count(f"train.{name}", getattr(self, name), 1)
        for name in ("epsilon_steps", "snapshot_every", "parts"):
            check_count(f"train.{name}", getattr(self, name))
        for name in ("epsilon_start", "epsilon_end"):
            check_within(f"train.{name}", getattr(self, name), 0.0, 1.0)
        check_positive("train.updates_per_episode", self.updates_per_episode)
        check_within("train.updates_per_episode", self.updates_per_episode, 0.0, MOST_UPDATES)
        check_positive("train.checkpoint_every", self.checkpoint_every, zero=True)
        why = "the replay never holds more"
        check_order("train.learn_from", self.learn_from, "train.replay", self.replay, why)
        why = "one iteration's episodes must fit in the replay"
        check_order("train.envs", self.envs, "train.replay", self.replay, why)
        if self.parts > 1 and self.envs % self.parts:
            raise ConfigError(f"train.envs = {self.envs} cannot be divided among train.parts = {self.parts}")

    @property
    def shares(self) -> int:
        """Into how many parts the work of a seed is divided."""
        return max(1, self.parts)
