"""``ibal replay``: play one episode and write it as an HTML page or a GIF.

ibal replay --env smac/MMM --policy random --out replay.html --out replay.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibal.cli.output import OK, WRONG_USE, CommandError, Output, add_flags, output_of
from ibal.registry import Entry, Registry

if TYPE_CHECKING:
    from ibal.types import Env, EnvSpec, Policy
    from ibal.viz.trajectory import Trajectory

SCRIPTED = Registry(
    kind="policy",
    entries={
        "random": Entry("ibal.evaluate.scripted:random_policy", "uniform over the available actions"),
        "stop": Entry("ibal.evaluate.scripted:stop_policy", "does nothing"),
        "nearest": Entry("ibal.evaluate.scripted:nearest", "attacks the nearest enemy in range (SMAC)"),
        "weakest": Entry("ibal.evaluate.scripted:weakest", "attacks the weakest enemy in range (SMAC)"),
    },
    listing="ibal replay --help",
    flag="--policy",
)
WEIGHTS = (".safetensors", ".th")
FORMATS = (".html", ".gif")


def main(argv: list[str]) -> int:
    """Run ``ibal replay`` with the arguments after ``replay``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    env, policy = _prepare(options)
    output.note(f"playing {env.spec.name} with {options.policy} (seed {options.seed}, episode {options.episode}) …")
    trajectory = _play(env, policy, options)
    try:
        for path in options.out:
            _write(trajectory, env.spec, path, options)
            output.note(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or options.out[0]}: {error.strerror or error}") from error
    _announce(trajectory, options, output)
    return OK


