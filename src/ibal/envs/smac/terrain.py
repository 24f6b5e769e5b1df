"""Where a ground unit can walk, and how it gets around walls. Flags are constant on 2 x 2 cells in every SMAC map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SIZE = 32  # the map is 32 x 32 cells; cell (x, y) covers [x, x+1) x [y, y+1)
PLAYABLE = (2, 30)  # the rectangle that the game lets units enter, on both axes
BLOCKS = SIZE // 2

# One character per 2 x 2 block, top row (y = 30) first, as read from the map files: "#" walkable ground, "~" a cliff
# that only colossi cross, "." nothing. The outside of the pens is flagged walkable too, but nobody gets there.
DRAWINGS: dict[str, str] = {
    "strip": """
        ................ ................ ................ ................
        ################ ################ ################ ################
        ################ ################ ################ ################
        ................ ................ ................ ................""",
    "open": "################ " * 16,
    "octagon": """
        ................ ................ ................ .....######.....
        ....########.... ...##########... ...##########... ...##########...
        ...##########... ...##########... ...##########... ....########....
        .....######..... ................ ................ ................""",
    "corridor": """
        ................ ..........#####. .........######. ........#######.
        .......########. ......#########. ......#########. .......#######..
        .......######... ......#......... .#####.......... .#####..........
        .#####.......... .#####.......... .#####.......... ................""",
    "pen_b": """
        ################ ################ ################ ################
        ################ ####.......##### ###..#####..#### ###.#######.####
        ###.#######.#### ###.#######.#### ###.#######.#### ###..#####..####
        ####.......##### ################ ################ ################""",
    "pen_a": """
        ################ ################ ################ #####....#######
        ####..##..###### ###..####..##### ###.######.##### ###.######.#####
        ###.######.##### ###.######.##### ###.######.##### ###.######.#####
        ###........##### ################ ################ ################""",
    "diagonal": """
        ................ ...........####. ..........#####. ..........#####.
        ........#######. .......######... .......######... .....#####......
        ....######...... ....######...... ..######........ ..######........
        .#####.......... .#####.......... .###............ ................""",
    "plateau": """
        ................ ................ ................ ................
        ................ ................ ....########.... .##############.
        ################ ##~~~~~~~~~~~~## ################ .##############.
        ..############.. ................ ................ ................""",
}


@dataclass(frozen=True, eq=False)
class Terrain:
    """A map's ground.

    ``walkable`` bool[32, 32] indexed [y, x]: the pathing grid of the action mask, cut to the playable rectangle.
    ``ground`` is where bodies may be: the same, with the corners of diagonal passages opened (real cliffs are cut at 45
    degrees there); ``above_cliffs`` the same for colossi. ``box`` = (x0, x1, y0, y1) when the ground is one rectangle,
    else None. ``route`` int32[256, 256] and ``node`` float32[256, 2]: from block i toward block j the next straight leg
    ends at ``node[route[i, j]]``; j itself means the way is free. None for a rectangle.
    """

    walkable: np.ndarray
    ground: np.ndarray
    above_cliffs: np.ndarray
    box: tuple[float, float, float, float] | None
    route: np.ndarray | None
    node: np.ndarray | None


@cache
def terrain(name: str) -> Terrain:
    """Build the terrain called ``name`` (an entry of ``DRAWINGS``)."""
    rows = DRAWINGS[name].split()
    blocks = np.array([list(row) for row in reversed(rows[-BLOCKS:])])
    cells = np.kron(blocks == "#", np.ones((2, 2), bool)).astype(bool)
    cliffs = np.kron(blocks == "~", np.ones((2, 2), bool)).astype(bool)
    low, high = PLAYABLE
    inside = np.zeros((SIZE, SIZE), bool)
    inside[low:high, low:high] = True
    walkable = cells & inside
    ys, xs = np.nonzero(walkable)
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    ground = _open_corners(walkable)
    if walkable[y0:y1, x0:x1].all():
        return Terrain(walkable, walkable, walkable, (float(x0), float(x1), float(y0), float(y1)), None, None)
    route, node = _routes(ground)
    return Terrain(walkable, ground, ground | (cliffs & inside), None, route, node)


def _open_corners(walkable: np.ndarray) -> np.ndarray:
    """Open the two cells at every corner where walkable cells touch only diagonally."""
    ground = walkable.copy()
    a, b = walkable[:-1, :-1], walkable[:-1, 1:]
    c, d = walkable[1:, :-1], walkable[1:, 1:]
    for y, x in zip(*np.nonzero((a & d & ~b & ~c) | (b & c & ~a & ~d)), strict=True):
        ground[y : y + 2, x : x + 2] = True
    return ground


def _routes(ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest paths between all blocks over the graph of blocks that see each other.

    Two blocks see each other when their connecting line and its parallels 0.3 to either side are on the
    ground. Floyd-Warshall on 256 nodes; runs once per terrain.
    """
    n = BLOCKS * BLOCKS
    node = np.zeros((n, 2), np.float32)
    used = np.zeros(n, bool)
    for block in range(n):
        by, bx = divmod(block, BLOCKS)
        ys, xs = np.nonzero(ground[2 * by : 2 * by + 2, 2 * bx : 2 * bx + 2])
        used[block] = len(xs) > 0
        node[block] = (2 * bx + xs.mean() + 0.5, 2 * by + ys.mean() + 0.5) if len(xs) else (2 * bx + 1, 2 * by + 1)
    delta = node[None] - node[:, None]
    length = np.sqrt((delta**2).sum(-1))
    side = np.stack([-delta[..., 1], delta[..., 0]], -1) / np.maximum(length, 1e-6)[..., None]
    sees = used[:, None] & used[None]
    for fraction in np.linspace(0.0, 1.0, 65):
        for offset in (-0.3, 0.0, 0.3):
            point = np.floor(node[:, None] + fraction * delta + offset * side).astype(int).clip(0, SIZE - 1)
            sees &= ground[point[..., 1], point[..., 0]]
    np.fill_diagonal(sees, True)
    cost = np.where(sees, length, np.inf)
    hop = np.where(sees, np.arange(n)[None, :], np.arange(n)[:, None])
    for via in range(n):
        through = cost[:, via, None] + cost[None, via, :]
        better = through < cost - 1e-6
        hop = np.where(better, hop[:, via, None], hop)
        cost = np.where(better, through, cost)
    return np.where(np.isfinite(cost), hop, np.arange(n)[None, :]).astype(np.int32), node
