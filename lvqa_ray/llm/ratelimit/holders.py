"""The name of a process that holds leases, from which another process of the machine sees that it is only stopped."""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path

_STOPPED = frozenset("Tt")
"""States of a process in ``/proc`` that was stopped by a signal or by a debugger."""


def holder_name() -> str:
    """A name for this process that no other bears: kernel, numbering of processes, number, start, and a part by chance.

    Without ``/proc`` it names nothing that could be seen.
    """
    return f"{_machine()}/{os.getpid()}/{_state(os.getpid())[1]}/{uuid.uuid4().hex}"


def is_stopped(holder: str) -> bool:
    """Whether a holder is a process of this machine that was stopped (SIGSTOP) and may be continued.

    Its requests are still under way: the endpoint works on them, whether their replies are read or not.
    """
    machine, _, rest = holder.partition("/")
    pid, _, rest = rest.partition("/")
    if not machine or machine != _machine() or not pid.isdecimal():
        return False
    state, start = _state(int(pid))
    return state in _STOPPED and start == rest.partition("/")[0]


@cache
def _machine() -> str:
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{kernel}:{Path('/proc/self/ns/pid').readlink()}".replace("/", "_")
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, str]:
    """The state of a process, and the time at which it began; empty where it is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
