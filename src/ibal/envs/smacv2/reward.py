"""What a step is worth, and when a game is over, where SMACv2 differs from SMAC. For one environment."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.reward import Outcome, scaled_reward
from ibal.envs.smac.rules import Rules
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.layout import expected_max_reward
from ibal.envs.smacv2.observe import medics
from ibal.envs.smacv2.options import Options
from ibal.envs.smacv2.roster import each

_DAMAGE_ONLY = Rules(abs_reward=False)  # SMACv2 pays nothing where enemies regenerate


def outcome(alive: Bool[Array, "u"], kind: Int[Array, "u"], step: Int[Array, ""], army: Army) -> Outcome:
    """Decide whether the game is over after ``step`` steps.

    Tested in this order: defeat (no agent left but some enemy; terran: no agent left but medivacs, also when all are
    dead), victory (some agent left and no enemy; terran: no enemy but medivacs), draw (nobody left), time limit.
    Source: ``update_units`` of oxwhirl/smacv2.
    """
    n = army.n_agents
    any_ally, any_enemy = alive[:n].any(), alive[n:].any()
    lost, won = ~any_ally & any_enemy, any_ally & ~any_enemy
    if army.heals:
        fights = alive & ~medics(army, kind)
        lost |= ~fights[:n].any()
        won = (won | ~fights[n:].any()) & ~lost
    drawn = ~any_ally & ~any_enemy & ~lost
    timeout = ~(won | lost | drawn) & (step >= army.limit)
    return Outcome(won, lost, drawn, timeout)


def max_reward(kind: Int[Array, "u"], army: Army, options: Options) -> Array | float:
    """The unscaled return of a won game without regeneration: of this episode, or expected.

    oxwhirl/smacv2 takes that of the first episode of a process for all later ones.
    """
    if options.max_reward == "expected":
        return expected_max_reward(army, options)
    life = each(army, kind[army.n_agents :], lambda t: t.health + t.shield).sum()
    return life + (army.n_enemies * options.reward_death_value + options.reward_win)


def step_reward(
    enemies: tuple[Float[Array, "m"], Float[Array, "m"]],
    allies: tuple[Float[Array, "n"], Float[Array, "n"]],
    kind: Int[Array, "u"],
    result: Outcome,
    army: Army,
    options: Options,
) -> Float[Array, ""]:
    """Reward of a step: battle and final bonus, or +1 / -1 when sparse; divided by ``max_reward`` / 20 when scaled.

    ``enemies`` and ``allies`` are pairs of ``life`` (before, after). Source: ``step`` of oxwhirl/smacv2.
    """
    return scaled_reward(enemies, allies, result, max_reward(kind, army, options), options, _DAMAGE_ONLY)
