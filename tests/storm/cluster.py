"""A cluster of three nodes in one process, which runs a job and loses a node when it gets SIGUSR1.

Each node has a temporary folder of its own, as if it were a machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from lvqa_ray.config import Job
from lvqa_ray.engine.run import run


def main() -> None:
    """Run a job file on the cluster.

    It has a temporary folder of its own: the address that a cluster leaves in Ray's would send everybody's next
    `ray.init` on this machine here, also when it is long gone.
    """
    folder = tempfile.mkdtemp(prefix="lvqa-ray-")  # short, since sockets lie in it
    os.environ["RAY_TMPDIR"] = folder
    disks = [Path(folder) / f"disk{number}" for number in range(3)]
    for disk in disks:
        disk.mkdir()
    head, *workers = ({"num_cpus": 1, "env_vars": {"TMPDIR": str(disk)}} for disk in disks)
    cluster: Any = Cluster(initialize_head=True, head_node_args=head | {"include_dashboard": False})
    others = [cluster.add_node(**worker) for worker in workers]
    ray.init(address=cluster.address, log_to_driver=False)
    ask = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: ask.set())

    def lose() -> None:
        ask.wait()
        cluster.remove_node(others[0], allow_graceful=False)
        nodes: Any = ray.nodes  # it has no types
        while sum(node["Alive"] for node in nodes()) > 2:
            time.sleep(0.1)
        print("a node is gone, 2 nodes are left", flush=True)  # noqa: T201 - the test reads it

    threading.Thread(target=lose, daemon=True).start()
    summary = run(Job.load(sys.argv[1]))
    print(summary, flush=True)  # noqa: T201 - as above
    used = sum(any(disk.glob("lvqa-scratch-*/*.mp4")) for disk in disks)
    print(f"films were fetched to {used} disks", flush=True)  # noqa: T201 - as above
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(summary.exit_status)  # a cluster that has lost a node does not always end in order


if __name__ == "__main__":
    main()
