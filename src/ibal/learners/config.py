"""What learners are made of. Every field is one documented choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

from ibal.learners import LEARNERS
from ibal.options import ConfigError, check_count, check_fields, check_positive, check_within, shown
from ibal.registry import UnknownName, hint

STATELESS = ("iql", "vdn")  # mixers that do not look at the state


def _check_smooth(learner: ValueConfig | PpoConfig | PqnConfig) -> None:
    """Check the fields of ERNIE's penalty."""
    for name in ("smooth_rows", "smooth_every"):
        check_count(f"learner.{name}", getattr(learner, name), 1)
    for name in ("smooth", "smooth_eps", "smooth_init"):
        check_positive(f"learner.{name}", getattr(learner, name), zero=True)


@dataclass(frozen=True)
class ValueConfig:
    """Recurrent double-Q learning over a mixer; the defaults are QMIX.

    Source: PyMARL ``q_learner.py``, ``qmix.yaml``, ``default.yaml``.
    """

    mixer: Literal["iql", "vdn", "qmix", "qplex"] = "qmix"
    """How the agents' values become the team's; "iql": every agent learns alone from the team's reward."""
    hidden: int = 64
    """Size of the agents' recurrent layer."""
    gamma: float = 0.99
    """Discount per step."""
    td_lambda: float = 0.0
    """0: one-step targets (PyMARL); above: TD(lambda) along the whole episode."""
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    """RMSProp as in PyTorch (decay 0.99, eps 1e-5 outside the root), or Adam (eps 1e-5)."""
    lr: float = 5e-4
    """Learning rate."""
    lr_anneal: bool = False
    """Let the learning rate fall linearly to zero at the end of the training (PyMARL keeps it). A run that is resumed
    with more steps then starts again from a higher rate."""
    grad_clip: float = 10.0
    """Largest global norm of the gradient, agent and mixer together."""
    target: Literal["hard", "ema"] = "hard"
    """How the targets follow: a copy every ``target_every`` updates, or a moving average of rate ``ema_tau``."""
    target_every: int = 200
    """Updates between two hard copies."""
    ema_tau: float = 0.01
    """Rate of the moving average per update."""
    batch: int = 32
    """Episodes per update."""
    smooth: float = 0.0
    """Weight of ERNIE's penalty on values that change with small changes of what is seen; 0: none."""
    smooth_eps: float = 0.1
    """Largest change of an entry of the observation that the penalty looks at."""
    smooth_init: float = 0.01
    """Standard deviation of the noise that the search for the worst change begins with."""
    smooth_rows: int = 2
    """Rows of a batch, of one horizon each, that the penalty is estimated on (a batch fills about 15)."""
    smooth_every: int = 5
    """Updates from one with the penalty to the next; it counts as many times as much there."""
    privileged: bool = False
    """Tell the mixer, which exists in training only, who is attacked in an episode and how, as far as the training
    adversary tells it; the agents are told nothing."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be run, whoever makes it."""
        check_fields(self, "learner")
        _check_smooth(self)
        for name in ("hidden", "target_every", "batch"):
            check_count(f"learner.{name}", getattr(self, name), 1)
        for name in ("gamma", "td_lambda", "ema_tau"):
            check_within(f"learner.{name}", getattr(self, name), 0.0, 1.0)
        for name in ("lr", "grad_clip", "ema_tau"):
            check_positive(f"learner.{name}", getattr(self, name))
        if self.privileged and self.mixer in STATELESS:
            raise ConfigError(
                f'learner.privileged tells the mixer who is attacked, and "{self.mixer}" looks at no state; take qmix '
                "or qplex"
            )


