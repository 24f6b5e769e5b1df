"""Where units can walk: the grids of the map files, and ways that lead where they should."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ibal.envs.smac.engine import is_on_ground
from ibal.envs.smac.rules import Rules
from ibal.envs.smac.scenarios import SCENARIOS, scenario
from ibal.envs.smac.spawn import positions
from ibal.envs.smac.terrain import BLOCKS, DRAWINGS, SIZE, terrain

FIXTURE = json.loads((Path(__file__).parents[3] / "parity/fixtures/smac_terrain.json").read_text())
ROWS = FIXTURE["rows"]


def grid_of(name: str) -> np.ndarray:
    """The map file's flags, cut to the playable rectangle (2, 2) .. (30, 30)."""
    grid = np.array([[value for value, count in row for _ in range(count)] for row in ROWS[name]], bool)
    assert grid.shape == (SIZE, SIZE)
    grid[:2], grid[30:], grid[:, :2], grid[:, 30:] = False, False, False, False
    return grid


@cache
def reachable(name: str, x: int, y: int, cliffs: bool = False) -> np.ndarray:
    """Cells that can be reached from cell (x, y) by steps to the four sides."""
    ground = terrain(name).above_cliffs if cliffs else terrain(name).ground
    seen, todo = np.zeros((SIZE, SIZE), bool), [(x, y)]
    while todo:
        x, y = todo.pop()
        if 0 <= x < SIZE and 0 <= y < SIZE and ground[y, x] and not seen[y, x]:
            seen[y, x] = True
            todo += [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
    return seen


def test_every_terrain_is_compared():
    assert set(ROWS) == set(DRAWINGS)


@pytest.mark.parametrize("name", ROWS)
def test_grid_equals_the_map_file(name: str):
    assert (terrain(name).walkable == grid_of(name)).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_map_has_its_terrain(name: str):
    assert scenario(name).terrain == FIXTURE["terrain_of_map"][name]


@pytest.mark.parametrize("name", ROWS)
def test_bodies_may_stand_where_the_mask_lets_them_walk(name: str):
    land = terrain(name)
    assert (land.ground >= land.walkable).all()
    assert (land.above_cliffs >= land.ground).all()
    extra = land.ground & ~land.walkable  # only the corners of diagonal passages
    assert extra.sum() <= 16
    if land.box is not None:
        x0, x1, y0, y1 = (int(v) for v in land.box)
        inside = np.zeros((SIZE, SIZE), bool)
        inside[y0:y1, x0:x1] = True
        assert (inside == land.walkable).all()


def test_boxes():
    assert terrain("strip").box == (2, 30, 8, 24)
    assert terrain("open").box == (2, 30, 2, 30)
    assert [name for name in ROWS if terrain(name).box is not None] == ["strip", "open"]


def test_only_colossi_cross_the_cliff():
    land = terrain("plateau")
    cliff = land.above_cliffs & ~land.ground
    rows, columns = np.nonzero(cliff)
    assert (set(rows), set(columns)) == ({12, 13}, set(range(4, 28)))
    assert cliff.sum() == 2 * 24
    for name in ROWS:
        if name != "plateau":
            assert (terrain(name).above_cliffs == terrain(name).ground).all()


def test_the_plateau_is_climbed_from_the_sides():
    # Zerglings at (16, 9), colossi at (16, 16).
    assert reachable("plateau", 16, 9)[16, 16]
    ground = terrain("plateau").ground
    assert np.flatnonzero(ground[12:14].any(axis=0)).tolist() == [2, 3, 28, 29]


@pytest.mark.parametrize(("name", "inside"), [("pen_a", (13, 10)), ("pen_b", (14, 9))])
def test_pens_are_closed(name: str, inside: tuple[int, int]):
    seen = reachable(name, *inside)
    ring = np.ones((SIZE, SIZE), bool)
    ring[6:26, 6:26] = False
    assert not (seen & ring).any()
    assert seen.sum() in (12 * 12 + 8 * 2 + 4 * 2, 10 * 4 + 14 * 8)  # the interiors of the reference's table


@pytest.mark.parametrize("name", SCENARIOS)
def test_everybody_starts_on_the_ground(name: str):
    game = scenario(name)
    for team, types in zip(positions(game, Rules()), (game.ally_types, game.enemy_types), strict=True):
        assert is_on_ground(team[:, 0], team[:, 1], game).all()
        for (x, y), unit in zip(team, types, strict=True):
            assert unit.towers or terrain(game.terrain).ground[int(y), int(x)]  # colossi may stand on a cliff


@pytest.mark.parametrize("name", SCENARIOS)
def test_enemies_can_walk_to_their_goal_and_to_the_agents(name: str):
    game = scenario(name)
    agents, enemies = positions(game, Rules())
    seen = reachable(game.terrain, int(enemies[0, 0]), int(enemies[0, 1]))
    goals = [*agents.tolist(), *enemies.tolist()]
    if game.march == "point":
        goals.append(list(game.goal))
    if game.march == "segment":
        assert game.goal_end is not None
        goals += [list(game.goal), list(game.goal_end)]
    if name != "2s_vs_1sc":  # the crawler stays
        assert all(seen[int(y), int(x)] for x, y in goals)


def walk(name: str, start: np.ndarray, goal: np.ndarray) -> list[np.ndarray]:
    """Follow the routing table from leg to leg; the last leg is the straight way to the goal."""
    land, path = terrain(name), [start]
    assert land.route is not None
    assert land.node is not None
    there = int(goal[1] // 2) * BLOCKS + int(goal[0] // 2)
    for _ in range(20):
        here = int(path[-1][1] // 2) * BLOCKS + int(path[-1][0] // 2)
        hop = int(land.route[here, there])
        if hop in (here, there):
            return [*path, goal]
        path.append(land.node[hop])
    raise AssertionError(f"{name}: no way from {start} to {goal} in 20 legs")


def middles(name: str) -> list[np.ndarray]:
    """The middles of blocks that are ground all over."""
    ground = terrain(name).ground
    blocks = [(x, y) for y in range(0, SIZE, 2) for x in range(0, SIZE, 2) if ground[y : y + 2, x : x + 2].all()]
    return [np.array([x + 1.0, y + 1.0]) for x, y in blocks]


@pytest.mark.parametrize("name", [name for name in ROWS if terrain(name).box is None])
def test_routes_lead_over_ground_from_anywhere_to_anywhere(name: str):
    ground, places = terrain(name).ground, middles(name)
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(150):
        start, goal = (places[i] for i in rng.integers(len(places), size=2))
        if not reachable(name, int(start[0]), int(start[1]))[int(goal[1]), int(goal[0])]:
            continue
        path = walk(name, start, goal)
        found += len(path) > 2
        for a, b in pairwise(path):
            along = a + (b - a) * np.linspace(0, 1, 200)[:, None]
            assert ground[along[:, 1].astype(int), along[:, 0].astype(int)].all()
    if name in ("corridor", "plateau", "diagonal"):
        assert found > 10  # some ways bend


def test_the_way_through_the_corridor_leads_through_its_choke():
    path = walk("corridor", np.array([27.0, 27.0]), np.array([5.0, 5.0]))
    along = np.concatenate([a + (b - a) * np.linspace(0, 1, 400)[:, None] for a, b in pairwise(path)])
    choke = along[(along[:, 1] >= 12) & (along[:, 1] < 14)]
    assert len(choke) > 0
    assert ((choke[:, 0] >= 10) & (choke[:, 0] <= 16)).all()
