"""How far the engine is from the real StarCraft II, measured from both sides, and which rules bring it nearer.

    python benchmarks/calibrate.py table  --policies DIR DIR                     # real, old, new for every target
    python benchmarks/calibrate.py sweep  --policies DIR --try scan_other=0,0.5,1 --try look=1,4 --maps 2s3z 5m_vs_6m
    python benchmarks/calibrate.py search --policies DIR --vary scan_other=0:1 look=1:6 --out trials.parquet

``targets.json`` holds what is known of the real game: win rate, return or length of a team on a map, and how well the
number is known. Teams are policy files (``qmix+qplex`` is the mean of two) and scripts: random, stop, north, east,
heuristic. A rule set is a set of ``Quantities`` (``--set``, numbers) on top of discrete ``Rules`` (``--set`` too) of a
version (``--version``). Many sets play side by side in one compiled program: a set is an entry of an array. Episode i
has the same key under every set.

The loss of a target is the square of (here - real) over its error (of the real number, of the simulation, and a
tolerance of 0.05 of a win rate and 5 % of a return or length), damped beyond three errors: too easy counts as much as
too hard. Targets of one map in a group are averaged, then the maps, then the groups with their weights.

``search`` varies numbers with CMA-ES (``pip install cmaes``) and writes every trial to a Parquet file; started again
with the same file it goes on where it stopped. ``--leave-out`` names maps or teams that are not fitted but reported.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from common import add_options, emit, log, parse_settings, table, versions

from ibal import rng, tree
from ibal.envs.smac import env as smac
from ibal.envs.smac.heuristic import heuristic_actions
from ibal.envs.smac.perturb import perturbed
from ibal.envs.smac.rules import Quantities, Rules
from ibal.envs.smac.scenarios import SCENARIOS, scenario
from ibal.game.keys import team_key, world_key
from ibal.nets.pymarl import load_agent, pymarl_agent
from ibal.types import Env

SCRIPTS = ("random", "stop", "north", "east", "heuristic")
WEIGHTS = {"paper": 3.0, "ladder": 1.5, "policies": 2.0, "won length": 1.5, "random": 2.0, "passive": 1.0,
           "untrained": 0.5, "heuristic": 0.25, "large": 0.5}  # fmt: skip
TOLERANCE = 0.05
SLOTS = 64  # games side by side
ROOM = 256  # games of one compiled program at least


class Target(NamedTuple):
    """One number of the real game. ``measure`` is win, return, length or "won length" (of won games only)."""

    group: str
    map: str
    team: str
    world: str
    measure: str
    real: float
    error: float
    episodes: int


class Games(NamedTuple):
    """What came of some games, [b]."""

    returns: Any
    length: Any
    win: Any
    dead: Any  # agents


def targets(path: Path = Path(__file__).with_name("targets.json")) -> list[Target]:
    """Read what is known of the real game."""
    return [Target(**row) for row in json.loads(path.read_text())]


def stems(target: Target) -> list[str]:
    """Names of the policy files (without ending) of a target's team; of a script its name."""
    if target.team in SCRIPTS:
        return [target.team]
    return [part if part.endswith(target.map) else f"{part}_{target.map}" for part in target.team.split("+")]


# --- playing ---------------------------------------------------------------------------------------------------------


class _Slots(NamedTuple):
    job: Any
    clock: Any
    total: Any
    state: Any
    step: Any
    carry: Any
    last: Any


