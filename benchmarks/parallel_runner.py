"""Count the different games that workers with one seed play: PyMARL's parallel runner, without the learner.

    python benchmarks/parallel_runner.py --workers 8 --games 4

The parent asks an environment for its sizes, then starts the workers, each with the same arguments and the same seed;
all act by one deterministic rule. Two games are the same when all observations of all agents and all rewards are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ibal.compat.smac import StarCraft2Env

START = ("fork", "spawn", "forkserver")


def work(remote: Connection, make_env: partial[StarCraft2Env]) -> None:
    """Serve commands as PyMARL's ``env_worker`` does, then end."""
    env = make_env()
    while True:
        command, actions = remote.recv()
        if command == "close":
            env.close()
            return
        if command == "get_env_info":
            remote.send(env.get_env_info())
            continue
        if command == "get_stats":
            remote.send(env.get_stats())
            continue
        answer: dict[str, Any] = {"reward": 0.0, "terminated": False}
        if command == "reset":
            env.reset()
        else:
            answer["reward"], answer["terminated"], answer["info"] = env.step(actions)
        seen = {"obs": env.get_obs(), "avail_actions": env.get_avail_actions(), "state": env.get_state()}
        remote.send({**answer, **seen})


def rule(avail: list[list[int]]) -> list[int]:
    """Attack the first enemy in reach, else go east, else stop; the dead do nothing."""
    order = lambda mask: [*range(6, len(mask)), 4, 1, 0]  # noqa: E731
    return [next(action for action in order(mask) if mask[action]) for mask in avail]


def play(remotes: list[Connection]) -> list[str]:
    """Play one game in every worker, all at a time, and return what identifies each."""
    marks = [hashlib.sha256() for _ in remotes]
    for remote in remotes:
        remote.send(("reset", None))
    running = list(range(len(remotes)))
    answers = {i: remotes[i].recv() for i in running}
    while running:
        for i in running:
            marks[i].update(b"".join(obs.tobytes() for obs in answers[i]["obs"]))
            marks[i].update(repr(answers[i]["reward"]).encode())
        running = [i for i in running if not answers[i]["terminated"]]
        for i in running:
            remotes[i].send(("step", rule(answers[i]["avail_actions"])))
        answers = {i: remotes[i].recv() for i in running}
    return [mark.hexdigest() for mark in marks]


def measure(map_name: str, seed: int, workers: int, games: int, start: str) -> dict[str, Any]:
    """Play ``games`` games in each of ``workers`` processes and count the different ones."""
    sizes = StarCraft2Env(map_name, seed=seed).get_env_info()
    context: Any = multiprocessing.get_context(start)
    pipes = [context.Pipe() for _ in range(workers)]
    make_env = partial(StarCraft2Env, map_name=map_name, seed=seed)
    processes = [context.Process(target=work, args=(there, make_env), daemon=True) for _, there in pipes]
    begun = time.perf_counter()
    for process in processes:
        process.start()
    remotes = [here for here, _ in pipes]
    remotes[0].send(("get_env_info", None))
    assert remotes[0].recv() == sizes
    marks = [mark for _ in range(games) for mark in play(remotes)]
    for remote in remotes:
        remote.send(("get_stats", None))
    counted = sum(remote.recv()["battles_game"] for remote in remotes)
    for remote, process in zip(remotes, processes, strict=True):
        remote.send(("close", None))
        process.join()
    return {
        "map": map_name, "seed": seed, "start": start, "workers": workers, "games": counted,
        "different": len(set(marks)), "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--map", default="3m")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--games", type=int, default=4, help="of each worker")
    parser.add_argument("--start", choices=START, default="fork", help="how processes are started (default: fork)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    options = parser.parse_args()
    found = measure(options.map, options.seed, options.workers, options.games, options.start)
    line = "{workers} workers ({start}), seed {seed}, {map}: {games} games, {different} different, {seconds} s"
    print(json.dumps(found) if options.json else line.format(**found))


if __name__ == "__main__":
    main()
