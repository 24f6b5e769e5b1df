"""The episode that a StarCraft2Env has played, rebuilt from its key and its actions: what a picture is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ibal.compat._compiled import Compiled, Record, View
from ibal.types import Frame, TimeStep
from ibal.viz.player import write_player
from ibal.viz.trajectory import Trajectory


def trajectory(game: Compiled, record: Record) -> Trajectory:
    """Play the record again, with the functions that are compiled already."""
    n, number = game.spec.n_agents, np.uint32(record.episode)
    state, flat = game.reset(record.key, number)
    enemy_units = n + np.asarray(state.enemy_order)
    frames, steps = [game.frame(state)], [_step(game.unpack(flat), n)]
    for actions in record.actions:
        state, flat = game.step(record.key, number, state, actions)
        frames.append(game.frame(state))
        steps.append(_step(game.unpack(flat), n))
    played = np.stack(record.actions)
    return Trajectory(_stack(Frame, frames), _stack(TimeStep, steps), played, played, enemy_units=enemy_units)


def write(game: Compiled, record: Record, folder: str, prefix: str) -> Path:
    """Write the page ``folder``/``prefix``_seed-S_episode-I.html, beside one that is there already, and return it."""
    stem = Path(folder).expanduser() / f"{prefix}_seed-{record.seed}_episode-{record.episode}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    path, copy = stem.with_name(f"{stem.name}.html"), 1
    while path.exists():
        copy += 1
        path = stem.with_name(f"{stem.name}_{copy}.html")
    where = f"seed {record.seed}, episode {record.episode}"
    return write_player(trajectory(game, record), None, game.spec, path, summary=where)


def _step(view: View, n: int) -> TimeStep:
    reward, terminated, truncated, win, dead_allies, dead_enemies, timeout = view.result
    metrics = {"win": win, "dead_allies": dead_allies, "dead_enemies": dead_enemies, "timeout": timeout}
    alive = view.units[:n, 2] > 0
    return TimeStep(view.obs, view.state, view.avail, alive, reward, terminated, truncated, metrics)


def _stack(kind: Any, rows: list[Any]) -> Any:
    def column(values: tuple[Any, ...]) -> Any:
        if isinstance(values[0], dict):
            return {name: column(tuple(value[name] for value in values)) for name in values[0]}
        return np.stack([np.asarray(value) for value in values])

    return kind._make(column(values) for values in zip(*rows, strict=True))
