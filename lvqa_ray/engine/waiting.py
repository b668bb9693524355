"""Explains what a run waits for when it makes no progress, so that a wait does not look like a hang."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats

STILL_S = 20.0
"""Seconds without progress after which a run reports what it waits for."""


@dataclass(frozen=True, slots=True)
class Machine:
    """State of the cores and processes of a run.

    Attributes:
        cores: CPU cores of the cluster, or those that a local run uses.
        free: Cores that no task, actor or decoder holds.
        stopped: Ids of processes of this run on this machine that a signal has stopped.
        starter: What starts work on free cores.
    """

    cores: float
    free: float
    stopped: tuple[int, ...] = ()
    starter: str = "Ray to start tasks or workers"


def waiting_for(stats: Mapping[str, EndpointStats], machine: Machine) -> str:
    """What a run waits for, as the rest of a sentence "Waiting for ...": the most certain cause.

    Args:
        stats: The request counters of each endpoint by its label.
        machine: State of the cores and processes.
    """
    if machine.stopped:
        pids = " ".join(map(str, machine.stopped))
        return f"processes of this run that a signal has stopped; to continue them: kill -CONT {pids}"
    return _endpoints(stats) or _machine(machine)


def _endpoints(stats: Mapping[str, EndpointStats]) -> str:
    for label, now in stats.items():
        if now.halted:
            return f"requests in flight to {label} before the run stops"
    for label, now in stats.items():
        if now.down_s:
            return f"{label}, which has given no usable answer for {now.down_s:.0f} s{_failed(now)}"
    asked = [f"{now.in_flight:,} to {label}" for label, now in stats.items() if now.in_flight]
    if asked:
        return f"replies to requests in flight: {', '.join(asked)}"
    return ""


def _machine(machine: Machine) -> str:
    if not machine.cores:
        return "a node with CPU cores: the cluster has no cores yet"
    if machine.free >= machine.cores:
        return f"{machine.starter}: all {machine.cores:g} cores are free and no request is in flight"
    return f"the decoders: {machine.cores - machine.free:g} of {machine.cores:g} cores are busy and none has finished"


def _failed(now: EndpointStats) -> str:
    return f" ({', '.join(f'{count:,} x {kind}' for kind, count in now.failed.items())})" if now.failed else ""


def stopped_processes(root: int | None = None) -> tuple[int, ...]:
    """Ids of descendants of a process (default: this one) that a signal has stopped; empty on systems without /proc."""
    parents: dict[int, int] = {}
    stopped = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            parents[int(stat.parent.name)] = int(parent)
            if state == "T":
                stopped.append(int(stat.parent.name))
    top = os.getpid() if root is None else root
    return tuple(sorted(pid for pid in stopped if _descends(pid, top, parents)))


def _descends(pid: int, top: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != top:
        pid = parents[pid]
    return pid == top
