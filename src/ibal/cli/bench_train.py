"""``ibal bench train``: how fast trainings run here, where their time goes, and how near the learner comes to the peak.

ibal bench train                                   # presets laptop and paper on four maps
ibal bench train --maps 3m --presets laptop --json
ibal bench train --maps 8m --account               # where an environment step's time goes, one seed on one device

Nothing else should run meanwhile. All figures of one call come from one process on one machine.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    from ibal.training import bench

    worlds = {name: made(name) for name in maps}
    if args.account:
        return _account(args, output, worlds, next(iter(presets.values())))
    counts = [count for count in seeds if count > 0]
    first = next(iter(presets.values()))
    for count in counts:  # what does not fit is said before anything is measured
        bench.check_fits(worlds[maps[0]], first.learner, dataclasses.replace(first.train, **SHORT), count)
    peak, speeds = bench.matmul_peak(), {}
    for preset, config in presets.items():
        for name in maps:
            output.note(f"measuring {preset} on {name} …")
            train = dataclasses.replace(config.train, **SHORT)
            speeds[preset, name] = bench.measure(worlds[name], config.learner, train)
            peak = max(peak, bench.matmul_peak())  # noise on a shared machine only ever slows it
    data: dict[str, Any] = {"ibal": ibal.__version__, "jax": jax.__version__, "matmul_peak_gflops": peak, "runs": {}}
    lines = [f"matmul peak {peak:.0f} GFLOP/s (float32)", HEAD]
    for (preset, name), speed in speeds.items():
        hours, paper = 1e7 / speed.steps_per_s / 3600, bench.PAPER_HOURS.get(name)
        data["runs"][f"{preset}/{name}"] = speed._asdict() | {
            "share_of_peak": speed.gflops / peak, "share_of_peak_all": speed.gflops_all / peak,
            "hours_10m": hours, "paper_hours_10m": paper,
        }  # fmt: skip
        lines.append(_row(preset, name, speed, peak, hours, paper))
    if counts:
        name, config = maps[0], first
        train = dataclasses.replace(config.train, **SHORT)
        found: dict[str, Any] = {"env": name}
        for count in counts:
            together, alone = bench.seeds_together(worlds[name], config.learner, train, count)
            found[str(count)] = {"together_steps_per_s": together, "one_steps_per_s": alone}
            lines.append(
                f"{count} seeds on {name} in one program: {together:.0f} steps/s; one after another {alone:.0f}; "
                f"ratio {together / alone:.2f}"
            )
        data["seeds"] = found
    for against in [word for word in args.methods.split(",") if word]:
        for name in maps:
            output.note(f"measuring the cost of {against} on {name} …")
            lines.append(_cost(against, worlds[name], next(iter(presets.values())), data))
    output.result(data, "\n".join(lines))
    return OK


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


def _cost(against: str, env: Env, config: RunConfig, data: dict[str, Any]) -> str:
    """Measure what a method costs on a map beside vanilla training; chunks of ten iterations, as in a training."""
    from ibal.experiments.methods import adversary_of, learner_of
    from ibal.training import bench

    name, train = env.spec.name, dataclasses.replace(config.train, replay=SHORT["replay"])
    ratio, rounds = bench.relative_cost(
        env, config.learner, train, adversary_of(Own(against), env.spec), learner_of(Own(against), config.learner)
    )
    data.setdefault("costs", {})[f"{against}/{name}"] = {"ratio": ratio, "rounds": rounds}
    return (
        f"{against} on {name}: {ratio:.3f} of vanilla's time per step (rounds {min(rounds):.3f} to {max(rounds):.3f})"
    )


HEAD = (
    f"{'preset':<8}{'map':<10}{'steps/s':>9}{'env %':>7}{'policy %':>9}{'learner %':>10}{'rest %':>7}{'padding %':>10}"
    f"{'update ms':>10}{'GFLOP/s':>9}{'% of peak':>10}{'all %':>7}{'first call s':>13}{'10M h':>7}{'paper h':>8}"
)


def _row(preset: str, name: str, speed: Any, peak: float, hours: float, paper: float | None) -> str:
    return (
        f"{preset:<8}{name:<10}{speed.steps_per_s:>9.0f}{100 * speed.environment:>7.1f}{100 * speed.policy:>9.1f}"
        f"{100 * speed.learner:>10.1f}{100 * speed.rest:>7.1f}{100 * speed.padding:>10.1f}{speed.update_ms:>10.1f}"
        f"{speed.gflops:>9.1f}{100 * speed.gflops / peak:>10.1f}{100 * speed.gflops_all / peak:>7.1f}"
        f"{speed.first_call_s:>13.1f}{hours:>7.2f}"
        f"{paper if paper is not None else '-':>8}"
    )
