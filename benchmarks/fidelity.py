"""How well policies trained in the real StarCraft II do in this engine, with nothing trained or tuned here.

    python benchmarks/fidelity.py --policies DIR                                  # every file, 512 episodes each
    python benchmarks/fidelity.py --policies DIR --maps 2s3z MMM --episodes 128   # a quick look
    python benchmarks/fidelity.py --policies DIR --set enemy_ids=permutation --set head_start=2
    python benchmarks/fidelity.py --policies DIR --residual                       # add the QMIX critics' TD errors
    python benchmarks/fidelity.py --heuristic                                     # SMAC's heuristic, no file needed

Files are called ``<algorithm>_<map>.safetensors`` (or ``.th``). ``--set`` passes fields of ``Rules`` and ``Interface``
to ``env.make``. Tables go to standard error, one JSON object to standard output with ``--json``. Episode i has the
same key under every policy and every rule. ``--jobs`` maps are compiled and played side by side.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import add_options, emit, log, parse_settings, table, versions

from ibal import rng
from ibal.envs.smac import env as smac
from ibal.envs.smac.heuristic import autopilot
from ibal.envs.smac.scenarios import SCENARIOS
from ibal.evaluation.episodes import EpisodeResults, play
from ibal.evaluation.scripted import stop_policy
from ibal.evaluation.stats import wilson
from ibal.game.keys import team_key, world_key
from ibal.nets.mixers import qmix
from ibal.nets.pymarl import load_agent, load_mixer, pymarl_agent
from ibal.types import Env

# Median win rates of SMAC's heuristic in the real game, quoted from memory in our reference (unverified).
HEURISTIC = {
    "2s3z": 0.90, "1c3s5z": 0.81, "3s5z": 0.42, "10m_vs_11m": 0.12, "5m_vs_6m": 0.0, "3s_vs_5z": 0.0,
    "3s5z_vs_3s6z": 0.0, "27m_vs_30m": 0.0, "MMM2": 0.0,
}  # fmt: skip
GAMMA = 0.99
FIGHT = 22  # steps that the residual looks at


def summary(results: EpisodeResults) -> dict[str, Any]:
    """Win rate, its interval, mean return and mean length."""
    wins, episodes = int(results.win.sum()), len(results.win)
    low, high = wilson(wins, episodes)
    return {
        "win": wins / episodes,
        "wilson": [low, high],
        "return": float(results.returns.mean()),
        "length": float(results.length.mean()),
        "episodes": episodes,
    }


class Probe(NamedTuple):
    """Along greedy play, [e, t]: Q_tot(t), the reward that followed, whether the game was over at t, and whether
    anybody had been hit by t."""

    q_tot: jax.Array
    reward: jax.Array
    over: jax.Array
    contact: jax.Array


def probe(env: Env, steps: int) -> Callable[[Any, qmix.QmixParams, jax.Array], Probe]:
    """Compile the greedy walk of ``steps`` + 1 observations that the residual is computed from."""
    agent = pymarl_agent(env.spec)
    health = env.spec.obs_layout.mask("own[0].health")
    if "shield" in {f for b in env.spec.obs_layout.blocks if b.kind == "own" for f in b.features}:
        health |= env.spec.obs_layout.mask("own[0].shield")

    def walk(params: Any, mixer: qmix.QmixParams, key: jax.Array) -> Probe:
        state, first = env.reset(world_key(key, 0), env.params)

        def advance(loop: tuple[Any, ...], clock: jax.Array) -> tuple[tuple[Any, ...], Probe]:
            state, step, carry, last, hit = loop
            over = step.terminated | step.truncated
            carry, q = agent.scores(params, carry, step.obs, step.avail, last)
            actions = agent.select(team_key(key, clock), q, step.avail)
            chosen = jnp.take_along_axis(q, actions[:, None], axis=1)[:, 0]
            state, after = env.step(world_key(key, clock + 1), state, actions, env.params)
            hurt = (after.obs < first.obs - 1e-6)[:, health].any() | (after.reward > 0)
            joint = jax.nn.one_hot(actions, q.shape[1])
            row = Probe(qmix.apply(mixer, chosen, step.state, chosen, joint), after.reward, over, hit | hurt)
            return (state, after, carry, actions, hit | hurt), row

        last = jnp.full(env.spec.n_agents, -1, jnp.int32)
        loop = (state, first, agent.start(), last, jnp.array(False))
        return jax.lax.scan(advance, loop, jnp.arange(steps + 1))[1]

    return jax.jit(jax.vmap(walk, (None, None, 0)))


def residual(rows: Probe) -> dict[str, Any]:
    """TD errors r + 0.99 max Q_tot(t+1) - Q_tot(t) of a critic along simulated play.

    The next state's greedy action is the one the walk takes, so its Q_tot is the maximum. A deterministic world that
    equals the real one shows errors near 0; -0.1 is the usual overestimation; much less means that the simulated game
    goes worse than the critic, trained in the real one, expects. "before contact" counts steps up to the one before
    anybody is hit: there nothing is random but the enemies' numbers.
    """
    q, reward, over, contact = (np.asarray(a, np.float64) for a in rows)
    live, ends = over[:, :-1] == 0, over[:, 1:] > 0
    error = reward[:, :-1] + GAMMA * np.where(ends, 0, q[:, 1:]) - q[:, :-1]
    before = live & (contact[:, :-1] == 0)

    def mean(values: np.ndarray, where: np.ndarray) -> float:
        return float(values[where].mean()) if where.any() else math.nan

    return {
        "before_contact": {"abs": mean(np.abs(error), before), "signed": mean(error, before)},
        "fight": {"abs": mean(np.abs(error), live), "signed": mean(error, live)},
        "contact_step": float((contact == 0).sum(axis=1).mean()),
        "abs_by_step": [mean(np.abs(error[:, t]), live[:, t]) for t in range(error.shape[1])],
        "signed_by_step": [mean(error[:, t], live[:, t]) for t in range(error.shape[1])],
    }


def map_of(path: Path) -> tuple[str, str]:
    """Split ``qmix_3s_vs_3z.safetensors`` into algorithm and map."""
    for name in sorted(SCENARIOS, key=len, reverse=True):
        if path.stem == name or path.stem.endswith(f"_{name}"):
            return path.stem[: -len(name)].rstrip("_") or "agent", name
    raise SystemExit(f"{path.name}: wanted <algorithm>_<map>.safetensors with one of the maps {', '.join(SCENARIOS)}")


def policy_files(folder: Path, maps: Sequence[str]) -> dict[str, list[Path]]:
    """Files to play, by map."""
    found: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".th")):
        name = map_of(path)[1]
        if not maps or name in maps:
            found.setdefault(name, []).append(path)
    if not found:
        raise SystemExit(f"{folder} holds no policy file" + (f" for {', '.join(maps)}" if maps else ""))
    return found


class Job(NamedTuple):
    """What is asked for, the same for all maps."""

    settings: dict[str, Any]
    keys: jax.Array
    slots: int
    residual: bool
    probe_episodes: int


def play_files(name: str, paths: Sequence[Path], job: Job) -> list[dict[str, Any]]:
    """All files of one map: they share one compilation."""
    env = smac.make(name, **job.settings)
    agent = pymarl_agent(env.spec)
    walk = probe(env, FIGHT) if job.residual else None
    rows = []
    for path in paths:
        start, params = time.perf_counter(), load_agent(path, env.spec)
        row: dict[str, Any] = {"map": name, "algorithm": map_of(path)[0], "file": path.name}
        if job.keys.shape[0]:
            row |= summary(jax.block_until_ready(play(env, agent, job.keys, params, slots=job.slots)))
        if walk is not None and row["algorithm"].startswith("qmix"):
            keys = rng.episodes(rng.root(1), job.probe_episodes)
            row["residual"] = residual(walk(params, load_mixer(path, env.spec), keys))
        row["seconds"] = time.perf_counter() - start
        rows.append(row)
        log(f"{path.name}: {row['seconds']:.1f} s")
    return rows


def play_heuristic(name: str, job: Job) -> list[dict[str, Any]]:
    """SMAC's own scripted team on one map."""
    start, env = time.perf_counter(), autopilot(smac.make(name, **job.settings, check_actions=False))
    results = jax.block_until_ready(play(env, stop_policy(env.spec), job.keys, slots=job.slots))
    seconds = time.perf_counter() - start
    log(f"heuristic on {name}: {seconds:.1f} s")
    return [{"map": name, "real": HEURISTIC.get(name), **summary(results), "seconds": seconds}]


