"""Measure what the launcher and the store cost: runs that only wait, on local workers.

    python benchmarks/overhead.py                       # 12 runs of 60 seconds on two workers
    python benchmarks/overhead.py --runs 24 --seconds 2 --workers 2 --json

Prints how much longer a run takes than what it does (claim, records, the gap to the next one), and how much longer all
take than the best schedule. Starting the workers counts. What a run does itself (importing jax, compiling) does not: it
does so wherever it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from ibal.experiments.grid.local import Local
from ibal.experiments.grid.store import Store
from ibal.experiments.runs import Run


def wait(what: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Be a run."""
    started = time.time()
    time.sleep(what["wait"])
    return {"started": started, "ended": time.time()}


def main(argv: list[str] | None = None) -> int:
    """Do the runs and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    args = parser.parse_args(argv)
    # The workers are processes of their own, which find this file as a module.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    runs = [Run(f"r{i}", "call", {"function": "overhead:wait", "wait": args.seconds}, (), f"r{i}")
            for i in range(args.runs)]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch)).open()
        started = time.time()
        Local(workers=args.workers, memory_gb=1e6).run(runs, store, lambda message: None)
        took = time.time() - started
        records = [store.record(run.id) for run in runs]
        owners = [store.owner(run.id, 0)["worker"] for run in runs]
    gaps = 0.0
    for worker in set(owners):
        mine = sorted((r["started"], r["ended"]) for r, owner in zip(records, owners, strict=True) if owner == worker)
        gaps += sum(after[0] - before[1] for before, after in pairwise(mine))
    many = max(args.runs - len(set(owners)), 1)
    ideal = math.ceil(args.runs / args.workers) * args.seconds
    found = {
        "runs": args.runs, "seconds_each": args.seconds, "workers": args.workers,
        "between_two_runs_s": round(gaps / many, 3), "overhead_percent": round(100 * gaps / many / args.seconds, 2),
        "took_s": round(took, 1), "ideal_s": ideal, "over_ideal_percent": round(100 * (took / ideal - 1), 1),
    }  # fmt: skip
    print(json.dumps(found) if args.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
