"""Environment steps per second with random legal actions: alone, by map and batch, and beside JaxMARL's SMAX.

    python benchmarks/env_speed.py                          # every part but compile
    python benchmarks/env_speed.py --parts compare          # ours / SMAX on 3m, 2s3z, 8m   (pip install jaxmarl)
    python benchmarks/env_speed.py --parts table growth --json
    python benchmarks/env_speed.py --parts rules --beside 2026-11     # these rules / those of another version
    python benchmarks/env_speed.py --parts peers            # foraging beside lbforaging and Jumanji, SMACv2 beside SMAX
    python benchmarks/env_speed.py --parts compile          # reset + step of all 23 maps
    python benchmarks/env_speed.py --parts table compile --maps lbf/10p    # any other environment with masks

One environment step is 8 game loops in both engines (SMAX: HeuristicEnemySMAX with its defaults). Both do the same job:
draw one legal action per agent, step, produce observation, state and mask, and start a fresh game where one ended.
SMAX computes a reset for every game at every step and selects; ours are begun where a game has ended only
(``envs.base.renewing``, what ``compat.jaxmarl`` steps with). Measurements of the two alternate within one process,
and the ratio is taken between neighbours; the median and the extremes are reported.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import add_options, emit, log, parse_settings, table, versions

from ibal.envs import TABLE, make
from ibal.envs.base import renewing
from ibal.envs.smac.scenarios import SCENARIOS

PARTS = ("compare", "peers", "table", "growth", "rules", "compile")
COMPARED = ("3m", "2s3z", "8m")
PLAYED = ("3m", "2s3z", "8m", "MMM")
PAPER = ("3m", "3s_vs_3z", "2s3z", "8m", "1c3s5z", "MMM")
GROWING = ("3m", "8m", "MMM", "25m", "27m_vs_30m")
BATCHES = (1, 32, 256, 1024)


class World(NamedTuple):
    """One environment with its own reset when a game ends: ``begin(key) -> seen``, ``move(key, seen) -> seen``."""

    begin: Callable[[jax.Array], Any]
    move: Callable[[jax.Array, Any], Any]


class Runner(NamedTuple):
    """A compiled batch: ``run(seen, steps)`` plays that many steps and returns what is seen then."""

    run: Callable[[Any, int], Any]
    seen: Any
    batch: int
    compile_s: float


def ours(name: str, settings: dict[str, Any]) -> World:
    """An environment of ours."""
    env = make(name, **settings)
    renew = renewing(env.reset)

    def begin(key: jax.Array) -> Any:
        return env.reset(key, env.params)

    def move(key: jax.Array, seen: Any) -> Any:
        act, play, fresh = jax.random.split(key, 3)
        state, step = seen
        actions = legal(act, step.avail)
        after = env.step(play, state, actions, env.params)
        return renew(after[1].terminated | after[1].truncated, fresh, env.params, after)

    return World(begin, move)


def smax(name: str) -> World:
    """JaxMARL's SMAX; ``step`` resets by itself."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # jaxmarl prints while it is imported
            import jaxmarl
            from jaxmarl.environments.smax import map_name_to_scenario
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"compare needs jaxmarl ({error}). Run: pip install jaxmarl, or choose other --parts"
        ) from None
    env = jaxmarl.make("HeuristicEnemySMAX", scenario=map_name_to_scenario(name))

    def masks(state: Any) -> jax.Array:
        avail = env.get_avail_actions(state)
        return jnp.stack([avail[agent] for agent in env.agents]).astype(bool)

    def begin(key: jax.Array) -> Any:
        obs, state = env.reset(key)
        return state, obs, masks(state)

    def move(key: jax.Array, seen: Any) -> Any:
        act, play = jax.random.split(key)
        state, _, avail = seen
        actions = legal(act, avail)
        obs, state, *_ = env.step(play, state, {agent: actions[i] for i, agent in enumerate(env.agents)})
        return state, obs, masks(state)

    return World(begin, move)


def jumanji_foraging() -> World:
    """Jumanji's foraging, of the sizes of lbf/10p; it draws legal actions as ours do, and is reset as ours are."""
    jumanji = peer("jumanji.environments.routing.lbf")
    generator = peer("jumanji.environments.routing.lbf.generator").RandomGenerator(
        grid_size=20, fov=3, num_agents=10, num_food=6, max_agent_level=2
    )
    env = jumanji.LevelBasedForaging(generator=generator, time_limit=50)

    def begin(key: jax.Array) -> Any:
        return env.reset(key)

    def move(key: jax.Array, seen: Any) -> Any:
        act, fresh = jax.random.split(key)
        state, step = seen
        after = env.step(state, legal(act, step.observation.action_mask))
        return jax.tree.map(lambda new, old: jnp.where(after[1].last(), new, old), begin(fresh), after)

    return World(begin, move)


