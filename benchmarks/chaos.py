"""Do a study while its workers are killed and its disk is filled, and compare it with the same study left in peace.

    python benchmarks/chaos.py                          # 24 short runs, kill -9 thirty times, a disk that is full once
    python benchmarks/chaos.py --kills 5 --every 2 --no-disk --json
    python benchmarks/chaos.py --on ray --nodes 2       # a Ray cluster on this machine that loses two nodes (needs ray)

The disk is a small tmpfs, which only root may make; anybody else gets the rest. Exit status 1 unless the disturbed
study ends complete, every row and every weight equals the undisturbed one's bit for bit, and nothing that had finished
was done again. The last says something only where many runs were done before the last kill ("done_at_last_kill"): take
a larger ``--every`` on a slow machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ibal.experiments.grid.held import Held
from ibal.experiments.study import STUDY_FILE
from ibal.experiments.toml_text import to_toml

STUDY: dict[str, Any] = {
    "engine": "chaos",  # the sources may change meanwhile
    "defaults": {"preset": "smoke", "seeds": 4, "train": {"steps": 3000, "checkpoint_every": 0.0, "chunk": 5}},
    "train": [{"method": ["vanilla", "rand-act"], "env": "toy/climbing"}],
    "evaluate": [{"attacks": ["natural", "random-act"], "episodes": 64}],
}  # 8 trainings and 16 cells
DISK_MB = 96
FULL_S = 8.0  # seconds that the disk stays full


def main(argv: list[str] | None = None) -> int:
    """Run both studies and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills, on average")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--on", default="local", choices=["local", "ray"])
    parser.add_argument("--nodes", type=int, default=0, help="ray: nodes that are lost on the way")
    parser.add_argument("--no-disk", action="store_true", help="leave the disk alone")
    parser.add_argument("--peace", type=Path, help="folder of the undisturbed study; kept, and used again")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    args = parser.parse_args(argv)
    draw = random.Random(args.seed)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peace = write(args.peace or scratch / "peace")
        say("the study left in peace")
        command(peace, args).wait()
        storm = scratch / "storm"
        storm.mkdir()
        disk = not args.no_disk and stack.enter_context(small_disk(storm))
        write(storm)
        say("the study in the storm" + ("" if disk else " (its disk is left alone)"))
        found = disturbed(storm, args, draw, disk)
        found |= compared(Held(peace), Held(storm))
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if found["complete"] and found["equal"] and not found["done_again"] else 1


def write(folder: Path) -> Path:
    """Write the study."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STUDY_FILE).write_text(to_toml(STUDY))
    return folder


def command(folder: Path, args: argparse.Namespace, *more: str) -> subprocess.Popen[bytes]:
    """Start ``ibal grid run``."""
    line = [sys.executable, "-m", "ibal", "grid", "run", str(folder), "--workers", str(args.workers), *more]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturbed(folder: Path, args: argparse.Namespace, draw: random.Random, disk: bool) -> dict[str, Any]:
    """Do the study, and whatever can happen to it."""
    held, started = Held(folder), time.monotonic()
    kills, filled, lost, restarts, finished = 0, 0, 0, 0, 0
    with cluster(args) as (more, lose):
        grid = command(folder, args, *more)
        after = time.monotonic() + draw.uniform(0.5, 1.5) * args.every
        while held.missing() or kills < args.kills:
            if grid.poll() is not None:
                if not held.missing():
                    break
                grid, restarts = command(folder, args, *more), restarts + 1
            time.sleep(0.1)
            if time.monotonic() < after:
                continue
            after = time.monotonic() + draw.uniform(0.5, 1.5) * args.every
            if disk and not filled and kills >= args.kills // 3:
                filled = fill(folder)
            elif lost < args.nodes and kills >= (lost + 1) * args.kills // (args.nodes + 1):
                lost += lose()
            elif kills < args.kills and (pids := busy(held)):
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(pids), signal.SIGKILL)
                    kills += 1
                    finished = len(held.planned.runs) - len(held.missing())
                    say(f"kill {kills}; {finished} runs are done")
        grid.wait()
    return {"kills": kills, "done_at_last_kill": finished, "disk_filled": filled, "nodes_lost": lost,
            "launches": restarts + 1, "seconds": round(time.monotonic() - started, 1)}  # fmt: skip


def busy(held: Held) -> list[int]:
    """Return the processes that are doing a run, on this machine."""
    state = held.store.state()
    claims = [(run, number) for run, number in state.held.items() if run not in state.done]
    owners = [held.store.owner(run, number) for run, number in claims if not held.store.is_stale(run, number)]
    return [owner["pid"] for owner in owners if owner]


@contextmanager
def small_disk(folder: Path) -> Any:
    """Put a small file system where the study lies, if this user may."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)], check=False,
                          capture_output=True)  # fmt: skip
    yield done.returncode == 0
    if done.returncode == 0:
        subprocess.run(["umount", str(folder)], check=False)


def fill(folder: Path) -> int:
    """Leave no byte for a while."""
    say("the disk is full")
    path = folder / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    time.sleep(FULL_S)
    path.unlink()
    say("there is room again")
    return 1


@contextmanager
def cluster(args: argparse.Namespace) -> Any:
    """Give the options of the launcher, and what loses a node of it."""
    if args.on == "local":
        yield [], lambda: 0
        return
    from ray.cluster_utils import Cluster

    ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [ray.add_node(num_cpus=1) for _ in range(2)]

    def lose() -> int:
        ray.remove_node(nodes.pop(0), allow_graceful=False)
        nodes.append(ray.add_node(num_cpus=1))
        say("a node is lost, another one comes")
        return 1

    yield ["--on", "ray", "--address", ray.address], lose
    ray.shutdown()


def compared(peace: Held, storm: Held) -> dict[str, Any]:
    """Say whether the same came out, and how often each run was done."""
    ours, theirs = storm.rows(), peace.rows()
    history = storm.store.history()
    again = 0
    for run in storm.planned.runs:
        events = [one["event"] for one in history if one["run"] == run.id]
        finished = events.index("done") if "done" in events else len(events)
        again += sum(event in ("begin", "done") for event in events[finished + 1 :])
    return {
        "runs": len(storm.planned.runs), "complete": not storm.missing() and not peace.missing(),
        "equal": ours.equals(theirs) and weights(storm) == weights(peace), "rows": ours.height,
        "begun": sum(one["event"] == "begin" for one in history), "done_again": again,
    }  # fmt: skip


def weights(held: Held) -> list[str]:
    """Return the checksums of all teams."""
    files = [file for run in held.planned.trainings
             for file in sorted(held.store.folder(run).glob("run/policy/*.safetensors"))]  # fmt: skip
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def say(message: str) -> None:
    """Tell how far it is."""
    print(f"chaos: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
