"""Which index of an observation or of the state means what: sizes and names, known before anything runs.

In the list, a slot for another player is a block ``ally``; slots are packed, so they say of nobody who it is. In the
grid, each cell of a plane is a block: ``ally`` (the level of a player on it; the cell in the middle is ``own``),
``food`` (its level) and ``access`` (1: nothing stands there). So what can be hidden of another player, a block, is one
cell of the players' plane. Its cell of the access plane need not be hidden with it: it is 0 already, and 0 is what
hiding puts there.
"""

from __future__ import annotations

from collections.abc import Iterable

from ibal.envs.lbf.rules import Rules
from ibal.envs.lbf.state import ACTIONS, NONE
from ibal.types import Block, EnvSpec, ObsLayout

METRICS = ("win", "all", "foods_left", "timeout")
_PLACE = ("row", "column")


def _blocks(entities: Iterable[tuple[str, int, tuple[str, ...]]]) -> ObsLayout:
    """Number the features consecutively."""
    blocks: list[Block] = []
    start = 0
    for kind, slot, features in entities:
        blocks.append(Block(kind, slot, start, features))
        start += len(features)
    return ObsLayout(tuple(blocks), "anonymous")


def obs_layout(rules: Rules) -> ObsLayout:
    """Name every index of an agent's observation."""
    return _grid(rules) if rules.observation == "grid" else _list(rules)


def _list(rules: Rules) -> ObsLayout:
    player = (*_PLACE, "level") if rules.observe_levels else _PLACE
    return _blocks([
        *(("food", k, (*_PLACE, "level")) for k in range(rules.foods)),
        ("own", 0, player),
        *(("ally", j, player) for j in range(rules.players - 1)),
    ])  # fmt: skip


def _grid(rules: Rules) -> ObsLayout:
    """Cells are named by how many rows south and columns east of the player they are."""
    offsets = range(-rules.sight, rules.sight + 1)
    cells = [(row, col) for row in offsets for col in offsets]
    middle = len(cells) // 2
    around = [("own", 0) if i == middle else ("ally", i - (i > middle)) for i in range(len(cells))]
    planes = (around, [("food", i) for i in range(len(cells))], [("access", i) for i in range(len(cells))])
    return _blocks(
        (kind, slot, (f"{row:+d}{col:+d}",))
        for plane in planes
        for (kind, slot), (row, col) in zip(plane, cells, strict=True)
    )


def state_layout(rules: Rules) -> ObsLayout:
    """Name every index of the state: one block per agent's observation, or per plane and row of the field, counted from
    the corner of its border."""
    if rules.state == "observations":
        names = obs_layout(rules).names
        return _blocks(("obs", i, names) for i in range(rules.players))
    rows, cols = rules.padded
    features = tuple(f"column_{col}" for col in range(cols))
    return _blocks((kind, row, features) for kind in ("players", "food", "access") for row in range(rows))


def env_spec(name: str, rules: Rules) -> EnvSpec:
    """Sizes and names of a game."""
    obs, state = obs_layout(rules), state_layout(rules)
    return EnvSpec(
        name=name,
        n_agents=rules.players,
        n_actions=len(ACTIONS),
        obs_size=obs.size,
        state_size=state.size,
        horizon=rules.limit,
        action_names=ACTIONS,
        metric_names=METRICS,
        obs_layout=obs,
        state_layout=state,
        idle_actions=(NONE,),
    )