def show(result: dict[str, Any]) -> None:
    """Write the tables."""
    for kind in ("policies", "heuristic"):
        rows = [r for r in result[kind] if "win" in r]
        if rows:
            last = "real" if kind == "heuristic" else "algorithm"
            log()
            table(
                ("map", last, "win", "low", "high", "return", "length", "seconds"),
                [(r["map"], r[last], r["win"], *r["wilson"], r["return"], r["length"], r["seconds"]) for r in rows],
            )
    probed = [r for r in result["policies"] if "residual" in r]
    if probed:
        log("\nTD error of the QMIX critic (mean |.|, mean signed), before contact and over the first steps")
        head = ("map", "contact at", "|before|", "before", "|all|", "all", "signed error by step")
        lines = []
        for r in probed:
            e = r["residual"]
            by_step = " ".join(f"{x:+.2f}" for x in e["signed_by_step"][:FIGHT])
            pairs = (*e["before_contact"].values(), *e["fight"].values())
            lines.append((r["map"], e["contact_step"], *pairs, by_step))
        table(head, lines)


def main() -> None:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--policies", type=Path, metavar="DIR")
    parser.add_argument("--maps", nargs="+", default=[], choices=sorted(SCENARIOS), metavar="MAP")
    parser.add_argument("--episodes", type=int, default=512, help="0: no games, only the residual")
    parser.add_argument("--heuristic", action="store_true", help="also play SMAC's heuristic")
    parser.add_argument("--residual", action="store_true", help="also compute the TD errors of QMIX files")
    parser.add_argument("--probe-episodes", type=int, default=64)
    parser.add_argument("--slots", type=int, default=128, help="games that step together")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="maps at a time")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep compiled programs there between runs")
    args = parser.parse_args()
    if args.policies is None and not args.heuristic:
        parser.error("nothing to play: give --policies DIR, --heuristic or both")
    if args.cache:
        jax.config.update("jax_compilation_cache_dir", str(args.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)

    keys = rng.episodes(rng.root(args.seed), max(args.episodes, 1))[: args.episodes]
    job = Job(parse_settings(args.set), keys, args.slots, args.residual, args.probe_episodes)
    start = time.perf_counter()
    with ThreadPoolExecutor(args.jobs) as pool:
        files = policy_files(args.policies, args.maps) if args.policies else {}
        # Long games first, so that two workers finish together.
        order = sorted(files, key=lambda m: -SCENARIOS[m].limit * (SCENARIOS[m].n_agents + SCENARIOS[m].n_enemies))
        played = [pool.submit(play_files, m, files[m], job) for m in order]
        maps = [m for m in HEURISTIC if not args.maps or m in args.maps] if args.heuristic and args.episodes else []
        scripted = [pool.submit(play_heuristic, m, job) for m in maps]
        policies = sorted((r for f in played for r in f.result()), key=lambda r: (r["map"], r["algorithm"]))
        heuristic = [r for f in scripted for r in f.result()]
    result = {
        "settings": job.settings, "seed": args.seed, "episodes": args.episodes, "policies": policies,
        "heuristic": heuristic, "seconds": time.perf_counter() - start, **versions(),
    }  # fmt: skip
    show(result)
    emit(result, args.json)


if __name__ == "__main__":
    main()
