"""What came of episodes, however they were played."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float, Int


class EpisodeResults(NamedTuple):
    """One entry per episode. ``metrics`` are those of the last step; ``win`` is ``metrics["win"]``, 1 or 0 or a share
    of what there was to win, 0 where the environment has none. ``attacked`` is the share of the living agents' turns
    that an attack touched, by changing what the agent saw or by replacing its action; ``replaced`` that of the actions
    it replaced."""

    returns: Float[Array, "b"]
    length: Int[Array, "b"]
    win: Float[Array, "b"]
    metrics: dict[str, Array]
    attacked: Float[Array, "b"]
    replaced: Float[Array, "b"]