@partial(jax.jit, static_argnums=(0, 1, 2))
def _play(
    env_reset: Any, env_step: Any, team: _Team, keys: Any, code: Any, params: Any, worlds: Any, jobs: Any
) -> Games:
    """Play one game per key, each in its own world; as ``evaluate.episodes.play``, which has one world for all.

    Only the first ``jobs`` keys count: the rest fill up to a size for which this is compiled already.
    """
    room, slots = keys.shape[0], min(SLOTS, keys.shape[0])

    def begin(job: tuple[Any, Any]) -> tuple[Any, Any]:
        key, world = job
        return env_reset(world_key(key, 0), world)

    fresh = jax.lax.map(begin, (keys, worlds), batch_size=slots)

    def start(job: Any) -> _Slots:
        state, step = tree.at(fresh, jnp.minimum(job, jobs - 1))
        carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (slots, *a.shape)), team.start())
        last = jnp.full((slots, team.n_agents), -1, jnp.int32)
        return _Slots(job, jnp.zeros(slots, jnp.int32), jnp.zeros(slots), state, step, carry, last)

    def advance(key: Any, world: Any, code: Any, slot: _Slots) -> _Slots:
        carry, actions = team.act(params, code, team_key(key, slot.clock), slot)
        state, step = env_step(world_key(key, slot.clock + 1), slot.state, actions, world)
        return _Slots(slot.job, slot.clock + 1, slot.total + step.reward, state, step, carry, actions)

    def body(loop: tuple[_Slots, Any, Games]) -> tuple[_Slots, Any, Games]:
        slot, queued, games = loop
        job = jnp.minimum(slot.job, jobs - 1)
        slot = jax.vmap(advance)(keys[job], tree.at(worlds, job), code[job], slot)
        over = (slot.step.terminated | slot.step.truncated) & (slot.job < jobs)
        row = jnp.where(over, slot.job, room)
        ended = Games(slot.total, slot.clock, slot.step.metrics["win"], slot.step.metrics["dead_allies"])
        games = jax.tree.map(lambda kept, new: kept.at[row].set(new, mode="drop"), games, ended)
        after = jnp.where(over, jnp.minimum(queued + jnp.cumsum(over.astype(jnp.int32)) - 1, jobs), slot.job)
        return tree.where(over, start(after), slot), jnp.minimum(queued + over.sum(dtype=jnp.int32), jobs), games

    nothing = jnp.zeros(room)
    games = Games(nothing, jnp.zeros(room, jnp.int32), nothing, nothing)
    loop = (start(jnp.minimum(jnp.arange(slots, dtype=jnp.int32), jobs)), jnp.minimum(slots, jobs), games)
    return jax.lax.while_loop(lambda c: (c[0].job < jobs).any(), body, loop)[2]


class _Team(NamedTuple):
    """Who plays: ``act(params, code, key, slot) -> (carry, actions)``."""

    n_agents: int
    start: Any
    act: Any


def network(env: Env) -> _Team:
    """Policy files of one map, greedy."""
    agent = pymarl_agent(env.spec)

    def act(params: Any, code: Any, key: Any, slot: _Slots) -> tuple[Any, Any]:
        carry, scores = agent.scores(params, slot.carry, slot.step.obs, slot.step.avail, slot.last)
        return carry, agent.select(key, scores, slot.step.avail)

    return _Team(env.spec.n_agents, agent.start, act)


def script(env: Env, name: str) -> _Team:
    """The teams of ``SCRIPTS``, chosen by ``code``."""

    def act(params: Any, code: Any, key: Any, slot: _Slots) -> tuple[Any, Any]:
        avail = slot.step.avail
        chance = jax.random.categorical(key, jnp.where(avail, 0.0, -jnp.inf))
        stop = jnp.where(avail[:, 0], 0, 1)
        walks = [jnp.where(avail[:, action], action, stop) for action in (2, 4)]
        heuristic = heuristic_actions(slot.state, scenario(name))
        return slot.carry, jnp.select([code == i for i in range(5)], [chance, stop, *walks, heuristic]).astype(int)

    return _Team(env.spec.n_agents, lambda: jnp.zeros(0), act)


@cache
def _programs(name: str, rules: Rules) -> tuple[Env, _Team, Env, _Team]:
    """Networks and scripts of one map with their environments: the same objects again, so that nothing recompiles."""
    env, free = smac.make(name, rules=rules), smac.make(name, rules=replace(rules, check_actions=False))
    return env, network(env), free, script(free, name)


class Cell(NamedTuple):
    """A team in a world on a map; ``team`` is a script or the stem of a policy file."""

    map: str
    team: str
    world: str


