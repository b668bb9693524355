"""Whether the machines of a cluster see the disk that a run is on: what one pays that does not would be lost."""

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

PATIENCE_S = 60.0
"""How long a node may take to start a process and look."""
SHOWS_S = 5.0
"""How long a shared disk may take to show what another machine has put there."""
logger = logging.getLogger(__name__)


def check_shared_disk(folder: StoragePath, videos: Videos) -> None:
    """Refuse an output folder, or a first video, that is on this machine's disk where others are to work on it too.

    Those that join later are not asked.

    Args:
        folder: The output, which is there.
        videos: What is to be done.

    Raises:
        ConfigError: Names what is not seen, and by whom.
    """
    if not (others := _others()):
        return
    with ExitStack() as stack:
        wanted = {}
        if isinstance(folder, Path):  # a name that no earlier run can have left there
            mark = stack.enter_context(NamedTemporaryFile(prefix=".seen-", dir=folder.absolute()))
            wanted[mark.name] = f"the output folder {folder}"
        if not scheme_of(video := videos[0].uri) and Path(video).exists():
            wanted[video] = f"the video {video}"
        for machine, missed in _missed_by(others, list(wanted)).items():
            what = wanted[missed[0]]
            raise ConfigError(f"{what} is not on {machine}, a node of the cluster: give a bucket, or a shared disk.")


def _others() -> dict[str, str]:
    """Of each other machine the id of a node."""
    nodes: Any = ray.nodes  # it has no types
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes() if node["Alive"]}
    here = names.get(ray.get_runtime_context().get_node_id())
    return {machine: node for node, machine in names.items() if machine != here}


def _missed_by(machines: dict[str, str], paths: Sequence[str]) -> dict[str, list[str]]:
    """What is not seen, by machine; one that does not answer in time is taken at its best."""
    as_task: Any = ray.remote(num_cpus=0)(missing)  # its types know of functions without options only
    asked = {
        as_task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(paths): machine
        for machine, node in machines.items()
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE_S)
    found = {}
    for each in done:
        try:
            found[asked[each]] = ray.get(each)
        except ray.exceptions.RayError as error:  # it has gone meanwhile
            logger.info("%s does not say what it sees", asked[each], exc_info=error)
    for each in late:
        logger.warning("%s does not say in %.0f s what it sees", asked[each], PATIENCE_S)
    return {machine: gone for machine, gone in found.items() if gone}


def missing(paths: Sequence[str]) -> list[str]:
    """Those that this machine does not see, also after a while."""
    until = time.monotonic() + SHOWS_S
    while (gone := [path for path in paths if not os.path.exists(path)]) and time.monotonic() < until:  # noqa: PTH110
        time.sleep(0.2)
    return gone
