"""``ibal demo``: what this library is for, from nothing, in a few minutes.

Trains a team on 8m, continues it once without and once with interaction-breaking attacks, attacks both, and writes
table, learning curves and replays. Every step is a command of ``ibal``; ``FOLDER/commands.txt`` has them all.
Not on 3m, which would be quicker: there the attack takes over one marine of three for good, and two marines seldom win
against three, however they were trained (docs/results/archive-2026-11/ibal.md); 8m leaves a team something to learn.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibal import envs, reading
from ibal.cli.output import (
    OK,
    WRONG_USE,
    CommandError,
    Output,
    Parser,
    a_path,
    add_flags,
    claim,
    output_of,
    seed_type,
    unwritable,
)
from ibal.cli.stages import Command, Cost, Diary, Stage, available_cores, foretold, in_words, measure, run_stages
from ibal.files import CLAIM, replace_text
from ibal.registry import Own

ENV = "smac/8m"
# Of the rules of the game the older, easier version: on the newest, a few minutes of training do not yet set the teams
# apart (8m, seed 0: vanilla .15, ibal .20 under the attack).
RULES = "2026-11"
START, MORE = 50_000, 60_000  # environment steps: of the common start, and of each team after it
EPISODES = 512  # of every evaluation; trainings play as many in the end
TRIED = "natural,occlude-retreat,interaction"
DIARY = "demo.json"


def main(argv: list[str]) -> int:
    """Run ``ibal demo`` with the arguments after ``demo``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    if not 0 < options.scale < float("inf"):
        raise CommandError(f"--scale is {options.scale}; a number above 0 was expected", WRONG_USE)
    out: Path = options.out
    env = envs.TABLE.resolve(Own(options.env))
    diary = _diary(out, {"env": env, "seed": options.seed, "scale": options.scale})
    _check_drawable(env)
    begun = time.monotonic()
    try:
        with claim(out):
            _run(stages(out, options.scale, options.seed, env), diary, out, output)
    except OSError as error:
        raise unwritable(error, out) from error
    except KeyboardInterrupt:
        raise CommandError(f"interrupted; the same command goes on from {out}", 130) from None
    seconds = time.monotonic() - begun
    entries, card = _results(out / "evaluation")
    data = {"out": str(out), "minutes": round(seconds / 60, 2), "rows": entries}
    output.result(data, as_text(entries, card, out, seconds))
    return OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal demo",
        description="Train a team on 8m, continue it without and with interaction-breaking attacks, attack both; write "
        "the table, the learning curves and replays of both under attack. It says first how long that takes here; the "
        "same command goes on where it was interrupted.",
        allow_abbrev=False,
    )
    out.add_argument("--out", type=a_path, default=Path("demo"), metavar="FOLDER",
                     help="a new folder, or that of a demo to go on with (default demo)")  # fmt: skip
    out.add_argument("--env", default=ENV, metavar="NAME", help=f"environment to train on (default {ENV})")
    out.add_argument("--seed", type=seed_type(), default=0, metavar="N", help="seed of the trainings (default 0)")
    out.add_argument("--scale", type=float, default=1.0, metavar="X",
                     help="how much is trained and played, of the usual (default 1)")  # fmt: skip
    add_flags(out)
    return out


def _check_drawable(name: str) -> None:
    """Refuse an environment that the demo could not draw in the end."""
    env = envs.made(name)
    if env.frame is None or env.spec.scene is None:
        raise CommandError(f'"{name}" cannot be drawn, so there would be nothing to see; take one of smac/*', WRONG_USE)


def _diary(out: Path, settings: dict[str, Any]) -> Diary:
    """Return the diary of a new demo, or of one in ``out`` that was begun with the same settings."""
    diary = Diary(out / DIARY, settings)
    if out.exists() and not out.is_dir():
        raise CommandError(f"--out {out} is a file; name a folder", WRONG_USE)
    if out.exists() and not (out / DIARY).exists() and any(path.name != CLAIM for path in out.iterdir()):
        raise CommandError(f"--out {out} exists and holds no demo; name another folder, or delete it", WRONG_USE)
    if other := diary.read():
        raise CommandError(f"--out {out} holds {other}; name another folder, or delete it", WRONG_USE)
    return diary