def play(
    cell: Cell, sets: Sequence[Quantities], rules: Rules, files: dict[str, Path], episodes: int, seed: int
) -> Games:
    """Play ``episodes`` games under every rule set: arrays [set, episode]."""
    env, nets, free, scripts = _programs(cell.map, rules)
    scripted = cell.team in SCRIPTS
    code = SCRIPTS.index(cell.team) if scripted else 0
    base = env.params if cell.world == "natural" else perturbed(env.params, cell.world)
    count, jobs = len(sets), len(sets) * episodes
    room = max(ROOM, 1 << (jobs - 1).bit_length())  # few sizes: each compiles anew
    fill = np.arange(room) % jobs
    columns: Any = [np.repeat(np.asarray(column, np.float32), episodes)[fill] for column in zip(*sets, strict=True)]
    numbers = Quantities(*columns)
    worlds = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a), (room, *a.shape)), base)._replace(quantities=numbers)
    keys = jnp.tile(rng.episodes(rng.root(seed), episodes), count)[fill]
    params = () if scripted else load_agent(files[cell.team], env.spec)
    which, team = (free, scripts) if scripted else (env, nets)
    games = _play(which.reset, which.step, team, keys, jnp.full(room, code), params, worlds, jnp.int32(jobs))
    return jax.tree.map(lambda a: np.asarray(a, np.float64)[:jobs].reshape(count, episodes), games)


# --- comparing -------------------------------------------------------------------------------------------------------


def measured(measure: str, games: Sequence[Games]) -> tuple[np.ndarray, np.ndarray]:
    """(value, standard error) of every rule set, [set]; several teams are averaged."""
    values, squares = [], []
    for game in games:
        if measure == "won length":
            wins = np.maximum(game.win.sum(1), 1)
            mean = (game.length * game.win).sum(1) / wins
            spread = (game.win * (game.length - mean[:, None]) ** 2).sum(1) / wins
            values.append(np.where(game.win.sum(1) > 0, mean, np.nan))
            squares.append(spread / wins)
        else:
            column = {"win": game.win, "return": game.returns, "length": game.length}[measure]
            k = column.shape[1]
            # A rate of 0 or 1 is not known exactly either.
            spread = np.maximum(column.var(1), 1 / (k + 2) if measure == "win" else 0.0)
            values.append(column.mean(1))
            squares.append(spread / k)
    shown = np.stack(values)
    count = np.maximum(np.isfinite(shown).sum(0), 1)
    return (
        np.where(np.isfinite(shown).any(0), np.nansum(shown, 0) / count, np.nan),
        np.sqrt(np.sum(squares, axis=0)) / len(games),
    )


