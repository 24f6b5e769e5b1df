"""``ibal bench train``: how fast trainings run here, where their time goes, and how near the learner comes to the peak.

ibal bench train                                   # presets laptop and paper on four maps
ibal bench train --maps 3m --presets laptop --json
ibal bench train --maps 8m --account               # where an environment step's time goes, one seed on one device

Nothing else should run meanwhile. All figures of one call come from one process on one machine.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ibal.cli.output import OK, WRONG_USE, CommandError, Parser, a_number, add_flags, count_type, output_of
from ibal.experiments.config import RunConfig
from ibal.experiments.methods import method
from ibal.experiments.presets import apply_preset
from ibal.learners.config import ValueConfig, named
from ibal.options import check_count, read_text
from ibal.registry import Own

if TYPE_CHECKING:
    from ibal.types import Env

INTERRUPTED = 130  # exit status
SHORT = {"chunk": 4, "replay": 1024}  # enough iterations to time; the size of the replay does not change the speed


def main(argv: list[str]) -> int:
    """Run ``ibal bench train`` with the arguments after ``train``."""
    args = _parser().parse_args(argv)
    output = output_of(args)
    try:
        base = RunConfig(learner=named(args.learner, ValueConfig()))
        presets = {name: apply_preset(name, base) for name in args.presets.split(",")}
        seeds = [check_count("--seeds", read_text(int, word)) for word in args.seeds.split(",")]
        maps = [_environment(word) for word in args.maps.split(",")]
        for word in filter(None, args.methods.split(",")):
            method(Own(word))
    except ValueError as error:
        raise CommandError(str(error), WRONG_USE) from error

    import jax

    from ibal.experiments.run import use_cores

    use_cores(1 if args.account else args.cores)
    import ibal
    from ibal.envs import made

    worlds = {name: made(name) for name in maps}
    if args.account:
        return _account(args, output, worlds, next(iter(presets.values())))
    data: dict[str, Any] = {"ibal": ibal.__version__, "jax": jax.__version__, "runs": {}}
    status = OK
    try:
        _speeds(worlds, presets, [count for count in seeds if count > 0], data, output.note)
        for against in filter(None, args.methods.split(",")):
            for env in worlds.values():
                _cost(against, env, next(iter(presets.values())), data, output.note)
    except KeyboardInterrupt:  # what took minutes to measure is not thrown away
        if not data["runs"]:
            raise
        output.note("interrupted; here is what was measured until then")
        status = INTERRUPTED
    output.result(data, "\n".join(_lines(data)))
    return status


def _speeds(
    worlds: Mapping[str, Env], presets: Mapping[str, RunConfig], counts: Sequence[int], data: dict[str, Any],
    note: Callable[[str], None],
) -> None:  # fmt: skip
    """Write into ``data`` how fast every preset trains on every map, and several seeds in one program on the first."""
    from ibal.training import bench

    first, one = next(iter(presets.values())), next(iter(worlds.values()))
    short = dataclasses.replace(first.train, **SHORT)
    for count in counts:  # what does not fit is said before anything is measured
        bench.check_fits(one, first.learner, short, count)
    peak = bench.matmul_peak()
    for preset, config in presets.items():
        for name, env in worlds.items():
            note(f"measuring {preset} on {name} …")
            speed = bench.measure(env, config.learner, dataclasses.replace(config.train, **SHORT))
            peak = max(peak, bench.matmul_peak())  # noise on a shared machine only ever slows it
            data["runs"][f"{preset}/{name}"] = speed._asdict() | {
                "hours_10m": 1e7 / speed.steps_per_s / 3600, "paper_hours_10m": bench.PAPER_HOURS.get(name),
            }  # fmt: skip
            data["matmul_peak_gflops"] = peak
    for run in data["runs"].values():
        run |= {"share_of_peak": run["gflops"] / peak, "share_of_peak_all": run["gflops_all"] / peak}
    for count in counts:
        together, alone = bench.seeds_together(one, first.learner, short, count)
        found = data.setdefault("seeds", {"env": next(iter(worlds))})
        found[str(count)] = {"together_steps_per_s": together, "one_steps_per_s": alone}


def _lines(data: Mapping[str, Any]) -> list[str]:
    """Return the report of everything that was measured."""
    lines = [f"matmul peak {data['matmul_peak_gflops']:.0f} GFLOP/s (float32)", HEAD]
    for name, run in data["runs"].items():
        preset, _, world = name.partition("/")
        lines.append(_row(preset, world, run, data["matmul_peak_gflops"]))
    for count, found in data.get("seeds", {}).items():
        if count != "env":
            together, alone = found["together_steps_per_s"], found["one_steps_per_s"]
            lines.append(
                f"{count} seeds on {data['seeds']['env']} in one program: {together:.0f} steps/s; one after another "
                f"{alone:.0f}; ratio {together / alone:.2f}"
            )
    return lines + [_told(name, cost) for name, cost in data.get("costs", {}).items()]


def _account(args: argparse.Namespace, output: Any, worlds: dict[str, Env], config: RunConfig) -> int:
    """Print where the time of an environment step goes."""
    from ibal.experiments.methods import adversary_of, learner_of
    from ibal.training import account, bench

    train = dataclasses.replace(config.train, **SHORT, updates_per_episode=args.updates)
    against = args.methods.split(",")[0]
    lines: list[str] = [f"  {name:<10}{what}" for name, what in account.PARTS.items()]
    data: dict[str, Any] = {"runs": {}}
    for name, env in worlds.items():
        output.note(f"taking account of {name} …")
        learner = learner_of(Own(against), config.learner) if against else config.learner
        attack = adversary_of(Own(against), env.spec) if against else None
        if not isinstance(learner, ValueConfig):
            raise CommandError("--account knows value learners only: iql, vdn, qmix, qplex", WRONG_USE)
        found = account.measure(env, learner, train, attack)
        peak = bench.matmul_peak()
        data["runs"][name] = found._asdict() | {"matmul_peak_gflops": peak}
        lines += account.table(name, found, peak)
    output.result(data, "\n".join(lines))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(prog="ibal bench train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--maps", default="3m,2s3z,8m,MMM", help="environments, separated by commas")
    out.add_argument("--presets", default="laptop,paper", help="presets, separated by commas")
    out.add_argument("--learner", default="qmix", help="how the team learns, as in ibal train")
    out.add_argument("--seeds", default="2,5", help="seeds in one program on the first map, numbers; 0: leave out")
    out.add_argument("--methods", default="", help="methods whose cost is compared with vanilla's, as ibal")
    out.add_argument(
        "--account",
        action="store_true",
        help="instead, where the time of an environment step goes, with the first preset and method",
    )
    out.add_argument("--updates", type=a_number(0.01, 100.0), default=0.5, metavar="X",
                     help="gradient steps per episode of an account")  # fmt: skip
    out.add_argument("--cores", type=count_type("--cores", 0), default=0,
                     help="cores of a CPU that get a seed each (default: all)")  # fmt: skip
    add_flags(out)
    return out


def _environment(name: str) -> str:
    from ibal.envs import TABLE

    return TABLE.resolve(Own(name))


def _cost(against: str, env: Env, config: RunConfig, data: dict[str, Any], note: Callable[[str], None]) -> None:
    """Measure what a method costs on a map beside vanilla training; chunks of ten iterations, as in a training."""
    from ibal.experiments.methods import adversary_of, learner_of
    from ibal.training import bench

    name, train = f"{against}/{env.spec.name}", dataclasses.replace(config.train, replay=SHORT["replay"])
    note(f"measuring the cost of {against} on {env.spec.name} …")
    ratio, rounds = bench.relative_cost(
        env, config.learner, train, adversary_of(Own(against), env.spec), learner_of(Own(against), config.learner)
    )
    data.setdefault("costs", {})[name] = cost = {"ratio": ratio, "rounds": rounds}
    note(_told(name, cost))


def _told(name: str, cost: Mapping[str, Any]) -> str:
    against, _, env = name.partition("/")
    low, high = min(cost["rounds"]), max(cost["rounds"])
    return f"{against} on {env}: {cost['ratio']:.3f} of vanilla's time per step (rounds {low:.3f} to {high:.3f})"


HEAD = (
    f"{'preset':<8}{'map':<10}{'steps/s':>9}{'env %':>7}{'policy %':>9}{'learner %':>10}{'rest %':>7}{'padding %':>10}"
    f"{'update ms':>10}{'GFLOP/s':>9}{'% of peak':>10}{'all %':>7}{'first call s':>13}{'10M h':>7}{'paper h':>8}"
)


def _row(preset: str, name: str, run: Mapping[str, Any], peak: float) -> str:
    paper = "-" if run["paper_hours_10m"] is None else run["paper_hours_10m"]
    return (
        f"{preset:<8}{name:<10}{run['steps_per_s']:>9.0f}{100 * run['environment']:>7.1f}{100 * run['policy']:>9.1f}"
        f"{100 * run['learner']:>10.1f}{100 * run['rest']:>7.1f}{100 * run['padding']:>10.1f}{run['update_ms']:>10.1f}"
        f"{run['gflops']:>9.1f}{100 * run['gflops'] / peak:>10.1f}{100 * run['gflops_all'] / peak:>7.1f}"
        f"{run['first_call_s']:>13.1f}{run['hours_10m']:>7.2f}{paper:>8}"
    )