def lbforaging(seed: int = 0) -> Runner:
    """The package lbforaging, one environment after the other as it is (it is not batched): lbf/10p-v3."""
    env = peer("lbforaging.foraging").ForagingEnv(
        players=10, min_player_level=1, max_player_level=2, min_food_level=1, max_food_level=None, field_size=(20, 20),
        max_num_food=6, sight=3, max_episode_steps=50, force_coop=False,
    )  # fmt: skip
    draw = np.random.default_rng(seed)
    env.reset(seed=seed)

    def run(seen: Any, steps: int) -> None:
        for actions in draw.integers(0, 6, (steps, 10)):
            if env.step(actions.tolist())[2]:
                env.reset()

    return Runner(run, None, 1, 0.0)


def peer(name: str) -> Any:
    """Import another library."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SystemExit(f"peers needs lbforaging, jumanji and jaxmarl ({error}); or choose other --parts") from None


def legal(key: jax.Array, avail: jax.Array) -> jax.Array:
    """Draw one available action per agent."""
    return jax.random.categorical(key, jnp.where(avail, 0.0, -jnp.inf), axis=1).astype(jnp.int32)


def compiled(world: World, batch: int, seed: int = 0) -> Runner:
    """Compile a loop over a batch of environments. Everything seen is returned, so nothing can be optimised away."""
    keys = jax.random.split(jax.random.key(seed), batch)
    seen = jax.jit(jax.vmap(world.begin))(keys)

    def run(seen: Any, steps: jax.Array, root: jax.Array) -> Any:
        def body(i: jax.Array, seen: Any) -> Any:
            keys = jax.random.split(jax.random.fold_in(root, i), batch)
            return jax.vmap(world.move)(keys, seen)

        return jax.lax.fori_loop(0, steps, body, seen)

    start = time.perf_counter()
    program = jax.jit(run).lower(seen, jnp.int32(1), jax.random.key(1)).compile()
    spent = time.perf_counter() - start
    return Runner(lambda seen, steps: program(seen, jnp.int32(steps), jax.random.key(1)), seen, batch, spent)


def timed(runner: Runner, steps: int) -> float:
    """Seconds that ``steps`` batched steps take."""
    start = time.perf_counter()
    jax.block_until_ready(runner.run(runner.seen, steps))
    return time.perf_counter() - start


def steps_for(runner: Runner, seconds: float) -> int:
    """How many batched steps fill about ``seconds``."""
    timed(runner, 2)
    return max(4, round(seconds * 8 / timed(runner, 8)))


def rate(runner: Runner, seconds: float, rounds: int) -> float:
    """Environment steps per second: median of ``rounds`` measurements."""
    steps = steps_for(runner, seconds)
    return runner.batch * steps / statistics.median(timed(runner, steps) for _ in range(rounds))


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours and SMAX in turn, same map, same batch."""
    return [in_turn(name, {"ours": ours(name, args.settings), "smax": smax(name)}, args)
            for name in args.maps or COMPARED]  # fmt: skip


