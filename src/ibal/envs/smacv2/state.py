"""The arrays of one game: those of SMAC, and what SMACv2 draws and remembers in an episode."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from ibal.envs.smac.rules import Quantities
from ibal.envs.smac.state import Units


class Tags(NamedTuple):
    """Who discovered which enemy: ``owner`` is an agent or -1, ``shown[e, a]`` whether agent a may see enemy e.

    Enemies by the numbers that agents know them by.
    """

    owner: Int[Array, "m"]
    shown: Bool[Array, "m n"]


class EnvState(NamedTuple):
    """One game between two steps.

    ``kind`` indexes ``Army.kinds``; ``phase`` counts the loops from a step's start to the trigger that sends enemies
    out; ``sees`` are the enemies that each agent's observation shows; ``view`` [n, 2] is where an agent looks (of
    meaning with ``conic_fov`` only). The other fields are those of ``smac.state.EnvState``.
    """

    units: Units
    kind: Int[Array, "u"]
    step: Int[Array, ""]
    phase: Int[Array, ""]
    enemy_order: Int[Array, "m"]
    before: Float[Array, "m"]
    ally_before: Float[Array, "n"]
    last_action: Int[Array, "n"]
    disabled: Bool[Array, "n"]
    present: Bool[Array, "n"]
    done: Bool[Array, ""]
    tags: Tags
    sees: Bool[Array, "n m"]
    view: Float[Array, "n 2"]


class Params(NamedTuple):
    """Those of ``smac.state.EnvParams``, and how teams and places are drawn: the weights of ``Army.types``, and the
    probability that the agents begin surrounded.

    On drawn armies an agent that is named is another unit in every episode: agents are numbered by type and place.
    ``absent`` takes effect after the draw, so it may leave a terran team with medivacs alone, which has then lost.
    """

    disabled: Bool[Array, "n"]
    absent: Bool[Array, "n"]
    n_disabled: Int[Array, ""]
    n_absent: Int[Array, ""]
    health_scale: Float[Array, "n"]
    shield_scale: Float[Array, "n"]
    quantities: Quantities
    weights: Float[Array, "types"]
    surrounded: Float[Array, ""]