def _run(plan: list[Stage], diary: Diary, out: Path, output: Output) -> None:
    diary.write()
    commands = [command for stage in plan for track in stage.tracks for command in track]
    replace_text(out / "commands.txt", "".join(shlex.join(["ibal", c.name, *c.arguments]) + "\n" for c in commands))
    if all(command.label in diary.done for command in commands):
        output.note(f"{out} is complete; for a new demo name another --out, or delete it")
        return
    if diary.done:
        output.note(f"going on with what {out} holds")
    from ibal.training.runner import use_compilation_cache

    use_compilation_cache()
    speed = measure()
    cores = len(available_cores())
    left = sum(foretold(stage, speed, cores, diary.done) for stage in plan)
    output.note(f"about {in_words(left)} on this machine and {cores} core{'s' * (cores > 1)}, into {out}")
    run_stages(plan, speed, diary, out / "logs", output, lambda command: ready(command, out))


def ready(command: Command, out: Path) -> Command:
    """Give a command what is known only when its turn has come."""
    if command.name == "replay":
        telling = ("--episode", str(telling_episode(out / "evaluation")))
        return command._replace(arguments=(*command.arguments, *telling))
    if command.name == "train" and (folder := out / command.label).exists():
        if (folder / "config.toml").exists():
            return command._replace(arguments=(*command.arguments, "--resume"))
        shutil.rmtree(folder)  # stopped before it wrote anything
    return command


