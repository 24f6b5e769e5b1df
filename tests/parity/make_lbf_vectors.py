"""Write tests/parity/fixtures/lbf.npz: what lb-foraging 2.0.0 makes of random games, step by step.

Needs the package lbforaging, not this library; run it in a throw-away environment:

    pip install --target peer lbforaging
    PYTHONPATH=peer python tests/parity/make_lbf_vectors.py [--layouts 6] [--steps 30] [--seed 0] [--out FILE]

The same with more layouts and steps, and IBAL_LBF_VECTORS=FILE for tests/parity/test_lbf.py, compares more of them.

For each game of ``GAMES`` (its number g in front): k steps of layouts that the package has drawn; a part of the
actions are uniform, the others head for food and load it, so that there is something to collect. A game that ends
begins again from the same layout. Before the step: "g/place" [k, n, 2], "g/level" [k, n], "g/food" [k, m, 2] sorted by
row and column, "g/food_level" [k, m] (0: gone), "g/total", "g/step" [k]; "g/action" [k, n]. After it: "g/place_after",
"g/food_after" [k, m] (levels), "g/reward" [k, n], "g/done" [k], "g/vector" [k, n, 3m + 3n], "g/grid" [k, n, 3, w, w].
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Tuple
from lbforaging.foraging import ForagingEnv  # type: ignore[import-not-found]  (not a dependency)

# rows, players, foods, sight, highest level of players, cooperation forced, penalty, limit
GAMES = ((20, 10, 6, 3, 2, False, 0.0, 50), (7, 5, 3, 2, 3, False, 0.1, 25), (8, 2, 2, 8, 2, True, 0.0, 50))
MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
LOAD = 5
KEPT = {"reward": np.float64, "done": bool}  # all others are small whole numbers


class Peer:
    """One environment of the package, and the layout that its games begin with."""

    def __init__(self, game: tuple[Any, ...]) -> None:
        rows, players, foods, sight, level, coop, penalty, limit = game
        self.sight, self.players = sight, players
        self.env = ForagingEnv(
            players=players, min_player_level=1, max_player_level=level, min_food_level=1, max_food_level=None,
            field_size=(rows, rows), max_num_food=foods, sight=sight, max_episode_steps=limit, force_coop=coop,
            penalty=penalty,
        )  # fmt: skip
        self.vectors = self.env.observation_space
        window = 2 * sight + 1
        self.grids = Tuple([Box(-np.inf, np.inf, (3, window, window), np.float32)] * players)

    def draw(self, seed: int) -> None:
        """Let the package draw a layout."""
        self.show(False)
        self.env.reset(seed=seed)
        self.start = [(tuple(map(int, p.position)), p.level) for p in self.env.players], self.env.field.copy()
        self.food = np.argwhere(self.env.field > 0)

    def again(self) -> None:
        """Begin a game from the layout."""
        people, field = self.start
        for player, (position, level) in zip(self.env.players, people, strict=True):
            player.position, player.level, player.score, player.reward = position, level, 0, 0
        self.env.field = field.copy()
        self.env._food_spawned, self.env.current_step, self.env._game_over = field.sum(), 0, False
        assert self.env.test_gen_valid_moves()

    def show(self, grid: bool) -> None:
        self.env._grid_observation = grid
        self.env.observation_space = self.grids if grid else self.vectors

    def grid(self) -> np.ndarray:
        """Return the observations as grids; a step returns the lists."""
        self.show(True)
        out = np.array(self.env.test_make_gym_obs())
        self.show(False)
        return out

    def place(self) -> np.ndarray:
        return np.array([p.position for p in self.env.players])

    def weights(self) -> np.ndarray:
        return self.env.field[self.food[:, 0], self.food[:, 1]]


def choose(peer: Peer, random: np.random.Generator) -> np.ndarray:
    """In half of the steps half of the players do anything; all others head for the nearest food or load it."""
    place, food = peer.place(), peer.food[peer.weights() > 0]
    actions = random.integers(0, 6, peer.players)
    for i in np.flatnonzero(random.random(peer.players) < random.choice([0.5, 1.0])):
        away = np.abs(food - place[i]).sum(1)
        after = np.abs(food[away.argmin()] - (place[i] + MOVES)).sum(1)
        actions[i] = LOAD if away.min() == 1 else after.argmin()
    return actions


def record(game: tuple[Any, ...], layouts: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    random, peer = np.random.default_rng(seed), Peer(game)
    rows: dict[str, list[Any]] = {}
    for layout in range(layouts):
        peer.draw(seed * 100_000 + layout)
        if len(peer.food) < game[2]:  # hardly ever: the package found no room
            continue
        peer.again()
        for _ in range(steps):
            env, action = peer.env, choose(peer, random)
            row: dict[str, Any] = {
                "place": peer.place(), "level": [p.level for p in env.players], "food": peer.food,
                "food_level": peer.weights(), "total": env._food_spawned, "step": env.current_step, "action": action,
            }  # fmt: skip
            seen, reward, done, truncated, _ = env.step(list(action))
            assert not truncated
            row |= {"place_after": peer.place(), "food_after": peer.weights(), "reward": reward, "done": done}
            row["vector"], row["grid"] = np.array(seen), peer.grid()
            for name, value in row.items():
                rows.setdefault(name, []).append(np.asarray(value).astype(KEPT.get(name, np.int8)))
            if done:
                peer.again()
    return {name: np.stack(values) for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "fixtures" / "lbf.npz")
    options = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    for g, game in enumerate(GAMES):
        found = record(game, options.layouts, options.steps, options.seed)
        arrays |= {f"{g}/{name}": value for name, value in found.items()}
        took = (found["food_level"] != found["food_after"]).sum()
        print(f"game {g}: {len(found['step'])} steps, {found['done'].sum()} ends, {took} pieces collected")
    np.savez_compressed(options.out, **arrays)


if __name__ == "__main__":
    main()
