"""What is known of SMAX beyond what every game of JaxMARL has: names, who lives, who has won, a picture.

Source: JaxMARL 0.2, ``environments/smax/smax_env.py``: ``get_obs_unit_list`` (others in their order, the observer left
out), ``get_world_state``, ``_decode_discrete_actions``, ``is_terminal``.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ibal.envs.adapters.frozen import blocks
from ibal.envs.adapters.optional import as_written, library
from ibal.options import ConfigError
from ibal.registry import hint
from ibal.types import Frame, ObsLayout, Scene

MOVES = ("north", "east", "south", "west", "stop")


def game(map_name: str, options: dict[str, Any]) -> Any:
    """Make a map against JaxMARL's heuristic enemy. Raises ConfigError for a map that there is not."""
    module = library("jaxmarl", "jaxmarl.environments.smax")
    known = library("jaxmarl", "jaxmarl.environments.smax.smax_env").MAP_NAME_TO_SCENARIO
    if map_name not in known:
        raise ConfigError(f'SMAX has no map "{map_name}".{hint(map_name, known)} There are {", ".join(known)}')
    scenario = module.map_name_to_scenario(map_name)
    return as_written(lambda: module.HeuristicEnemySMAX(scenario=scenario, **options))()


def facts(env: Any) -> dict[str, Any]:
    """Return the fields of ``jaxmarl.Facts``."""
    n, m, own, unit = env.num_allies, env.num_enemies, tuple(env.own_features), tuple(env.unit_features)
    named = env.observation_type == "unit_list"
    obs = ObsLayout(
        blocks(
            *(("ally", j, unit) for j in range(n - 1)), *(("enemy", j, unit) for j in range(m)), ("own", 0, own),
        )
    )  # fmt: skip
    sides = [*(("ally", i) for i in range(n)), *(("enemy", j) for j in range(m))]
    state = ObsLayout(
        blocks(
            *((kind, i, own) for kind, i in sides),
            *((kind, i, ("team",)) for kind, i in sides),
            *((kind, i, ("type",)) for kind, i in sides),
        ),
        "all",
    )
    radii, most = jnp.asarray(env.unit_type_radiuses), jnp.asarray(env.unit_type_health)

    def alive(state: Any) -> Any:
        return state.state.unit_alive[:n]

    def beaten(state: Any) -> Any:
        return ~state.state.unit_alive[n:].any()

    def frame(state: Any) -> Frame:
        now = state.state
        kind = now.unit_types.astype(jnp.int32)
        zero = jnp.zeros(n + m, jnp.float32)
        return Frame(
            position=now.unit_positions.astype(jnp.float32), radius=radii[kind].astype(jnp.float32), kind=kind,
            health=now.unit_health.astype(jnp.float32), max_health=most[kind].astype(jnp.float32), shield=zero,
            max_shield=zero, energy=zero, alive=now.unit_alive, target=jnp.full(n + m, -1, jnp.int32),
        )  # fmt: skip

    width, height = env.map_width, env.map_height
    walkable = ((1,) * int(width),) * int(height)
    scene = Scene("SMAX", width, height, tuple(env.unit_type_names), (0,) * n + (1,) * m, walkable, 9.0)
    return {
        "actions": (*MOVES, *(f"attack[{j}]" for j in range(m))),
        "idle": (MOVES.index("stop"),),
        "obs": obs if named else None,
        "state": state,
        "alive": alive,
        "decided": lambda state: beaten(state) | ~alive(state).any(),
        "won": lambda state: beaten(state) & alive(state).any(),
        "scene": scene,
        "frame": frame,
    }
