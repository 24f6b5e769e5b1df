"""Give ibal damaged, hostile and absurd files and command lines: a sentence must come of each, or a right result.

    python benchmarks/fuzz.py --cases 10000            # half of them files, half command lines
    python benchmarks/fuzz.py --cases 5000 --only files --seed 3

Never a traceback, a hang, a wrong result, or code that runs because a file says so. The cases are those of
``tests/fuzz``, of which the suite tries 300. Exit status 0: all held. A case that did not is printed, with what
reproduces it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]


def main(argv: list[str]) -> int:
    """Run the modules of ``tests/fuzz`` with more cases."""
    modules = {file.stem.removeprefix("test_"): file for file in sorted((HOME / "tests" / "fuzz").glob("test_*.py"))}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, metavar="N", help="in all (default 10000)")
    parser.add_argument("--only", choices=[*modules], help="one of the modules (default: all, evenly)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the cases (default 0)")
    options = parser.parse_args(argv)
    chosen = [modules[options.only]] if options.only else [*modules.values()]
    each = -(-options.cases // len(chosen))
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={options.seed}"]
    begun = time.monotonic()
    done = subprocess.run(
        [*words, *map(str, chosen)], cwd=HOME, env={**os.environ, "IBAL_FUZZ_CASES": str(each)}, check=False
    )
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
