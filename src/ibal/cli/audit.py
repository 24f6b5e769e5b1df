"""``ibal audit``: which agents of a team may fail, how, and when, before the team does.

ibal audit runs/qmix-8m/policy/seed-0.safetensors --minutes 10 --out audit.html
ibal audit qmix_2s3z.safetensors --env smac/2s3z --fail-under 0.8
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ibal.cli.output import (
    FAILED,
    OK,
    WRONG_USE,
    CommandError,
    Parser,
    a_number,
    a_path,
    add_flags,
    output_of,
    seed_type,
    unwritable,
)


def main(argv: list[str]) -> int:
    """Run ``ibal audit`` with the arguments after ``audit``."""
    options = _parser().parse_args(argv)
    output = output_of(options)
    if options.out.suffix.lower() != ".html":
        raise CommandError(f"--out {options.out}: name a page, like audit.html", WRONG_USE)
    from ibal.api.audit import audit

    try:
        done = audit(
            options.team, env=options.env, minutes=options.minutes, fail_under=options.fail_under, seed=options.seed,
            out=options.out, note=output.note,
        )  # fmt: skip
    except OSError as error:
        raise unwritable(error, options.out) from error
    output.note(f"wrote {options.out} and {options.out.with_suffix('.json').name}")
    lines = list(done.data["verdict"])
    lines += [f"Not measured ({done.data['stopped'] or 'left out'}): {what}" for what in done.data["missing"]]
    if done.passed is False:
        lowest = done.data["lowest"]
        lines.append(f"FAILED  {lowest['trial']} leaves {lowest['score']:.3f}, below {options.fail_under:g}")
    output.result(done.data, "\n".join(lines))
    return FAILED if done.passed is False else OK


def _parser() -> argparse.ArgumentParser:
    out = Parser(
        prog="ibal audit",
        description="Try out what breaks a team (single agents and pairs that fail, faults of every kind and size, "
        "attacks) within a time, and write one page that says what to mend, with a JSON file beside it.",
        allow_abbrev=False,
    )
    add = out.add_argument
    add("team", metavar="TEAM", help="one team, as in ibal evaluate: a bundle, a file of PyMARL's, my_pkg.mod:make")
    add("--env", metavar="NAME", help="environment (default: the one it was trained on)")
    add("--minutes", type=a_number(0.01, 10_000), default=10.0, metavar="M", help="how long it may take (default 10)")
    add("--fail-under", type=a_number(-1e9, 1e9), metavar="S",
        help="exit with status 1 if the lowest column leaves less (share of games won, or return)")  # fmt: skip
    add("--seed", type=seed_type(), default=0, metavar="N", help="seed of the episodes (default 0)")
    add("--out", type=a_path, default=Path("audit.html"), metavar="FILE.html", help="default: audit.html")
    add_flags(out)
    return out