def misfit(target: Target, here: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Damped squared distance from the real number, [set]; a team that never wins has the largest."""
    slack = TOLERANCE if target.measure == "win" else TOLERANCE * target.real
    square = (here - target.real) ** 2 / (target.error**2 + error**2 + slack**2)
    return np.where(np.isfinite(here), square / (1 + square / 9), 9.0)


def loss(wanted: Sequence[Target], errors: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over groups (weighted), of the mean over their maps, of the mean over targets: [set]."""
    total, weight = np.zeros_like(errors[0]), 0.0
    for group in {t.group for t in wanted}:
        maps = {t.map for t in wanted if t.group == group}
        rows = [
            np.mean([e for t, e in zip(wanted, errors, strict=True) if (t.group, t.map) == (group, m)], axis=0)
            for m in maps
        ]
        total = total + WEIGHTS[group] * np.mean(rows, axis=0)
        weight += WEIGHTS[group]
    return total / weight


def compare(
    wanted: Sequence[Target],
    sets: Sequence[Quantities],
    rules: Rules,
    files: dict[str, Path],
    episodes: float,
    seed: int,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(value, standard error) of every target under every rule set; ``episodes`` multiplies the targets' own."""
    needed: dict[Cell, int] = {}
    for target in wanted:
        for stem in stems(target):
            cell = Cell(target.map, stem, target.world)
            needed[cell] = max(needed.get(cell, 0), max(int(target.episodes * episodes), 2))
    games = {}
    for cell in sorted(needed):
        games[cell] = play(cell, sets, rules, files, needed[cell], seed)
    rows = [measured(t.measure, [games[Cell(t.map, stem, t.world)] for stem in stems(t)]) for t in wanted]
    return [value for value, _ in rows], [error for _, error in rows]


# --- command line ----------------------------------------------------------------------------------------------------


def rule_set(settings: dict[str, Any], rules: Rules) -> tuple[Quantities, Rules]:
    """Split settings into numbers and discrete rules."""
    names = {field.name for field in fields(Rules)}
    wrong = [name for name in settings if name not in names and name not in Quantities._fields]
    if wrong:
        raise SystemExit(f"no rule called {wrong[0]} (fields of Rules and Quantities)")
    discrete = {k: v for k, v in settings.items() if k in names}
    numbers = {k: float(v) for k, v in settings.items() if k not in names}
    return rules.quantities._replace(**numbers), replace(rules, **discrete)


def choose(args: argparse.Namespace) -> tuple[list[Target], list[Target], dict[str, Path]]:
    """(targets to fit, targets left out, policy files by stem), cut to what the options name and the files allow."""
    files = {p.stem: p for folder in args.policies for p in sorted(folder.rglob("*.safetensors"))}
    wanted = [
        t for t in targets() if (not args.maps or t.map in args.maps) and (not args.groups or t.group in args.groups)
    ]
    wanted = [t for t in wanted if all(s in SCRIPTS or s in files for s in stems(t))]
    out = [t for t in wanted if t.map in args.leave_out or any(s in args.leave_out for s in stems(t))]
    return [t for t in wanted if t not in out], out, files


def show(
    wanted: Sequence[Target], names: Sequence[str], values: Sequence[np.ndarray], errors: Sequence[np.ndarray]
) -> None:
    """Print real and simulated values; the ladder as three lines."""
    rows: list[list[object]] = []
    for t, value in zip(wanted, values, strict=True):
        if t.group != "ladder":
            rows.append([t.group, t.map, t.team, t.world, t.measure, t.real, *map(float, value)])
    for measure in ("win", "return", "length"):
        picked = [
            (t.real, v) for t, v in zip(wanted, values, strict=True) if (t.group, t.measure) == ("ladder", measure)
        ]
        if picked:
            real, here = np.array([r for r, _ in picked]), np.array([v for _, v in picked])
            rows.append(["ladder", "5m_vs_6m", "40 files", "", measure, real.mean(), *here.mean(0)])
            rows.append(["ladder", "", "", "", "mean |error|", "", *np.abs(here - real[:, None]).mean(0)])
            ranks = [_rank_correlation(real, here[:, i]) for i in range(here.shape[1])]
            rows.append(["ladder", "", "", "", "rank correlation", "", *ranks])
    table(("group", "map", "team", "world", "measure", "real", *names), rows)
    for world in ("all", *sorted({t.map for t in wanted if t.group == "paper"})):
        picked = [(t, v) for t, v in zip(wanted, values, strict=True) if t.group == "paper" and world in ("all", t.map)]
        if picked:
            log(f"paper row, mean |error|, {world}:",
                *(f"{np.mean([abs(v[i] - t.real) for t, v in picked]):.3f}" for i in range(len(names))))  # fmt: skip
    for group in [*WEIGHTS, "all"]:
        part = [i for i, t in enumerate(wanted) if group in (t.group, "all")]
        if part:
            rows_ = [misfit(wanted[i], values[i], errors[i]) for i in part]
            log(f"loss {group}:", *(f"{x:.3f}" for x in loss([wanted[i] for i in part], rows_)))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    def ranks(x: np.ndarray) -> np.ndarray:
        return np.array([(x < v).sum() + (x == v).sum() / 2 for v in x])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1]) if len(a) > 2 and np.ptp(b) > 0 else math.nan


