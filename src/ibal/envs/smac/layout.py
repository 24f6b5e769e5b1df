"""Which index of a SMAC vector means what: sizes, names and slices, all known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from ibal.envs.smac.rules import NEWEST, Interface, Rules
from ibal.envs.smac.scenarios import Scenario
from ibal.types import Block, EnvSpec, ObsLayout

MOVES = ("north", "south", "east", "west")
NO_OP, STOP, FIRST_MOVE, FIRST_TARGET = 0, 1, 2, 6
SIGHT = 9.0  # seen when the centres are strictly closer
REACH = 6.0  # target actions are available up to and including this distance, whatever the weapon
REAL = Rules.of(NEWEST)  # every switch as in the real game, as far as it is known
METRICS = ("win", "dead_allies", "dead_enemies", "timeout", "illegal_actions")

# Cells looked at around an agent, in multiples of ``move_amount``; the height features add the agent's own cell.
AROUND = ((0, 2), (0, -2), (2, 0), (-2, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
COMPASS = ("north", "south", "east", "west", "northeast", "southwest", "southeast", "northwest")


def action_names(scenario: Scenario) -> tuple[str, ...]:
    """``attack[j]`` is "heal agent j" for a medivac on the MMM maps."""
    return ("no-op", "stop", *MOVES, *(f"attack[{j}]" for j in range(scenario.n_enemies)))


def sees_own_health(interface: Interface) -> bool:
    """``obs_all_health`` includes the agent's own (SMAC's constructor does the same)."""
    return interface.obs_own_health or interface.obs_all_health


def enemy_bits(scenario: Scenario, rules: Rules) -> tuple[str, ...]:
    """Unit types behind the type bits of enemies, in index order."""
    return scenario.enemy_bits if rules.flip_enemy_bits else scenario.ally_bits


def max_reward(scenario: Scenario, interface: Interface) -> float:
    """The unscaled return of a won game without regeneration; 20 after scaling."""
    total = sum(t.health + t.shield for t in scenario.enemy_types)
    return scenario.n_enemies * interface.reward_death_value + interface.reward_win + total


def _body(race: str, bits: tuple[str, ...], with_health: bool) -> tuple[str, ...]:
    life = ("health", "shield") if race == "P" else ("health",)
    return ((*life,) if with_health else ()) + tuple(f"is_{name}" for name in bits)


def blocks(entities: Iterable[tuple[str, int, tuple[str, ...]]]) -> tuple[Block, ...]:
    """Number the entities' features consecutively; entities without features take no room."""
    blocks, start = [], 0
    for kind, slot, features in entities:
        if features:
            blocks.append(Block(kind, slot, start, features))
            start += len(features)
    return tuple(blocks)


def obs_layout(scenario: Scenario, interface: Interface, rules: Rules = REAL) -> ObsLayout:
    """Name every index of an agent's observation.

    Source: ``get_obs_agent`` of oxwhirl/smac. With ``obs_timestep_number`` the real vector is one longer than
    ``get_obs_size`` says (a spare zero stands before the time); here it has the announced size.
    """
    seen = ("distance", "dx", "dy")
    ally = ("visible", *seen, *_body(scenario.ally_race, scenario.ally_bits, interface.obs_all_health))
    enemy = ("attackable", *seen, *_body(scenario.enemy_race, enemy_bits(scenario, rules), interface.obs_all_health))
    own = _body(scenario.ally_race, scenario.ally_bits, sees_own_health(interface))
    if interface.obs_last_action:
        ally += tuple(f"last_{name}" for name in action_names(scenario))
    return ObsLayout(
        blocks(
            (
                ("move", 0, tuple(f"can_{d}" for d in MOVES)),
                ("pathing", 0, COMPASS if interface.obs_pathing_grid else ()),
                ("height", 0, (*COMPASS, "here") if interface.obs_terrain_height else ()),
                *(("enemy", j, enemy) for j in range(scenario.n_enemies)),
                *(("ally", j, ally) for j in range(scenario.n_agents - 1)),
                ("own", 0, own),
                ("time", 0, ("elapsed",) if interface.obs_timestep_number else ()),
            )
        ),
        allies="skip-self",
    )


def state_layout(scenario: Scenario, interface: Interface, rules: Rules = REAL) -> ObsLayout:
    """Name every index of the global state.

    Source: ``get_state`` of oxwhirl/smac. With ``obs_instead_of_state`` block ``obs[i]`` is agent i's observation.
    """
    if interface.obs_instead_of_state:
        names = obs_layout(scenario, interface, rules).names
        return ObsLayout(blocks(("obs", i, names) for i in range(scenario.n_agents)), allies="anonymous")
    ally = _body(scenario.ally_race, scenario.ally_bits, True)
    enemy = _body(scenario.enemy_race, enemy_bits(scenario, rules), True)

    def weapon(agent: int) -> str:
        return "energy" if scenario.heals and scenario.ally_types[agent].name == "medivac" else "cooldown"

    return ObsLayout(
        blocks(
            (
                *(("ally", i, ("health", weapon(i), "x", "y", *ally[1:])) for i in range(scenario.n_agents)),
                *(("enemy", j, ("health", "x", "y", *enemy[1:])) for j in range(scenario.n_enemies)),
                *(
                    ("last_action", i, action_names(scenario) if interface.state_last_action else ())
                    for i in range(scenario.n_agents)
                ),
                ("time", 0, ("elapsed",) if interface.state_timestep_number else ()),
            )
        ),
        allies="all",
    )


def env_spec(scenario: Scenario, interface: Interface, rules: Rules = REAL) -> EnvSpec:
    """Sizes and names of a scenario under the given options."""
    obs, state = obs_layout(scenario, interface, rules), state_layout(scenario, interface, rules)
    return EnvSpec(
        name=f"smac/{scenario.name}",
        n_agents=scenario.n_agents,
        n_actions=scenario.n_actions,
        obs_size=obs.size,
        state_size=state.size,
        horizon=scenario.limit,
        action_names=action_names(scenario),
        metric_names=METRICS,
        obs_layout=obs,
        state_layout=state,
        noop_action=NO_OP,
        idle_actions=(NO_OP, STOP),
        version=rules.version,
    )
