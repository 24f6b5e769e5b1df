"""What a picture of a game needs: the fixed part (``scene``) and one moment (``frame``)."""

from __future__ import annotations

from ibal.envs.smac.picture import frame_of, ground
from ibal.envs.smacv2 import armies
from ibal.envs.smacv2.armies import Army
from ibal.envs.smacv2.roster import each
from ibal.envs.smacv2.state import EnvState
from ibal.types import Frame, Scene


def scene(army: Army) -> Scene:
    """Describe a scenario. The circle of sight is that of the type that sees least far."""
    return ground(
        army.name,
        army.terrain,
        kinds=tuple(kind.name for kind in army.kinds),
        teams=(0,) * army.n_agents + (1,) * army.n_enemies,
        sight=float(min(armies.SIGHT[kind.name] for kind in army.kinds)),
    )


def frame(state: EnvState, army: Army) -> Frame:
    """Describe one moment; enemies are in creation order."""
    radius, health, shield = (
        each(army, state.kind, value) for value in (lambda t: t.radius, lambda t: t.health, lambda t: t.shield)
    )
    return frame_of(state.units, state.kind, radius, health, shield)
