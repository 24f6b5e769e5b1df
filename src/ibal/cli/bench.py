"""``ibal bench WHAT …``: measure how fast this machine is. Each measurement parses its own options."""

from __future__ import annotations

import importlib
import importlib.util

from ibal.cli.output import OK, WRONG_USE, CommandError
from ibal.registry import hint

# name -> (module with ``main(argv) -> int``, what it measures)
BENCHES: dict[str, tuple[str, str]] = {
    "train": ("ibal.cli.bench_train", "training: environment, policy and learner, against the machine's peak"),
}

USAGE = f"""usage: ibal bench <what> [options]

Measure how fast this machine is.

{chr(10).join(f"  {name:<10}{help_}" for name, (_, help_) in BENCHES.items())}

ibal bench <what> --help says more."""


def main(argv: list[str]) -> int:
    """Run ``ibal bench`` with the arguments after ``bench``."""
    if argv[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return OK
    if not argv or argv[0].startswith("-"):
        raise CommandError(f"say what to measure: {', '.join(BENCHES)}", WRONG_USE)
    name, rest = argv[0], argv[1:]
    if name not in BENCHES:
        raise CommandError(
            f'nothing called "{name}" can be measured.{hint(name, BENCHES)} Choose: {", ".join(BENCHES)}', WRONG_USE
        )
    module = BENCHES[name][0]
    if importlib.util.find_spec(module) is None:
        raise CommandError(f"this installation of ibal cannot measure {name}: it has no {module}")
    return importlib.import_module(module).main(rest)