def search(args: argparse.Namespace, numbers: Quantities, rules: Rules) -> None:
    """CMA-ES over ``--vary``; every trial is a row of ``--out``."""
    from cmaes import CMA

    fitted, _, files = choose(args)
    vary = {name: tuple(map(float, bounds.split(":"))) for name, bounds in (v.split("=") for v in args.vary)}
    low, high = (np.array([b[i] for b in vary.values()]) for i in (0, 1))
    start = np.array([getattr(numbers, name) for name in vary])
    unit = np.clip((start - low) / (high - low), 0.02, 0.98)
    cma = CMA(mean=unit, sigma=args.sigma, bounds=np.array([[0.0, 1.0]] * len(vary)), seed=args.seed,
              population_size=args.population)  # fmt: skip
    done = pl.read_parquet(args.out) if args.out.exists() else pl.DataFrame()
    for generation in range(args.generations):
        asked = [cma.ask() for _ in range(args.population)]
        sets = [numbers._replace(**dict(zip(vary, (low + x * (high - low)).tolist(), strict=True))) for x in asked]
        old = done.filter(pl.col("generation") == generation) if len(done) else done
        if len(old) == args.population:
            losses = old.sort("member")["loss"].to_numpy()
        else:
            # New games in every generation, so that nobody wins by luck for long.
            seed = args.seed * 1000 + generation
            values, errors = compare(fitted, sets, rules, files, args.episodes, seed)
            misfits = [misfit(t, v, e) for t, v, e in zip(fitted, values, errors, strict=True)]
            losses = loss(fitted, misfits)
            parts = {}
            for group in sorted({t.group for t in fitted}):
                part = [i for i, t in enumerate(fitted) if t.group == group]
                parts[group] = loss([fitted[i] for i in part], [misfits[i] for i in part])
            rows = [
                {"generation": generation, "member": i, "seed": seed, "loss": float(losses[i]),
                 "rules": rules.version, **{f"loss {g}": float(v[i]) for g, v in parts.items()},
                 **{name: getattr(sets[i], name) for name in vary}}
                for i in range(args.population)
            ]  # fmt: skip
            done = pl.concat([done, pl.DataFrame(rows)], how="diagonal") if len(done) else pl.DataFrame(rows)
            done.write_parquet(args.out)
        cma.tell(list(zip(asked, losses.tolist(), strict=True)))
        best, middle = int(np.argmin(losses)), low + cma.mean * (high - low)
        log(f"generation {generation}: best {losses[best]:.3f}, mean {losses.mean():.3f};",
            " ".join(f"{n}={v:.3g}" for n, v in zip(vary, middle, strict=True)))  # fmt: skip


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("what", choices=("table", "sweep", "search"))
    parser.add_argument("--policies", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--version", default="2026-11", help="the rules to start from")
    parser.add_argument("--beside", nargs="*", default=[], help="table: other versions to show")
    parser.add_argument(
        "--try", dest="tries", action="append", default=[], metavar="NAME=A,B", help="sweep: one at a time"
    )
    parser.add_argument("--vary", nargs="+", default=[], metavar="NAME=LOW:HIGH", help="search: these numbers")
    parser.add_argument("--maps", nargs="+", default=[], choices=sorted(SCENARIOS), metavar="MAP")
    parser.add_argument("--groups", nargs="+", default=[], choices=sorted(WEIGHTS), metavar="GROUP")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="MAP_OR_TEAM", help="search: do not fit these")
    parser.add_argument("--episodes", type=float, default=1.0, help="times the episodes of every target")
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--sigma", type=float, default=0.2)
    parser.add_argument("--out", type=Path, default=Path("trials.parquet"))
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep compiled programs there between runs")
    args = parser.parse_args()
    if args.cache:
        jax.config.update("jax_compilation_cache_dir", str(args.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    numbers, rules = rule_set(parse_settings(args.set), Rules.of(args.version))
    if args.what == "search":
        return search(args, numbers, rules)

    fitted, out, files = choose(args)
    wanted = [*fitted, *out]
    sets: list[tuple[str, Quantities, Rules]] = [("base", numbers, rules)]
    for item in args.tries:
        name, _, values = item.partition("=")
        start = replace(rules, quantities=numbers)
        sets += [(f"{name}={v}", *rule_set(parse_settings([f"{name}={v}"]), start)) for v in values.split(",")]
    sets += [(name, Rules.of(name).quantities, Rules.of(name)) for name in args.beside]
    columns: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for discrete in dict.fromkeys(r.discrete for _, _, r in sets):
        picked = [i for i, (_, _, r) in enumerate(sets) if r.discrete == discrete]
        values, errors = compare(wanted, [sets[i][1] for i in picked], discrete, files, args.episodes, args.seed)
        for column, i in enumerate(picked):
            columns[i] = (np.array([v[column] for v in values]), np.array([e[column] for e in errors]))
    values = list(np.stack([columns[i][0] for i in range(len(sets))], axis=1))
    errors = list(np.stack([columns[i][1] for i in range(len(sets))], axis=1))
    show(wanted, [name for name, _, _ in sets], values, errors)
    rows = [
        t._asdict() | {"here": v.tolist(), "se": e.tolist()} for t, v, e in zip(wanted, values, errors, strict=True)
    ]
    emit({"sets": [name for name, _, _ in sets], "targets": rows, "seed": args.seed, **versions()}, args.json)
    return None


if __name__ == "__main__":
    main()
