"""The options of ROMANCE's attack, apart from the attack: its archive and its lessons read them as well."""

from __future__ import annotations

from dataclasses import dataclass

from ibal.adversaries.limits import at_least, within


@dataclass(frozen=True)
class EgaOptions:
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
