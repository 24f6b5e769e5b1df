"""The particle worlds of MPE, which several libraries have."""

from __future__ import annotations

from ibal.envs.adapters.frozen import blocks
from ibal.types import ObsLayout


def spread(agents: int, landmarks: int) -> ObsLayout:
    """Name what an agent of ``simple_spread`` sees: others in their order, the observer left out.

    Source: mpe2 1.1, ``simple_spread.py``, ``observation``; JaxMARL 0.2, ``environments/mpe/simple_spread.py``.
    """
    others, xy = range(agents - 1), ("rel_x", "rel_y")
    return ObsLayout(
        blocks(
            ("own", 0, ("velocity_x", "velocity_y", "x", "y")),
            *(("landmark", j, xy) for j in range(landmarks)),
            *(("ally", j, xy) for j in others),
            *(("ally", j, ("said_0", "said_1")) for j in others),
        )
    )