def peers(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The paper's other worlds, each in turn with another library's."""
    foraging, team = "lbf/10p-v3", "smacv2/terran_5_vs_5"
    beside: list[tuple[str, str, Callable[[], World | Runner]]] = [
        (foraging, "lbforaging", lbforaging), (foraging, "jumanji", jumanji_foraging),
        (team, "smacv2_5_units", lambda: smax("smacv2_5_units")),
    ]  # fmt: skip
    return [in_turn(name, {"ours": ours(name, args.settings), which: other()}, args)
            for name, which, other in beside if name in (args.maps or (foraging, team))]  # fmt: skip


def rules(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rules asked for and those of another version in turn, same map, same batch."""
    return [in_turn(name, {"these": ours(name, args.settings), "beside": ours(name, {"version": args.beside})}, args)
            for name in args.maps or PLAYED]  # fmt: skip


def in_turn(name: str, worlds: Mapping[str, World | Runner], args: argparse.Namespace) -> dict[str, Any]:
    """Measure two worlds, alternating; ``ratio`` is the first over the second, between neighbours."""
    pair = [world if isinstance(world, Runner) else compiled(world, args.batch) for world in worlds.values()]
    steps = [steps_for(r, args.seconds) for r in pair]
    rounds = [[r.batch * s / timed(r, s) for r, s in zip(pair, steps, strict=True)] for _ in range(args.rounds)]
    ratios = [a / b for a, b in rounds]
    speeds = {which: statistics.median(speed[i] for speed in rounds) for i, which in enumerate(worlds)}
    log(f"compared {name}")
    return {
        "map": name, "batch": args.batch, **speeds, "ratio": statistics.median(ratios), "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "compile_s": {which: runner.compile_s for which, runner in zip(worlds, pair, strict=True)},
    }  # fmt: skip


def batches(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps per second by map and batch size."""
    rows = []
    for name in args.maps or PAPER:
        world = ours(name, args.settings)
        speeds = {str(b): rate(compiled(world, b), args.seconds, args.rounds) for b in BATCHES}
        rows.append({"map": name, "steps_per_second": speeds})
        log(f"measured {name}")
    return rows


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Cost of one environment step as armies grow."""
    rows = []
    for name in args.maps or GROWING:
        spec = make(name).spec
        units = spec.n_agents if spec.scene is None else len(spec.scene.teams)
        per_step = 1e6 / rate(compiled(ours(name, args.settings), args.batch), args.seconds, args.rounds)
        rows.append({"map": name, "units": units, "batch": args.batch, "us_per_step": per_step})
        log(f"measured {name}")
    return rows


def compilation(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds to trace and compile reset and step, batched, without any cache."""
    rows = []
    for name in args.maps or SCENARIOS:
        env = make(name, **args.settings)
        keys = jax.random.split(jax.random.key(0), args.batch)
        actions = jax.ShapeDtypeStruct((args.batch, env.spec.n_agents), jnp.int32)
        reset, step = jax.vmap(env.reset, (0, None)), jax.vmap(env.step, (0, 0, 0, None))
        start = time.perf_counter()
        jax.jit(reset).lower(keys, env.params).compile()
        middle = time.perf_counter()
        state = jax.eval_shape(reset, keys, env.params)[0]
        jax.jit(step).lower(keys, state, actions, env.params).compile()
        rows.append({"map": name, "reset_s": middle - start, "step_s": time.perf_counter() - middle})
        log(f"compiled {name}")
    return rows


def show(result: dict[str, Any]) -> None:
    """Write the tables."""
    log()
    for part, names in (("compare", ("ours", "smax")), ("rules", ("these", "beside"))):
        if not (rows := result.get(part)):
            continue
        keys = (*names, "ratio", "ratio_low", "ratio_high")
        table(("steps/s, batch " + str(rows[0]["batch"]), *keys), [(r["map"], *(r[k] for k in keys)) for r in rows])
        log()
    if rows := result.get("peers"):
        head = ("map", "ours", "beside", "its", "ratio", "ratio_low", "ratio_high")
        cells = [(r["map"], r["ours"], *((k, r[k]) for k in r["compile_s"] if k != "ours"), *(r[k] for k in head[4:]))
                 for r in rows]  # fmt: skip
        table(head, [(*row[:2], *row[2], *row[3:]) for row in cells])
        log()
    if rows := result.get("table"):
        table(("steps/s at batch", *map(str, BATCHES)), [(r["map"], *r["steps_per_second"].values()) for r in rows])
        log()
    if rows := result.get("growth"):
        head = ("map", "units", f"us per step, batch {rows[0]['batch']}")
        table(head, [(r["map"], r["units"], r["us_per_step"]) for r in rows])
        log()
    if rows := result.get("compile"):
        table(("compile", "reset s", "step s"), [(r["map"], r["reset_s"], r["step_s"]) for r in rows])


def known(name: str) -> str:
    """Return a name of the table as it was given."""
    try:
        TABLE.resolve(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--parts", nargs="+", default=["compare", "table", "growth"], choices=PARTS)
    parser.add_argument("--maps", nargs="+", type=known, metavar="MAP", help="names of `ibal env list`")
    parser.add_argument("--batch", type=int, default=256, help="environments of compare, growth and compile")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--beside", default="2026-11", metavar="VERSION", help="rules: the version to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="measurements; the median counts")
    args = parser.parse_args()
    args.settings = parse_settings(args.set)
    parts = {
        "compare": compare,
        "peers": peers,
        "table": batches,
        "growth": growth,
        "rules": rules,
        "compile": compilation,
    }
    result: dict[str, Any] = {"settings": args.settings, "seconds": args.seconds, "rounds": args.rounds, **versions()}
    result |= {part: parts[part](args) for part in PARTS if part in args.parts}
    show(result)
    emit(result, args.json)


if __name__ == "__main__":
    main()
