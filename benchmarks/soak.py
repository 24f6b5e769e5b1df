"""Play random games on every map for a long time and look for what must never happen.

    python benchmarks/soak.py                                    # one million steps over the 23 maps
    python benchmarks/soak.py --steps 50_000 --maps 2c_vs_64zg
    python benchmarks/soak.py --maps smacv2/terran_5_vs_5 smacv2/zerg_20_vs_23   # teams drawn in every game

Checked after every environment step: no NaN or infinity in units, observations, states, rewards; health, shield and
energy within their bounds; everybody alive on the ground it can walk (flyers: in the playable rectangle); every agent
has an available action; no living ground unit inside another. Bodies are discs of radius * 235/256; flyers collide with
nobody, a colossus stands above other ground units and only collides with its like. Units are pushed apart gradually, so
a partial overlap for a moment is how the game works, too. Overlap is told as a share of the smaller disc's radius: from
1 on the middle of one body lies inside the other, which is what "inside" (``--tolerance``) means here.
Prints the deepest overlap of every map and the number of environment steps with an overlap beyond the tolerance
("crowded"); exit status 1 if anything was violated. An interrupted run (Ctrl-C, SIGTERM) gives its verdict on
the steps it has played, with exit status 130 if they are clean.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import add_options, emit, log, parse_settings, table, versions

from ibal.envs.smac import env as smac
from ibal.envs.smac.scenarios import SCENARIOS
from ibal.envs.smac.state import Units
from ibal.envs.smac.terrain import PLAYABLE, terrain
from ibal.envs.smac.units import UnitType
from ibal.envs.smacv2 import env as smacv2
from ibal.envs.smacv2.armies import ARMIES
from ibal.evaluation.scripted import random_policy
from ibal.types import Env, TimeStep

DISC = 235 / 256
ROUNDS = 16  # batched steps between two moments at which a run can be interrupted
EDGE = 1e-3  # a position this close to a border counts as inside
BOUND = 1e-3  # rounding allowed beyond full health


class Faults(NamedTuple):
    """Counts of violations, environment steps with an overlap beyond the tolerance, and the deepest overlap seen."""

    not_finite: jax.Array
    out_of_bounds: jax.Array
    off_ground: jax.Array
    no_action: jax.Array
    crowded: jax.Array
    overlap: jax.Array


class Loop(NamedTuple):
    """What goes from one round to the next: what the batch sees, the faults so far, games ended."""

    seen: Any
    faults: Faults
    games: jax.Array


class Bodies(NamedTuple):
    """What the units of a game are, [u] and [u, u]."""

    limit: Any  # [3, u]: largest health, shield, energy
    reach: Any  # closest that two centres may come; 0 where they do not collide
    smaller: Any  # radius of the smaller of two discs
    ground: Any  # bool[u, 32, 32]: cells it may stand on


class World(NamedTuple):
    """An environment, and what the units of one of its games are, by the state of the game."""

    env: Env
    bodies: Callable[[Any], Bodies]


def world(name: str, settings: dict[str, Any]) -> World:
    """Make a map of SMAC, or of SMACv2: there, what the units are differs from game to game."""
    if name in SCENARIOS:
        chosen = SCENARIOS[name]
        facts = bodies((*chosen.ally_types, *chosen.enemy_types), chosen.terrain)
        apart = ~np.eye(len(facts.reach), dtype=bool)
        facts = facts._replace(reach=facts.reach * apart)
        return World(smac.make(name, **settings), lambda state: facts)
    chosen = ARMIES[name.removeprefix("smacv2/")]
    table = bodies(chosen.kinds, chosen.terrain)
    apart = ~np.eye(chosen.n_agents + chosen.n_enemies, dtype=bool)

    def drawn(state: Any) -> Bodies:
        kind, (limit, reach, smaller, ground) = state.kind, map(jnp.asarray, table)
        pair = kind[:, None], kind[None, :]
        return Bodies(limit[:, kind], reach[pair] * apart, smaller[pair], ground[kind])

    return World(smacv2.make(chosen, **settings), drawn)


def bodies(types: Sequence[UnitType], ground: str) -> Bodies:
    """Work out what these units are from the unit table alone, apart from what the engine makes of it."""
    land, playable = terrain(ground), np.zeros((32, 32), bool)
    playable[PLAYABLE[0] : PLAYABLE[1], PLAYABLE[0] : PLAYABLE[1]] = True
    plane = np.array([2 if t.flies else int(t.towers) for t in types])
    disc = np.array([t.radius * DISC for t in types])
    collide = (plane[:, None] == plane[None]) & (plane < 2)[:, None]
    return Bodies(
        limit=np.array([[t.health, t.shield, t.max_energy] for t in types], np.float32).T,
        reach=np.where(collide, disc[:, None] + disc[None], 0).astype(np.float32),
        smaller=np.minimum(disc[:, None], disc[None]).astype(np.float32),
        ground=np.stack([(land.ground, land.above_cliffs, playable)[p] for p in plane]),
    )


def inspect(units: Units, step: TimeStep, facts: Bodies, tolerance: float) -> Faults:
    """Check one environment at one moment."""
    floats = [leaf for leaf in jax.tree.leaves((units, step)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    alive = units.health > 0
    amounts = jnp.stack((units.health, units.shield, units.energy))
    overlap = _overlap(units, alive, facts)
    bad = (amounts < -BOUND) | (amounts > facts.limit + BOUND)
    return Faults(
        not_finite=jnp.stack([(~jnp.isfinite(leaf)).sum() for leaf in floats]).sum(),
        out_of_bounds=bad.sum(),
        off_ground=(alive & ~_standing(units, facts)).sum(),
        no_action=(~step.avail.any(axis=1)).sum(),
        crowded=(overlap > tolerance).astype(jnp.int32),
        overlap=overlap,
    )


def _parts(seen: Any) -> tuple[Units, TimeStep]:
    return seen[0].units, seen[1]


def _standing(units: Units, facts: Bodies) -> jax.Array:
    """Whether each unit's centre is on its ground, give or take ``EDGE``."""
    who, ground = jnp.arange(units.x.shape[0]), jnp.asarray(facts.ground)
    inside = jnp.zeros(units.x.shape, bool)
    for dx in (-EDGE, EDGE):
        for dy in (-EDGE, EDGE):
            column = jnp.clip(jnp.floor(units.x + dx).astype(int), 0, 31)
            inside |= ground[who, jnp.clip(jnp.floor(units.y + dy).astype(int), 0, 31), column]
    return inside


