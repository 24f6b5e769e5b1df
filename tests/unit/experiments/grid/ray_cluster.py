"""A Ray cluster of three nodes on this machine that loses two while it does runs; a program, because Ray forks, which a
process that has imported jax does not survive.

python -m unit.experiments.grid.ray_cluster STORE          # prints what is done and what has failed, as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from ibal.experiments.grid.ray import Ray
from ibal.experiments.grid.store import Store
from unit.experiments.grid.test_work import run


def main() -> None:
    store = Store(Path(sys.argv[1])).open()
    todo = [run("a"), run("b", needs=("a",)), run("bad", "fail"), run("c", needs=("bad",)), run("d", "die_twice")]
    todo += [run(f"r{i}", seconds=0.5) for i in range(8)]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ended: list[str] = []
    lost: list[str] = []

    def note(message: str) -> None:
        ended.append(message)
        if len(ended) in (1, 6):
            lost.append(message)
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))

    try:
        Ray(address=cluster.address).run(todo, store, note)
    finally:
        cluster.shutdown()
    state = store.state()
    print(json.dumps({"done": sorted(state.done), "failed": sorted(state.failed), "lost": len(lost)}))


if __name__ == "__main__":
    main()
