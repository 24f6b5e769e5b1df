"""Which index of a SMACv2 vector means what: sizes, names and slices, all known before anything runs."""

from __future__ import annotations

from ibal.envs.smac.layout import AROUND, COMPASS, FIRST_TARGET, METRICS, MOVES, NO_OP, STOP, blocks, sees_own_health
from ibal.envs.smac.rules import Rules
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.options import Options
from ibal.types import EnvSpec, ObsLayout

__all__ = ["AROUND", "METRICS", "env_spec"]


def first_target(options: Options) -> int:
    """The action that attacks enemy 0; those that turn the view stand before it."""
    return FIRST_TARGET + options.turns


def action_names(army: Army, options: Options) -> tuple[str, ...]:
    """``attack[j]`` is "heal agent j" for a medivac."""
    turns = tuple(f"look[{k}]" for k in range(options.turns))
    return ("no-op", "stop", *MOVES, *turns, *(f"attack[{j}]" for j in range(army.n_targets)))


def _life(army: Army) -> tuple[str, ...]:
    return ("health", "shield") if army.shields else ("health",)


def obs_layout(army: Army, options: Options) -> ObsLayout:
    """Name every index of an agent's observation. Source: ``get_obs_agent`` of oxwhirl/smacv2."""
    bits = tuple(f"is_{name}" for name in army.types)
    body = (_life(army) if options.obs_all_health else ()) + bits
    row = ("distance", "dx", "dy", *body)
    last = tuple(f"last_{name}" for name in action_names(army, options)) if options.obs_last_action else ()
    own = (_life(army) if sees_own_health(options) else ()) + (("x", "y") if options.obs_own_pos else ())
    own += (("view_x", "view_y") if options.conic_fov else ()) + bits
    return ObsLayout(
        blocks((
            ("move", 0, tuple(f"can_{d}" for d in MOVES)),
            ("pathing", 0, COMPASS if options.obs_pathing_grid else ()),
            ("height", 0, (*COMPASS, "here") if options.obs_terrain_height else ()),
            *(("enemy", j, ("attackable", *row)) for j in range(army.n_enemies)),
            *(("ally", j, ("visible", *row, *last)) for j in range(army.n_agents - 1)),
            ("own", 0, own),
            ("time", 0, ("elapsed",) if options.obs_timestep_number else ()),
        )),
        allies="skip-self",
    )  # fmt: skip


def state_layout(army: Army, options: Options) -> ObsLayout:
    """Name every index of the global state; "weapon" is the energy of a medivac and the cooldown of all others.

    Source: ``get_state`` of oxwhirl/smacv2.
    """
    if options.obs_instead_of_state:
        names = obs_layout(army, options).names
        return ObsLayout(blocks(("obs", i, names) for i in range(army.n_agents)), allies="anonymous")
    rest = _life(army)[1:]
    bits = tuple(f"is_{name}" for name in army.types)
    view = ("view_x", "view_y") if options.conic_fov else ()
    names = action_names(army, options) if options.state_last_action else ()
    return ObsLayout(
        blocks((
            *(("ally", i, ("health", "weapon", "x", "y", *rest, *view, *bits)) for i in range(army.n_agents)),
            *(("enemy", j, ("health", "x", "y", *rest, *bits)) for j in range(army.n_enemies)),
            *(("last_action", i, names) for i in range(army.n_agents)),
            ("time", 0, ("elapsed",) if options.state_timestep_number else ()),
        )),
        allies="all",
    )  # fmt: skip


def expected_max_reward(army: Army, options: Options) -> float:
    """The unscaled return of a won game, on average over the teams that are drawn."""
    return army.n_enemies * (options.reward_death_value + army.mean_life) + options.reward_win


def env_spec(army: Army, options: Options, rules: Rules) -> EnvSpec:
    """Sizes and names of a scenario under the given options."""
    obs, state = obs_layout(army, options), state_layout(army, options)
    names = action_names(army, options)
    return EnvSpec(
        name=f"smacv2/{army.name}",
        n_agents=army.n_agents,
        n_actions=len(names),
        obs_size=obs.size,
        state_size=state.size,
        horizon=army.limit,
        action_names=names,
        metric_names=METRICS,
        obs_layout=obs,
        state_layout=state,
        noop_action=NO_OP,
        idle_actions=(NO_OP, STOP),
        version=rules.version,
    )