def _results(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of the table and the card of an evaluation."""
    try:
        summary, card = reading.table(folder / "summary.json", {"entries": list[dict[str, Any]]}), folder / "card.json"
        return summary["entries"], reading.table(card)
    except (OSError, reading.Unreadable) as error:
        raise CommandError(f"the demo's results are gone: {error}; delete the folder and begin anew") from error


def stages(out: Path, scale: float, seed: int, env: str = ENV) -> list[Stage]:
    """Return what the demo runs, in order."""

    def count(usual: int) -> str:
        return str(max(1, round(usual * scale)))

    def train(name: str, steps: int, cost: Cost, *more: str) -> Command:
        budget = ("--steps", count(steps), "--seed", str(seed))
        # Fewer random actions than usual, since so little is trained.
        budget += ("--train.epsilon-steps", count(30_000), "--train.snapshot-every", count(25_000))
        # Greedy episodes at the start and the end only, and as many: evaluations of two sizes would be compiled twice.
        budget += ("--train.eval-every", count(2 * MORE), "--train.eval-episodes", str(EPISODES))
        kept = ("--train.checkpoint-replay", "none")  # with the replay, checkpoints take gigabytes
        words = ("--env", env, *rules, "--preset", "laptop", *budget, *kept, "--out", str(out / name), *more)
        return Command(name, "train", words, cost)

    rules = ("--env-option", f"version={RULES}") if RULES in envs.versions(env) else ()
    start, teams, bank = str(out / "start"), (str(out / "vanilla"), str(out / "ibal")), str(out / "attackers")
    played = ("--env", env, "--attackers", bank)
    show = [word for team in teams for word in ("--policy", team)]
    begin = train("start", START, Cost(33, 28))
    fit = Command("attackers", "attack", (start, "--env", env, "--out", bank, "--episodes", count(256), "--steps",
                                          count(500), "--check", "0"), Cost(28, 10))  # fmt: skip
    vanilla = train("vanilla", MORE, Cost(42, 33), "--init", start)
    ibal = train("ibal", MORE, Cost(62, 46), "--init", start, "--method", "ibal")
    evaluate = Command("evaluation", "evaluate", (*teams, "--attacks", TRIED, *played, "--episodes", str(EPISODES),
                                                  "--out", str(out / "evaluation")), Cost(37, 14))  # fmt: skip
    curves = Command("curves", "curves", (*teams, "--attacks", "interaction", *played, "--episodes", str(EPISODES),
                                          "--out", str(out / "curves")), Cost(22, 14))  # fmt: skip
    replay = Command("replays", "replay", (*show, "--attack", "interaction", *played, "--out",
                                           str(out / "replays.html")), Cost(22, 4))  # fmt: skip
    return [
        Stage("train a team", ((begin,),)),
        Stage("go on with it: alone (vanilla), and under attack (ibal)", ((fit, vanilla), (ibal,))),
        Stage("attack both", ((evaluate, replay), (curves,))),
    ]


def telling_episode(evaluation: Path) -> int:
    """Return the first episode under ``interaction`` that one team won and another lost, or 0 if there is none."""
    import polars as pl

    columns = {"attack": pl.String, "perturbation": pl.String, "episode": pl.Int64, "win": pl.Float64}
    rows = reading.parquet(evaluation / "episodes.parquet", columns)
    attacked = rows.filter(pl.col("attack") == "interaction", pl.col("perturbation") == "none")
    split = attacked.group_by("episode").agg(pl.col("win").n_unique()).filter(pl.col("win") > 1)["episode"]
    return 0 if split.is_empty() else int(split.to_numpy().min())


def as_text(entries: Sequence[dict[str, Any]], card: dict[str, Any], out: Path, seconds: float) -> str:
    """Return the table, what was written, and in three sentences what was shown."""
    from ibal.report.sheet import as_text as table

    tried = TRIED.split(",")  # without what sums them up
    named = [entry | {"policy": Path(entry["policy"]).name} for entry in entries if entry["attack"] in tried]
    return "\n".join([
        table(named, card=card),
        "",
        f"{out / 'replays.html'}: both teams in the same attacked game, the first that one team alone wins if any",
        f"{out / 'curves' / 'curves.svg'}: learning curves, natural and attacked",
        f"{out / 'evaluation' / 'episodes.parquet'}: every episode; {out / 'commands.txt'}: every command",
        f"{in_words(seconds)} in all",
        "",
        *shown({(entry["policy"], entry["attack"]): entry for entry in named}),
    ])  # fmt: skip


def shown(cells: dict[tuple[str, str], dict[str, Any]]) -> tuple[str, str, str]:
    """Say in three sentences what was shown, or that nothing was; ``cells``: team and attack to numbers."""
    quiet = {team: cells[team, "natural"] for team in ("vanilla", "ibal")}
    hurt = {team: cells[team, "interaction"] for team in ("vanilla", "ibal")}
    (low, _), (_, high) = _interval(hurt["ibal"]), _interval(hurt["vanilla"])
    differs = "So what a team meets while it learns decides: both began as one team and then trained equally long."
    alike = "So this run does not show that training under attack helps; try another --seed, or a larger --scale."
    return (
        f"Left in peace, the team that trained on as before (vanilla) {_score(quiet['vanilla'])} and the one that "
        f"trained on under attack (ibal) {_score(quiet['ibal'])}.",
        "Then an attacker of the kind that ibal trained against, fitted to the team that both began as, cuts some "
        f"agents off from the others and steers them (interaction): vanilla {_score(hurt['vanilla'])}, ibal "
        f"{_score(hurt['ibal'])}.",
        differs if low > high else alike,
    )


def _score(entry: dict[str, Any]) -> str:
    if entry["win_rate"] is None:
        return f"has a return of {entry['return']:.1f}"
    return f"wins {100 * entry['win_rate']:.0f} % of its games"


def _interval(entry: dict[str, Any]) -> tuple[float, float]:
    low, high = entry["return_interval" if entry["win_rate"] is None else "win_rate_interval"]
    return low, high