def _overlap(units: Units, alive: jax.Array, facts: Bodies) -> jax.Array:
    distance = jnp.hypot(units.x[:, None] - units.x[None], units.y[:, None] - units.y[None])
    both = alive[:, None] & alive[None] & (facts.reach > 0)
    return jnp.where(both, (facts.reach - distance) / facts.smaller, 0.0).max()


def soak(name: str, steps: int, args: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Play ``steps`` environment steps of random legal actions on one map; fresh games where one ends.

    The row says how many were played, fewer when interrupted.
    """
    batch = args.batch
    env, facts_of = world(name, settings)
    policy = random_policy(env.spec)
    rounds = -(-steps // batch)

    def move(key: jax.Array, seen: Any) -> tuple[Any, Faults, jax.Array]:
        act, play, fresh = jax.random.split(key, 3)
        state, step = seen
        _, scores = policy.scores((), step.obs, step.avail, state.last_action)
        after = env.step(play, state, policy.select(act, scores, step.avail), env.params)
        faults = inspect(*_parts(after), facts_of(after[0]), args.tolerance)
        over = after[1].terminated | after[1].truncated
        start = env.reset(fresh, env.params)
        return jax.tree.map(lambda new, old: jnp.where(over, new, old), start, after), faults, over

    @jax.jit
    def begin(root: jax.Array) -> Loop:
        keys = jax.random.split(jax.random.fold_in(root, rounds), batch)
        seen = jax.vmap(env.reset, (0, None))(keys, env.params)
        first = jax.vmap(lambda now: inspect(*_parts(now), facts_of(now[0]), args.tolerance))(seen)
        return Loop(seen, Faults(*(f.sum() for f in first[:-1]), overlap=first.overlap.max()), jnp.int32(0))

    @jax.jit
    def run(root: jax.Array, loop: Loop, start: jax.Array, stop: jax.Array) -> Loop:
        def body(i: jax.Array, loop: Loop) -> Loop:
            keys = jax.random.split(jax.random.fold_in(root, i), batch)
            seen, faults, over = jax.vmap(move)(keys, loop.seen)
            counts = (t + f.sum() for t, f in zip(loop.faults[:-1], faults[:-1], strict=True))
            worst = jnp.maximum(loop.faults.overlap, faults.overlap.max())
            return Loop(seen, Faults(*counts, overlap=worst), loop.games + over.sum())

        return jax.lax.fori_loop(start, stop, body, loop)

    began, root, done = time.perf_counter(), jax.random.key(args.seed), 0
    loop, interrupted = begin(root), False
    try:
        while done < rounds:
            upto = min(done + ROUNDS, rounds)
            loop = jax.block_until_ready(run(root, loop, jnp.int32(done), jnp.int32(upto)))
            done = upto
    except KeyboardInterrupt:
        interrupted = True
    row = {"map": name, "steps": done * batch, "games": int(loop.games), "seconds": time.perf_counter() - began}
    row |= {field: value.item() for field, value in loop.faults._asdict().items()}
    return row | {"interrupted": interrupted}


def interrupt(*_: object) -> None:
    """Treat a request to terminate like Ctrl-C."""
    raise KeyboardInterrupt


def main() -> None:
    """Soak the maps that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps in all")
    drawn = [f"smacv2/{name}" for name in ARMIES]
    parser.add_argument("--maps", nargs="+", default=list(SCENARIOS), choices=[*SCENARIOS, *drawn], metavar="MAP")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--tolerance", type=float, default=1.0, help="overlap allowed, as a share of the smaller disc's radius"
    )
    args = parser.parse_args()
    settings, rows, interrupted = parse_settings(args.set), [], False
    signal.signal(signal.SIGTERM, interrupt)
    try:
        for name in args.maps:
            rows.append(soak(name, -(-args.steps // len(args.maps)), args, settings))
            log(f"{name}: {rows[-1]['seconds']:.1f} s")
            if rows[-1]["interrupted"]:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        interrupted = True
    counts = ("not_finite", "out_of_bounds", "off_ground", "no_action")
    for row in rows:
        row["violated"] = any(row[c] for c in counts) or row["overlap"] > args.tolerance
    columns = ("map", "steps", "games", *counts, "crowded", "overlap", "violated")
    log()
    table(columns, [tuple(row[c] for c in columns) for row in rows])
    bad, played = [row["map"] for row in rows if row["violated"]], sum(row["steps"] for row in rows)
    verdict = f"violated on {', '.join(bad)} (overlap allowed: {args.tolerance})" if bad else "no violation"
    log(f"\n{verdict} in {played:,} steps on {len(rows)} maps" + (", then interrupted" if interrupted else ""))
    result = {"settings": settings, "tolerance": args.tolerance, "steps": played, "interrupted": interrupted}
    emit(result | {"violated": bad, "maps": rows, **versions()}, args.json)
    raise SystemExit(1 if bad else 130 if interrupted else 0)


if __name__ == "__main__":
    main()
