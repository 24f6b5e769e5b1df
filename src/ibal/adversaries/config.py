"""The choices of every adversary, one dataclass each; ``build(spec)`` makes the adversary. Imports no jax.

The dataclasses that end in ``Config`` are what the table of names (``ibal.adversaries``) points to. Fields that are
None take the value of the paper for the map, or one derived from the environment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ibal.mi.config import ActionConfig, ClubConfig
from ibal.registry import one_of

if TYPE_CHECKING:
    from ibal.adversaries.base import Adversary
    from ibal.types import EnvSpec, Episodes, PRNGKey

Masks = Literal["block", "dimension", "random", "truth", "off"]
Sides = Literal["both", "first"]
Fill = Literal["zero", "mean", "gaussian", "fgsm"]
Chooser = Literal["information", "random", "retreat", "off"]
Signal = Literal["success", "return"]
Start = Literal["planner", "random"]
Initial = Literal["random", "planner"]
Lessons = Literal["all", "natural"]
FollowUp = Literal["change", "near"]


@dataclass(frozen=True)
class NaturalConfig:
    """Nobody interferes."""

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.base import natural

        return natural()


@dataclass(frozen=True)
class RandomConfig:
    """Noise on what one random agent sees at every step, and a random action for one at some (Appendix D.2)."""

    sigma: float = 0.1
    """Standard deviation of the noise on every entry of the observation; 0: none."""
    p: float = 0.3
    """Share of steps on which one random agent's action is replaced by a random legal one; 0: none."""
    agents: int = 1
    """How many agents see noise, and how many have their actions replaced."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        at_least(f"{name}.sigma", self.sigma, 0)
        within(f"{name}.p", self.p, 0, 1)
        at_least(f"{name}.agents", self.agents, 1)

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.random import random

        return random(self, spec)


@dataclass(frozen=True)
class RandomObsConfig(RandomConfig):
    """The noise alone."""

    p: float = 0.0


@dataclass(frozen=True)
class RandomActConfig(RandomConfig):
    """The random actions alone."""

    sigma: float = 0.0


@dataclass(frozen=True)
class FgsmConfig:
    """Steps of what an agent sees against its own best action (Appendix D.2); white box."""

    eps: float = 0.1
    """Largest change of an entry of the observation."""
    steps: int = 1
    """Gradient steps: 1 is FGSM, more are PGD."""
    agents: int = 1
    """How many agents, drawn anew at every step, see something else."""

    def __post_init__(self) -> None:
        at_least(f"{type(self).__name__}.eps", self.eps, 0)
        for key in ("steps", "agents"):
            at_least(f"{type(self).__name__}.{key}", getattr(self, key), 1)

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.fgsm import fgsm

        return fgsm(self, spec)


@dataclass(frozen=True)
class PgdConfig(FgsmConfig):
    """The same with ten small steps instead of a large one."""

    steps: int = 10


@dataclass(frozen=True)
class AtlaConfig:
    """A network that learns by reinforcement how to change what one random agent sees (Zhang et al. 2021)."""

    eps: float = 0.1
    """Largest change of an entry of the observation."""
    hidden: int = 64
    """Size of the two hidden layers of policy and value."""
    lr: float = 3e-4
    """Learning rate (Adam)."""
    every: int = 2
    """One of so many iterations is the attacker's: it alone learns from it, and the steps played are extra ones. 1: it
    learns beside the team in every iteration, from the same episodes."""
    updates: int = 64
    """Gradient steps of a lesson."""
    minibatch: int = 128
    """Steps of the environment in a gradient step."""
    clip: float = 0.2
    """How far PPO lets the probability of a change move in a lesson."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Lambda of the advantages."""
    grad_clip: float = 0.5
    """Largest global norm of the gradient."""
    rounds: int = 400
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: the mean of what was learned, no noise, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key in ("eps", "lr", "clip", "grad_clip"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("hidden", "every", "updates", "minibatch", "rounds"):
            at_least(f"{name}.{key}", getattr(self, key), 1)
        for key in ("gamma", "gae_lambda"):
            within(f"{name}.{key}", getattr(self, key), 0, 1)

    @property
    def learns_by_playing(self) -> bool:
        return True

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.atla import atla

        return atla(self, spec)


@dataclass(frozen=True)
class EgaConfig:
    """A population of networks that learn when to force which agent to its worst action (ROMANCE; Yuan et al. 2023)."""

    population: int = 4
    """Attackers that play and learn at a time."""
    archive: int = 15
    """Most attackers that are kept; in evaluation every episode's attacker is one of them."""
    budget: int | None = None
    """Attacks in an episode. None: the value of the map, else 8."""
    delta: float = 0.05
    """Share of attacks in the reference policy that every attacker stays close to."""
    sparsity: float = 0.04
    """Lambda: how much staying close to the reference weighs against the reward."""
    smoothing: float = 0.02
    """Least probability of every choice while the budget lasts."""
    penalty: float = 0.5
    """What an issued attack costs the attacker."""
    hidden: int = 64
    """Size of the two hidden layers."""
    lr: float = 1e-3
    """Learning rate (RMSProp). Officially 2e-4: five times the steps."""
    grad_clip: float = 5.0
    """Largest global norm of an attacker's gradient."""
    soft: float = 0.02
    """Share of the network in its target network after a gradient step. Officially 0.005."""
    diversity: float = 0.12
    """Weight of the population's Jensen-Shannon divergence, in nats (officially 1.2, of a divergence divided by 10)."""
    gamma: float = 0.99
    """Discount per step."""
    updates: int = 64
    """Gradient steps of every attacker in an iteration."""
    minibatch: int = 256
    """Steps of the environment in a gradient step, the same for all attackers."""
    replay: int = 16_384
    """Steps of the environment to draw those from: the last ones."""
    states: int = 64
    """States on which the population is told to differ: half of them attacked ones, half not."""
    points: int = 32
    """Attacked states by which an attacker is compared with others."""
    length: int = 25
    """Iterations of a generation."""
    generations: int | None = None
    """Generations of the schedule: of what rho, ``freeze`` and ``early`` are shares of. None: the whole training or
    fitting, however long it is; a training that is resumed with more steps then goes back in it."""
    rho_start: float = 0.9
    """Rho, the tolerance of the archive for similar attackers, in the first generation; 1 would let in everybody."""
    rho_end: float = 0.5
    """Rho at the end of the schedule."""
    freeze: float = 1.0
    """Share of the schedule after which nobody learns any more and the archive stays as it is; at 1 both go on."""
    temperature: float = 5.0
    """Of the softmax over qualities by which the archive's attackers are chosen for the next population."""
    fresh_start: float = 0.4
    """Share of the chosen that are replaced by new random attackers, at the beginning."""
    fresh_end: float = 0.05
    """The same from ``early`` on."""
    suppressed: float = 0.5
    """Share of episodes, at the beginning, in which attacks are suppressed at times, so that other states are seen; it
    falls to 0 until ``early``."""
    early: float = 0.125
    """Share of the schedule over which ``fresh`` and ``suppressed`` fall."""
    rounds: int = 600
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: the archive alone, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key in (
            "population", "archive", "hidden", "updates", "minibatch", "replay", "states", "points", "length", "rounds",
        ):  # fmt: skip
            at_least(f"{name}.{key}", getattr(self, key), 1)
        for key in ("budget", "generations"):
            if getattr(self, key) is not None:
                at_least(f"{name}.{key}", getattr(self, key), 1)
        for key in ("penalty", "lr", "grad_clip", "diversity"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("sparsity", "temperature"):
            at_least(f"{name}.{key}", getattr(self, key), 1e-6)
        within(f"{name}.delta", self.delta, 1e-6, 1 - 1e-6)
        for key in (
            "smoothing", "soft", "gamma", "rho_start", "rho_end", "freeze", "fresh_start", "fresh_end", "suppressed",
            "early",
        ):  # fmt: skip
            within(f"{name}.{key}", getattr(self, key), 0, 1)

    @property
    def learns_by_playing(self) -> bool:
        return True

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.ega import ega

        return ega(self, spec)


@dataclass(frozen=True)
class WolfpackConfig:
    """One agent does its worst, then for some steps those whom that changes most do theirs (Lee et al. 2025)."""

    budget: int | None = None
    """Attacked steps of an episode, the first and the following ones alike. None: 12 in training, 8 in evaluation."""
    follow_steps: int = 3
    """Steps on which the followers are attacked after the first one."""
    followers: int | None = None
    """How many follow. None: (agents - 1) / 2, rounded down."""
    start: Start = "planner"
    """When an attack starts: where a network expects the largest fall of the team's value ("planner"), or anywhere
    alike ("random"); either way at most ``window`` steps after the last start."""
    initial: Initial = "random"
    """Who is attacked first: anyone, or whoever the network expects most of ("planner")."""
    followup: FollowUp = "change"
    """Who follows: those whose values change most with the first action, or those who see most alike ("near")."""
    nudge: float = 5e-4
    """Size of the one step of Adam on a copy of the team's weights that shows whose values change."""
    temperature: float = 0.5
    """How strictly an attack starts at the expected best moment, in units of value: 0 would be always."""
    window: int = 20
    """Steps that the network looks back and ahead; at most the horizon."""
    hidden: int = 64
    """Width of both transformers."""
    lr: float = 5e-4
    """Their learning rate (Adam)."""
    every: int = 2
    """Iterations from one lesson of the planner to the next."""
    updates: int = 16
    """Gradient steps of each transformer in a lesson."""
    windows: int = 16
    """Windows of an episode in a gradient step."""
    rounds: int = 400
    """Iterations when it is fitted to a victim."""
    evaluation: bool = False
    """Attack as in evaluation: a smaller budget, no learning."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key, words in (("start", Start), ("initial", Initial), ("followup", FollowUp)):
            one_of(f"{name}.{key}", getattr(self, key), words)
        for key in ("budget", "followers"):
            if getattr(self, key) is not None:
                at_least(f"{name}.{key}", getattr(self, key), 0)
        for key in ("follow_steps", "nudge", "lr"):
            at_least(f"{name}.{key}", getattr(self, key), 0)
        at_least(f"{name}.temperature", self.temperature, 1e-3)
        for key in ("window", "hidden", "every", "updates", "windows", "rounds"):
            at_least(f"{name}.{key}", getattr(self, key), 1)

    @property
    def learns_by_playing(self) -> bool:
        return "planner" in (self.start, self.initial)

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.wolfpack import wolfpack

        return wolfpack(self, spec)


@dataclass(frozen=True)
class RandomWolfpackConfig(WolfpackConfig):
    """The same attack starting anywhere: nothing is learned."""

    start: Start = "random"


@dataclass(frozen=True)
class GroupConfig:
    """Who is attacked in an episode (G1), and how often its actions are replaced (Section 4.4)."""

    most: int | None = None
    """K, the largest size of G1; in training its size is uniform in 0..K. None: the paper's value of the map, else one
    that follows from the number of agents. 0: no attack."""
    evaluation: bool = False
    """Attack as in evaluation: G1 always has K members, P is 1/K, nothing is learned."""
    p: float | None = None
    """P of every episode, the share of steps on which the actions of G1 are replaced. None: uniform between ``p_min``
    and P_max."""
    p_min: float | None = None
    """Least P in training, and where P_max begins unless 1/K is more. None: 1/K."""
    alpha: float = 1.1
    """Factor by which P_max grows after a check that the team passed."""
    eta: float = 0.8
    """What the team must reach, on the mean since the last check, to pass it."""
    signal: Signal = "success"
    """What is compared with ``eta``: the share of episodes won, or the return (environments without winning)."""
    check_every: int = 10_000
    """Environment steps between two checks."""
    check_episodes: int = 100
    """Episodes that a check needs."""
    quiet: int = 0
    """Environment steps without any attack at the beginning, for a team that starts from nothing."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        one_of(f"{name}.signal", self.signal, Signal)
        if self.most is not None:
            at_least(f"{name}.most", self.most, 0)
        for key in ("p", "p_min"):
            if getattr(self, key) is not None:
                within(f"{name}.{key}", getattr(self, key), 0, 1)
        at_least(f"{name}.alpha", self.alpha, 1)
        for key in ("check_every", "check_episodes"):
            at_least(f"{name}.{key}", getattr(self, key), 1)
        at_least(f"{name}.quiet", self.quiet, 0)


@dataclass(frozen=True)
class InteractionConfig(GroupConfig):
    """Break the interaction of G1 with the others: hide from each other what tells most, do what tells least.

    Source: IBAL Definitions 4.4 and 4.5, Algorithm 1, Appendix B.
    """

    masks: Masks = "block"
    """What is hidden from an agent, for as long as the episode lasts. "block": for every agent of the other group the
    block of the observation that tells most about its actions; "dimension": the L entries that tell most, whatever
    they describe (mostly enemies, and it can miss a team completely): the paper's masks, found by the estimators of
    ``club``, which are the paper's in the attack "interaction-literal" only; "random": L random entries; "truth":
    exactly the blocks of the other group's agents; "off": nothing."""
    dims: int | None = None
    """c: an agent loses L = c x (size of the other group) entries. None: the paper's value of the map, else the size of
    one agent's block; "block" and "truth" then hide whole blocks. Below the size of a block they hide its c entries
    that tell most."""
    cut: bool = False
    """Keep "block" and "truth" within the paper's L too, where no ``dims`` is given. On 3s_vs_3z, 1c3s5z and the maps
    of SMACv2 whole blocks are more (6, 9 and 8 or 9 entries per agent; the paper's c is 5, 8 and 5 or 8)."""
    sides: Sides = "both"
    """Who loses sight: both groups of each other, or only the "first" (G1) of the rest."""
    fill: Fill = "zero"
    """What stands in hidden entries: 0, their "mean" over what the team has seen, or themselves with "gaussian" noise
    or a step against the team's best action ("fgsm")."""
    sigma: float = 0.1
    """Standard deviation of the noise of "gaussian"."""
    eps: float = 0.1
    """Size of the step of "fgsm"."""
    actions: Chooser = "information"
    """What G1 does instead: the action that tells the others least, a random legal one, a "retreat" from the nearest
    enemy, or as intended ("off")."""
    club: ClubConfig = field(default_factory=ClubConfig)
    """The model behind "block" and "dimension"."""
    action: ActionConfig = field(default_factory=ActionConfig)
    """The model behind "information"; T1 and T2 are not available here: hidden states are not recorded."""
    warmup: int = 20
    """Iterations in which the models only learn, before the first attack; 0 where no model is needed."""
    warmup_steps: int = 25
    """Gradient steps of each model in each of these iterations."""
    every: int = 1
    """Iterations from one later lesson to the next."""
    steps: int = 1
    """Gradient steps of each model in a later lesson."""
    learn_from: Lessons = "all"
    """Which episodes of a training the models learn from: "all", or only the "natural" ones, in which nobody is
    attacked, as a fitted attacker does."""
    refresh: int = 50
    """Iterations from one estimate of the scores S to the next (the first ends the warm-up)."""
    rows: int = 512
    """Transitions that an estimate is made from."""
    keep: float = 0.5
    """Share of the old scores in the new ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, words in (("masks", Masks), ("sides", Sides), ("fill", Fill), ("actions", Chooser),
                            ("learn_from", Lessons)):  # fmt: skip
            one_of(f"InteractionConfig.{name}", getattr(self, name), words)
        if self.dims is not None:
            at_least("InteractionConfig.dims", self.dims, 0)
        for name in ("sigma", "eps", "warmup"):
            at_least(f"InteractionConfig.{name}", getattr(self, name), 0)
        for name in ("warmup_steps", "every", "steps", "refresh", "rows"):
            at_least(f"InteractionConfig.{name}", getattr(self, name), 1)
        within("InteractionConfig.keep", self.keep, 0, 1)
        if self.actions == "information" and self.action.tau in ("T1", "T2"):
            raise ValueError(
                f"InteractionConfig.action.tau is {self.action.tau}, but hidden states are not recorded (and those of "
                "two teams cannot be compared); use T3, T4 or T5"
            )

    @property
    def learns_masks(self) -> bool:
        return self.masks in ("block", "dimension")

    @property
    def learns_actions(self) -> bool:
        return self.actions == "information"

    def build(self, spec: EnvSpec) -> Adversary:
        from ibal.adversaries.interaction import interaction

        return interaction(self, spec)

    def fit(self, key: PRNGKey, spec: EnvSpec, episodes: Episodes, steps: int) -> Any:
        """Learn from natural episodes of a victim, in ``steps`` gradient steps; return the adversary's state."""
        from ibal.adversaries.interaction import fit

        return fit(key, self, spec, episodes, steps)


@dataclass(frozen=True)
class LiteralInteractionConfig(InteractionConfig):
    """The same as the paper says it: single entries are hidden, and both estimators are the paper's."""

    masks: Masks = "dimension"
    club: ClubConfig = field(default_factory=ClubConfig.literal)
    action: ActionConfig = field(default_factory=ActionConfig.literal)
    learn_from: Lessons = "all"


@dataclass(frozen=True)
class OccludeRetreatConfig(GroupConfig):
    """The control that estimates nothing: the groups do not see each other, and G1 retreats from the enemy."""

    def interaction(self) -> InteractionConfig:
        """The same attack as options of the one that learns."""
        return InteractionConfig(**_group_fields(self), masks="truth", actions="retreat")

    def build(self, spec: EnvSpec) -> Adversary:
        return self.interaction().build(spec)


@dataclass(frozen=True)
class RandomGroupConfig(GroupConfig):
    """The control of the action attack: G1 does something random and legal, as often as the attack would strike."""

    def interaction(self) -> InteractionConfig:
        """The same attack as options of the one that learns."""
        return InteractionConfig(**_group_fields(self), masks="off", actions="random")

    def build(self, spec: EnvSpec) -> Adversary:
        return self.interaction().build(spec)


def _group_fields(config: GroupConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in GroupConfig.__dataclass_fields__}


def at_least(name: str, value: float, low: float) -> None:
    """Raise ValueError if ``value`` is below ``low`` or no finite number."""
    if not low <= value < math.inf:
        raise ValueError(f"{name} is {value}; at least {low} was expected")


def among(name: str, value: int, spec: EnvSpec) -> int:
    """Return a number of agents. Raises ValueError if an environment has not so many."""
    if value > spec.n_agents:
        raise ValueError(f'{name} is {value}, but "{spec.name}" has {spec.n_agents} agents')
    return value


def within(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError if ``value`` is outside ``low..high``."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; a number from {low} to {high} was expected")
