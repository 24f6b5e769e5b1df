"""Do one study on every launcher and compare what came out, bit for bit.

    python benchmarks/launchers.py                      # toys: 2 methods x 2 maps x 2 seeds, evaluated under 2 attacks
    python benchmarks/launchers.py --maps 3m,2s3z --on local,slurm --json

"local": two processes; "ray": a cluster of three nodes on this machine (needs ray); "slurm": submitit's local executor
(needs submitit). Says how long each took, and how long the command takes once more when nothing is left to do. Exit
status 1 unless all rows and all weights are equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ibal.experiments.grid.held import Held
from ibal.experiments.study import STUDY_FILE
from ibal.experiments.toml_text import to_toml


def main(argv: list[str] | None = None) -> int:
    """Run the study everywhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", default="local,ray,slurm")
    parser.add_argument("--maps", default="toy/climbing,toy/two-step")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="folder of the studies; kept, and gone on with")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    args = parser.parse_args(argv)
    study = {
        "engine": "launchers",  # the sources may change meanwhile
        "defaults": {"preset": "smoke", "seeds": args.seeds, "train": {"steps": args.steps}},
        "train": [{"method": ["vanilla", "rand-act"], "env": args.maps.split(",")}],
        "evaluate": [{"attacks": ["natural", "random-act"], "episodes": 64}],
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        home, sums = args.out or Path(scratch), {}
        for on in args.on.split(","):
            folder = home / on
            folder.mkdir(parents=True, exist_ok=True)
            (folder / STUDY_FILE).write_text(to_toml(study))
            with options(on) as more:
                took = [run(folder, on, *more), run(folder, on, *more)]
            sums[on] = digest(Held(folder))
            found[on] = {"seconds": took[0], "again_s": took[1], **sums[on]}
            print(f"launchers: {on}: {found[on]}", file=sys.stderr, flush=True)
        found["equal"] = len({json.dumps(one) for one in sums.values()}) == 1
    print(json.dumps(found) if args.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if found["equal"] else 1


def run(folder: Path, on: str, *more: str) -> float:
    """Do the study and return the seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "ibal", "grid", "run", str(folder), "--on", on, *more], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return round(time.monotonic() - started, 1)


@contextmanager
def options(on: str) -> Any:
    """Give the launcher's options, and a cluster where it needs one."""
    if on != "ray":
        yield ["--workers", "2"] + (["--cluster", "local"] if on == "slurm" else [])
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield ["--address", cluster.address]
    cluster.shutdown()


def digest(held: Held) -> dict[str, Any]:
    """Return checksums of all rows and all weights, in the study's order."""
    rows = held.rows()
    files = [file for run in held.planned.trainings
             for file in sorted(held.store.folder(run).glob("run/policy/*.safetensors"))]  # fmt: skip
    weights = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    return {"runs": len(held.planned.runs), "missing": len(held.missing()), "rows": rows.height,
            "rows_sha256": hashlib.sha256(rows.write_csv().encode()).hexdigest()[:16], "teams": len(files),
            "weights_sha256": weights}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