def _parser() -> argparse.ArgumentParser:
    policies = "; ".join(f"{name}: {entry.help}" for name, entry in SCRIPTED.entries.items())
    out = argparse.ArgumentParser(
        prog="ibal replay",
        description="Play one episode and write it as a self-contained HTML player (.html) or an animated GIF (.gif).",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("--env", required=True, metavar="NAME", help='environment, as "smac/MMM" or my_pkg.mod:make')
    files = f"a PyMARL file ({', '.join(WEIGHTS)})"
    add("--policy", default="random", metavar="WHO",
        help=f"{policies}; {files}; or my_pkg.mod:make_policy, called with the EnvSpec")  # fmt: skip
    add("--out", required=True, action="append", type=Path, metavar="FILE",
        help="where to write; the extension chooses the format; may be given more than once")  # fmt: skip
    add("--seed", type=_at_least(0.0, int), default=0, metavar="N", help="seed of the evaluation (default 0)")
    add("--episode", type=_at_least(0.0, int), default=0, metavar="I",
        help="which episode of that evaluation, counted from 0 (default 0)")  # fmt: skip
    add("--max-steps", type=_at_least(1.0, int), metavar="N", help="stop after this many steps")
    add("--fps", type=_at_least(0.1, float, 50.0), default=8.0, help="GIF: steps per second, at most 50 (default 8)")
    add("--width", type=_at_least(160.0, int, 4096.0), default=640, metavar="PIXELS", help="GIF: width (default 640)")
    add("--theme", choices=("light", "dark"), default="light", help="GIF: colours (the page follows the reader's)")
    add("--title", default="", help="HTML: title of the page (default: the environment's name)")
    add_flags(out)
    return out


def _refused(message: str) -> CommandError:
    """The command cannot be carried out as written; the message says what to write instead."""
    return CommandError(message, WRONG_USE)


def _prepare(options: argparse.Namespace) -> tuple[Env, Policy]:
    """Make everything the episode needs, cheapest checks first: what can be refused without jax is."""
    from ibal import envs

    for path in options.out:
        _check_target(path)
    name = envs.resolve(options.env)
    find_policy = _policy_maker(options.policy)
    env = envs.make(name)  # an error inside the user's own function keeps its traceback
    if env.frame is None or env.spec.scene is None:
        missing = "Env.frame is None" if env.frame is None else "EnvSpec.scene is None"
        raise _refused(f'"{options.env}" cannot be drawn ({missing}); environments with a picture: smac/*')
    return env, find_policy(env.spec)


def _check_target(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        had = f'"{path.suffix}"' if path.suffix else "a file without an extension"
        raise _refused(f"--out {path}: cannot write {had}. Allowed: {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise _refused(f'--out {path}: there is no folder "{path.parent}"')
    if path.is_dir():
        raise _refused(f"--out {path}: this is a folder; name a file")


def _policy_maker(name: str) -> Callable[[EnvSpec], Policy]:
    """Find what makes the policy: a scripted one, a weight file, or the user's own function."""
    if Path(name).suffix.lower() in WEIGHTS:
        if not Path(name).is_file():
            raise _refused(f"--policy {name}: there is no such file")

        return partial(_read_policy, name)
    if name not in SCRIPTED and ":" not in name and Path(name).exists():
        raise _refused(f"--policy {name}: not a file of weights. Allowed: {', '.join(WEIGHTS)}")
    SCRIPTED.resolve(name)
    return partial(_call_policy, name)


def _read_policy(path: str, spec: EnvSpec) -> Policy:
    from ibal.nets.pymarl import load_policy

    try:
        return load_policy(path, spec)
    except (OSError, ValueError) as error:
        raise _refused(f"--policy {error}") from error


def _call_policy(name: str, spec: EnvSpec) -> Policy:
    from ibal.types import Policy

    make, _ = SCRIPTED.load(name)
    if not callable(make):
        raise _refused(f"--policy {name}: a {type(make).__name__}, not a function of the EnvSpec")
    try:
        policy = make(spec)
    except ValueError as error:
        if name in SCRIPTED.entries:  # made for other environments; a user's own function keeps its traceback
            raise _refused(f"--policy {name}: {error}") from error
        raise
    if not isinstance(policy, Policy):
        raise _refused(f"--policy {name}: must return an ibal.types.Policy, returned a {type(policy).__name__}")
    return policy


def _play(env: Env, policy: Policy, options: argparse.Namespace) -> Trajectory:
    from ibal import rng
    from ibal.viz.record import record

    key = rng.episode(rng.root(options.seed), options.episode)
    label = Path(options.policy).stem if Path(options.policy).suffix.lower() in WEIGHTS else options.policy
    return record(env, policy, key, max_steps=options.max_steps, label=label)


def _write(trajectory: Trajectory, spec: EnvSpec, path: Path, options: argparse.Namespace) -> None:
    if path.suffix.lower() == ".gif":
        from ibal.viz.gif import write_gif

        write_gif(trajectory, spec.scene, spec, path, fps=options.fps, width=options.width, theme=options.theme)
    else:
        from ibal.viz.player import write_player

        write_player(trajectory, spec.scene, spec, path, title=options.title)


def _announce(trajectory: Trajectory, options: argparse.Namespace, output: Output) -> None:
    data: dict[str, Any] = {
        "path": str(options.out[0]),
        "paths": [str(path) for path in options.out],
        "steps": trajectory.length,
        "return": round(trajectory.episode_return, 4),
        "win": trajectory.win,
    }
    outcome = {True: ", won", False: ", not won", None: ""}[trajectory.win]
    summary = f"{trajectory.length} steps, return {trajectory.episode_return:.2f}{outcome}"
    output.result(data, "\n".join(f"{path}: {summary}" for path in options.out))


def _at_least(low: float, kind: type, high: float = float("inf")) -> Callable[[str], Any]:
    """An argparse type: a number of ``kind`` in ``low .. high``."""

    def read(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            limit = f"between {low:g} and {high:g}" if high < float("inf") else f"at least {low:g}"
            raise argparse.ArgumentTypeError(f"must be {limit}, got {text}")
        return value

    read.__name__ = kind.__name__  # argparse says "invalid int value"
    return read
