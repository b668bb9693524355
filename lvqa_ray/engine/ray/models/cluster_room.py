"""Room of the connected Ray for models: free GPUs and cores of its nodes, and whether it may get more nodes."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

import ray
from ray._private import ray_constants, state
from ray.experimental.internal_kv import _internal_kv_get

from lvqa_ray.engine.ray.models.replica_counts import NodeRoom

STATUS_WITHIN_S = 10.0
"""Ray's monitor writes its first status a few seconds after the head node has started."""
_FIXED_NODE = re.compile(r"node_[0-9a-f]{32,}")
"""Ray's name for the type of a node that no autoscaler has started."""
_V2_ENABLED = b"__autoscaler_v2_enabled"


def rooms() -> list[NodeRoom]:
    """The room of each node that is alive."""
    every: Any = ray.nodes  # untyped, as the next
    available: Any = state.available_resources_per_node
    free = available()
    return [
        NodeRoom(
            gpus=float(free.get(node["NodeID"], node["Resources"]).get("GPU", 0.0)),
            cpus=float(node["Resources"].get("CPU", 0.0)),
        )
        for node in every()
        if node["Alive"]
    ]


def may_grow() -> bool:
    """Whether an autoscaler may add nodes to the connected Ray; of a cluster with a fixed number of nodes, false.

    Ray 2.60 has no public word for it. Without an autoscaler its monitor reports each node as a type of its own.
    Version 2 of the autoscaler says only that it is there.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return False
    read: Any = _internal_kv_get
    until = time.monotonic() + STATUS_WITHIN_S
    while True:
        if read(_V2_ENABLED) == b"1":
            return True
        if status := read(ray_constants.DEBUG_AUTOSCALING_STATUS):
            return not is_fixed(status)
        if time.monotonic() > until:
            return False
        time.sleep(0.5)


def is_fixed(status: bytes) -> bool:
    """Whether a status of Ray's monitor (JSON) is that of a cluster without an autoscaler."""
    report = json.loads(status).get("autoscaler_report") or {}
    types = [*(report.get("active_nodes") or {}), *(report.get("idle_nodes") or {})]
    types += list(report.get("pending_launches") or {})
    return all(map(_FIXED_NODE.fullmatch, types))