@dataclass(frozen=True)
class PpoConfig:
    """Proximal policy optimisation of a team that chooses by chance. The defaults are the official ones for SMAC.

    Source: Yu et al. 2022 ("The surprising effectiveness of PPO in cooperative multi-agent games") and its code.
    """

    name: Literal["mappo", "ippo"] = "mappo"
    """What judges the team: "mappo", a critic that sees the state of the world; "ippo", one that sees what each agent
    sees."""
    hidden: int = 64
    """Size of the layers of actor and critic."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """How far advantages look ahead before they trust the critic."""
    epochs: int = 15
    """Times that the episodes just played are learned from."""
    minibatches: int = 1
    """Parts that an epoch is divided into, a gradient step each."""
    chunk: int = 10
    """Steps of the pieces that the recurrent networks are trained on; 0: whole episodes, with exact memories."""
    clip: float = 0.2
    """How far a probability (as a ratio) and a value may move away from those the episodes were played with."""
    entropy: float = 0.01
    """Weight of the entropy of the choices."""
    huber: float = 10.0
    """Error of a value, in its own units, beyond which the loss grows linearly."""
    lr: float = 5e-4
    """Learning rate of the actor (Adam, eps 1e-5)."""
    critic_lr: float = 5e-4
    """Learning rate of the critic."""
    lr_anneal: bool = False
    """Let both learning rates fall linearly to zero at the end of the training."""
    grad_clip: float = 10.0
    """Largest norm of the gradient, of actor and critic each."""
    gain: float = 0.01
    """Size of the actor's last weights at the beginning: small, so that all actions are nearly alike."""
    mask_replaced: bool = False
    """Learn nothing from choices that the training adversary replaced: they decided nothing, and only add noise."""
    smooth: float = 0.0
    """Weight of ERNIE's penalty on probabilities that change with small changes of what is seen; 0: none."""
    smooth_eps: float = 0.1
    """Largest change of an entry of the observation that the penalty looks at."""
    smooth_init: float = 0.01
    """Standard deviation of the noise that the search for the worst change begins with."""
    smooth_rows: int = 2
    """Rows of a minibatch, of one horizon each, that the penalty is estimated on."""
    smooth_every: int = 5
    """Updates from one with the penalty to the next; it counts as many times as much there."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be run, whoever makes it."""
        check_fields(self, "learner")
        _check_smooth(self)
        for name in ("hidden", "epochs", "minibatches"):
            check_count(f"learner.{name}", getattr(self, name), 1)
        check_count("learner.chunk", self.chunk)
        for name in ("gamma", "gae_lambda", "clip"):
            check_within(f"learner.{name}", getattr(self, name), 0.0, 1.0)
        for name in ("clip", "huber", "lr", "critic_lr", "grad_clip", "gain"):
            check_positive(f"learner.{name}", getattr(self, name))
        check_positive("learner.entropy", self.entropy, zero=True)


@dataclass(frozen=True)
class PqnConfig:
    """Q-learning from the episodes just played: no replay, no target network. The defaults are the official ones for
    SMAX, but for the layers' statistics, which are those of each input and not of a batch.

    Source: Gallici et al. 2024 ("Simplifying deep temporal difference learning") and its code.
    """

    name: Literal["pqn-vdn", "pqn-qmix"] = "pqn-vdn"
    """How the agents' values become the team's: added up, or mixed by a network that sees the state."""
    hidden: int = 64
    """Size of the layers of the agents."""
    gamma: float = 0.99
    """Discount per step."""
    td_lambda: float = 0.85
    """How far targets look ahead before they trust the values; 0: one step, 1: to the end of the episode."""
    epochs: int = 4
    """Times that the episodes just played are learned from; their targets are computed once, before the first."""
    minibatches: int = 16
    """Parts that an epoch is divided into, a gradient step each."""
    lr: float = 2.5e-4
    """Learning rate."""
    lr_anneal: bool = True
    """Let the learning rate fall linearly to zero at the end of the training."""
    rectified: bool = True
    """Rectified Adam (RAdam), whose first steps are small and grow; false: Adam. Both with eps 1e-5."""
    grad_clip: float = 1.0
    """Largest global norm of the gradient, agents and mixer together."""
    smooth: float = 0.0
    """Weight of ERNIE's penalty on values that change with small changes of what is seen; 0: none."""
    smooth_eps: float = 0.1
    """Largest change of an entry of the observation that the penalty looks at."""
    smooth_init: float = 0.01
    """Standard deviation of the noise that the search for the worst change begins with."""
    smooth_rows: int = 2
    """Rows of a minibatch, of one horizon each, that the penalty is estimated on."""
    smooth_every: int = 5
    """Updates from one with the penalty to the next; it counts as many times as much there."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be run, whoever makes it."""
        check_fields(self, "learner")
        _check_smooth(self)
        for name in ("hidden", "epochs", "minibatches"):
            check_count(f"learner.{name}", getattr(self, name), 1)
        for name in ("gamma", "td_lambda"):
            check_within(f"learner.{name}", getattr(self, name), 0.0, 1.0)
        for name in ("lr", "grad_clip"):
            check_positive(f"learner.{name}", getattr(self, name))

    @property
    def mixer(self) -> str:
        """The name of the mixer, as ``nets.mixers`` has it."""
        return self.name.removeprefix("pqn-")


LearnerConfig = ValueConfig | PpoConfig | PqnConfig


# What each kind of learner is chosen by, and the kind that every name stands for.
_CHOICE: dict[type[LearnerConfig], str] = {ValueConfig: "mixer", PpoConfig: "name", PqnConfig: "name"}
_KINDS = {name: kind for kind, field in _CHOICE.items() for name in get_args(get_type_hints(kind)[field])}


def named(name: Any, old: LearnerConfig) -> LearnerConfig:
    """Return the learner called ``name``, with the settings of ``old`` if it is of the same kind. Raises UnknownName
    with the closest."""
    if name not in LEARNERS:
        raise UnknownName(f"unknown learner {shown(name)}.{hint(str(name), LEARNERS)} Learners: {', '.join(LEARNERS)}")
    kind = _KINDS[name]
    return replace(old if isinstance(old, kind) else kind(), **{_CHOICE[kind]: name})


def name_of(learner: LearnerConfig) -> str:
    """Return the name of a learner, as ``named`` takes it."""
    return getattr(learner, _CHOICE[type(learner)])
