"""Shared-disk check: whether all machines of a cluster see the output folder; otherwise paid results would be lost."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.storage.paths import StoragePath

DISK_CHECK_TIMEOUT_S = 60.0
"""How long a node may take to start a process and check (s)."""
SHOWS_S = 5.0
"""How long a shared disk may take to show a file of another machine (s)."""
logger = logging.getLogger(__name__)


def check_shared_disk(folder: StoragePath, videos: Videos) -> None:
    """Refuse an output folder, or a first video, that other machines of the cluster do not see.

    Machines that join later are not checked.

    Args:
        folder: The output folder, which exists.
        videos: The videos to process.

    Raises:
        ConfigError: Names the path and the machine that does not see it.
    """
    if not (others := _others()):
        return
    with ExitStack() as stack:
        wanted = {}
        if isinstance(folder, Path):  # a new name, which no earlier run left there
            mark = stack.enter_context(NamedTemporaryFile(prefix=".seen-", dir=folder.absolute()))
            wanted[mark.name] = f"the output folder {folder}"
        if not scheme_of(video := videos[0].uri) and Path(video).exists():
            wanted[video] = f"the video {video}"
        for machine, missed in _missed_by(others, list(wanted)).items():
            what = wanted[missed[0]]
            raise ConfigError(f"{what} is not on {machine}, a node of the cluster: give a bucket, or a shared disk.")


def _others() -> dict[str, str]:
    """The id of a node of each other machine, by host name."""
    nodes: Any = ray.nodes  # untyped
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes() if node["Alive"]}
    here = names.get(ray.get_runtime_context().get_node_id())
    return {machine: node for node, machine in names.items() if machine != here}


def _missed_by(machines: dict[str, str], paths: Sequence[str]) -> dict[str, list[str]]:
    """The missing paths by machine; a machine that does not answer in time counts as seeing all."""
    as_task: Any = ray.remote(num_cpus=0)(missing)  # typed for functions without options only
    asked = {
        as_task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(paths): machine
        for machine, node in machines.items()
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=DISK_CHECK_TIMEOUT_S)
    found = {}
    for each in done:
        try:
            found[asked[each]] = ray.get(each)
        except ray.exceptions.RayError as error:  # the node is gone
            logger.info("%s did not answer the shared-disk check", asked[each], exc_info=error)
    for each in late:
        logger.warning("%s did not answer the shared-disk check within %.0f s", asked[each], DISK_CHECK_TIMEOUT_S)
    return {machine: gone for machine, gone in found.items() if gone}


def missing(paths: Sequence[str]) -> list[str]:
    """The paths that this machine does not see within `SHOWS_S`."""
    until = time.monotonic() + SHOWS_S
    while (gone := [path for path in paths if not os.path.exists(path)]) and time.monotonic() < until:  # noqa: PTH110
        time.sleep(0.2)
    return gone
