"""The options of SMACv2 beyond those of SMAC: what its published configurations set, and its quirks as switches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ibal.envs.smac.rules import Interface
from ibal.options import check_count


@dataclass(frozen=True)
class Options(Interface):
    """What agents see and are paid for.

    Defaults are the published configurations of oxwhirl/smacv2, but for ``state_last_action``: without it the states
    have the sizes of the paper's Table 2 (65, 75); True is what the configurations say (120, 130).
    ``prob_obs_enemy=0, action_mask=False`` is the variant with extended partial observability (EPO).
    """

    state_last_action: bool = False
    """Append everybody's last action to the state."""
    obs_own_pos: bool = True
    """Show every agent its own position, over the size of the map."""
    use_unit_ranges: bool = True
    """Sight and reach by unit type; otherwise 9 and 6 for all."""
    min_attack_range: float = 2.0
    """Target actions reach at least this far."""
    prob_obs_enemy: float = 1.0
    """Chance that an enemy which one agent discovers is shown to another one that has it in sight."""
    action_mask: bool = True
    """Offer targets within reach only; otherwise all that live, and an order out of reach is not sent."""
    conic_fov: bool = False
    """Agents see and reach in a cone only, which further actions turn."""
    num_fov_actions: int = 12
    """Directions that a cone can have; it is as wide as a circle over their number."""
    fully_observable: bool = False
    """Show everybody everywhere."""
    tagging: bool = True
    """As in SMACv2, an enemy that nobody has discovered hides all with lower numbers; False: it hides itself only."""
    tag_order: Literal["shuffled", "together"] = "shuffled"
    """Whether agents look in a random order, each seeing what those before it discovered, or all discover first."""
    max_reward: Literal["expected", "episode"] = "expected"
    """What scales rewards to a return of about 20: the expectation over teams, or the enemies of the episode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_fov_actions", self.num_fov_actions, 2, 360)
        if not 0 <= self.prob_obs_enemy <= 1:
            raise ValueError(f"prob_obs_enemy is {self.prob_obs_enemy}; 0 to 1 was expected")
        if not 0 <= self.min_attack_range <= 32:
            raise ValueError(f"min_attack_range is {self.min_attack_range}; 0 to 32 was expected")

    @property
    def turns(self) -> int:
        """Actions that turn an agent's view; they stand before the target actions."""
        return self.num_fov_actions if self.conic_fov else 0
